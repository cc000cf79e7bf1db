"""A server of a `.tflite` or `.onnx` file answers as its reader does, without TensorFlow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from keras_bert_scratch.serving import load_embedder, load_predictor
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.server.app import ModelServer
from keras_bert_scratch.serving.server.limits import Limits
from keras_bert_scratch.serving.server.rest import RequestError
from keras_bert_scratch.serving.server.served_file import ServedFile

URL = "/v1/models/films"


@pytest.fixture(scope="module", params=["float32.tflite", "int8.tflite", "model.onnx"])
def served(request, exports):
    """A file's reader, and a client of its server."""
    path = exports("classifier", request.param)
    model = ServedFile(path)
    model.warm_up()
    limits = Limits(max_queue=400)
    with TestClient(ModelServer(model, "films", limits).app()) as client:
        yield load_predictor(path), client


def predict(client, content):
    response = client.post(f"{URL}:predict", json=content)
    assert response.status_code == 200, response.json()
    return response.json()


def test_rows_pairs_and_examples(served):
    reader, client = served
    expected = reader.probabilities(PROBE_TEXTS)
    found = predict(client, {"instances": PROBE_TEXTS})["predictions"]
    np.testing.assert_allclose([row["probabilities"] for row in found], expected, atol=1e-5)
    assert [row["label"] for row in found] == [reader.labels[c] for c in expected.argmax(1)]
    assert found[0]["classes"] == reader.labels

    pairs = (["a good film", ""], ["bad", "电影 👎🏽"])
    content = {"inputs": {"text": pairs[0], "pair": pairs[1]}, "signature_name": "pairs"}
    found = predict(client, content)["outputs"]["probabilities"]
    np.testing.assert_allclose(found, reader.probabilities(pairs), atol=1e-5)

    examples = {"examples": [{"text": text} for text in PROBE_TEXTS]}
    results = client.post(f"{URL}:classify", json=examples).json()["results"]
    assert [name for name, _ in results[0]] == reader.labels
    np.testing.assert_allclose([[s for _, s in row] for row in results], expected, atol=1e-5)


def test_requests_at_once_get_their_own_answers(served):
    reader, client = served
    texts = [" ".join(["good", "bad"][n >> k & 1] for k in range(1 + n % 9)) for n in range(200)]
    expected = reader.probabilities(texts)
    with ThreadPoolExecutor(16) as threads:
        answers = [*threads.map(lambda text: predict(client, {"instances": [text]}), texts)]
    found = [answer["predictions"][0]["probabilities"] for answer in answers]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_metadata_and_version(served):
    _, client = served
    content = client.get(f"{URL}/metadata").json()
    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert sorted(signatures) == ["classify", "pairs", "serving_default"]
    assert sorted(signatures["serving_default"]["outputs"]) == ["classes", "label", "probabilities"]
    assert content["model_spec"]["version"] == "1"
    assert client.get(URL).json()["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.parametrize("features", [{}, {"text": ["a", "b"]}, {"text": 3}, {"title": "a"}])
def test_examples_without_a_text(served, features):
    _, client = served
    response = client.post(f"{URL}:classify", json={"examples": [features]})
    assert response.status_code == 400
    assert response.json()["error"] == (
        'An example has one string, "text", and this one has not: add it.'
    )


def test_a_text_that_the_file_cannot_hold(exports):
    model = ServedFile(exports("classifier", "code_points.tflite"))
    with pytest.raises(RequestError, match="This file takes one text, not a pair"):
        model.run("pairs", [{"text": b"a", "pair": b"b"}])


def test_a_sentence_encoder(exports):
    path = exports("sentence_encoder", "float32.tflite")
    with TestClient(ModelServer(ServedFile(path), "films").app()) as client:
        found = predict(client, {"instances": PROBE_TEXTS})["predictions"]
    np.testing.assert_allclose(found, load_embedder(path).encode(PROBE_TEXTS), atol=1e-5)


def test_a_file_of_another_task():
    path = Path(__file__).parents[2] / "golden/exports/tagger.tflite"
    with pytest.raises(ValueError, match="is not a LiteRT file of a classifier"):
        ServedFile(path)


def test_nothing_of_tensorflow_is_imported(exports, without_tensorflow):
    code = (
        "from keras_bert_scratch.serving.server import app\n"
        f"model, versions = app._load({str(exports('classifier', 'int8.tflite'))!r})\n"
        "print(model.run('serving_default', [{'text': b'good'}])[0]['label'], versions)"
    )
    assert without_tensorflow(code).split()[1] == "None"
