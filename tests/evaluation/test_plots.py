import itertools

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.explanations import Explanation
from keras_bert_scratch.evaluation.plots import (
    plot_attention,
    plot_calibration,
    plot_confusion_matrix,
    plot_embeddings,
    plot_explanation,
    plot_learning_curves,
    plot_positions,
    plot_tokens,
)
from keras_bert_scratch.layers.embeddings import sinusoidal_positions
from keras_bert_scratch.pictures import BLUE, DARK, ORANGE

HISTORY = {
    "loss": [0.9, 0.5, 0.3, 0.2],
    "val_loss": [0.8, 0.6, 0.7, 0.75],
    "accuracy": [0.5, 0.7, 0.8, 0.9],
    "val_accuracy": [0.6, 0.7, 0.75, 0.74],
}


def label_texts(labels):
    return [label.get_text() for label in labels]


def perfect_report(names):
    return evaluate_classification(np.arange(len(names)), np.eye(len(names)), names)


# === Confusion matrix ===
def test_counts_stand_in_their_cells():
    report = evaluate_classification([0, 0, 0, 1], [[1, 0], [1, 0], [0, 1], [0, 1]], ["no", "yes"])
    figure = plot_confusion_matrix(report)
    axes = figure.axes[0]
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    # Positions are (column, row): (predicted, true).
    assert counts == {(0, 0): "2", (1, 0): "1", (0, 1): "0", (1, 1): "1"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert label_texts(axes.get_yticklabels()) == ["no", "yes"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert axes.get_title() == "Accuracy 75.0%, macro F1 0.733 (4 examples)"


def test_counts_of_several_labels():
    report = evaluate_classification(
        [[1, 0], [1, 0]], [[0.9, 0.9], [0.1, 0.1]], ["x", "y"], multi_label=True
    )
    axes = plot_confusion_matrix(report).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert label_texts(axes.get_xticklabels()) == [
        "true and predicted",
        "true, missed",
        "false alarm",
        "neither",
    ]


@pytest.mark.parametrize("num_classes", [2, 5, 20, 60])
def test_names_and_cells_stay_inside_the_picture_and_apart(num_classes):
    names = [f"{'a rather long name of a class' * (i % 2)} {i}" for i in range(num_classes)]
    figure = plot_confusion_matrix(perfect_report(names))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title]:
        box = label.get_window_extent()
        assert figure.bbox.x0 <= box.x0, label
        assert figure.bbox.y0 <= box.y0, label
        assert box.x1 <= figure.bbox.x1, label
        assert box.y1 <= figure.bbox.y1, label
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(rows))


def test_long_names_are_cut_and_dollars_stay():
    axes = plot_confusion_matrix(perfect_report(["x" * 40, "$a_b$ and $"])).axes[0]
    assert label_texts(axes.get_yticklabels()) == ["x" * 27 + "…", "$a_b$ and $"]
    assert not any(label.get_parse_math() for label in axes.get_xticklabels())


def test_a_class_without_examples_has_an_empty_row():
    report = evaluate_classification([0, 0], [[1, 0], [0, 1]], ["a", "b"])
    shares = plot_confusion_matrix(report).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shares, [[0.5, 0.5], [0, 0]])


# === Learning curves ===
def curves_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_learning_curves():
    figure = plot_learning_curves(HISTORY)
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    assert curves_of(loss) == {
        "training": [[1, 0.9], [2, 0.5], [3, 0.3], [4, 0.2]],
        "validation": [[1, 0.8], [2, 0.6], [3, 0.7], [4, 0.75]],
        "best: 0.6, epoch 2": [[2, 0.6]],
    }
    assert curves_of(accuracy)["best: 0.75, epoch 3"] == [[3, 0.75]]


def test_learning_curves_take_what_fit_returns():
    class History:
        history = HISTORY

    assert len(plot_learning_curves(History()).axes) == 2


NAN = float("nan")


