import json

import keras
import numpy as np
import pytest

from keras_bert_scratch.evaluation.explanations import (
    Explanation,
    attention_rollout,
    explain_by_rollout,
    faithfulness,
    integrated_gradients,
)
from keras_bert_scratch.evaluation.plots import plot_explanation, plot_faithfulness
from keras_bert_scratch.text.preprocessing import StripHtml

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="gradients are TensorFlow's"
)

LABELS = ["negative", "positive"]


def log_odds(model, token_ids, class_id):
    """Those of the model's own answer, by its definition."""
    inputs = {
        "token_ids": token_ids,
        "segment_ids": 0 * token_ids,
        "padding_mask": 0 * token_ids + 1,
    }
    logits = keras.ops.convert_to_numpy(model(inputs))[0].astype("float64") / model.temperature
    if model.multi_label:
        return logits[class_id]
    probability = np.exp(logits[class_id]) / np.exp(logits).sum()
    return np.log(probability / (1 - probability))


# === Integrated gradients ===
MODERN = {"architecture": "modernbert", "num_layers": 4, "local_window": 4, "max_positions": 128}
TEXT = "the awful film, a really great movie"
# A hundred words are many windows of local attention.
LONG_TEXT = " ".join([TEXT] * 13)


@pytest.mark.parametrize(
    ("labels", "settings", "text"),
    [
        (LABELS, {"temperature": 2.0}, TEXT),
        (LABELS, {"pooling": "mean"}, TEXT),
        (["a", "b", "c"], {}, TEXT),
        (["a", "b", "c"], {"multi_label": True}, TEXT),
        (LABELS, {"changes": MODERN}, LONG_TEXT),
    ],
)
def test_completeness(tiny_classifier, labels, settings, text):
    model = tiny_classifier(labels, **settings)
    ids = model.tokenizer.encode(text).token_ids
    masked = [ids[0], *[model.tokenizer.vocabulary.mask_id] * (len(ids) - 2), ids[-1]]
    # The second of two labels is the first with the other sign.
    for class_id, label in list(enumerate(labels))[1:]:
        found = integrated_gradients(model, text, label)
        before, after = (
            log_odds(model, np.array([row], "int32"), class_id) for row in (masked, ids)
        )
        assert len(found.words) == len(ids) - 2
        assert abs(after - before) > 0.001
        assert found.scores.sum() == pytest.approx(after - before, rel=0.01)
        assert found.completeness_error < 0.01
        assert found.label == label


def test_few_points_say_how_far_off_they_are(tiny_classifier):
    model = tiny_classifier()
    exact, rough = (integrated_gradients(model, TEXT, num_points=n) for n in (64, 1))
    assert rough.completeness_error > 10 * exact.completeness_error


def test_no_word_matters_that_attention_does_not_pass_on(tiny_classifier):
    # The answer is read from [CLS], and attention adds nothing to it.
    model = tiny_classifier()
    for block in model.encoder.blocks:
        block.attention.output_projection.kernel.assign(
            0 * block.attention.output_projection.kernel
        )
    found = integrated_gradients(model, "the awful film")
    np.testing.assert_allclose(found.scores, 0, atol=1e-6)


def test_words_are_those_of_the_raw_text(tiny_classifier):
    found = integrated_gradients(tiny_classifier(), "A  GREAT\tfilms,电影 <Café>")
    # "films" is film and ##s, "Café" caf and ##e; "<" and ">" are unknown words of their own.
    assert found.words == ["A", "GREAT", "films", ",", "电", "影", "<", "Café", ">"]
    assert found.spans[:3] == [(0, 1), (3, 8), (9, 14)]
    assert len(found.scores) == 9


def test_pieces_add_up_to_their_word(tiny_classifier):
    model = tiny_classifier()
    whole = integrated_gradients(model, "films")
    assert whole.words == ["films"]
    before, after = (
        log_odds(model, np.array([ids], "int32"), LABELS.index(whole.label))
        for ids in ([2, 4, 4, 3], model.tokenizer.encode("films").token_ids)
    )
    assert whole.scores == pytest.approx([after - before], rel=0.01)


def test_preprocessed_texts_are_shown_as_the_model_reads_them(tiny_classifier):
    model = tiny_classifier()
    model.tokenizer.preprocessing = (StripHtml(),)
    found = integrated_gradients(model, "<b>great</b> film")
    assert [word.strip() for word in found.words] == ["great", "film"]
    assert "<b>" not in found.text


