"""Exports of a small tagger, asked in this process and in fresh ones."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from keras_bert_scratch.data.tags import tokenize_words
from keras_bert_scratch.serving import tagging
from keras_bert_scratch.serving.parity import PROBE_TEXTS
from keras_bert_scratch.serving.tagger import LiteRTTagger, SavedModelTagger, load_tagger
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

LABELS = ["O", "B-x", "I-x"]
TEXTS = [*PROBE_TEXTS, "Ein über-Film ist e\u0301in caf\u00e9s", "a good film! " * 20]
# Words that are made of several of BERT's.
TEXTS += [
    "Jean-Luc O'Brien left the U.S. today, I don't know (why)...",
    "AT&T: $5, 3.14 or 1,000? C++ at Yahoo! on 12/05/2020.",
    "“Ulm”\u00a0http://a.com/b?c=d#e ann@mail.org a\u200bb\u00ad-c 东京-大阪",
]


@pytest.fixture(scope="module")
def exported(tiny_classifier, tmp_path_factory):
    """A tagger whose windows are short, and the folder with its exports."""
    folder = tmp_path_factory.mktemp("tagging")
    texts = tiny_classifier()
    model = BertTokenClassifier(
        texts.encoder, LABELS, texts.tokenizer, sequence_length=12, window_stride=4
    )
    model.export(folder / "saved_model")
    model.export(folder / "float32.tflite", format="litert")
    model.export(folder / "int8.tflite", format="litert", precision="int8")
    return model, folder


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_float_exports_answer_as_the_model(exported, name):
    model, folder = exported
    tagger = load_tagger(folder / name)
    assert tagger.labels == LABELS
    wanted, found = model.find_spans(TEXTS), tagger.find_spans(TEXTS)
    assert sum(map(len, wanted)) > 30
    for text, ours, theirs in zip(TEXTS, wanted, found, strict=True):
        assert [span[:4] for span in theirs] == [span[:4] for span in ours]
        assert [span.text for span in theirs] == [text[s.start : s.end] for s in ours]
        np.testing.assert_allclose(
            [span.probability for span in theirs], [span.probability for span in ours], atol=1e-5
        )
    for ours, theirs in zip(model.probabilities(TEXTS), tagger.probabilities(TEXTS), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_words_of_the_graph_are_those_of_the_model(exported):
    model, folder = exported
    tagger = load_tagger(folder / "saved_model")

    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(
        strategies.text(
            strategies.sampled_from("aÉß1.-'&@/$“”… \t\u00a0\u200b\u0301\ufe0f电か한😀\x00")
        )
        | strategies.text(strategies.characters(codec="utf-8"))
    )
    def check(text):
        ((_, offsets, probabilities),) = tagger._words([text])
        assert offsets.tolist() == list(map(list, tokenize_words(model.tokenizer, text).offsets))
        assert probabilities.shape == (len(offsets), len(LABELS))

    check()


def test_no_texts(exported):
    _, folder = exported
    signature = tf.saved_model.load(folder / "saved_model").signatures["serving_default"]
    outputs = signature(text=tf.constant([], tf.string))
    assert {name: value.shape[0] for name, value in outputs.items()} == dict.fromkeys(outputs, 0)
    for name in ("saved_model", "float32.tflite"):
        assert load_tagger(folder / name).find_spans([]) == []


def test_int8_is_close(exported):
    model, folder = exported
    found = LiteRTTagger(folder / "int8.tflite").probabilities(TEXTS)
    for ours, theirs in zip(model.probabilities(TEXTS), found, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=0.25)


def test_saved_model_signatures(exported):
    model, folder = exported
    loaded = tf.saved_model.load(folder / "saved_model")
    assert set(loaded.signatures) == {"serving_default", "tokens"}
    outputs = loaded.signatures["serving_default"](text=tf.constant(["Good film!", "a"]))
    assert outputs["words"].numpy().tolist() == [[b"Good", b"film", b"!"], [b"a", b"", b""]]
    assert outputs["num_words"].numpy().tolist() == [3, 1]
    assert outputs["starts"].numpy().tolist() == [[0, 5, 9], [0, 0, 0]]
    assert outputs["ends"].numpy().tolist() == [[4, 9, 10], [1, 0, 0]]
    assert outputs["classes"].numpy().tolist() == [[b"O", b"B-x", b"I-x"]] * 2
    tags = [[tag.decode() for tag in row if tag] for row in outputs["tags"].numpy()]
    assert tags == model.tag(["Good film!", "a"])
    inputs = tokenizer_graph(model.tokenizer, "core")(
        tf.constant(["a good film"]), sequence_length=12
    )
    np.testing.assert_allclose(
        loaded.signatures["tokens"](**inputs)["logits"], model(inputs), atol=1e-5
    )
    wrong = {**inputs, "token_ids": inputs["token_ids"] + 1000}
    with pytest.raises(tf.errors.InvalidArgumentError, match="token_ids must be from 0 to"):
        loaded.signatures["tokens"](**wrong)


def test_the_gate_refuses_other_answers(exported, tmp_path, monkeypatch):
    model, _ = exported
    other = [rows[:, ::-1] for rows in model.probabilities(PROBE_TEXTS)]
    monkeypatch.setattr(model, "probabilities", lambda texts: other)
    with pytest.raises(RuntimeError, match="probabilities differ from the model's by"):
        model.export(tmp_path / "model.tflite", format="litert")
    assert list(tmp_path.iterdir()) == []


def test_the_gate_refuses_other_words(monkeypatch, tmp_path):
    monkeypatch.setattr(tagging, "ask", lambda *args, **kwargs: (np.zeros((10, 4, 3)), {}))
    with pytest.raises(RuntimeError, match="finds 4 words where the model finds 5"):
        tagging.check_tags(tmp_path, lambda texts: [np.zeros((5, 3))] * len(texts), 1e-5)


def test_refusals(exported, tmp_path):
    model, _ = exported
    with pytest.raises(ValueError, match="precision must be one of float32, float16, int8; rec"):
        model.export(tmp_path / "m.tflite", format="litert", precision="int4")
    with pytest.raises(FileNotFoundError, match="does not exist: name a SavedModel"):
        load_tagger(tmp_path / "none")
    (tmp_path / "text.tflite").write_text("no")
    with pytest.raises(ValueError, match="is not a LiteRT file of a tagger"):
        load_tagger(tmp_path / "text.tflite")
    with pytest.raises(ValueError, match="is not a SavedModel of a tagger"):
        SavedModelTagger(tmp_path)


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
class TestManyCallers:
    def test_no_texts(self, exported, name):
        tagger = load_tagger(exported[1] / name)
        assert tagger.probabilities([]) == tagger.find_spans([]) == []
        assert tagger.padded_probabilities([]).shape == (0, 0, 3)

    def test_threads(self, exported, from_threads, name):
        tagger = load_tagger(exported[1] / name)
        for found, alone in from_threads(lambda text: tagger.probabilities([text])[0], TEXTS):
            np.testing.assert_allclose(found, alone, atol=1e-5)


def test_signatures_take_no_rows(exported):
    signatures = tf.saved_model.load(exported[1] / "saved_model").signatures
    outputs = signatures["serving_default"](text=tf.constant([], tf.string))
    assert outputs["probabilities"].shape == (0, 0, 3)
    assert outputs["words"].shape == (0, 0)
    assert outputs["classes"].shape == (0, 3)
    none = tf.zeros((0, 4), tf.int32)
    outputs = signatures["tokens"](token_ids=none, segment_ids=none, padding_mask=none)
    assert outputs["logits"].shape == (0, 4, 3)
