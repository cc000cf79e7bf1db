import json

import pytest

from keras_bert_scratch.evaluation.errors import explain_errors, find_errors

LABELS = ["negative", "positive"]


def test_the_surest_errors_come_first():
    probabilities = [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]
    found = find_errors([0, 1, 0, 0], probabilities, LABELS, list("abcd"))
    assert found.errors == [
        (2, "negative", "positive", 0.8, "c"),
        (3, "negative", "positive", 0.7, "d"),
        (0, "negative", "positive", 0.6, "a"),
    ]
    assert found.to_text().splitlines()[0] == "3 of 4 answers are wrong"
    assert json.loads(json.dumps(found.to_dict()))["errors"][0]["text"] == "c"


def test_several_labels():
    # Of the first, "y" is given with 0.7 and not there; "x" is right. The second lacks both.
    found = find_errors(
        [[1, 0], [1, 1], [0, 0]],
        [[0.9, 0.7], [0.4, 0.2], [0.1, 0.1]],
        ["x", "y"],
        list("abc"),
        multi_label=True,
    )
    assert [error[:3] for error in found.errors] == [(1, "x, y", "(none)"), (0, "x", "x, y")]
    assert [error.probability for error in found.errors] == pytest.approx([0.8, 0.7])


def test_nothing_is_wrong():
    found = find_errors([0], [[0.9, 0.1]], LABELS, ["a"])
    assert found.to_text() == "0 of 1 answers are wrong\n"


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="There are 2 labels and 1 texts for 1 rows"):
        find_errors([0, 1], [[0.9, 0.1]], LABELS, ["a"])


def test_explanations_are_of_the_answer_and_bounded(tiny_classifier):
    model = tiny_classifier(LABELS)
    texts = ["a great film", "the " * 40, "", *["awful movie"] * 9]
    answers = model.probabilities([text or "film" for text in texts]).argmax(axis=1)
    found = find_errors(
        1 - answers, model.probabilities([t or "film" for t in texts]), LABELS, texts
    )
    assert len(found.errors) == 12
    explained = explain_errors(model, found, seconds=60)
    # Neither the empty text nor the one that is too long; and no more than eight.
    assert len(explained.explanations) == 8
    assert not {1, 2} & set(explained.explanations)
    for position, explanation in explained.explanations.items():
        assert explanation.text == texts[position]
        assert explanation.label == LABELS[answers[position]]
    assert explain_errors(model, found, seconds=0).explanations == {}
    assert json.loads(json.dumps(explained.to_dict()))["explanations"]
