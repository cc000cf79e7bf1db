"""What a larger model has to beat: TF-IDF and logistic regression, and the commonest class.

Axes: n examples, C classes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_scratch.evaluation.classification import (
    FEWEST_THAT_TELL,
    ClassificationReport,
    evaluate_classification,
    predicted_ids,
)
from keras_bert_scratch.evaluation.significance import McNemar, mcnemar
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.text.columns import joined_columns
from keras_bert_scratch.text.normalization import BertNormalizer

# A difference with a larger p-value counts as chance.
SIGNIFICANT = 0.05
# Most texts that TF-IDF is trained on: its words and their pairs stay within some gigabytes.
MOST_EXAMPLES = 50_000


@dataclasses.dataclass(frozen=True)
class BaselineComparison:
    """A model beside the baselines, on the same examples.

    Attributes:
        model: Figures of the model.
        report: Figures of TF-IDF and logistic regression.
        commonest: Figures of the answer that is always the commonest one of the training examples.
        accuracy_gain: Accuracy of the model minus that of the baseline.
        test: McNemar's test of the model (first) and the baseline (second).
        num_train: Number of training texts; of more than 50,000, TF-IDF is trained on so many.
    """

    model: ClassificationReport
    report: ClassificationReport
    commonest: ClassificationReport
    accuracy_gain: float
    test: McNemar
    num_train: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes but the model's own figures as plain JSON types."""
        return {
            "report": self.report.to_dict(),
            "commonest": self.commonest.to_dict(),
            "accuracy_gain": self.accuracy_gain,
            "test": self.test._asdict(),
            "num_train": self.num_train,
        }

    def to_text(self) -> str:
        """Returns the figures as a table, and whether the model is better."""
        rows = [
            [
                name,
                *(f"{report.accuracy:.4f}", report.interval_text("accuracy")),
                *(f"{report.macro_f1:.4f}", report.interval_text("macro_f1")),
            ]
            for name, report in (
                ("the model", self.model),
                ("TF-IDF + logistic regression", self.report),
                ("always the commonest", self.commonest),
            )
        ]
        header = [f"{self.model.num_examples} examples", "accuracy", "95 %", "macro F1", "95 %"]
        model_only, baseline_only, p_value = self.test
        lines = [
            *self.warnings,
            format_table(header, rows),
            f"the model is right alone on {model_only} examples, TF-IDF on {baseline_only}: "
            f"{self.accuracy_gain:+.4f} accuracy, p = {p_value:.2g} (McNemar, exact)",
        ]
        return "\n".join(lines) + "\n"

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before using the model."""
        if self.model.num_examples < FEWEST_THAT_TELL:
            return [few_examples_note(self.model.num_examples)]
        warnings = []
        if self.num_train > MOST_EXAMPLES:
            warnings.append(
                f"NOTE: TF-IDF was trained on {MOST_EXAMPLES} of the {self.num_train} texts."
            )
        if self.model.accuracy <= self.commonest.accuracy:
            warnings.append(
                "WARNING: The model is no better than always answering the commonest class: check "
                "that texts and labels belong together, and train it longer or on more texts."
            )
        if self.accuracy_gain <= 0:
            warnings.append(
                "WARNING: The model does not beat the baseline, TF-IDF and logistic regression: "
                "train it longer or on more texts, start from other weights, or use the baseline."
            )
        elif self.test.p_value > SIGNIFICANT:
            warnings.append(
                "NOTE: The model beats TF-IDF and logistic regression, but not beyond chance: more "
                "held-out examples would tell."
            )
        return warnings


def compare_with_baseline(
    train: tuple[Any, Any],
    held_out: tuple[Any, Any],
    scores: Any,
    class_names: Sequence[str],
    *,
    multi_label: bool = False,
) -> BaselineComparison:
    """Trains the baselines, and compares a model with them.

    Args:
        train: Texts (or a tuple of two columns) and label ids, or zeros and ones of shape (m, C).
        held_out: The same for n examples that the model was not trained on.
        scores: Scores that the model gives the held-out texts. *Shape:* (n, C).
        class_names: C names.
        multi_label: Whether a text may have any number of labels.

    Raises:
        ValueError: If the training texts have one class only, or `evaluate_classification` refuses
            something.

    Example:
        >>> comparison = compare_with_baseline(
        ...     (["good", "bad"], [1, 0]), (["good film"], [1]), [[0.1, 0.9]], ["no", "yes"]
        ... )
        >>> comparison.report.accuracy, comparison.test.p_value
        (1.0, 1.0)
    """
    (train_texts, train_ids), (texts, true_ids) = train, held_out
    train_ids, num_classes = np.asarray(train_ids), len(class_names)
    train_texts = joined_columns(train_texts)
    # They may be sorted by class.
    drawn = np.random.default_rng(0).permutation(len(train_texts))[:MOST_EXAMPLES]
    of_baseline = baseline_scores(
        [train_texts[i] for i in drawn], train_ids[drawn], joined_columns(texts), num_classes
    )
    reports, are_right = [], []
    for values in (scores, of_baseline, commonest_scores(train_ids, len(true_ids), num_classes)):
        reports.append(
            evaluate_classification(true_ids, values, class_names, multi_label=multi_label)
        )
        is_right = predicted_ids(values, multi_label) == np.asarray(true_ids)
        are_right.append(is_right.reshape(len(is_right), -1).all(axis=1))
    model, baseline, commonest = reports
    return BaselineComparison(
        model=model,
        report=baseline,
        commonest=commonest,
        accuracy_gain=model.accuracy - baseline.accuracy,
        test=mcnemar(*are_right[:2]),
        num_train=len(train_texts),
    )


def few_examples_note(num_examples: int) -> str:
    """Returns what is said of fewer held-out examples than tell anything."""
    return (
        f"NOTE: {num_examples} held-out examples do not tell whether the model is good: hold out "
        f"{FEWEST_THAT_TELL} at least."
    )


def commonest_scores(train_ids: np.ndarray, num_examples: int, num_classes: int) -> np.ndarray:
    """Returns the commonest answer as ones among zeros, for every example. *Shape:* (n, C)."""
    answers, counts = np.unique(train_ids, axis=0, return_counts=True)
    answer = answers[counts.argmax()]
    row = answer if train_ids.ndim == 2 else np.eye(num_classes)[answer]
    return np.tile(row, (num_examples, 1))


def baseline_scores(
    train_texts: list[str], train_ids: np.ndarray, texts: list[str], num_classes: int
) -> np.ndarray:
    """Returns the baseline's probabilities. *Shape:* (n, C)."""
    from sklearn.pipeline import make_pipeline

    if train_ids.ndim == 1 and len(np.unique(train_ids)) < 2:
        raise ValueError(
            "The baseline needs training texts of at least two classes, received one: name the "
            "file that the model was trained on."
        )
    pipeline = make_pipeline(text_vectorizer(), linear_classifier())
    pipeline.fit(train_texts, train_ids)
    # Classes without a training text keep a probability of 0.
    scores = np.zeros((len(texts), num_classes))
    scores[:, pipeline.classes_.astype(int)] = pipeline.predict_proba(texts)
    return scores


def text_vectorizer() -> Any:
    """Returns scikit-learn's TF-IDF on words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    normalizer = BertNormalizer(lowercase=True, strip_accents=True, tokenize_chinese_chars=True)
    # Words are BERT's: each Chinese character is a word, as in the model.
    return TfidfVectorizer(
        tokenizer=lambda text: [word.text for word in normalizer.words(text)],
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )


def linear_classifier() -> Any:
    """Returns scikit-learn's logistic regression, for one or several labels an example."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    # A class at a time takes a tenth of the time and half the memory, and is as often right.
    return OneVsRestClassifier(
        LogisticRegression(C=10, solver="liblinear", dual=True, random_state=0)
    )
