"""Exports of classifiers of columns read tables as the models do."""

import io

import numpy as np
import pandas
import pytest
import tensorflow as tf
from PIL import Image
from scipy.io import wavfile

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.data.table import CategoryColumn
from keras_bert_scratch.serving import load_column_predictor
from keras_bert_scratch.serving.graphs.table_rows import from_rows, to_rows

COLUMNS = {
    "title": {"kind": "text"},
    "year": {"kind": "number", "mean": 1.7e9, "scale": 3.0},
    "Shop (city)": {"kind": "category", "categories": ["3", "\u00e9t\u00e9"]},
    "picture": {"kind": "image", "height": 6, "width": 8, "patch_size": 2},
    "1st call": {"kind": "audio", "num_frames": 32},
}
READ_BY_AN_ENCODER = {
    "kind": "image",
    "height": 7,
    "width": 9,
    "encoder": PatchConfig(
        architecture="dinov2", height=6, width=6, patch_size=3, num_layers=1, num_heads=2,
        hidden_dim=8, feed_forward_dim=16, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.4),
        initializer_range=0.3,
    ).to_dict(),
}  # fmt: skip


@pytest.fixture
def make(tiny_column_classifier):
    def of_names(names=tuple(COLUMNS)):
        columns = {name: COLUMNS.get(name, READ_BY_AN_ENCODER) for name in names}
        return tiny_column_classifier(columns)

    return of_names


def png(seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (5, 9, 4), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rows, "RGBA").save(stream, "PNG")
    return stream.getvalue()


def sound(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, length).astype("float32")


TABLE = {
    "title": ["a red bear", None, "a saw of no word here", ""],
    "year": [1.7e9 + 1, None, 1.7e9, 1e300],
    "Shop (city)": [3.0, "\u00e9t\u00e9", None, "elsewhere"],
    "picture": [png(0), None, png(1), b""],
    "1st call": [sound(0, 3000), sound(1, 9000), None, sound(2, 200)],
}


def test_a_graph_makes_the_inputs_that_the_door_makes(make):
    """Standard deviations of a large mean included, which float32 does not hold."""
    model = make()
    signature = model._signature({})
    values = {
        "title": tf.constant(["a red bear", "", "a saw of no word here", ""]),
        "year": tf.constant([1.7e9 + 1, np.nan, 1.7e9, 1e300], tf.float64),
        "Shop (city)": tf.constant(["3", "\u00e9t\u00e9", "", "elsewhere"]),
        "picture": tf.constant([png(0), b"", png(1), b""]),
        "1st call": tf.constant(
            [
                np.pad(row, (0, 9000 - len(row)), constant_values=np.nan)
                for row in (sound(0, 3000), sound(1, 9000), sound(3, 0), sound(2, 200))
            ]
        ),
    }
    found = signature.network_inputs(values)
    expected = model.batches(TABLE).batch(np.arange(4))[0]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
        assert found[name].dtype == value.dtype, name
    assert expected["year"][0, 0] == np.float32(1 / 3)


def test_names_of_inputs(make):
    names = make()._signature({}).names
    assert names == {
        "title": "title",
        "year": "year",
        "Shop (city)": "Shop__city_",
        "picture": "picture",
        "1st call": "column_1st_call",
    }


def test_rows_as_json():
    assert from_rows(to_rows({"a": ["x", None], "b": [b"\xff\x00", 2]})) == {
        "a": ["x", None],
        "b": [b"\xff\x00", 2],
    }


def test_a_model_that_has_learned_nothing_is_not_exported(make, tmp_path):
    model = make(["title"])
    model.columns = {"shop": CategoryColumn()}
    with pytest.raises(ValueError, match="Nothing is known of 'shop' yet"):
        model.export(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("format", ["tf_saved_model", "litert"])
def test_exports_answer_as_the_model(format, make, tmp_path):
    names = [*COLUMNS, "photo"]
    if format == "litert":
        names.remove("year")  # float32 numbers cannot tell seconds from 1970 apart
    model = make(names)
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    model.export(path, format=format)
    table = {name: list(TABLE[name]) for name in names if name != "photo"}
    table["photo"] = [None, png(3), png(0), b""]
    (tmp_path / "0.png").write_bytes(png(0))
    table["picture"][0] = str(tmp_path / "0.png")
    wavfile.write(tmp_path / "0.wav", 8000, (sound(0, 1500) * 32767).astype("int16"))
    table["1st call"][0] = str(tmp_path / "0.wav")
    predictor = load_column_predictor(path)
    assert predictor.labels == ["toy", "tool"]
    expected = model.probabilities(table)
    assert np.ptp(expected[:, 0]) > 0.01
    assert np.abs(model.probabilities({**table, "photo": [png(1)] * 4}) - expected).max() > 1e-3
    for given in (table, pandas.DataFrame(table)):
        np.testing.assert_allclose(predictor.probabilities(given), expected, atol=1e-5)
    with pytest.raises(ValueError, match="The column 'picture' is missing"):
        predictor.probabilities({name: table[name] for name in names if name != "picture"})


@pytest.mark.slow(minutes=1)
def test_numbers_that_float32_does_not_hold_are_not_exported_to_phones(make, tmp_path):
    with pytest.raises(RuntimeError, match="differ from the model's by"):
        make(["title", "year"]).export(tmp_path / "model.tflite", format="litert")
    assert list(tmp_path.iterdir()) == []
