"""Exports of a small tagger, asked in this process and in fresh ones."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from keras_bert_scratch.data.tags import tokenize_words
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.tagger import load_tagger

LABELS = ["O", "B-x", "I-x"]
TEXTS = [*PROBE_TEXTS, "Ein über-Film ist e\u0301in caf\u00e9s", "a good film! " * 20]
# Words that are made of several of BERT's.
TEXTS += [
    "Jean-Luc O'Brien left the U.S. today, I don't know (why)...",
    "AT&T: $5, 3.14 or 1,000? C++ at Yahoo! on 12/05/2020.",
    "“Ulm”\u00a0http://a.com/b?c=d#e ann@mail.org a\u200bb\u00ad-c 东京-大阪",
]


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_float_exports_answer_as_the_model(models, exports, name):
    model, tagger = models("tagger"), load_tagger(exports("tagger", name))
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


def test_words_of_the_graph_are_those_of_the_model(models, exports):
    model, tagger = models("tagger"), load_tagger(exports("tagger", "saved_model"))

    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(
        strategies.text(
            strategies.sampled_from("aÉß1.-'&@/$“”… \t\u00a0\u200b\u0301\ufe0f电か한😀\x00")
        )
        | strategies.text(strategies.characters(codec="utf-8"))
    )
    def check(text):
        _, offsets, probabilities = tagger._words(text)
        assert offsets.tolist() == list(map(list, tokenize_words(model.tokenizer, text).offsets))
        assert probabilities.shape == (len(offsets), len(LABELS))

    check()


def test_saved_model_signatures(models, exports):
    model, loaded = models("tagger"), tf.saved_model.load(exports("tagger", "saved_model"))
    outputs = loaded.signatures["serving_default"](text=tf.constant(["Good film!", "a"]))
    assert outputs["words"].numpy().tolist() == [[b"Good", b"film", b"!"], [b"a", b"", b""]]
    assert outputs["num_words"].numpy().tolist() == [3, 1]
    assert outputs["starts"].numpy().tolist() == [[0, 5, 9], [0, 0, 0]]
    assert outputs["ends"].numpy().tolist() == [[4, 9, 10], [1, 0, 0]]
    assert outputs["classes"].numpy().tolist() == [[b"O", b"B-x", b"I-x"]] * 2
    tags = [[tag.decode() for tag in row if tag] for row in outputs["tags"].numpy()]
    assert tags == model.tag(["Good film!", "a"])
