"""What the measurement of memorization does with its canaries, and most of it at a tiny size."""

import json
import sys

import pytest

from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary


@pytest.fixture
def benchmark(benchmark, monkeypatch, reviews):
    monkeypatch.setattr(benchmark, "fetch_snippets", lambda: reviews)
    monkeypatch.setattr(benchmark, "NUM_WORDS", 4)
    monkeypatch.setattr(benchmark, "CANARIES_EACH", 2)
    return benchmark


def test_canaries(benchmark):
    words = [f"word{letter}" for letter in "abcdefghijklm"]
    # In the reviews, too short, a continuation, and not of letters alone.
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "movie", "odd", "##ending", "word9", *words])
    found, canaries = benchmark.draw(vocabulary, 0)
    assert len({*found, *(canary.user for canary in canaries)}) == 4 + 8
    assert {*found} < {*words}
    assert [canary.copies for canary in canaries] == [0, 1, 4, 16] * 2
    assert [canary.label for canary in canaries] == ["negative"] * 4 + ["positive"] * 4
    assert len({canary.position for canary in canaries}) == 8
    assert {canary.position for canary in canaries} < {*range(16)}


def test_table(benchmark):
    canaries = [
        benchmark.Canary(copies, "anna", 0, 1, "negative") for copies in (0, 1, 4, 16) for _ in "ab"
    ]
    results = {"model": {"exposures": [1, 2, 0, 4, 3, 3, 5, 6], "accuracy": 0.5, "cpu_seconds": 7}}
    line = benchmark.to_text(canaries, results).splitlines()[1]
    assert line.split() == "model 1.5 (2.0) 2.0 (4.0) 3.0 (3.0) 5.5 (6.0) 50.0% 7".split()


@pytest.mark.slow
def test_what_is_not_private_at_a_tiny_size(benchmark, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "BATCH_SIZE", 16)
    monkeypatch.setattr(benchmark, "EPOCHS", 1)
    monkeypatch.setattr(benchmark, "STEPS", 20)
    output = tmp_path / "memorization.json"
    monkeypatch.setattr(sys, "argv", ["memorization.py", "--epsilons", "--output", str(output)])
    benchmark.main()
    content = json.loads(output.read_text())
    assert list(content["results"]) == ["masked tokens", "classifier"]
    for result in content["results"].values():
        assert len(result["exposures"]) == len(content["canaries"]) == 8
        assert all(0 <= bits <= 4 for bits in result["exposures"])
    assert "16 times" in capsys.readouterr().out
