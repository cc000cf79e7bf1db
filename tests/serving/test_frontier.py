import json
import re

import pytest

from keras_bert_scratch.serving import frontier
from keras_bert_scratch.serving.comparison import ArtifactFigures
from keras_bert_scratch.serving.frontier import pick, write_frontier


def figures(path, megabytes, milliseconds, macro_f1, tokens=32):
    return ArtifactFigures(
        path=str(path),
        megabytes=megabytes,
        largest_logit_gap=0.0,
        flipped_labels=0.0,
        accuracy=macro_f1,
        macro_f1=macro_f1,
        accuracy_change=macro_f1 - 0.9,
        macro_f1_change=macro_f1 - 0.9,
        milliseconds={(tokens, 1): milliseconds},
    )


POINTS = [figures("a", 90, 40, 0.90), figures("b", 23, 12, 0.89), figures("c", 23, 6, 0.87)]


@pytest.mark.parametrize(
    ("budget", "best"),
    [
        ({}, "a"),  # a point more than b
        ({"max_megabytes": 30}, "b"),
        ({"max_milliseconds": 10}, "c"),
        ({"max_f1_loss": 1.5}, "b"),
        ({"max_f1_loss": 5}, "c"),
        ({"max_f1_loss": 0.5}, "a"),
    ],
)
def test_picks_for_a_budget(budget, best):
    assert pick(POINTS, **budget).path == best


@pytest.mark.parametrize(
    ("f1_by_milliseconds", "knee"),
    [
        # The curve is flat from 12 ms on: what is left to gain is within half a point.
        ({40: 0.9, 20: 0.899, 12: 0.896, 6: 0.87}, 12),
        ({40: 0.9, 20: 0.893, 12: 0.89, 6: 0.87}, 40),
        ({40: 0.896, 20: 0.9, 12: 0.9, 6: 0.896}, 6),
        # The best is no slow one: slower files that are worse do not count.
        ({40: 0.7, 20: 0.8, 12: 0.85, 6: 0.84}, 12),
    ],
)
def test_without_a_budget_the_knee(f1_by_milliseconds, knee):
    points = [figures(n, 1, n, macro_f1) for n, macro_f1 in f1_by_milliseconds.items()]
    assert pick(points).path == str(knee)
    # With any budget, the best that fits.
    best = max(f1_by_milliseconds.values())
    assert pick(points, max_megabytes=2).macro_f1 == best


def test_says_what_would_fit():
    message = (
        "No export fits 20 MB, inf ms and a loss of 1 points of F1; the smallest has 23.0 MB, the "
        "fastest takes 6.00 ms, the best loses 0.00 points: raise the budget"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        pick(POINTS, max_megabytes=20, max_f1_loss=1)


@pytest.fixture
def measured(monkeypatch):
    """Gives files of int8 a third of the time, and a little less F1."""

    def measure(path, *_, lengths, **__):
        is_int8 = path.name.startswith("int8")
        milliseconds = lengths[0] / (3 if is_int8 else 1)
        macro_f1 = 0.88 if is_int8 else 0.9
        return figures(path, len(path.read_bytes()), milliseconds, macro_f1, lengths[0])

    monkeypatch.setattr(frontier, "measure_artifact", measure)


def write(folder, tokenizer, **budget):
    return write_frontier(
        folder,
        lambda path, precision, length: path.write_bytes(b"\0" * length),
        ["a"] * 7,
        [0] * 7,
        [[1, 0]] * 7,
        tokenizer,
        ["bad", "good"],
        precisions=["float32", "int8"],
        lengths=[16, 32],
        **budget,
    )


def test_keeps_the_best_file_and_tells_about_all(measured, tiny_classifier, tmp_path):
    best = write(tmp_path / "out", tiny_classifier().tokenizer, max_f1_loss=3)
    assert best.path == str(tmp_path / "out" / "int8_16.tflite")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"int8_16.tflite", "frontier.json", "frontier.png", "README.md"}
    rows = json.loads((tmp_path / "out/frontier.json").read_text())
    assert [row["path"] for row in rows] == [
        f"{precision}_{length}.tflite" for length in (16, 32) for precision in ("float32", "int8")
    ]
    card = (tmp_path / "out/README.md").read_text()
    assert "Classifies texts as bad, good." in card
    assert "truncated to 16 tokens" in card
    assert "on 7 held-out texts" in card
    assert "| macro F1 | 0.8800 (-0.0200) |" in card


def test_nothing_is_written_if_nothing_fits(measured, tiny_classifier, tmp_path):
    with pytest.raises(RuntimeError, match="No export fits"):
        write(tmp_path / "out", tiny_classifier().tokenizer, max_megabytes=1)
    assert list(tmp_path.iterdir()) == []