@pytest.mark.parametrize(
    ("history", "marks"),
    [
        # Without validation, the best epoch is that of training.
        ({"loss": [0.9, 0.5, 0.2]}, [{"best: 0.2, epoch 3": [[3, 0.2]]}]),
        ({"loss": [2.0], "learning_rate": [1e-5]}, [{"best: 2, epoch 1": [[1, 2.0]]}, {}]),
        # Epochs without a number are never best.
        ({"loss": [NAN, 3, NAN]}, [{"best: 3, epoch 2": [[2, 3]]}]),
        ({"loss": [NAN]}, [{}]),
        (
            {"loss": [5, 4, 3, 2, 1], "val_loss": [4.5, 2.5]},  # every second epoch
            [{"validation": [[2, 4.5], [4, 2.5]], "best: 2.5, epoch 4": [[4, 2.5]]}],
        ),
    ],
)
def test_best_epochs(history, marks):
    curves = [curves_of(axes) for axes in plot_learning_curves(history).axes]
    for found in curves:
        del found["training"]
    assert curves == marks


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_refuses_an_empty_history(history):
    message = "The history holds no epoch: train for at least one before drawing it."
    with pytest.raises(ValueError, match=message):
        plot_learning_curves(history)


# === Files ===
def test_files(tmp_path):
    plot_learning_curves(HISTORY, tmp_path / "curves.svg")
    plot_confusion_matrix(perfect_report(["a", "b"]), tmp_path / "new" / "matrix.png")
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    height, width, _ = matplotlib.image.imread(tmp_path / "new" / "matrix.png").shape
    assert min(height, width) > 400
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["curves.svg", "matrix.png", "new"]


def test_a_failed_drawing_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Format 'gibberish' is not supported"):
        plot_learning_curves(HISTORY, tmp_path / "curves.gibberish")
    assert list(tmp_path.iterdir()) == []


def test_the_users_backend_and_figures_stay():
    before = plt.get_backend()
    try:
        plt.switch_backend("svg")
        mine = plt.figure()
        plot_learning_curves(HISTORY)
        plot_confusion_matrix(perfect_report(["a", "b"]))
        assert plt.get_backend() == "svg"
        assert plt.get_fignums() == [mine.number]
    finally:
        plt.close("all")
        plt.switch_backend(before)


# === Axes ===
@pytest.mark.parametrize(
    ("name", "values", "limits", "said"),
    [
        ("loss", [0.9, 0.5], (0, 0.972), ""),
        ("mean_absolute_error", [0.02, 0.01], (0, 0.0216), ""),
        ("accuracy", [0.5, 0.75], (0, 1.02), ""),
        ("macro_f1", [0.9751, 0.981], (0.9, 1.002), "axis starts at 0.9"),
        # The smallest value does not lie on the edge.
        ("accuracy", [0.9, 0.95], (0.8, 1.004), "axis starts at 0.8"),
        ("accuracy", [0.0, 0.0], (0, 1.02), ""),
        ("loss", [0.0, 0.0], (0, 1), ""),
    ],
)
def test_axes_start_where_they_should_or_say_where(name, values, limits, said):
    axes = plot_learning_curves({name: values}).axes[0]
    assert axes.get_ylim() == pytest.approx(limits)
    assert axes.get_ylabel() == said


def test_values_below_zero_are_drawn():
    low, high = plot_learning_curves({"loss": [-1.0, -2.0]}).axes[0].get_ylim()
    assert low < -2 < -1 < high


def test_the_loss_comes_first():
    history = {"accuracy": [0.5], "loss": [1.0], "auc": [0.7]}
    titles = [axes.get_title() for axes in plot_learning_curves(history).axes]
    assert titles == ["loss", "accuracy", "auc"]


# === Calibration ===
def test_points_of_calibration_are_means_of_groups_with_their_number():
    # 80 predictions are two groups of 40: at 0.6, half of them right, and at 0.9, all but four.
    confidence = np.repeat([0.6, 0.9], 40)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    true_ids = np.concatenate([np.arange(40) % 2, np.arange(40) < 4]).astype(int)
    figure = plot_calibration(Calibration(1.0, np.log(probabilities), true_ids, False))
    axes, counts = figure.axes
    assert axes.get_title() == "Each point: 40 of 80 predictions"
    before, after = (container.lines[0].get_xydata() for container in axes.containers)
    np.testing.assert_allclose(before, [[0.6, 0.5], [0.9, 0.9]])
    np.testing.assert_array_equal(after, before)
    ideal = axes.lines[0].get_xydata()
    np.testing.assert_array_equal(ideal, [[0, 0], [1, 1]])
    assert axes.get_xlim() == (0, 1)
    assert axes.get_ylim()[0] == counts.get_ylim()[0] == 0
    assert counts.patches[0].get_xy()[:, 1].max() == 40


# === Texts ===
def explanation(text, scores, **fields):
    ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
    spans = [(int(end) - len(word), int(end)) for word, end in zip(text.split(), ends, strict=True)]
    return Explanation("integrated gradients", text, "good", spans, np.array(scores), **fields)


