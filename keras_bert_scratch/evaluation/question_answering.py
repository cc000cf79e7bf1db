"""How well questions are answered: exact match and F1, as SQuAD's official script counts them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_bert_scratch.data.spans import Question


def normalize_answer(text: str) -> str:
    """Lower-cases a text, and drops ASCII punctuation, English articles and extra white space.

    Source: SQuAD's `evaluate-v1.1.py` and `evaluate-v2.0.py`.

    Example:
        >>> normalize_answer("The  Cat's pyjamas!")
        'cats pyjamas'
    """
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(prediction: str, answer: str) -> float:
    """Returns 1 if two answers are equal after `normalize_answer`, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def token_f1(prediction: str, answer: str) -> float:
    """Returns the harmonic mean of precision and recall of an answer's words.

    If one of the two has no words, it is 1 if the other has none either, else 0.

    Example:
        >>> token_f1("the black cat", "cat")
        0.6666666666666666
    """
    found, wanted = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def answer_scores(predictions: Sequence[str], questions: Sequence[Question]) -> np.ndarray:
    """Scores every prediction against the true answer that it fits best.

    Args:
        predictions: One answer for each question, empty for no answer.
        questions: Questions with true answers, or none where the context does not answer.

    Returns:
        Exact match and F1, 0 to 1. *Shape:* (number of questions, 2).

    Raises:
        ValueError: If there are no questions, or not as many predictions.
    """
    if not questions or len(predictions) != len(questions):
        raise ValueError(
            f"There are {len(questions)} questions and {len(predictions)} predictions: give one "
            "prediction for each question, and at least one."
        )
    scores = []
    for prediction, question in zip(predictions, questions, strict=True):
        # The official script, too, drops answers of articles and punctuation alone.
        answers = [a.text for a in question.answers if normalize_answer(a.text)] or [""]
        scores.append(
            [max(score(prediction, a) for a in answers) for score in (exact_match, token_f1)]
        )
    return np.array(scores)


def evaluate_answers(predictions: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """Computes SQuAD's figures, in percent.

    Args:
        predictions: One answer for each question, empty for no answer.
        questions: Questions with their true answers.

    Returns:
        `exact_match` and `f1`; if some questions have answers and some have none, also
        `has_answer_exact_match`, `has_answer_f1`, `no_answer_exact_match` and `no_answer_f1`.

    Raises:
        ValueError: If there are no questions, or not as many predictions.

    Example:
        >>> evaluate_answers(["the cat"], [Question("Who?", "A cat.", (GoldAnswer("cat", 2),))])
        {'exact_match': 100.0, 'f1': 100.0}
    """
    scores = 100 * answer_scores(predictions, questions)
    has_answer = np.array([bool(question.answers) for question in questions])
    kinds = {"": np.full(len(scores), True)}
    if has_answer.any() and not has_answer.all():
        kinds |= {"has_answer_": has_answer, "no_answer_": ~has_answer}
    return {
        f"{kind}{name}": float(scores[chosen, column].mean())
        for kind, chosen in kinds.items()
        for column, name in enumerate(("exact_match", "f1"))
    }


def best_no_answer_threshold(
    no_answer_scores: Sequence[float],
    predictions: Sequence[str],
    questions: Sequence[Question],
) -> float:
    """Finds the threshold with the best F1, as `find_best_thresh` of SQuAD 2.0's script does.

    Args:
        no_answer_scores: Score of no answer minus that of the best span, one for each question.
        predictions: The best spans.
        questions: Questions with true answers, or none.
    """
    gains = answer_scores(predictions, questions)[:, 1]
    # Above the threshold the answer is empty, which is right if there is none.
    losses = np.array([float(not question.answers) for question in questions])
    order = np.argsort(no_answer_scores, kind="stable")
    # Total F1 if the first n questions in this order are answered.
    totals = losses.sum() + np.concatenate([[0.0], np.cumsum((gains - losses)[order])])
    ordered = np.asarray(no_answer_scores, float)[order]
    # Questions with equal scores are answered together.
    is_open = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    answered = int(np.argmax(np.where(is_open, totals, -1.0)))
    return float(ordered[answered - 1]) if answered else float(ordered[0]) - 1.0
