"""The server's answers and refusals, in this process; benchmarks/serving.py runs a real one."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from keras_bert_scratch.serving.parity import PROBE_TEXTS
from keras_bert_scratch.serving.rest import Input, RequestError
from keras_bert_scratch.serving.served_model import ServedModel, newest_version
from keras_bert_scratch.serving.server import Limits, ModelServer, serve

URL = "/v1/models/films"


@pytest.fixture(scope="module")
def served_model(versioned_export):
    return ServedModel(versioned_export[1])


@pytest.fixture(scope="module")
def served(versioned_export, served_model):
    """A classifier, and a client of the server of its export."""
    model, _ = versioned_export
    served_model.warm_up()
    limits = Limits(max_text_bytes=10_000, max_body_bytes=50_000, max_queue=50)
    with TestClient(ModelServer(served_model, "films", limits).app()) as client:
        yield model, client


def predict(client, content, **options):
    return client.post(f"{URL}:predict", json=content, **options)


class TestAnswers:
    def test_rows(self, served):
        model, client = served
        response = predict(client, {"instances": PROBE_TEXTS})
        assert response.status_code == 200
        predictions = response.json()["predictions"]
        expected = model.probabilities(PROBE_TEXTS)
        np.testing.assert_allclose([p["probabilities"] for p in predictions], expected, atol=1e-5)
        best = [model.labels[c] for c in expected.argmax(axis=-1)]
        assert [p["label"] for p in predictions] == best
        assert predictions[0]["classes"] == model.labels

    def test_columns_and_pairs(self, served):
        model, client = served
        pairs = (["a good film", ""], ["bad", "电影 👎🏽"])
        content = {"inputs": {"text": pairs[0], "pair": pairs[1]}, "signature_name": "pairs"}
        outputs = predict(client, content).json()["outputs"]
        np.testing.assert_allclose(outputs["probabilities"], model.probabilities(pairs), atol=1e-5)

    def test_ids_of_different_lengths_at_once(self, served):
        model, client = served
        rows = [[2, 5, 3], [2, 5, 6, 7, 3], [2, 3], [2, 9, 3]]
        answers = [None] * len(rows)

        def ask(n):
            row = [rows[n]]
            zeros, ones = [[0] * len(row[0])], [[1] * len(row[0])]
            inputs = {"token_ids": row, "segment_ids": zeros, "padding_mask": ones}
            response = predict(client, {"inputs": inputs, "signature_name": "tokens"})
            answers[n] = response.json()["outputs"][0]

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(rows))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for row, answer in zip(rows, answers, strict=True):
            ids = np.array([row], "int32")
            inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
            np.testing.assert_allclose(answer, model(inputs)[0], atol=1e-5)

    def test_embeddings(self, served):
        _, client = served
        content = {"instances": ["a good film"], "signature_name": "embeddings"}
        (prediction,) = predict(client, content).json()["predictions"]
        assert {name: len(value) for name, value in prediction.items()} == {
            "pooled_output": 16,
            "mean_output": 16,
        }

    def test_classify(self, served):
        model, client = served
        content = {"examples": [{"text": "a good film"}, {"text": ["bad"]}]}
        results = client.post(f"{URL}:classify", json=content).json()["results"]
        expected = model.probabilities(["a good film", "bad"])
        for row, probabilities in zip(results, expected, strict=True):
            assert [name for name, _ in row] == model.labels
            np.testing.assert_allclose([score for _, score in row], probabilities, atol=1e-5)

    def test_a_version_by_name(self, served):
        _, client = served
        content = {"instances": ["a good film"]}
        by_version = client.post(f"{URL}/versions/3:predict", json=content)
        assert by_version.json() == predict(client, content).json()

    def test_status(self, served):
        status = {
            "version": "3",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for url in (URL, f"{URL}/versions/3"):
            assert served[1].get(url).json() == {"model_version_status": [status]}

    def test_metadata(self, served):
        content = served[1].get(f"{URL}/metadata").json()
        assert content["model_spec"] == {"name": "films", "signature_name": "", "version": "3"}
        signatures = content["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == {"serving_default", "pairs", "tokens", "embeddings", "classify"}
        ids = signatures["tokens"]["inputs"]["token_ids"]
        assert ids["dtype"] == "DT_INT32"
        assert [d["size"] for d in ids["tensor_shape"]["dim"]] == ["-1", "-1"]
        assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"

    def test_health(self, served):
        response = served[1].get("/healthz")
        assert response.status_code == 200
        assert response.json() == {"status": "ok", "model": "films", "version": "3"}

    def test_metrics(self, served):
        client = served[1]

        def value(name, **labels):
            for family in text_string_to_metric_families(client.get("/metrics").text):
                for sample in family.samples:
                    if sample.name == name and labels.items() <= sample.labels.items():
                        return sample.value
            return 0.0

        before = [
            value("bert_requests_total", endpoint="predict", code="200"),
            value("bert_requests_total", endpoint="predict", code="400"),
            value("bert_batch_rows_sum"),
            value("bert_model_seconds_count"),
        ]
        predict(client, {"instances": ["good", "bad"]})
        predict(client, {})
        after = [
            value("bert_requests_total", endpoint="predict", code="200"),
            value("bert_requests_total", endpoint="predict", code="400"),
            value("bert_batch_rows_sum"),
            value("bert_model_seconds_count"),
        ]
        assert np.subtract(after, before).tolist() == [1, 1, 2, 1]
        assert value("bert_queue_rows") == 0

    def test_the_page_needs_nothing_from_elsewhere(self, served):
        response = served[1].get("/")
        assert response.headers["content-type"].startswith("text/html")
        assert "http://" not in response.text
        assert "https://" not in response.text
        assert "default-src 'none'" in response.headers["content-security-policy"]


IDS = {"segment_ids": [[0, 0, 0]], "padding_mask": [[1, 1, 1]]}


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"instances": [1]}, "text must be strings, received the number 1."),
            (
                {"instances": ["a"], "signature_name": "no"},
                'Serving signature name "no" not found: the model has classify, embeddings, pairs,',
            ),
            (
                {"inputs": {**IDS, "token_ids": [[2, 500, 3]]}, "signature_name": "tokens"},
                "token_ids must be from 0 to 23",
            ),
            (
                {
                    "inputs": {name: [[0] * 33] for name in (*IDS, "token_ids")},
                    "signature_name": "tokens",
                },
                "token_ids must have at most 32 tokens, the positions of the model: truncate them",
            ),
            (
                {"instances": ["garbage"], "signature_name": "classify"},
                "Could not parse example",
            ),
        ],
    )
    def test_what_the_model_cannot_take(self, served, content, message):
        response = predict(served[1], content)
        assert response.status_code == 400
        assert response.json()["error"].startswith(message)

    def test_examples_without_the_text(self, served):
        response = served[1].post(f"{URL}:classify", json={"examples": [{"title": "a"}]})
        assert response.status_code == 400
        assert "Feature: text (data type: string) is required" in response.json()["error"]

    def test_examples_beyond_64_bits(self, served):
        response = served[1].post(f"{URL}:classify", json={"examples": [{"text": 2**64}]})
        assert response.status_code == 400
        assert "The features are no tf.train.Example" in response.json()["error"]

    def test_classify_by_another_signature(self, served):
        content = {"examples": [{"text": "a"}], "signature_name": "pairs"}
        response = served[1].post(f"{URL}:classify", json=content)
        assert response.status_code == 400
        assert 'The signature "pairs" takes no examples: use :predict' in response.json()["error"]

    def test_classify_by_an_unknown_signature(self, served):
        content = {"examples": [{"text": "a"}], "signature_name": "no"}
        response = served[1].post(f"{URL}:classify", json=content)
        assert response.status_code == 400
        assert response.json()["error"].startswith('Serving signature name "no" not found')

    def test_halves_of_surrogate_pairs_in_what_is_refused(self, served):
        body = b'{"instances": ["a"], "signature_name": "\\ud800"}'
        response = served[1].post(f"{URL}:predict", content=body)
        assert response.status_code == 400
        assert 'Serving signature name "\\ud800" not found' in response.json()["error"]

    def test_no_json(self, served):
        response = served[1].post(f"{URL}:predict", content=b"{")
        assert response.status_code == 400
        assert response.json()["error"].startswith("JSON parse error: ")

    @pytest.mark.parametrize(
        "url",
        ["/v1/models/other:predict", f"{URL}/versions/4:predict", f"{URL}/versions/x:predict"],
    )
    def test_unknown_model_or_version(self, served, url):
        response = served[1].post(url, json={"instances": ["a"]})
        assert response.status_code == 404
        error = response.json()["error"]
        assert error.startswith("Servable not found for request: ")
        assert error.endswith("this server has films, version 3.")

    @pytest.mark.parametrize(
        ("method", "url", "status"),
        [
            ("GET", "/nowhere", 404),
            ("POST", "/healthz", 405),
            ("POST", f"{URL}:regress", 405),
            ("DELETE", URL, 405),
        ],
    )
    def test_unknown_addresses(self, served, method, url, status):
        response = served[1].request(method, url)
        assert response.status_code == status
        assert response.json() == {"error": f"Malformed request: {method} {url}"}

    def test_a_text_too_long(self, served):
        response = predict(served[1], {"instances": ["x" * 10_001]})
        assert response.status_code == 413
        assert "a text of 10001 bytes, the limit is 10000" in response.json()["error"]

    def test_a_body_too_large(self, served):
        response = served[1].post(f"{URL}:predict", content=b"x" * 5_000_000)
        assert response.status_code == 413
        assert "The body has 5000000 bytes, the limit is 50000" in response.json()["error"]

    def test_more_rows_than_the_queue_holds(self, served):
        response = predict(served[1], {"instances": ["x"] * 51})
        assert response.status_code == 413
        assert "The request has 51 rows, the queue holds 50" in response.json()["error"]


class SlowModel:
    """Stands in for a `ServedModel` whose calls take long, or fail."""

    version = 1

    def __init__(self, seconds=0.0, error=None):
        self.seconds, self.error = seconds, error

    def inputs(self, signature):
        return {"text": Input(np.dtype(object), (None,))}

    def batch_key(self, signature, row):
        return (signature,)

    def run(self, signature, rows):
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return [{"label": row["text"].decode()} for row in rows]


class TestUnderPressure:
    def test_too_slow_is_504(self):
        app = ModelServer(SlowModel(0.5), "films", Limits(timeout=0.05)).app()
        with TestClient(app) as client:
            response = predict(client, {"instances": ["a"]})
        assert response.status_code == 504
        assert response.json() == {"error": "No answer within 0.05 seconds: try again later."}

    def test_a_full_queue_is_503(self):
        app = ModelServer(SlowModel(0.3), "films", Limits(max_queue=2, max_batch_size=1)).app()
        responses = []
        with TestClient(app) as client:
            threads = [
                threading.Thread(
                    target=lambda: responses.append(predict(client, {"instances": ["a"]}))
                )
                for _ in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        codes = sorted(response.status_code for response in responses)
        # One runs and two wait, if they arrive together; one or more find the queue full.
        assert set(codes) == {200, 503}
        assert codes.count(503) <= 4
        full = next(response for response in responses if response.status_code == 503)
        assert full.headers["retry-after"] == "1"
        assert full.json() == {"error": "The queue is full: try again later."}

    def test_a_stop_finishes_what_is_queued(self):
        model_server = ModelServer(SlowModel(0.5), "films", Limits(max_batch_size=1))
        config = uvicorn.Config(model_server.app(), port=0, log_level="warning")
        with config.bind_socket() as socket:
            url = f"http://127.0.0.1:{socket.getsockname()[1]}{URL}:predict"
            server = uvicorn.Server(config)
            running = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
            running.start()
            with ThreadPoolExecutor(3) as threads:
                answers = [
                    threads.submit(httpx2.post, url, json={"instances": [f"text {n}"]}, timeout=30)
                    for n in range(3)
                ]
                deadline = time.monotonic() + 20
                while not server.started or len(model_server._batcher) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                # This is what uvicorn's handler of SIGTERM sets.
                server.should_exit = True
                for n, answer in enumerate(answers):
                    assert answer.result().json() == {"predictions": [f"text {n}"]}
            running.join(20)
            assert not running.is_alive()

    def test_a_failure_is_500_and_the_server_goes_on(self):
        model = SlowModel(error=MemoryError("secret"))
        app = ModelServer(model, "films").app()
        with TestClient(app, raise_server_exceptions=False) as client:
            response = predict(client, {"instances": ["a"]})
            assert response.status_code == 500
            assert response.json() == {"error": "The server failed on this request: MemoryError."}
            model.error = None
            assert predict(client, {"instances": ["a"]}).json() == {"predictions": ["a"]}

    def test_not_a_number_is_written_as_tensorflow_serving_does(self):
        class NanModel(SlowModel):
            def run(self, signature, rows):
                return [{"score": float("nan")}] * len(rows)

        with TestClient(ModelServer(NanModel(), "films").app()) as client:
            text = predict(client, {"instances": ["a"]}).text
        assert text == '{"predictions":[NaN]}'
        assert np.isnan(json.loads(text)["predictions"][0])


class TestServedModel:
    def test_the_highest_version(self, tmp_path):
        for name in ("9", "10", "11", "old"):
            (tmp_path / name).mkdir()
            # A folder without a model is a version that is being copied.
            if name != "11":
                (tmp_path / name / "saved_model.pb").touch()
        assert newest_version(tmp_path) == (tmp_path / "10", 10)

    def test_a_plain_folder(self, tmp_path):
        (tmp_path / "saved_model.pb").touch()
        assert newest_version(tmp_path) == (tmp_path, 1)

    def test_nothing_to_serve(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds neither a saved_model.pb nor versions of one"):
            ServedModel(tmp_path / "none")

    def test_a_damaged_model(self, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"damaged")
        with pytest.raises(ValueError, match="does not load as a SavedModel"):
            ServedModel(tmp_path)

    def test_rows_of_similar_lengths_share_batches(self, served_model):
        def key(text):
            return served_model.batch_key("serving_default", {"text": text})

        assert key(b"") == key(b"a good film")
        assert key(b"x" * 40) == key(b"x" * 60) != key(b"x" * 70)
        # What is truncated anyway costs the same.
        assert key(b"x" * 5000) == key(b"x" * 90_000)

    def test_an_unknown_signature(self, served_model):
        with pytest.raises(RequestError, match='Serving signature name "no" not found'):
            served_model.inputs("no")


class TestSettings:
    def test_limits_are_positive(self):
        with pytest.raises(ValueError, match="max_queue must be greater than 0, received 0"):
            Limits(max_queue=0)

    @pytest.mark.parametrize("name", ["", "a/b", "a:b", "a b"])
    def test_the_name_must_fit_an_address(self, name, tmp_path):
        with pytest.raises(ValueError, match="name must have none of / : [?] # % and spaces"):
            serve(tmp_path, name)
