"""How well a tagger finds entities: exact spans, as in CoNLL's evaluation and seqeval."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.data.tags import IGNORED, check_same_lengths, spans_of
from keras_bert_scratch.tables import format_table


@dataclasses.dataclass(frozen=True)
class TaggingReport:
    """How well a tagger did. A share whose denominator is 0 is 0.

    Attributes:
        accuracy: Share of the words with the right tag.
        precision: Share of the found spans that are right: the same words, the same type.
        recall: Share of the true spans that were found.
        f1: Harmonic mean of the two.
        per_type: `precision`, `recall`, `f1` and `support` (number of true spans) of every type,
            sorted by name.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    per_type: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """Returns the figures as an aligned table."""
        total = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        total["support"] = sum(figures["support"] for figures in self.per_type.values())
        shares = ("precision", "recall", "f1")
        rows = [
            [name, *(f"{figures[key]:.4f}" for key in shares), str(figures["support"])]
            for name, figures in [*self.per_type.items(), ("all", total)]
        ]
        table = format_table(["", "precision", "recall", "f1", "spans"], rows)
        return f"accuracy of words {self.accuracy:.4f}\n\n{table}\n"


def evaluate_tags(
    true_tags: Sequence[Sequence[str]],
    predicted_tags: Sequence[Sequence[str]],
    labels: Collection[str] | None = None,
) -> TaggingReport:
    """Compares tags, and the spans that they form (see `data.tags.spans_of`).

    The figures of spans equal those of seqeval and of CoNLL's `conlleval`.

    Args:
        true_tags: One list of tags for each sentence.
        predicted_tags: The predicted tags in the same form.
        labels: All tags that exist, which decide what a span is; by default those that occur.

    Raises:
        ValueError: If the numbers of tags differ, or there are none.

    Example:
        >>> evaluate_tags([["B-person", "I-person", "O"]], [["B-person", "O", "O"]]).f1
        0.0
    """
    check_same_lengths(true_tags, predicted_tags)
    pairs = [
        pair
        for true, predicted in zip(true_tags, predicted_tags, strict=True)
        for pair in zip(true, predicted, strict=True)
    ]
    if not pairs:
        raise ValueError("There are no tags to compare: give at least one sentence.")
    # One set for both sides and all sentences: a single sentence may lack O, or B-.
    labels = {tag for pair in pairs for tag in pair} if labels is None else set(labels)
    true_spans, found_spans = (
        {(sentence, *span) for sentence, row in enumerate(rows) for span in spans_of(row, labels)}
        for rows in (true_tags, predicted_tags)
    )
    true, found, right = (
        Counter(span[1] for span in spans)
        for spans in (true_spans, found_spans, true_spans & found_spans)
    )
    return TaggingReport(
        accuracy=sum(first == second for first, second in pairs) / len(pairs),
        **_shares(right.total(), found.total(), true.total()),
        per_type={
            label: {**_shares(right[label], found[label], true[label]), "support": true[label]}
            for label in sorted(true | found)
        },
    )


def _shares(right: int, found: int, true: int) -> dict[str, float]:
    return {
        "precision": right / found if found else 0.0,
        "recall": right / true if true else 0.0,
        # The harmonic mean of the two, without their denominators of 0.
        "f1": 2 * right / (found + true) if found + true else 0.0,
    }


@keras.saving.register_keras_serializable("keras_bert_scratch")
class TokenAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of the tokens with a label whose most probable class is right.

    Example:
        >>> metric = TokenAccuracy()
        >>> metric.update_state([[1, -1]], [[[0.1, 0.9], [0.9, 0.1]]])
        >>> float(metric.result())
        1.0
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: Labels, `IGNORED` where a token has none. *Shape:* (B, S).
            y_pred: Logits. *Shape:* (B, S, C).
            sample_weight: Ignored: all labels count alike.
        """
        y_true = ops.convert_to_tensor(y_true)
        is_labelled = ops.cast(ops.not_equal(y_true, IGNORED), "float32")
        super().update_state(ops.maximum(y_true, 0), y_pred, sample_weight=is_labelled)
