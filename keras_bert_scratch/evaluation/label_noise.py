"""Examples whose labels may be wrong, by a model that was not trained on them.

Axes: n examples, C classes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.tables import format_table, shortened

# Number of suspects that a report shows, and length of their texts.
_SUSPECTS_SHOWN, _CHARACTERS_SHOWN = 5, 60


class Suspect(NamedTuple):
    """An example that probably belongs to another class.

    Attributes:
        position: Position of the example.
        given: Its label.
        likelier: The label that the model would give it.
        probability: Probability of the given label.
        text: Its text.
    """

    position: int
    given: str
    likelier: str
    probability: float
    text: str


@dataclasses.dataclass(frozen=True)
class LabelSuspects:
    """What `find_label_suspects` found.

    Attributes:
        num_examples: n.
        suspects: The suspects, the one with the least probable label first.
    """

    num_examples: int
    suspects: list[Suspect]

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        suspects = [suspect._asdict() for suspect in self.suspects]
        return {"num_examples": self.num_examples, "suspects": suspects}

    def to_text(self) -> str:
        """Returns how many there are, and the first of them."""
        text = f"{len(self.suspects)} of {self.num_examples} labels are suspect\n"
        if self.suspects:
            rows = [
                [shortened(s.text, _CHARACTERS_SHOWN), s.given, s.likelier, f"{s.probability:.4f}"]
                for s in self.suspects[:_SUSPECTS_SHOWN]
            ]
            text += format_table(["text", "given", "likelier", "probability of given"], rows) + "\n"
        return text


def find_label_suspects(
    true_ids: Any, probabilities: Any, class_names: Sequence[str], texts: Sequence[str]
) -> LabelSuspects:
    """Finds the off-diagonal examples of confident learning (Northcutt et al. 2021, section 3.1).

    The threshold of a class is the mean probability of the class over its own examples: high if
    the model is sure of it. Among the classes whose threshold an example reaches, the most probable
    counts; if it is not the given class, the label is suspect. With a weak model, most suspects are
    the model's mistakes, not the labels': read them before changing one.

    Args:
        true_ids: Class ids as given. *Shape:* (n,).
        probabilities: Probabilities from a model that was not trained on these examples; for
            training data, `cross_val_predict(BertSklearnClassifier(...), texts, labels,
            method="predict_proba")`. *Shape:* (n, C).
        class_names: C names.
        texts: n texts, to quote.

    Raises:
        ValueError: If the shapes do not fit each other.

    Example:
        >>> probabilities = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]]
        >>> found = find_label_suspects([0, 0, 1, 1], probabilities, ["no", "yes"], list("abcd"))
        >>> found.suspects
        [Suspect(position=3, given='yes', likelier='no', probability=0.05, text='d')]
    """
    true = np.asarray(true_ids, int)
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.shape != (len(true), len(class_names)) or len(texts) != len(true):
        raise ValueError(
            f"Label suspects need a label, a text and one probability a class for every example, "
            f"received {len(true)} labels, {len(texts)} texts and probabilities of shape "
            f"{probabilities.shape} for {len(class_names)} classes."
        )
    # The threshold of a class without examples cannot be reached.
    thresholds = [
        probabilities[true == c, c].mean() if (true == c).any() else np.inf
        for c in range(len(class_names))
    ]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likelier = confident.argmax(axis=1)
    suspects = [
        Suspect(i, class_names[given], class_names[likelier[i]], float(row[given]), texts[i])
        for i, (given, row) in enumerate(zip(true, probabilities, strict=True))
        if confident[i].max() >= 0 and likelier[i] != given
    ]
    return LabelSuspects(len(true), sorted(suspects, key=lambda suspect: suspect.probability))
