import io
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, BertSklearnClassifier


@pytest.fixture(scope="module")
def checkpoint(tiny_classifier, tmp_path_factory):
    tokenizer = tiny_classifier().tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer.vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=16,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("sklearn") / "checkpoint"
    BertClassifier(BertEncoder(config), ["a", "b"], tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def estimator(checkpoint):
    return BertSklearnClassifier(
        checkpoint, epochs=20, batch_size=8, learning_rate=3e-3, random_state=0
    )


@pytest.fixture(scope="module")
def fitted(checkpoint, reviews):
    estimator = BertSklearnClassifier(
        checkpoint, epochs=20, batch_size=8, learning_rate=3e-3, random_state=0
    )
    return estimator.fit(*reviews)


class TestFit:
    def test_learns(self, fitted, reviews):
        assert fitted.classes_.tolist() == ["negative", "positive"]
        assert fitted.score(*reviews) > 0.95
        assert len(fitted.history_["loss"]) == 20
        probabilities = fitted.predict_proba(reviews[0])
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
        np.testing.assert_array_equal(
            fitted.predict(reviews[0]), fitted.classes_[probabilities.argmax(axis=1)]
        )

    def test_every_form_of_texts(self, fitted, reviews):
        texts = reviews[0][:6]
        expected = fitted.predict_proba(texts)
        for form in (
            np.array(texts),
            np.array(texts, dtype=object)[:, None],
            pd.Series(texts, index=range(6, 0, -1)),
            pd.DataFrame({"text": texts}),
        ):
            np.testing.assert_array_equal(fitted.predict_proba(form), expected)

    def test_integer_labels_and_pairs(self, estimator, reviews):
        texts, labels = reviews
        pairs = pd.DataFrame({"first": texts, "second": texts[::-1]})
        y = np.where(np.array(labels) == "positive", 7, -1)
        estimator.set_params(epochs=1).fit(pairs, y)
        assert estimator.classes_.tolist() == [-1, 7]
        assert set(estimator.predict(pairs)) <= {-1, 7}
        np.testing.assert_array_equal(
            estimator.predict_proba(pairs),
            estimator.model_.probabilities((texts, texts[::-1]), estimator.batch_size),
        )

    @pytest.mark.parametrize(
        ("class_weight", "sample_weight", "expected"),
        [
            (None, None, None),
            ({"good": 3.0}, None, [3, 1, 1]),
            (None, [1, 2, 3], [1, 2, 3]),
            ({"good": 3.0}, [1, 2, 3], [3, 2, 3]),
            ("balanced", None, [1.5, 0.75, 0.75]),
        ],
    )
    def test_weights(self, estimator, monkeypatch, class_weight, sample_weight, expected):
        class StoppedError(Exception):
            pass

        def fit(self, x, y, sample_weight=None, **kwargs):
            raise StoppedError(sample_weight)

        monkeypatch.setattr(BertClassifier, "fit", fit)
        estimator.set_params(class_weight=class_weight)
        with pytest.raises(StoppedError) as stopped:
            estimator.fit(["a", "b", "c"], ["good", "bad", "bad"], sample_weight)
        (found,) = stopped.value.args
        assert found is expected or found.tolist() == expected

    def test_bad_input(self, estimator, checkpoint):
        with pytest.raises(ValueError, match="All 2 training examples have the label 'good'"):
            estimator.fit(["a", "b"], ["good", "good"])
        with pytest.raises(
            ValueError, match=r"one column of texts, or two .* received shape \(2, 3\)"
        ):
            estimator.fit([["a", "b", "c"]] * 2, ["good", "bad"])
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            estimator.fit(["a", "b"], [0.1, 0.2])
        with pytest.raises(ValueError, match="There are 3 texts but 2 labels: give one for each"):
            estimator.fit(["a", "b", "c"], ["good", "bad"])
        with pytest.raises(TypeError, match="Texts are strings, received 1"):
            estimator.fit([1, 2], ["good", "bad"])
        with pytest.raises(NotFittedError):
            estimator.predict(["a"])


class TestSelection:
    def test_cross_validation_in_a_pipeline(self, estimator, reviews):
        texts, labels = reviews
        upper = [text.upper() + " <br/>" for text in texts]
        clean = FunctionTransformer(lambda column: [text.replace("<br/>", "") for text in column])
        scores = cross_val_score(
            make_pipeline(clean, estimator),
            np.array(upper),
            labels,
            cv=StratifiedKFold(2, shuffle=True, random_state=0),
            scoring="f1_macro",
        )
        assert len(scores) == 2
        assert scores.min() > 0.8

    @pytest.mark.slow
    def test_grid_search(self, estimator, reviews):
        search = GridSearchCV(
            estimator,
            {"learning_rate": [0.0, 3e-3]},
            refit=False,
            cv=StratifiedShuffleSplit(1, test_size=0.5, random_state=0),
            scoring="roc_auc",
        )
        search.fit(*reviews)
        assert search.best_params_ == {"learning_rate": 3e-3}
        assert search.best_score_ > 0.95

    def test_a_clone_fits_the_same(self, fitted, reviews):
        again = clone(fitted)
        assert not hasattr(again, "model_")
        again.fit(*reviews)
        np.testing.assert_array_equal(
            again.predict_proba(reviews[0]), fitted.predict_proba(reviews[0])
        )


class TestPickle:
    def test_answers_the_same_bits(self, fitted, reviews):
        expected = fitted.predict_proba(reviews[0])
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict_proba(reviews[0]), expected)
        assert again.get_params() == fitted.get_params()
        assert again.classes_.tolist() == fitted.classes_.tolist()
        # Pickling changes nothing of what was pickled.
        assert isinstance(fitted.model_, BertClassifier)

    def test_holds_no_code_of_the_model(self, fitted):
        # Everything that a pickle calls, it has to find first.
        found = set()

        class Unpickler(pickle.Unpickler):
            def find_class(self, module, name):
                found.add(f"{module.split('.')[0]}.{name}")
                return super().find_class(module, name)

        Unpickler(io.BytesIO(pickle.dumps(fitted))).load()
        ours = {name for name in found if name.startswith("keras")}
        assert ours == {"keras_bert_scratch.BertSklearnClassifier"}
        assert {name.split(".")[0] for name in found} <= {
            *("keras_bert_scratch", "numpy", "pathlib")
        }

    def test_names_with_a_path_stay_in_the_folder(self, fitted, tmp_path):
        state = fitted.__getstate__()
        state["model_"] = {**state["model_"], f"{tmp_path}/outside.txt": b"x"}
        again = BertSklearnClassifier()
        again.__setstate__(state)
        assert list(tmp_path.iterdir()) == []

    def test_unfitted(self, estimator):
        assert pickle.loads(pickle.dumps(estimator)).get_params() == estimator.get_params()


@pytest.mark.parametrize(
    "check",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_estimators_unfitted",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_scikit_learns_checks(check):
    """Those of its own that do not fit numbers; its `check_estimator` leaves text input out."""
    getattr(estimator_checks, check)("BertSklearnClassifier", BertSklearnClassifier())
