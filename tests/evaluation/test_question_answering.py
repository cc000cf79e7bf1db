"""SQuAD's figures, worked out by hand."""

import numpy as np
import pytest

from keras_bert_scratch.data.spans import GoldAnswer, Question
from keras_bert_scratch.evaluation.question_answering import (
    answer_scores,
    best_no_answer_threshold,
    evaluate_answers,
    exact_match,
    normalize_answer,
    token_f1,
)


def question(*texts):
    answers = tuple(GoldAnswer(text, 0) for text in texts)
    return Question("Who?", " ".join(texts) + " and more", answers)


def test_normalization_by_hand():
    assert normalize_answer(" The\tCat's  PYJAMAS, an end-to-end.\u00a0") == "cats pyjamas endtoend"
    assert normalize_answer("Theatre a-the") == "theatre athe"
    assert normalize_answer("the") == ""


def test_scores_by_hand():
    assert exact_match("The cat!", "cat") == 1.0
    assert exact_match("a cat", "dog") == 0.0
    # One of two words right, one of three found: 2 * 1/2 * 1/3 / (1/2 + 1/3)
    assert token_f1("black cat", "one white cat") == pytest.approx(0.4)
    assert token_f1("", "") == token_f1("the", "") == 1.0
    assert token_f1("cat", "") == token_f1("", "cat") == token_f1("cat", "dog") == 0.0


def test_figures():
    questions = [question("the cat", "black cat"), question("dog"), question(), question("mouse")]
    figures = evaluate_answers(["Black cat", "big dog", "", ""], questions)
    assert figures == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (1 + 2 / 3 + 1 + 0) / 4),
        "has_answer_exact_match": pytest.approx(100 / 3),
        "has_answer_f1": pytest.approx(100 * (1 + 2 / 3) / 3),
        "no_answer_exact_match": 100.0,
        "no_answer_f1": 100.0,
    }
    assert set(evaluate_answers(["dog"], [question("dog")])) == {"exact_match", "f1"}


def test_answers_of_articles_alone_are_none():
    assert answer_scores(["", "cat"], [question("the"), question("a", "cat")]).tolist() == [
        [1, 1],
        [1, 1],
    ]


def test_unequal_numbers():
    with pytest.raises(ValueError, match="There are 1 questions and 2 predictions"):
        evaluate_answers(["a", "b"], [question("a")])
    with pytest.raises(ValueError, match="at least one"):
        evaluate_answers([], [])


class TestThreshold:
    def test_by_hand(self):
        questions = [question("cat"), question("dog"), question(), question()]
        scores = [-3.0, 0.5, 0.2, 2.0]
        threshold = best_no_answer_threshold(scores, ["cat", "dog", "x", "y"], questions)
        # Answering the two least, three least or only the first: 3 - 1 is best at 0.5 or at -3.
        assert threshold in (-3.0, 0.5)
        answers = [
            text if score <= threshold else ""
            for text, score in zip(["cat", "dog", "x", "y"], scores, strict=True)
        ]
        assert evaluate_answers(answers, questions)["f1"] == 75.0

    def test_equal_scores_are_answered_together(self):
        questions = [question("cat"), question(), question()]
        threshold = best_no_answer_threshold([1.0, 1.0, 1.0], ["cat", "x", "y"], questions)
        assert threshold < 1.0

    def test_best_of_all_thresholds(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            questions = [question("cat") if rng.random() < 0.5 else question() for _ in range(12)]
            scores = rng.integers(0, 6, size=12).astype(float)
            texts = rng.choice(["cat", "dog", "big cat"], size=12).tolist()

            def f1(threshold, scores=scores, texts=texts, questions=questions):
                answers = [t if s <= threshold else "" for t, s in zip(texts, scores, strict=True)]
                return evaluate_answers(answers, questions)["f1"]

            found = best_no_answer_threshold(scores, texts, questions)
            assert f1(found) == pytest.approx(max(f1(t) for t in (-1, *scores)))
