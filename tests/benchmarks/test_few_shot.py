"""How few texts are drawn, and what is made of the results; the methods are run by hand."""

import json


def test_drawn_are_so_many_of_each_class(benchmark):
    columns = (
        [f"{c} {n}" for c, count in (("a", 5), ("b", 2)) for n in range(count)],
        list("aaaaabb"),
    )
    texts, labels = benchmark.draw(columns, 3, seed=0)
    assert sorted(labels) == ["a", "a", "a", "b", "b"]
    assert len(set(texts)) == 5
    assert all(text[0] == label for text, label in zip(texts, labels, strict=True))
    assert benchmark.draw(columns, 3, seed=0) == (texts, labels)
    assert benchmark.draw(columns, 3, seed=1) != (texts, labels)


def test_table_has_mean_and_standard_error(benchmark):
    results = {
        "bbc/8/0/ours": {"accuracy": 0.5, "seconds": 10},
        "bbc/8/1/ours": {"accuracy": 0.6, "seconds": 30},
        "bbc/8/0/frozen": {"accuracy": 0.25, "seconds": 1},
    }
    # The deviation is 0.1 / sqrt(2), the error of the mean that over sqrt(2).
    assert [line.split() for line in benchmark.summarize(results).splitlines()[1:]] == [
        ["bbc", "8", "ours", "2", "55.0", "5.0", "20"],
        ["bbc", "8", "frozen", "1", "25.0", "nan", "1"],
    ]


def test_goes_on_where_it_stopped(benchmark, monkeypatch, tmp_path, capsys):
    texts, labels = ["x", "y"] * 4, ["a", "b"] * 4
    monkeypatch.setattr(benchmark, "load_set", lambda name: ((texts, labels), (texts, labels)))
    monkeypatch.setitem(benchmark.METHODS, "ours", lambda train, texts, _: (labels, 2.0))
    output = tmp_path / "results.json"
    output.write_text(json.dumps({"r8/8/0/ours": {"accuracy": 0.5, "seconds": 1}}))
    monkeypatch.setattr(
        "sys.argv",
        ["few_shot.py", "--output", str(output), "--sets", "r8", "--sizes", "8"]
        + ["--seeds", "0", "1", "--methods", "ours"],
    )
    benchmark.main()
    assert json.loads(output.read_text()) == {
        "r8/8/0/ours": {"accuracy": 0.5, "seconds": 1},
        "r8/8/1/ours": {"accuracy": 1.0, "seconds": 2.0},
    }
    assert "75.0" in capsys.readouterr().out
