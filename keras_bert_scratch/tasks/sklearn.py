"""The classifier as a scikit-learn estimator: for pipelines, cross-validation and grid searches.

Axes: n examples, C classes.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.training.optimizers import adamw


class BertSklearnClassifier(ClassifierMixin, BaseEstimator):
    """Fine-tunes `BertClassifier` in `fit`, from the same checkpoint each time.

    Texts are a column of strings: a list, an array, a pandas Series, or an array or DataFrame of
    one column; one of two columns holds pairs. Labels are anything that scikit-learn takes: one
    class a text, or zeros and ones of shape (n, C) for texts of several labels.

    A pickle holds the model as its checkpoint folder, JSON and safetensors, not as code.

    Args:
        checkpoint: Name, local folder or hub id to start from, see `BertClassifier`.
        epochs: How often all texts are read; chosen by the number of texts by default, or 3 beside
            a `learning_rate`.
        batch_size: B, in `fit` and in `predict`; chosen by default.
        learning_rate: The peak of AdamW's, after a warm-up of a tenth of all steps; by default the
            whole training is chosen, see `training.fine_tuning`.
        sequence_length: Tokens to which texts are truncated; by default what the checkpoint says.
        class_weight: `"balanced"`, or a dict of label to weight, as scikit-learn has them; not for
            several labels a text.
        dtype: Dtype of the computation, such as `"mixed_bfloat16"`.
        random_state: Seed, or None for other numbers each time. A seed repeats a fit: it is given
            to `keras.utils.set_random_seed`, which seeds numpy's and Python's generators, too.
        verbose: As in Keras' `fit`: 0, 1 or 2.

    Attributes:
        classes_: The labels, sorted; of several labels a text, the numbers of their columns.
            *Shape:* (C,).
        model_: The fine-tuned `BertClassifier`.
        history_: What Keras recorded of every epoch.

    Example:
        >>> estimator = BertSklearnClassifier("path/or/hub-id", epochs=1, random_state=0)
        >>> cross_val_score(estimator, texts, labels, cv=StratifiedKFold(3), scoring="f1_macro")
        array([0.84, 0.86, 0.85])

        Several seeds, as mean and deviation:

        >>> scores = [
        ...     clone(estimator).set_params(random_state=seed).fit(*train).score(*held_out)
        ...     for seed in range(3)
        ... ]
        >>> np.mean(scores), np.std(scores, ddof=1)
        (0.85, 0.01)

        Held-out probabilities of training data, for `find_label_suspects`:

        >>> cross_val_predict(estimator, texts, labels, cv=5, method="predict_proba").shape
        (1000, 2)
    """

    def __init__(
        self,
        checkpoint: str | Path = "minilm",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        sequence_length: int | None = None,
        class_weight: Any = None,
        dtype: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.checkpoint = checkpoint
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.sequence_length = sequence_length
        self.class_weight = class_weight
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "BertSklearnClassifier":  # noqa: N803
        """Fine-tunes the checkpoint anew.

        Args:
            X: n texts, or pairs.
            y: n labels, or zeros and ones of shape (n, C).
            sample_weight: n weights, or None.

        Raises:
            ValueError: If a text is empty, the labels are all the same, or the columns differ in
                length.
        """
        texts = _columns(X)
        multi_label = type_of_target(y) == "multilabel-indicator"
        if multi_label:
            targets: Any = np.asarray(y.toarray() if hasattr(y, "toarray") else y, "float32")
            classes = np.arange(targets.shape[1])
            if self.class_weight is not None:
                raise ValueError(
                    "class_weight weighs a text by its one class, and y has several labels a text: "
                    "leave it out, or pass sample_weight to fit."
                )
        else:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            classes, class_ids = np.unique(y, return_inverse=True)
            # Names, since numbers may be names, too.
            targets = [str(label) for label in classes[class_ids]]
            if len(classes) < 2:
                raise ValueError(
                    f"All {len(y)} training examples have the label {classes.tolist()[0]!r}: a "
                    "classifier needs examples of at least two classes."
                )
        weights = None
        if self.class_weight is not None or sample_weight is not None:
            weights = np.ones(len(targets)) if sample_weight is None else np.asarray(sample_weight)
            if self.class_weight is not None:
                weights = weights * compute_sample_weight(self.class_weight, y)
        if self.random_state is not None:
            keras.utils.set_random_seed(int(check_random_state(self.random_state).randint(2**31)))
        model = BertClassifier.from_pretrained(
            self.checkpoint,
            labels=[str(label) for label in classes],
            sequence_length=self.sequence_length,
            multi_label=multi_label,
            dtype=self.dtype,
        )
        epochs = self.epochs
        if self.learning_rate is None:
            model.compile()
        else:
            epochs = epochs or 3
            steps = epochs * -(-len(targets) // (self.batch_size or 32))
            model.compile(adamw(self.learning_rate, total_steps=steps, warmup_ratio=0.1))
        history = model.fit(
            texts,
            targets,
            batch_size=self.batch_size,
            epochs=epochs,
            sample_weight=weights,
            verbose=self.verbose,
        )
        self.classes_, self.model_, self.history_ = classes, model, history.history
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Computes the probability of every class, in the order of `classes_`.

        Args:
            X: n texts, or pairs.

        Returns:
            float32. *Shape:* (n, C).
        """
        check_is_fitted(self)
        return self.model_.probabilities(_columns(X), self.batch_size or 32)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the most probable label of each text, or all that are likely.

        Args:
            X: n texts, or pairs.

        Returns:
            *Shape:* (n,); of several labels a text zeros and ones, *shape:* (n, C).
        """
        probabilities = self.predict_proba(X)
        if self.model_.multi_label:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that the input is strings."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.no_validation = True
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = self.random_state is None
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                state["model_"].save_pretrained(folder)
                files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
            state = {**state, "model_": files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in state["model_"].items():
                    # A name with a path in it is an attempt to leave the folder.
                    (Path(folder) / Path(name).name).write_bytes(content)
                model = BertClassifier.from_pretrained(folder, dtype=state["dtype"])
            state = {**state, "model_": model}
        super().__setstate__(state)


def _columns(X: Any) -> Any:  # noqa: N803
    """Turns what scikit-learn hands around into texts, or a tuple of two columns of them."""
    array = np.asarray(X, dtype=object)
    if array.ndim == 2 and array.shape[1] == 2:
        return tuple(list(column) for column in array.T)
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise ValueError(
            f"X is one column of texts, or two for pairs; received shape {array.shape}: select the "
            "columns of texts."
        )
    return list(array.ravel())
