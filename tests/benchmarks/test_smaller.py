"""What the comparison of smaller trainings does with its results; nothing is trained."""

import json


def result(accuracy, seconds):
    return {"accuracy": accuracy, "trained": 1234, "cpu_seconds": seconds}


def test_table_has_the_mean_and_the_range_of_the_seeds(benchmark):
    results = {
        "2 layers, labels alone, 0": result(0.5, 10),
        "2 layers, labels alone, 1": result(0.75, 20),
        "teacher, 6 layers, 0": result(0.9, 30),
    }
    assert benchmark.table(results).splitlines()[2:] == [
        "| 2 layers, labels alone | 2 | 62.50 % | 50.00 % | 75.00 % | 1,234 | 15 |",
        "| teacher, 6 layers | 1 | 90.00 % | 90.00 % | 90.00 % | 1,234 | 30 |",
    ]


def test_goes_on_where_its_json_stops(benchmark, monkeypatch, tmp_path):
    texts = ["good", "bad"] * 10
    monkeypatch.setattr(benchmark, "fetch_snippets", lambda: (texts, ["positive", "negative"] * 10))
    made = []

    def lora(rank):
        def run(data):
            made.append(rank)
            return result(0.5, 1)

        return run

    monkeypatch.setattr(benchmark, "lora", lora)
    output = tmp_path / "smaller.json"
    output.write_text(json.dumps({"6 layers, all weights, 0": result(0.9, 1)}))
    results = benchmark.measure(["lora"], output)
    assert made == [8, None, 8, None, 8]
    assert json.loads(output.read_text()) == results
    assert results["6 layers, all weights, 0"]["accuracy"] == 0.9
