"""The benchmark of engines: its mixture of texts, an engine in a process, and its table."""

import numpy as np


def test_texts_are_mixed_in_equal_shares(benchmark):
    def columns(name, count):
        return [f"{name}{n}" for n in range(count)], ["x"] * count

    sets = {
        "snippets": (columns("s", 30), columns("t", 10)),
        "r8": (columns("r", 20), columns("u", 5)),
    }
    texts = benchmark.mixed(sets, 40)
    assert len(set(texts)) == 40
    assert sum(text[0] in "st" for text in texts) == 20
    assert len(benchmark.mixed(sets, 75)) == 75


def test_an_engine_at_work(benchmark, tiny_classifier, tmp_path, monkeypatch):
    model = tiny_classifier(temperature=1.7)
    model.save_pretrained(tmp_path / "model")
    texts = ["a good film", "bad", "good " * 9]
    found = benchmark.work("keras", tmp_path / "model", texts)
    assert found["labels"] == np.argmax(model.probabilities(texts), axis=1).tolist()
    assert found["seconds"] > 0
    assert found["peak_bytes"] > 1e8


def test_the_table_compares_with_the_first_engine(benchmark):
    rows = [
        {"texts": "r8", "engine": "keras", "texts_per_second": 50.0, "peak_mb": 900.0,
         "equal_labels": 1.0, "accuracy": 0.97},
        {"texts": "r8", "engine": "litert-int8", "texts_per_second": 150.0, "peak_mb": 1000.0,
         "equal_labels": 0.995, "accuracy": 0.969},
    ]  # fmt: skip
    last = benchmark.table(rows).splitlines()[-1].split()
    assert last == ["r8", "litert-int8", "150", "3.00", "1000", "99.50%", "96.90%"]