def chip_colors(figure):
    return [patch.get_facecolor() for patch in figure.axes[0].patches]


def test_words_have_the_color_of_their_score_whatever_the_text():
    figure = plot_explanation(explanation("a b c d", [1.0, -1.0, 0.0, 9.0], probability=0.25))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "good, probability 25.0%"
    assert sorted(texts[1:]) == sorted([*"abcd", "+1.00", "-1.00", "+0.00", "+9.00"])
    plus, minus, zero, most = chip_colors(figure)
    assert to_hex(zero) == "#ffffff"
    assert to_hex(most) == BLUE
    # Halfway to the full colors, at half of the score whose color is full.
    for half, full in ((plus, BLUE), (minus, ORANGE)):
        np.testing.assert_allclose(half[:3], (1 + np.array(to_rgb(full))) / 2, atol=0.01)
    # The same in another text, without the large score.
    assert chip_colors(plot_explanation(explanation("a b", [1.0, -1.0]))) == [plus, minus]
    legend = figure.axes[1]
    assert label_texts(legend.get_xticklabels()) == ["-2 or less", "0", "2 or more"]
    assert legend.get_xlabel() == "what the word adds to the log-odds of the label"


def test_words_stay_inside_the_picture_and_apart():
    figure = plot_explanation(explanation(" ".join(["incomprehensible"] * 40), [0.0] * 40))
    boxes = [patch.get_bbox() for patch in figure.axes[0].patches]
    width, height = figure.get_size_inches() * 72
    assert all(min(box.x0, box.y0) > 0 and box.x1 < width and box.y1 < height for box in boxes)
    assert all(a.x1 < b.x0 or a.y1 < b.y0 for a, b in itertools.pairwise(boxes))


def test_right_to_left_texts_begin_at_the_right():
    first, second = chip_places(plot_explanation(explanation("שלום עולם", [0.0, 0.0])))
    assert second < first
    first, second = chip_places(plot_explanation(explanation("hello world", [0.0, 0.0])))
    assert first < second


def chip_places(figure):
    return [patch.get_x() for patch in figure.axes[0].patches]


def test_tokens_with_their_ids(tiny_classifier):
    encoding = tiny_classifier().tokenizer.encode("films qqq", "great")
    assert encoding.tokens == ["[CLS]", "film", "##s", "[UNK]", "[SEP]", "great", "[SEP]"]
    figure = plot_tokens(encoding)
    title, *texts = [text.get_text() for text in figure.axes[0].texts]
    assert title == "7 tokens, 1 not in the vocabulary"
    assert texts == [*encoding.tokens, *map(str, encoding.token_ids)]
    chips = figure.axes[0].patches
    # Pieces of a word touch; what is unknown is framed; the two texts differ in color.
    assert chips[2].get_x() == pytest.approx(chips[1].get_x() + chips[1].get_width())
    assert chips[1].get_x() > chips[0].get_x() + chips[0].get_width()
    assert [chip.get_linestyle() for chip in chips].count("--") == 1
    assert chips[1].get_facecolor() == chips[2].get_facecolor() != chips[5].get_facecolor()


# === Attention ===
def attention(num_layers=2, num_heads=3, length=4):
    draws = np.random.default_rng(0).dirichlet(np.ones(length), (num_layers, 1, num_heads, length))
    return list(draws)


def test_attention_of_all_heads():
    values, tokens = attention(), ["[CLS]", "$a$", "b", "[SEP]"]
    figure = plot_attention(values, tokens)
    *panels, bar = figure.axes
    titles = [panel.get_title() for panel in panels]
    assert titles == [f"layer {layer}, head {head}" for layer in range(2) for head in range(3)]
    # One scale for all, from 0.
    ((low, high),) = {panel.images[0].get_clim() for panel in panels}
    assert (low, high) == (0, pytest.approx(np.max(values), rel=1e-6))
    np.testing.assert_allclose(panels[4].images[0].get_array(), values[1][0, 1], rtol=1e-6)
    assert label_texts(panels[0].get_yticklabels()) == tokens
    assert label_texts(panels[3].get_xticklabels()) == tokens
    assert label_texts(panels[1].get_yticklabels()) == []
    assert bar.get_ylabel() == "Attention"


def test_attention_of_chosen_heads():
    figure = plot_attention(attention(), list("abcd"), layers=[1], heads=[2, 0])
    titles = [panel.get_title() for panel in figure.axes[:-1]]
    assert titles == ["layer 1, head 2", "layer 1, head 0"]


