"""Integrated gradients of rows: complete, of every kind of column, and zero where nothing is."""

import json

import keras
import numpy as np
import pytest

from keras_bert_scratch import PatchConfig
from keras_bert_scratch.data.table import read_table
from keras_bert_scratch.evaluation.row_explanations import explain_row

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="gradients are TensorFlow's"
)

# Its mean color is 51, 102 and 153: there it reads 0.
ENCODER = PatchConfig(
    height=4, width=6, patch_size=2, num_layers=1, num_heads=2, hidden_dim=8, feed_forward_dim=16,
    mean=(0.2, 0.4, 0.6), deviation=(0.3, 0.3, 0.3), initializer_range=0.3,
).to_dict()  # fmt: skip
GREY = np.broadcast_to(np.array([51, 102, 153], "uint8"), (5, 6, 3))
COLUMNS = {
    "title": {"kind": "text"},
    "remark": {"kind": "text"},
    "price": {"kind": "number", "mean": 1.0, "scale": 2.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
    "small": {"kind": "image", "height": 4, "width": 6, "patch_size": 2},
    "photo": {"kind": "image", "height": 5, "width": 6, "encoder": ENCODER},
    "clip": {"kind": "audio", "num_frames": 32},
}
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype="uint8")
ROW = {
    "title": ["Red toys"],
    "remark": ["a saw, a bear"],
    "price": [4.0],
    "shop": ["south"],
    "small": [PIXELS[0, :4]],
    "photo": [PIXELS[1]],
    "clip": [np.random.default_rng(1).normal(0, 0.1, 4000).astype("float32")],
}


@pytest.fixture
def make(tiny_column_classifier):
    def of_names(names=tuple(COLUMNS), **settings):
        return tiny_column_classifier({name: COLUMNS[name] for name in names}, **settings)

    return of_names


def log_odds(model, row, class_id, **changes):
    """Those of the model's own answer, by its definition."""
    values = read_table(row, model.columns)
    encoding = model.tokenizer.encode(row["title"][0], row["remark"][0])
    ids = np.array([encoding.token_ids], "int32")
    inputs = {
        "token_ids": ids,
        "segment_ids": np.array([encoding.segment_ids], "int32"),
        "padding_mask": np.ones_like(ids),
        "present": np.array([[column[0] is not None for column in values.values()]], "int32"),
        **{name: column.ready(values[name]) for name, column in list(model.columns.items())[2:]},
    }
    logits = np.array(model({**inputs, **changes}))[0].astype("float64") / model.temperature
    if model.multi_label:
        return logits[class_id]
    probability = np.exp(logits[class_id]) / np.exp(logits).sum()
    return np.log(probability / (1 - probability))


NOTHING = {
    # [CLS] red toy ##s [SEP] a saw [UNK] a bear [SEP]
    "token_ids": np.array([[2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 3]]),
    "price": np.zeros((1, 1)),
    "shop": np.zeros((1, 1), "int32"),
    "small": np.full((1, 4, 6, 3), 127.5, "float32"),
    "photo": GREY[np.newaxis],
    "clip": np.zeros((1, 128, 32, 1)),
}


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 2.0},
        {"pooling": "mean"},
        {"labels": ["a", "b", "c"], "multi_label": True},
    ],
)
def test_scores_add_up_from_a_row_that_says_nothing(settings, make):
    model = make(**settings)
    found = explain_row(model, ROW, model.labels[1], num_points=16)
    before, after = (log_odds(model, ROW, 1, **changes) for changes in (NOTHING, {}))
    assert abs(after - before) > 0.001
    total = sum(column.score for column in found.columns.values())
    assert total == pytest.approx(after - before, rel=0.01)
    assert found.completeness_error < 0.01
    assert list(found.columns) == list(COLUMNS)
    assert found.columns["small"].patches.shape == (2, 3)
    assert found.columns["photo"].patches.shape == (2, 3)  # the fifth line of pixels is no patch
    assert found.columns["clip"].patches.shape == (8, 2)
    assert found.columns["title"].words.words == ["Red", "toys"]
    assert found.columns["remark"].words.words == ["a", "saw", ",", "a", "bear"]
    for column in found.columns.values():
        if column.patches is not None:
            assert column.patches.sum() == pytest.approx(column.score, abs=1e-5)
        if column.words is not None:
            assert column.words.scores.sum() == pytest.approx(column.score, abs=1e-5)


def test_what_is_missing_or_says_nothing_counts_for_nothing(make):
    model = make()
    pixels = GREY.copy()
    pixels[2:4, 4:6] = 255
    row = {**ROW, "price": [1.0], "shop": ["new"], "small": [None], "photo": [pixels]}
    found = explain_row(model, {**row, "remark": [None]}, num_points=16)
    for name in ("remark", "price", "shop", "small"):
        assert found.columns[name].score == 0
    assert found.columns["small"].shown == "missing"
    patches = found.columns["photo"].patches
    assert patches[1, 2] != 0
    assert np.count_nonzero(patches) == 1
    assert found.columns["photo"].best_patches().startswith("row 2 column 3 ")
    assert found.completeness_error < 0.01


def test_it_is_told_in_words_on_a_page_and_as_json(make):
    found = explain_row(make(), ROW, num_points=2)
    text = found.to_text()
    assert text.startswith(f"{found.label}, probability {found.probability:.1%} (integrated")
    assert "word of remark" in text
    page = found.to_html()
    assert page.count("<svg role=") == 3
    assert page.count("<rect ") == 6 + 6 + 16
    assert "Blue" not in page
    assert 'aria-label="The picture in photo. The patches that count most for ' in page
    assert "<svg" in found._repr_html_()
    document = json.loads(json.dumps(found.to_dict()))
    assert document["columns"]["price"] == {
        "kind": "number",
        "score": found.columns["price"].score,
        "value": 4.0,
    }
    assert np.shape(document["columns"]["clip"]["patches"]) == (8, 2)


def test_a_long_text_is_explained_as_far_as_it_is_read(make):
    model = make(("title", "price"), sequence_length=5)
    found = explain_row(model, {"title": ["a red bear saw toy"], "price": [2.0]}, num_points=2)
    assert found.columns["title"].words.words == ["a", "red", "bear"]


def test_refusals(make):
    model = make(("title", "price"))
    with pytest.raises(ValueError, match="One row is explained at a time, .* received 2 rows: sel"):
        explain_row(model, {"title": ["a", "b"], "price": [1, 2]})
    with pytest.raises(ValueError, match="Unknown label 'x': the model's labels are toy, tool"):
        explain_row(model, {"title": ["a"], "price": [1]}, "x")
    with pytest.raises(ValueError, match="learns a score, and answers are explained by labels"):
        explain_row(make(("title", "price"), labels=["stars"]), {"title": ["a"], "price": [1]})