def test_refusals(tiny_classifier):
    model = tiny_classifier(sequence_length=8)
    with pytest.raises(
        ValueError, match="Unknown label 'neutral': the model's labels are negative"
    ):
        integrated_gradients(model, "film", "neutral")
    with pytest.raises(ValueError, match="The text ' ' has no word that could be explained: give"):
        integrated_gradients(model, " ")
    with pytest.raises(ValueError, match="has 9 tokens, and the model reads 8 at once: explain a"):
        integrated_gradients(model, "a a a a a a a")


def test_another_backend(tiny_classifier, monkeypatch):
    model = tiny_classifier()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="Keras runs on jax: set KERAS_BACKEND=tensorflow, or"):
        integrated_gradients(model, "film")


# === Roll-out ===
def test_two_layers_by_hand():
    # One head: A/2 + I/2 is [[1/2, 1/2], [0, 1]], then [[1, 0], [1/2, 1/2]]; the second times the
    # first.
    first = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    second = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_allclose(attention_rollout([first, second]), [[0.5, 0.5], [0.25, 0.75]])
    # The other way round: [[1/2, 1/2], [0, 1]] times [[1, 0], [1/2, 1/2]].
    np.testing.assert_allclose(attention_rollout([second, first]), [[0.75, 0.25], [0.5, 0.5]])


