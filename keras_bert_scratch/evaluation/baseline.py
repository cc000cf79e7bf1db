"""TF-IDF and logistic regression, trained in seconds: what a larger model has to beat.

Axes: n examples, C classes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_scratch.evaluation.classification import (
    ClassificationReport,
    evaluate_classification,
    predicted_ids,
)
from keras_bert_scratch.evaluation.significance import McNemar, mcnemar
from keras_bert_scratch.text.columns import joined_columns
from keras_bert_scratch.text.normalization import BertNormalizer

# A difference with a larger p-value counts as chance.
_SIGNIFICANT = 0.05


@dataclasses.dataclass(frozen=True)
class BaselineComparison:
    """A model beside the baseline, on the same examples.

    Attributes:
        report: Figures of the baseline.
        accuracy_gain: Accuracy of the model minus that of the baseline.
        test: McNemar's test of the model (first) and the baseline (second).
    """

    report: ClassificationReport
    accuracy_gain: float
    test: McNemar

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        return {
            "report": self.report.to_dict(),
            "accuracy_gain": self.accuracy_gain,
            "test": self.test._asdict(),
        }

    def to_text(self) -> str:
        """Returns the baseline's figures, and whether the model is better."""
        model_only, baseline_only, p_value = self.test
        lines = [
            f"baseline (TF-IDF + logistic regression): accuracy {self.report.accuracy:.4f} (95 % "
            f"interval {self.report.interval_text('accuracy')}), macro F1 "
            f"{self.report.macro_f1:.4f} ({self.report.interval_text('macro_f1')})",
            f"the model is right alone on {model_only} examples, the baseline on {baseline_only}: "
            f"{self.accuracy_gain:+.4f} accuracy, p = {p_value:.2g} (McNemar, exact)",
        ]
        if self.accuracy_gain <= 0 or p_value > _SIGNIFICANT:
            lines.insert(
                0,
                "WARNING: The model does not beat the baseline beyond chance: train it longer or "
                "on more texts, start from other weights, or deploy the baseline.",
            )
        return "\n".join(lines) + "\n"


def compare_with_baseline(
    train: tuple[Any, Any],
    held_out: tuple[Any, Any],
    scores: Any,
    class_names: Sequence[str],
    *,
    multi_label: bool = False,
) -> BaselineComparison:
    """Trains the baseline, and compares a model with it.

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
    baseline_scores = _baseline_scores(
        joined_columns(train_texts), np.asarray(train_ids), joined_columns(texts), len(class_names)
    )
    reports, are_right = [], []
    for values in (scores, baseline_scores):
        reports.append(
            evaluate_classification(true_ids, values, class_names, multi_label=multi_label)
        )
        is_right = predicted_ids(values, multi_label) == np.asarray(true_ids)
        are_right.append(is_right.reshape(len(is_right), -1).all(axis=1))
    return BaselineComparison(
        report=reports[1],
        accuracy_gain=reports[0].accuracy - reports[1].accuracy,
        test=mcnemar(*are_right),
    )


def _baseline_scores(
    train_texts: list[str], train_ids: np.ndarray, texts: list[str], num_classes: int
) -> np.ndarray:
    """Returns the baseline's probabilities. *Shape:* (n, C)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    normalizer = BertNormalizer(lowercase=True, strip_accents=True, tokenize_chinese_chars=True)
    # Words are BERT's: each Chinese character is a word, as in the model.
    vectorizer = TfidfVectorizer(
        tokenizer=lambda text: [word.text for word in normalizer.words(text)],
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )
    classifier: Any = LogisticRegression(C=10, max_iter=1000)
    if train_ids.ndim == 2:
        classifier = OneVsRestClassifier(classifier)
    elif len(np.unique(train_ids)) < 2:
        raise ValueError(
            "The baseline needs training texts of at least two classes, received one: name the "
            "file that the model was trained on."
        )
    pipeline = make_pipeline(vectorizer, classifier).fit(train_texts, train_ids)
    # Classes without a training text keep a probability of 0.
    scores = np.zeros((len(texts), num_classes))
    scores[:, pipeline.classes_.astype(int)] = pipeline.predict_proba(texts)
    return scores
