"""What exports cost and lose, on numbers worked out by hand and on a small real export."""

import json
import re
import zipfile

import matplotlib.image
import numpy as np
import pytest

from keras_bert_scratch.serving import comparison
from keras_bert_scratch.serving.comparison import (
    ArtifactFigures,
    check_bounds,
    figures_to_text,
    measure_artifact,
    plot_figures,
    text_of_length,
)


@pytest.fixture
def tokenizer(tiny_classifier):
    return tiny_classifier().tokenizer


@pytest.fixture
def answers(monkeypatch):
    """Returns a function that sets the probabilities that any export answers with."""

    def set_answers(probabilities):
        def ask(path, texts, timed, threads):
            times = {(tokens, threads): 10.0 * tokens / threads for tokens in timed}
            return np.asarray(probabilities), times

        monkeypatch.setattr(comparison, "ask", ask)

    return set_answers


def figures(**changes):
    fields = {
        "path": "a.tflite",
        "megabytes": 1.0,
        "largest_logit_gap": 0.1,
        "flipped_labels": 0.0,
        "accuracy": 0.9,
        "macro_f1": 0.9,
        "accuracy_change": 0.0,
        "macro_f1_change": 0.0,
        "milliseconds": {(16, 1): 1.0, (64, 1): 4.0},
    }
    return ArtifactFigures(**{**fields, **changes})


def test_figures_by_hand(answers, tokenizer, tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\0" * 250_000)
    # The second of four labels flips, from right to wrong; half the log odds are the logit.
    answers([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.9, 0.1]])
    model = [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.9, 0.1]]
    found = measure_artifact(
        path, ["a"] * 4, [0, 0, 1, 1], model, tokenizer, lengths=[8], threads=[1, 2]
    )
    assert found.megabytes == 0.25
    assert found.flipped_labels == 0.25
    assert (found.accuracy, found.accuracy_change) == (0.5, -0.25)
    # F1 of the classes: 1/2 and 1/2 for the export; 4/5 and 2/3 for the model.
    assert found.macro_f1 == pytest.approx(0.5)
    assert found.macro_f1_change == pytest.approx(0.5 - (4 / 5 + 2 / 3) / 2)
    assert found.largest_logit_gap == pytest.approx(np.log(0.6 / 0.4))
    assert found.milliseconds == {(8, 1): 80.0, (8, 2): 40.0}
    assert json.loads(json.dumps(found.to_dict()))["milliseconds"][1] == {
        "tokens": 8,
        "threads": 2,
        "milliseconds": 40.0,
    }


def test_figures_of_several_labels_by_hand(answers, tokenizer, tmp_path):
    answers([[0.8, 0.6], [0.2, 0.4]])
    model = [[0.8, 0.4], [0.2, 0.4]]
    found = measure_artifact(
        tmp_path, ["a"] * 2, [[1, 0], [0, 0]], model, tokenizer, lengths=[8], multi_label=True
    )
    assert found.flipped_labels == 0.25
    assert (found.accuracy, found.accuracy_change) == (0.5, -0.5)
    assert found.largest_logit_gap == pytest.approx(2 * np.log(0.6 / 0.4))


def test_bounds_name_every_export_beyond_them():
    check_bounds([figures()])
    check_bounds([figures(flipped_labels=0.5)], flipped_labels=None)
    bad = [
        figures(path="x", flipped_labels=0.06),
        figures(path="y", accuracy_change=-0.04),
        figures(path="z", largest_logit_gap=float("nan")),
    ]
    message = (
        "x: share of flipped labels 0.06, more than 0.05; y: loss of accuracy 0.04, more than "
        "0.03; z: largest logit gap nan, more than 1."
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        check_bounds(bad, largest_logit_gap=1)


def test_table():
    lines = figures_to_text([figures(), figures(path="b/c.tflite", megabytes=12.34)]).splitlines()
    assert lines[0].split("  ")[-1] == "ms 64 tokens/1 thr"
    assert lines[2].split()[:3] == ["c.tflite", "12.3", "1.0e-01"]


def test_picture_starts_at_no_time_and_at_the_model(tmp_path):
    exports = [figures(), figures(path="x/b.tflite", macro_f1=0.8, macro_f1_change=-0.1)]
    figure = plot_figures(exports, tmp_path / "figures.png")
    axes = figure.axes[0]
    points = [collection.get_offsets()[0].tolist() for collection in axes.collections]
    assert points == [[4.0, 0.0], [4.0, -10.0]]
    low, high = axes.get_ylim()
    assert low < -10 < 0 < high
    assert axes.get_xlim() == (0, pytest.approx(4.4))
    assert matplotlib.image.imread(tmp_path / "figures.png").std() > 0
    assert legend_of(figure) == [
        "1  a.tflite: 1.0 MB, 4.00 ms, +0.00",
        "2  b.tflite: 1.0 MB, 4.00 ms, -10.00",
        "the model: macro F1 0.9000",
    ]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_small_differences_are_drawn_small(tmp_path):
    exports = [figures(macro_f1=0.9 - loss, macro_f1_change=-loss) for loss in (0.0, 0.0002)]
    low, high = plot_figures(exports, tmp_path / "figures.png").axes[0].get_ylim()
    assert high - low >= 1


def test_budget_and_choice_are_marked(tmp_path):
    exports = [figures(), figures(path="b.tflite", megabytes=90.0)]
    figure = plot_figures(
        exports,
        tmp_path / "figures.png",
        best=exports[0],
        max_megabytes=40,
        max_milliseconds=7,
        max_f1_loss=1.5,
    )
    axes = figure.axes[0]
    chosen, large = axes.collections
    assert chosen.get_linewidths()[0] > large.get_linewidths()[0]
    assert len(chosen.get_facecolor()) == 1
    assert len(large.get_facecolor()) == 0  # hollow
    model, loss, time = axes.lines
    assert set(model.get_ydata()) == {0}
    assert set(loss.get_ydata()) == {-1.5}
    assert set(time.get_xdata()) == {7}
    assert axes.get_xlim()[1] > 7
    assert legend_of(figure) == [
        "1  a.tflite: 1.0 MB, 4.00 ms, +0.00, chosen",
        "2  b.tflite: 90.0 MB, 4.00 ms, +0.00, above 40 MB",
        "the model: macro F1 0.9000",
        "budget: a loss of 1.5 points",
        "budget: 7 ms",
    ]


@pytest.mark.parametrize("num_tokens", [3, 17])
def test_text_of_length(tokenizer, num_tokens):
    assert len(tokenizer.encode(text_of_length(tokenizer, num_tokens)).token_ids) == num_tokens


def test_a_real_export(models, exports, reviews):
    model = models("classifier")
    texts, labels = reviews[0][:12], model.encode_labels(reviews[1][:12])
    found = measure_artifact(
        exports("classifier", "float32.tflite"),
        texts,
        labels,
        model.probabilities(texts),
        model.tokenizer,
        lengths=[8, 16],
        threads=[1],
    )
    assert found.largest_logit_gap < 1e-4
    assert found.flipped_labels == found.accuracy_change == 0
    assert all(value > 0 for value in found.milliseconds.values())


def test_an_export_that_does_not_load(tokenizer, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.tflite", "w") as packed:
        packed.writestr("labels.txt", "a\nb\n")
    with pytest.raises(RuntimeError, match="does not load in a fresh process"):
        measure_artifact(tmp_path / "m.tflite", ["a"], [0], [[1, 0]], tokenizer)
