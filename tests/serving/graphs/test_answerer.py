"""Exports of a small question answerer, asked in this process and in fresh ones."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.data.spans import Question, SpanAnswer
from keras_bert_scratch.serving.readers.answerer import load_answerer
from keras_bert_scratch.tasks.question_answerer import BertQuestionAnswerer

CONTEXTS = [
    "A very good film, the Über-film",
    "the caf\u00e9 e\u0301 was awful \U0001f44e and a really great movie 电影 " * 4,
    "good bad really very " * 20,
    "a",
]
QUESTIONS = ["the film?", "a really", "good", "the very awful movies? " * 5, "电影"]
LONG = "the film a really good movie"  # more tokens than the answerer reads of a question
PAIRS = [(question, context) for question in QUESTIONS for context in CONTEXTS]


@pytest.fixture(scope="module")
def exported(tiny_classifier, tmp_path_factory):
    """An answerer whose windows are short, and the folder with its exports."""
    folder = tmp_path_factory.mktemp("answering")
    texts = tiny_classifier()
    model = BertQuestionAnswerer(
        texts.encoder,
        texts.tokenizer,
        sequence_length=20,
        window_stride=5,
        max_question_length=6,
        max_answer_length=4,
    )
    # Between two scores, so that half of the questions have an answer.
    questions = [Question(*pair) for pair in PAIRS]
    scores = [found.no_answer_score for found in model.answers(questions)]
    model.no_answer_threshold = float(np.mean(sorted(scores)[len(scores) // 2 - 1 :][:2]))
    model.export(folder / "saved_model")
    model.export(folder / "float32.tflite", format="litert")
    return model, folder


def check(found, wanted, context):
    assert context[found.start : found.end] == found.text
    assert (found.text, found.start, found.end) == (wanted.text, wanted.start, wanted.end)
    np.testing.assert_allclose(found[3:], wanted[3:], atol=1e-4)


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_float_exports_answer_as_the_model(exported, name):
    model, folder = exported
    answerer = load_answerer(folder / name)
    assert answerer.settings == model.settings
    predictions = model.answers([Question(*pair) for pair in PAIRS])
    texts = {prediction.answer.text for prediction in predictions}
    assert "" in texts
    assert len(texts) > 4
    for (question, context), prediction in zip(PAIRS, predictions, strict=True):
        check(answerer.answer(question, context), prediction.answer, context)
    history = [("bad", "awful"), ("very", "good")]
    wanted = model.answer("a film", CONTEXTS[1], history)
    found = answerer.answer("a film", CONTEXTS[1], history)
    assert isinstance(found, SpanAnswer)
    check(found, wanted, CONTEXTS[1])
    wanted = model.answer(LONG, CONTEXTS[1], history)
    assert wanted == model.answer(LONG, CONTEXTS[1])
    check(answerer.answer(LONG, CONTEXTS[1], history), wanted, CONTEXTS[1])
    for context in ("", " ", "\u200b"):
        nothing = answerer.answer("film", context)
        assert nothing[:3] == model.answer("film", context)[:3] == ("", 0, 0)
    assert answerer.answer("\u200b", CONTEXTS[0])[:3] == ("", 0, 0)
    with pytest.raises(ValueError, match="position 0 has an empty question"):
        answerer.answer(" ", CONTEXTS[0])


def test_saved_model_signatures(exported):
    model, folder = exported
    loaded = tf.saved_model.load(folder / "saved_model")
    # A batch of contexts of different lengths, one empty, gives what each gives alone.
    pairs = [*PAIRS[:4], ("film", ""), ("", CONTEXTS[0]), (LONG, CONTEXTS[0])]
    outputs = loaded.signatures["serving_default"](
        question=tf.constant([question for question, _ in pairs]),
        context=tf.constant([context for _, context in pairs]),
    )
    predictions = model._answers([Question(*pair) for pair in pairs], 32, n_best=1)
    for n, prediction in enumerate(predictions):
        assert outputs["answer"][n].numpy().decode() == prediction.answer.text
        assert outputs["start"][n] == prediction.answer.start
        assert outputs["no_answer_probability"][n].numpy() == pytest.approx(
            prediction.no_answer_probability, abs=1e-5
        )
