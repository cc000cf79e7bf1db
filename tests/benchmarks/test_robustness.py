"""What the comparison of robust trainings does with its results; nothing is trained."""

import json

import pytest


@pytest.fixture
def benchmark(benchmark, monkeypatch, reviews):
    monkeypatch.setattr(benchmark, "fetch_snippets", lambda: reviews)
    return benchmark


def result(clean, typos, shouts):
    accuracy = {"as they are": clean, "typos": typos, "upper case": shouts}
    return {"accuracy": accuracy, "cpu_seconds": 12.3}


def test_differences_are_those_of_one_seed(benchmark):
    runs = {
        # Losses: typos 10 and 12, upper case 0 and 4, the mean of both 5 and 8.
        "plain, 0": result(0.80, 0.70, 0.80),
        "plain, 1": result(0.84, 0.72, 0.80),
        # Typos 6 and 10, upper case 0 and 2, mean 3 and 6.
        "FGM, 0": result(0.82, 0.76, 0.82),
        "FGM, 1": result(0.88, 0.78, 0.86),
    }
    lines = [" ".join(line.split()) for line in benchmark.to_text(runs).splitlines()]
    assert lines[:9] == [
        "accuracy plain FGM FGM - plain",
        "as they are 82.00 ± 2.83 85.00 ± 4.24 +3.00 ± 1.41",
        "typos 71.00 ± 1.41 77.00 ± 1.41 +6.00 ± 0.00",
        "upper case 80.00 ± 0.00 84.00 ± 2.83 +4.00 ± 2.83",
        "",
        "loss of accuracy plain FGM FGM - plain",
        "typos 11.00 ± 1.41 8.00 ± 2.83 -3.00 ± 1.41",
        "upper case 2.00 ± 2.83 1.00 ± 1.41 -1.00 ± 1.41",
        "mean 6.50 ± 2.12 4.50 ± 2.12 -2.00 ± 0.00",
    ]
    assert "FGM, 1: 12 CPU seconds" in lines


def test_one_seed_has_no_deviation(benchmark):
    runs = {"plain, 0": result(0.8, 0.7, 0.8), "PGD, 0": result(0.9, 0.8, 0.9)}
    assert "as they are  80.00  90.00       +10.00" in benchmark.to_text(runs)


def test_goes_on_where_its_json_stops(benchmark, monkeypatch, tmp_path):
    made = []

    def run(method, seed, data, **recipe):
        made.append((method, seed, len(data[0][0]), recipe))
        return result(0.9, 0.8, 0.9)

    monkeypatch.setattr(benchmark, "run", run)
    output = tmp_path / "robustness.json"
    recipe = {"epochs": 2, "dtype": "float32", "radius": 0.1}
    benchmark.measure(output, ["plain"], 1, 10, **recipe)
    results = benchmark.measure(output, ["plain", "FGM"], 2, 10, **recipe)
    runs = [("plain", 0), ("FGM", 0), ("plain", 1), ("FGM", 1)]
    assert made == [(*which, 10, recipe) for which in runs]
    assert json.loads(output.read_text()) == results
    with pytest.raises(ValueError, match=r"is of .*'radius': 0.1.*, not .*'radius': 1.0.*: name"):
        benchmark.measure(output, ["plain"], 1, 10, **{**recipe, "radius": 1.0})
