"""The examples that a classifier gets wrong, the surest first, and which words they came from.

Axes: n examples, C classes.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_bert_scratch.evaluation.classification import predicted_ids
from keras_bert_scratch.tables import format_table, shortened

if TYPE_CHECKING:
    # It imports Keras, which an export is evaluated without.
    from keras_bert_scratch.evaluation.explanations import Explanation

# Number of errors that a table shows, and length of their texts.
_ERRORS_SHOWN, _CHARACTERS_SHOWN = 5, 60
# Explanations of one report, the tokens of a text, and the points of an integral: memory grows with
# the points and the square of the tokens.
_MOST_EXPLAINED, _LONGEST_EXPLAINED, _NUM_POINTS = 8, 128, 16


class Error(NamedTuple):
    """An example that was answered wrongly.

    Attributes:
        position: Position of the example.
        true: Its label, or labels.
        answer: The model's answer.
        probability: Probability of the answer; with several labels, how sure the model is of the
            label that it is most wrong about.
        text: Its text.
    """

    position: int
    true: str
    answer: str
    probability: float
    text: str


@dataclasses.dataclass(frozen=True)
class Errors:
    """What `find_errors` found.

    Attributes:
        num_examples: n.
        errors: The errors, the surest first.
        explanations: Explanations of some answers, by the positions of their examples.
    """

    num_examples: int
    errors: list[Error]
    explanations: dict[int, "Explanation"] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        explanations = {str(key): found.to_dict() for key, found in self.explanations.items()}
        errors = [error._asdict() for error in self.errors]
        return {
            "num_examples": self.num_examples,
            "errors": errors,
            "explanations": explanations,
        }

    def to_text(self) -> str:
        """Returns how many there are, and the first of them."""
        text = f"{len(self.errors)} of {self.num_examples} answers are wrong\n"
        if self.errors:
            rows = [
                [shortened(e.text, _CHARACTERS_SHOWN), e.true, e.answer, f"{e.probability:.4f}"]
                for e in self.errors[:_ERRORS_SHOWN]
            ]
            text += format_table(["text", "true", "answer", "probability"], rows) + "\n"
        return text


def find_errors(
    true_ids: Any,
    probabilities: Any,
    class_names: Sequence[str],
    texts: Sequence[str],
    *,
    multi_label: bool = False,
) -> Errors:
    """Finds the examples whose answer is not their label.

    Args:
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        probabilities: Probabilities of the classes. *Shape:* (n, C).
        class_names: C names.
        texts: n texts, to quote.
        multi_label: Whether an example may have any number of labels.

    Raises:
        ValueError: If there is not one label and one text for each example.

    Example:
        >>> find_errors([0, 1], [[0.2, 0.8], [0.1, 0.9]], ["no", "yes"], ["a", "b"]).errors
        [Error(position=0, true='no', answer='yes', probability=0.8, text='a')]
    """
    true, probabilities = np.asarray(true_ids, int), np.asarray(probabilities, "float64")
    if not len(true) == len(probabilities) == len(texts):
        raise ValueError(
            f"There are {len(true)} labels and {len(texts)} texts for {len(probabilities)} rows "
            "of probabilities: give one of each an example."
        )
    answers = predicted_ids(probabilities, multi_label)

    def names(row: np.ndarray) -> str:
        chosen = np.flatnonzero(row) if multi_label else [row]
        return ", ".join(class_names[int(class_id)] for class_id in chosen) or "(none)"

    errors = []
    for position, (right, answer, row) in enumerate(zip(true, answers, probabilities, strict=True)):
        wrong = np.flatnonzero(np.atleast_1d(right != answer))
        if len(wrong):
            sure = np.abs(row - (1 - answer))[wrong].max() if multi_label else row[answer]
            errors.append(
                Error(position, names(right), names(answer), float(sure), texts[position])
            )
    return Errors(len(true), sorted(errors, key=lambda error: -error.probability))


def explain_errors(model: Any, errors: Errors, *, seconds: float = 10) -> Errors:
    """Explains the surest errors by integrated gradients, until the time is over.

    At most 8 are explained, with an integral of 16 points, and no texts of more than 128 tokens, so
    that memory suffices. An explanation that has begun is finished.

    Args:
        model: A `BertClassifier` with a tokenizer, for single texts.
        errors: A result of `find_errors`.
        seconds: The time after which no further explanation begins.

    Returns:
        The same errors, with explanations; without any where Keras does not run on TensorFlow, by
        whose gradients they are.
    """
    import keras

    from keras_bert_scratch.evaluation.explanations import integrated_gradients

    if keras.backend.backend() != "tensorflow":
        return errors
    end = time.monotonic() + seconds
    longest = min(_LONGEST_EXPLAINED, model.sequence_length)
    explanations: dict[int, Explanation] = {}
    for error in errors.errors:
        if time.monotonic() >= end or len(explanations) == _MOST_EXPLAINED:
            break
        # With several labels, an answer may be none, or more than one.
        is_one = error.answer in model.labels
        if is_one and 3 <= len(model.tokenizer.encode(error.text).token_ids) <= longest:
            explanations[error.position] = integrated_gradients(
                model, error.text, error.answer, num_points=_NUM_POINTS
            )
    return dataclasses.replace(errors, explanations=explanations)