def test_heads_are_averaged():
    heads = np.array([[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    # Mean [[1/2, 1/2], [0, 1]], half of it the residual.
    np.testing.assert_allclose(attention_rollout([heads]), [[0.75, 0.25], [0, 1]])


@pytest.mark.parametrize(
    ("changes", "text", "num_words"), [({}, "the awful films", 3), (MODERN, LONG_TEXT, 104)]
)
def test_rollout_of_a_model(tiny_classifier, changes, text, num_words):
    model = tiny_classifier(changes=changes)
    found = explain_by_rollout(model, text)
    assert len(found.words) == num_words
    assert (found.scores > 0).all()
    assert 0 < found.scores.sum() < 1
    areas = faithfulness(model.probabilities, model.labels, [found]).areas
    assert 0 < areas[0] < 1


@pytest.mark.parametrize(("pooling", "share"), [("pooler", 1 / 2), ("mean", 1.0)])
def test_rollout_goes_to_what_the_head_reads(tiny_classifier, pooling, share):
    """All positions get the same of every position; [CLS] alone keeps half of itself."""
    model = tiny_classifier(pooling=pooling)
    query = model.encoder.blocks[0].attention.query
    query.kernel.assign(0 * query.kernel)
    query.bias.assign(0 * query.bias)
    found = explain_by_rollout(model, "the awful film")
    np.testing.assert_allclose(found.scores, [share / 5] * 3, atol=1e-6)


# === Faithfulness ===
def knows_one_word(texts):
    """A model for which "awful" decides; other words do nothing."""
    negative = np.array([0.9 if "awful" in text else 0.1 for text in texts])
    return np.stack([negative, 1 - negative], axis=1)


def explained(text, scores):
    spans, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        spans.append((start, start + len(word)))
        start += len(word)
    return Explanation("by hand", text, "negative", spans, np.array(scores, "float64"))


def test_the_word_that_decides():
    texts = ["a really awful film", "the awful awful movie of a bad year"]
    right = [explained(texts[0], [0, 0, 1, 0]), explained(texts[1], [0, 1, 1, 0, 0, 0, 0, 0])]
    wrong = [explained(texts[0], [1, 1, 0, 1]), explained(texts[1], [1, 0, 0, 1, 1, 1, 1, 1])]
    good = faithfulness(knows_one_word, LABELS, right)
    bad = faithfulness(knows_one_word, LABELS, wrong)
    assert (good.areas < good.random_areas).all()
    assert (bad.areas > bad.random_areas).all()
    # One of four words gone: 0.9 falls to 0.1 on the way to a quarter, and stays there.
    assert good.areas[0] == pytest.approx(0.25 * 0.5 + 0.75 * 0.1, abs=1e-9)
    # The last word gone: 0.9 up to three quarters.
    assert bad.areas[0] == pytest.approx(0.75 * 0.9 + 0.25 * 0.5, abs=1e-9)
    assert (good.curve[0], good.curve[-1]) == (pytest.approx(0.9), pytest.approx(0.1))


def test_sign_test():
    texts = [f"{'so ' * n}awful film of a bad year" for n in range(1, 7)]
    right = [explained(text, [word == "awful" for word in text.split()]) for text in texts]
    result = faithfulness(knows_one_word, LABELS, right)
    # Six of six texts: 2 / 64.
    assert result.p_value == pytest.approx(2 / 64)
    assert "smaller on 6 of 6 texts, p = 0.031 (sign test)" in result.to_text()
    assert json.loads(json.dumps(result.to_dict()))["p_value"] == result.p_value


def test_random_orders_repeat_by_seed():
    explanations = [explained("a really awful film", [0, 0, 1, 0])]
    first, again, other = (
        faithfulness(knows_one_word, LABELS, explanations, seed=seed).random_areas[0]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_nothing_to_check():
    with pytest.raises(ValueError, match="There are no explanations: give one for each"):
        faithfulness(knows_one_word, LABELS, [])


def test_a_trained_model_is_explained_faithfully(two_layer_classifier, reviews):
    # The labels follow from one word: it must have the highest score, and deleting it must beat
    # chance on every text.
    texts, labels = reviews
    model = two_layer_classifier()
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(texts, labels, batch_size=16, epochs=20, verbose=0)
    assert model.evaluate(texts, labels, verbose=0, return_dict=True)["accuracy"] == 1.0
    explanations = [integrated_gradients(model, text) for text in texts[:8]]
    for found in explanations:
        assert found.words[int(np.argmax(found.scores))] in ("good", "great", "bad", "awful")
        assert found.completeness_error < 0.01
    result = faithfulness(model.probabilities, model.labels, explanations)
    assert result.areas.mean() < result.random_areas.mean()
    assert result.p_value < 0.01


# === Pictures ===
def test_html_shows_the_text_and_no_code_of_it():
    found = explained("<b>awful</b> & bad", [1.0, 0.0, -4.0])
    page = found.to_html()
    assert "<b>" not in page
    assert ">&lt;b&gt;awful&lt;/b&gt;</span> <span" in page
    # Half of the full color, none, and the full one, whose sign a line shows, too.
    assert 'title="+1.0000" style="background: rgba(59, 134, 198, 0.31)"' in page
    assert 'title="+0.0000" style="background: rgba(217, 114, 43, 0.00)"' in page
    against = 'title="-4.0000" style="background: rgba(217, 114, 43, 0.62); border-bottom: 2px'
    assert against in page
    assert found.words_html() in page
    assert found.words_html() in found._repr_html_()
    for part in ("-2 or less", "+2 or more", "what the word adds to the log-odds of the label"):
        assert part in page


def test_the_probability_is_that_of_the_model(tiny_classifier):
    for settings in ({"temperature": 2.0}, {"multi_label": True}):
        model = tiny_classifier(LABELS, **settings)
        probability = model.probabilities([TEXT])[0, 0]
        found = integrated_gradients(model, TEXT, LABELS[0], num_points=1)
        assert found.probability == pytest.approx(probability, abs=1e-5)
        assert f">{LABELS[0]}, probability {probability:.1%}</h1>" in found.to_html()
        assert explain_by_rollout(model, TEXT).probability == pytest.approx(
            model.probabilities([TEXT]).max(), abs=1e-5
        )


def test_roll_out_has_no_direction_and_a_scale_of_its_own(tiny_classifier):
    found = explain_by_rollout(tiny_classifier(), "the awful film")
    assert found.full_color == pytest.approx(4 / 3)
    page = found.to_html()
    assert "+1.3 or more" in page
    assert "or less" not in page
    assert "share of the attention that reached the word" in page


def test_text_and_json():
    found = explained("awful film", [1.0, -0.25])
    assert found.to_text() == (
        "negative (by hand)\nword     score\nawful  +1.0000\nfilm   -0.2500\n"
    )
    fields = json.loads(json.dumps(found.to_dict()))
    assert (fields["words"], fields["scores"]) == (["awful", "film"], [1.0, -0.25])


def test_pictures(tmp_path):
    found = explained("awful $film$", [1.0, -0.25])
    axes = plot_explanation(found, tmp_path / "why.png").axes[0]
    assert [text.get_text() for text in axes.texts[1:3]] == ["awful", "$film$"]
    result = faithfulness(knows_one_word, LABELS, [explained("an awful film", [0, 1, 0])])
    random_line, line = plot_faithfulness(result, tmp_path / "curve.png").axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), result.curve)
    np.testing.assert_array_equal(random_line.get_ydata(), result.random_curve)
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
