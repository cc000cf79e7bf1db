"""Rows of tables over HTTP: files in base64, missing values, and what the page asks for."""

import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from starlette.testclient import TestClient

from keras_bert_scratch.serving.saved_model import save_functions
from keras_bert_scratch.serving.server import app as app_module
from keras_bert_scratch.serving.server.app import Limits, ModelServer
from keras_bert_scratch.serving.server.rest import Input, RequestError, predict_rows
from keras_bert_scratch.serving.server.served_model import ServedModel

COLUMNS = {
    "title": {"kind": "text"},
    "price (EUR)": {"kind": "number", "mean": 1.0, "scale": 2.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
    "photo": {"kind": "image", "height": 4, "width": 4, "patch_size": 2},
    "clip": {"kind": "audio", "num_frames": 32},
}
URL = "/v1/models/offers"


def png(seed):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype="uint8")
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def wav(length):
    stream = io.BytesIO()
    sound = np.random.default_rng(length).integers(-9000, 9000, length, dtype="int16")
    wavfile.write(stream, 16_000, sound)
    return stream.getvalue()


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


# === Requests ===
INPUTS = {
    "clip": Input(np.dtype("float32"), (None, None), "audio"),
    "photo": Input(np.dtype(object), (None,), "image"),
    "price": Input(np.dtype("float64"), (None,), "number"),
    "title": Input(np.dtype(object), (None,), "text"),
}


def read(content, **limits):
    return predict_rows(content, INPUTS, Limits(**limits))


def test_what_a_row_lacks_is_missing():
    rows = read(
        {
            "instances": [
                {"title": "a", "clip": b64(wav(3)), "photo": b64(png(0))},
                {"price": 2, "clip": [0.5, 1], "title": None},
                {"photo": b64(png(1)), "clip": None},
            ]
        }
    )
    assert [row["title"] for row in rows] == [b"a", b"", b""]
    assert [row["photo"] for row in rows] == [png(0), b"", png(1)]
    assert [math.isnan(row["price"]) for row in rows] == [True, False, True]
    assert [np.count_nonzero(~np.isnan(row["clip"])) for row in rows] == [3, 2, 0]
    assert rows[1]["clip"][:2].tolist() == [0.5, 1.0]
    (row, other) = read({"inputs": {"title": ["a", None], "price": [None, 1.5]}})
    assert (row["title"], other["price"], row["photo"]) == (b"a", 1.5, b"")


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({}, "Row 0 has no value: give one of the inputs 'clip', 'photo', 'price', 'title'"),
        ({"title": "", "price": math.nan, "clip": []}, "Row 0 has no value"),
        ({"titel": "a"}, "Instance 0 must give the inputs 'clip', 'photo', .* received 'titel'"),
        ({"price": "9"}, "price must be numbers of type float64, received a string"),
        ({"clip": b64(b"RIFF")}, r"The sound \(row 0 of clip\) is"),
        ({"clip": ["a"]}, "clip must be numbers of type float32, received a string"),
        ({"clip": 3}, "clip must be strings, received the number 3"),
        ({"photo": [1, 2]}, "photo must be strings of shape"),
        (
            {"photo": b64(b"GIF89")},
            "photo must be PNG or JPEG files, received bytes that begin wit",
        ),
        ({"photo": b64(b"123456")}, "photo has a file of 6 bytes, the limit is 5: shrink it"),
    ],
)
def test_refused(instance, message):
    with pytest.raises(RequestError, match=message):
        read({"instances": [instance]}, max_text_bytes=5)


# === A server ===
@pytest.fixture(scope="module")
def model(tiny_column_classifier):
    return tiny_column_classifier(COLUMNS)


@pytest.fixture(scope="module", params=["SavedModel", "LiteRT"])
def client(request, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "offers"
    if request.param == "SavedModel":
        signature = model._signature({})
        save_functions(path, signature.functions())
        signature.write_assets(path)
        served = ServedModel(path)
    else:
        path = path.with_suffix(".tflite")
        model.export(path, format="litert")
        served, _ = app_module._load(path)
    with TestClient(ModelServer(served, "offers").app()) as client:
        yield client


@pytest.mark.slow(minutes=1)
def test_answers_are_those_of_the_model(model, client):
    instances = [
        {"title": "a red bear", "price__EUR_": 3.5, "shop": "south", "photo": b64(png(0))},
        {"shop": "a new one", "photo": b64(png(1)), "clip": b64(wav(3000))},
        {"title": "saw", "clip": [0.1, -0.1] * 300},
    ]
    table = {
        "title": ["a red bear", None, "saw"],
        "price (EUR)": [3.5, None, None],
        "shop": ["south", "a new one", None],
        "photo": [png(0), png(1), None],
        "clip": [None, wav(3000), np.array([0.1, -0.1] * 300, "float32")],
    }
    expected = model.probabilities(table)
    assert np.ptp(expected[:, 0]) > 0.01
    response = client.post(f"{URL}:predict", json={"instances": instances})
    assert response.status_code == 200, response.text
    found = response.json()["predictions"]
    np.testing.assert_allclose([row["probabilities"] for row in found], expected, atol=1e-5)
    assert [row["label"] for row in found] == [
        model.labels[n] for n in expected.argmax(axis=1).tolist()
    ]
    # A broken picture is refused, and does no harm to the others of its batch.
    response = client.post(f"{URL}:predict", json={"instances": [{"photo": b64(png(0)[:60])}]})
    assert response.status_code == 400, response.text


@pytest.mark.slow(minutes=1)
def test_the_page_is_told_of_the_columns(client):
    metadata = client.get(f"{URL}/metadata").json()["metadata"]
    assert metadata["columns"][1:3] == [
        {"name": "price (EUR)", "input": "price__EUR_", "kind": "number"},
        {"name": "shop", "input": "shop", "kind": "category", "categories": ["north", "south"]},
    ]
    inputs = metadata["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert {name: spec["dtype"] for name, spec in inputs.items()} == {
        "title": "DT_STRING",
        "price__EUR_": "DT_DOUBLE",
        "shop": "DT_STRING",
        "photo": "DT_STRING",
        "clip": "DT_FLOAT",
    }
    policy = client.get("/").headers["content-security-policy"]
    assert "img-src blob:; media-src blob:" in policy
    assert json.dumps(metadata)