def test_attention_of_a_model(tiny_classifier):
    model = tiny_classifier()
    panel = plot_attention(model, "a great film").axes[1]
    assert label_texts(panel.get_xticklabels()) == ["[CLS]", "a", "great", "film", "[SEP]"]
    shown = np.asarray(panel.images[0].get_array())
    np.testing.assert_allclose(shown.sum(axis=1), 1, rtol=1e-5)
    ids = np.array([model.tokenizer.encode("a great film").token_ids])
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    given = model.encoder(inputs, return_attention=True)["attention"]
    np.testing.assert_allclose(shown, np.asarray(given[0])[0, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": [2]}, "layers must be numbers from 0 to 1, at least one, received \\[2\\]"),
        ({"heads": []}, "heads must be numbers from 0 to 2, at least one, received"),
        ({"tokens": ["a"]}, "there are 1 tokens, and attention of shape \\(3, 4, 4\\)"),
    ],
)
def test_attention_that_is_not_there(settings, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(**{"attention": attention(), "tokens": list("abcd"), **settings})


# === Positions and embeddings ===
def test_positions_and_their_similarity():
    table = np.array([[3.0, 4.0], [-3.0, -4.0], [4.0, -3.0]])
    left, right = plot_positions(table).axes[:2]
    np.testing.assert_array_equal(left.images[0].get_array(), table)
    similarity = [[1, -1, 0], [-1, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(right.images[0].get_array(), similarity, atol=1e-6)
    low, high = left.images[0].get_clim()
    assert low == -high
    assert right.images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_positions_of_a_model(tiny_classifier, kind):
    model = tiny_classifier(changes={"position_embedding": kind})
    table = plot_positions(model).axes[0].images[0].get_array()
    if kind == "sinusoidal":
        np.testing.assert_array_equal(table, sinusoidal_positions(32, 16))
    else:
        np.testing.assert_array_equal(table, model.encoder.embeddings.position.get_weights()[0])


def test_an_encoder_without_positions(tiny_classifier):
    model = tiny_classifier(changes={"architecture": "modernbert"})
    with pytest.raises(ValueError, match="no position embeddings: it rotates queries and keys"):
        plot_positions(model)


def test_a_map_shows_the_directions_of_most_variance():
    # Along (3, 4) with variance 4, across it with variance 1, in a plane of five dimensions.
    along, across = np.array([3, 4, 0, 0, 0]) / 5, np.array([-4, 3, 0, 0, 0]) / 5
    points = [2 * along, -2 * along, across, -across]
    figure = plot_embeddings(points, ["x", "x", "$y$", "$y$"])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "First direction (80% of the variance)"
    assert axes.get_ylabel() == "Second direction (20%)"
    x, y = (np.abs(group.get_offsets()) for group in axes.collections)
    np.testing.assert_allclose(x, [[2, 0], [2, 0]], atol=1e-9)
    np.testing.assert_allclose(y, [[0, 1], [0, 1]], atol=1e-9)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["x (2)", "$y$ (2)"]


def test_a_map_of_many_labels_names_the_commonest():
    labels = [str(number) for number in range(20) for _ in range(1 + (number < 12))]
    points = np.random.default_rng(0).normal(size=(len(labels), 3))
    names = [text.get_text() for text in plot_embeddings(points, labels).legends[0].get_texts()]
    assert names == ["8 other labels (8)", *[f"{number} (2)" for number in range(12)]]


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 3), None, "at least three embeddings of at least two dimensions"),
        ((4, 3), ["a"], "There are 1 labels for 4 embeddings: give one for each"),
    ],
)
def test_maps_that_cannot_be_drawn(shape, labels, message):
    with pytest.raises(ValueError, match=message):
        plot_embeddings(np.zeros(shape), labels)


# === Dark pages ===
def test_pictures_on_a_dark_background():
    report = perfect_report(["a", "b"])
    with matplotlib.rc_context(DARK):
        figures = [plot_confusion_matrix(report), plot_learning_curves(HISTORY)]
        figures.append(plot_explanation(explanation("a b", [0.0, 2.0])))
    for figure in figures:
        assert to_hex(figure.get_facecolor()) == DARK["figure.facecolor"]
    # Nothing is black on black: the count of an empty cell, and the word without a score.
    assert figures[0].axes[0].texts[1].get_color() == "white"
    assert figures[2].axes[0].texts[1].get_color() == "white"
    assert to_hex(chip_colors(figures[2])[0]) == DARK["axes.facecolor"]
