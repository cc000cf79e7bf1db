import numpy as np
import pytest

from keras_bert_scratch import (
    BertConfig,
    BertEncoder,
    ColumnClassifier,
    Vocabulary,
    WordPieceTokenizer,
)
from keras_bert_scratch.data.table import make_columns
from keras_bert_scratch.evaluation.columns import _features, compare_columns

TOKENIZER = WordPieceTokenizer(
    Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bear", "saw"])
)
COLUMNS = {
    "title": {"kind": "text"},
    "price": {"kind": "number", "mean": 0.0, "scale": 1.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
}


class ByPrice(ColumnClassifier):
    """Answers "toy" but for rows whose price is known and below 0."""

    def predict(self, x, *_, **__):
        is_known = x.present[:, 1] == 1
        values = np.array([value or 0.0 for value in x.values["price"]])
        is_tool = is_known & (values < 0)
        return np.stack([1.0 - is_tool, is_tool], axis=1)


def table(n, seed=0):
    generator = np.random.default_rng(seed)
    price = np.where(np.arange(n) % 2 == 0, 2.0, -2.0)
    return {
        "title": generator.choice(["bear", "saw"], n).tolist(),
        "price": price.tolist(),
        "shop": generator.choice(["north", "south"], n).tolist(),
    }, np.where(price > 0, "toy", "tool")


@pytest.fixture(scope="module")
def model():
    config = BertConfig(
        vocab_size=7, num_layers=1, num_heads=1, hidden_dim=2, feed_forward_dim=2, max_positions=8
    )
    return ByPrice(BertEncoder(config), ["toy", "tool"], TOKENIZER, columns=COLUMNS)


def test_a_column_alone_and_left_out(model):
    found = compare_columns(model, table(60, seed=1), table(40))
    assert found.all_columns.accuracy == 1
    assert {name: r.accuracy for name, r in found.alone.items()} == {
        "title": 0.5,
        "price": 1,
        "shop": 0.5,
    }
    assert {name: r.accuracy for name, r in found.without.items()} == {
        "title": 1,
        "price": 0.5,
        "shop": 1,
    }
    assert found.tests["price"] == (20, 0, pytest.approx(2 * 0.5**20))
    assert found.tests["shop"] == (0, 0, 1.0)
    assert (found.baseline.accuracy, found.commonest.accuracy) == (1, 0.5)
    assert [warning[:45] for warning in found.warnings] == [
        "NOTE: The column 'title' adds nothing beyond ",
        "NOTE: The column 'shop' adds nothing beyond c",
        "WARNING: The model does not beat logistic reg",
    ]
    text = found.to_text()
    assert "\nwithout price " in text
    assert found.to_dict()["tests"]["shop"]["p_value"] == 1


def test_a_column_that_does_harm(model):
    x, _ = table(40)
    found = compare_columns(model, table(60, seed=1), (x, ["toy"] * 40))
    assert found.without["price"].accuracy == 1
    assert "WARNING: The model is better without the column 'price': leave it out." in (
        found.warnings
    )


def test_features_of_the_baseline():
    columns = make_columns(
        {
            **COLUMNS,
            "picture": {"kind": "image", "height": 8, "width": 8, "patch_size": 4},
            "call": {"kind": "audio", "num_frames": 16},
        }
    )
    assert _features(columns["price"], [2.0, None]).tolist() == [[2, 0], [0, 1]]
    assert _features(columns["shop"], ["south", "new", None]).tolist() == [
        [0, 0, 1, 0],
        [1, 0, 0, 0],
        [1, 0, 0, 1],
    ]
    white = np.full((8, 8, 3), 255, "uint8")
    features = _features(columns["picture"], [white, None])
    assert features.shape == (2, 8 * 8 * 3 + 1)
    assert features.sum(axis=1).tolist() == [192, 1]
    # What a frozen encoder tells of pictures, of length 1: 4 + 4 + 1 + 16 = 25.
    states = np.array([[2.0, 2.0], [1.0, 4.0]], "float32")
    found = _features(columns["picture"], [None, states])
    np.testing.assert_allclose(found, [[0, 0, 0, 0, 1], [0.4, 0.4, 0.2, 0.8, 0]], rtol=1e-6)
    assert _features(columns["call"], [np.zeros(800, "float32"), None]).shape == (2, 128 + 1)


def test_scores_are_refused(model):
    score = ColumnClassifier(model.encoder, ["stars"], TOKENIZER, columns=COLUMNS)
    with pytest.raises(ValueError, match="learns a score, and columns are compared by one label"):
        compare_columns(score, table(4), table(4))
