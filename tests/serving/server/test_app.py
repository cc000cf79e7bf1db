"""The server's answers and refusals, in this process; benchmarks/serving.py runs a real one."""

import gzip
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.server import app as app_module
from keras_bert_scratch.serving.server.app import Limits, ModelServer, serve
from keras_bert_scratch.serving.server.rest import Input, RequestError
from keras_bert_scratch.serving.server.served_model import ServedModel, newest_version
from keras_bert_scratch.serving.server.versions import ModelVersions, VersionStatus

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

        def ask(row):
            zeros, ones = [[0] * len(row)], [[1] * len(row)]
            inputs = {"token_ids": [row], "segment_ids": zeros, "padding_mask": ones}
            response = predict(client, {"inputs": inputs, "signature_name": "tokens"})
            return response.json()["outputs"][0]

        with ThreadPoolExecutor(len(rows)) as threads:
            answers = list(threads.map(ask, rows))
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

        def values():
            return [
                value("bert_requests_total", endpoint="predict", code="200"),
                value("bert_requests_total", endpoint="predict", code="400"),
                value("bert_batch_rows_sum"),
                value("bert_model_seconds_count"),
            ]

        before = values()
        predict(client, {"instances": ["good", "bad"]})
        predict(client, {})
        assert np.subtract(values(), before).tolist() == [1, 1, 2, 1]
        assert value("bert_queue_rows") == 0

    def test_the_page_needs_nothing_from_elsewhere(self, served):
        response = served[1].get("/")
        assert response.headers["content-type"].startswith("text/html")
        assert "http://" not in response.text
        assert "https://" not in response.text
        assert "default-src 'none'" in response.headers["content-security-policy"]


class TestNewVersions:
    @pytest.fixture
    def watched(self, monkeypatch):
        """A server whose next version is what the test says."""
        monkeypatch.setattr(app_module, "_POLL_SECONDS", 0.02)

        class Versions:
            def __init__(self):
                self.statuses = {1: VersionStatus("AVAILABLE")}
                self.coming = None

            def next(self, served):
                if isinstance(self.coming, Exception):
                    raise self.coming
                coming, self.coming = self.coming, None
                if coming is not None:
                    self.statuses = {1: VersionStatus("END"), 2: VersionStatus("AVAILABLE")}
                return coming

        return Versions()

    def test_requests_in_flight_end_on_the_version_they_came_for(self, watched):
        old, new = SlowModel(0.3, mark="old "), SlowModel(mark="new ")
        new.version = 2
        limits = Limits(max_batch_size=1)
        app = ModelServer(old, "films", limits, versions=watched).app()
        with TestClient(app) as client, ThreadPoolExecutor(3) as threads:
            waiting = [threads.submit(predict, client, {"instances": [f"{n}"]}) for n in range(3)]
            time.sleep(0.1)
            watched.coming = new
            deadline = time.monotonic() + 10
            while client.get("/healthz").json()["version"] == "1":
                assert time.monotonic() < deadline
            later = predict(client, {"instances": ["x"]}).json()
            assert later == {"predictions": ["new x"]}
            for n, answer in enumerate(waiting):
                assert answer.result().json() == {"predictions": [f"old {n}"]}

            def states(url):
                found = client.get(url).json()["model_version_status"]
                return [(status["version"], status["state"]) for status in found]

            assert states(URL) == [("2", "AVAILABLE"), ("1", "END")]
            assert states(f"{URL}/versions/1") == [("1", "END")]
            assert client.get(f"{URL}/versions/3").status_code == 404
            gone = client.post(f"{URL}/versions/1:predict", json={"instances": ["x"]})
            assert gone.status_code == 404
            assert "this server has films, version 2." in gone.json()["error"]

    def test_a_failure_while_looking_is_no_end(self, watched, caplog):
        watched.coming = OSError("The disk is away.")
        new = SlowModel(mark="new ")
        new.version = 2
        with TestClient(ModelServer(SlowModel(), "films", versions=watched).app()) as client:
            time.sleep(0.1)
            assert client.get("/healthz").json()["version"] == "1"
            watched.coming = new
            deadline = time.monotonic() + 10
            while client.get("/healthz").json()["version"] == "1":
                assert time.monotonic() < deadline
        assert "Looking for new versions failed" in caplog.text

    def test_a_real_one(self, versioned_export, tmp_path, monkeypatch):
        monkeypatch.setattr(app_module, "_POLL_SECONDS", 0.1)
        _, folder = versioned_export
        shutil.copytree(folder / "3", tmp_path / "3")
        versions = ModelVersions(tmp_path)
        first = versions.first()
        text = "a good film"
        with TestClient(ModelServer(first, "films", versions=versions).app()) as client:
            answer = predict(client, {"instances": [text]}).json()
            shutil.copytree(folder / "3", tmp_path / "20")
            answers, deadline = [], time.monotonic() + 60
            while client.get("/healthz").json()["version"] == "3":
                answers.append(predict(client, {"instances": [text]}))
                assert time.monotonic() < deadline
            answers.append(predict(client, {"instances": [text]}))
            metadata = client.get(f"{URL}/metadata").json()
        assert all(a.status_code == 200 for a in answers)
        for other in answers:
            np.testing.assert_allclose(
                other.json()["predictions"][0]["probabilities"],
                answer["predictions"][0]["probabilities"],
                atol=1e-6,
            )
        assert metadata["model_spec"]["version"] == "20"


class TestBodies:
    @pytest.fixture
    def client(self):
        limits = Limits(max_body_bytes=20_000, max_pending_bytes=30_000)
        with TestClient(ModelServer(SlowModel(), "films", limits).app()) as client:
            yield client

    def post(self, client, body, encoding):
        headers = {"Content-Encoding": encoding}
        return client.post(f"{URL}:predict", content=body, headers=headers)

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
    def test_gzip(self, client, encoding):
        body = gzip.compress(b'{"instances": ["a good film"]}')
        response = self.post(client, body, encoding)
        assert response.json() == {"predictions": ["a good film"]}

    def test_no_encoding_by_name(self, client):
        response = self.post(client, b'{"instances": ["a"]}', "identity")
        assert response.json() == {"predictions": ["a"]}

    @pytest.mark.parametrize(
        ("body", "encoding", "status", "message"),
        [
            (
                gzip.compress(bytes(20_001), mtime=0),
                "gzip",
                413,
                "unpacks to more than 20000 bytes",
            ),
            (gzip.compress(b"{}", mtime=0)[:-3], "gzip", 400, "The body is not gzip"),
            (b'{"instances": ["a"]}', "gzip", 400, "The body is not gzip"),
            (gzip.compress(b"{}", mtime=0), "br", 415, "must be gzip or none, received br."),
            (gzip.compress(b"{}", mtime=0), "gzip, gzip", 415, "received gzip, gzip."),
        ],
    )
    def test_refusals(self, client, body, encoding, status, message):
        response = self.post(client, body, encoding)
        assert response.status_code == status
        assert message in response.json()["error"]
        if status == 415:
            assert response.headers["accept-encoding"] == "gzip"

    def test_classify(self, client):
        """Refused for the model's sake, after it has been unpacked."""
        body = gzip.compress(b'{"examples": [{"text": "a"}]}')
        headers = {"Content-Encoding": "gzip"}
        response = client.post(f"{URL}:classify", content=body, headers=headers)
        assert "takes no examples" in response.json()["error"]

    def test_large_bodies_and_answers(self, client):
        """They are read and written in a thread, in pieces."""
        texts = [f"text {n} " + "x" * 20 for n in range(500)]
        assert predict(client, {"instances": texts}).json() == {"predictions": texts}

    def test_all_bodies_together_are_bounded(self):
        limits = Limits(max_body_bytes=20_000, max_pending_bytes=30_000, max_batch_size=1)
        model_server = ModelServer(SlowModel(0.5), "films", limits)
        content = {"instances": ["x" * 18_000]}
        with TestClient(model_server.app()) as client, ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: predict(client, content), range(3)))
            codes = sorted(answer.status_code for answer in answers)
            assert codes == [200, 503, 503]
            busy = next(answer for answer in answers if answer.status_code == 503)
            assert busy.headers["retry-after"] == "1"
            assert busy.json() == {"error": "Too many bodies are pending: try again later."}
            # Room is given back, by those that were refused, too.
            assert model_server._pending_bytes == 0
            assert predict(client, content).status_code == 200

    def test_a_limit_is_the_largest_size_taken(self):
        body = b'{"instances": ["%s"]}' % (b"x" * 100)
        for size, status in ((len(body), 200), (len(body) - 1, 413)):
            limits = Limits(max_body_bytes=size, max_pending_bytes=size)
            with TestClient(ModelServer(SlowModel(), "films", limits).app()) as client:
                assert client.post(f"{URL}:predict", content=body).status_code == status

    def test_no_rows_are_refused_as_by_tensorflow_serving(self, client):
        response = predict(client, {"instances": []})
        assert response.status_code == 400
        assert '"instances" must be a list of one or more' in response.json()["error"]


class TestPages:
    def client(self, **options):
        return TestClient(ModelServer(SlowModel(), "films", **options).app())

    def test_other_origins_may_not_read_unless_they_are_named(self):
        origin = {"Origin": "https://a.example"}
        with self.client() as client:
            assert "access-control-allow-origin" not in client.get(URL, headers=origin).headers
        with self.client(cors_origins=["https://a.example", "https://b.example"]) as client:
            headers = client.get(URL, headers=origin).headers
            assert headers["access-control-allow-origin"] == "https://a.example"
            # Errors are told, too.
            headers = client.get("/nowhere", headers=origin).headers
            assert headers["access-control-allow-origin"] == "https://a.example"
            headers = client.get(URL, headers={"Origin": "https://c.example"}).headers
            assert "access-control-allow-origin" not in headers
        with self.client(cors_origins=["*"]) as client:
            assert client.get(URL, headers=origin).headers["access-control-allow-origin"] == "*"

    def test_a_browser_asks_before_it_posts(self):
        headers = {
            "Origin": "https://a.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, content-encoding",
        }
        with self.client(cors_origins=["https://a.example"]) as client:
            allowed = client.options(f"{URL}:predict", headers=headers)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == "https://a.example"
            assert "POST" in allowed.headers["access-control-allow-methods"]
            assert "content-encoding" in allowed.headers["access-control-allow-headers"]
            headers["Origin"] = "https://b.example"
            assert client.options(f"{URL}:predict", headers=headers).status_code == 400
        with self.client() as client:
            assert client.options(f"{URL}:predict", headers=headers).status_code == 405

    @pytest.mark.parametrize(
        "origin", ["a.example", "https://a.example/", "https://a/b", "", "a b"]
    )
    def test_what_is_no_origin(self, origin):
        with pytest.raises(ValueError, match="An origin is a scheme, a host and maybe a port"):
            ModelServer(SlowModel(), cors_origins=[origin])

    def test_the_page_asks_where_it_stands(self):
        """A proxy may have put it behind a prefix, which it removes."""
        with self.client() as client:
            text = client.get("/").text
        # Requests begin with the address of the page itself.
        assert re.findall(r"fetch\((.)(.{7})", text) == [("`", "${root}")] * 3
        assert "location.pathname" in text

    @pytest.mark.parametrize("prefix", ["/films", "/a/b"])
    def test_a_prefix_that_a_proxy_does_not_remove(self, prefix):
        with self.client(root_path=prefix) as client:
            for start in (prefix, ""):
                url = f"{start}{URL}:predict"
                assert client.post(url, json={"instances": ["a"]}).status_code == 200
                assert client.get(f"{start}/healthz").status_code == 200
            page = client.get(prefix)
            assert page.text == client.get(f"{prefix}/").text == client.get("/").text
            assert client.get(f"{prefix}x/healthz").status_code == 404

    @pytest.mark.parametrize("prefix", ["films", "/films/", "/", "/a b"])
    def test_what_is_no_prefix(self, prefix):
        with pytest.raises(ValueError, match="root_path must be like"):
            ModelServer(SlowModel(), root_path=prefix)


IDS = {"segment_ids": [[0, 0, 0]], "padding_mask": [[1, 1, 1]]}
LONG_IDS = {name: [[0] * 33] for name in (*IDS, "token_ids")}


class TestRefusals:
    @pytest.mark.parametrize(
        ("method", "content", "status", "message"),
        [
            ("predict", {"instances": [1]}, 400, "text must be strings, received the number 1."),
            (
                "predict",
                {"instances": ["a"], "signature_name": "no"},
                400,
                'Serving signature name "no" not found: the model has classify, embeddings, pairs,',
            ),
            (
                "predict",
                {"inputs": {**IDS, "token_ids": [[2, 500, 3]]}, "signature_name": "tokens"},
                400,
                "token_ids must be from 0 to 23",
            ),
            (
                "predict",
                {"inputs": LONG_IDS, "signature_name": "tokens"},
                400,
                "token_ids must have at most 32 tokens, the positions of the model: truncate them",
            ),
            (
                "predict",
                {"instances": ["garbage"], "signature_name": "classify"},
                400,
                "Could not parse example",
            ),
            ("classify", {"examples": [{"title": "a"}]}, 400,
             "Feature: text (data type: string) is required"),
            ("classify", {"examples": [{"text": 2**64}]}, 400,
             "The features are no tf.train.Example"),
            ("classify", {"examples": [{"text": "a"}], "signature_name": "pairs"}, 400,
             'The signature "pairs" takes no examples: use :predict'),
            ("classify", {"examples": [{"text": "a"}], "signature_name": "no"}, 400,
             'Serving signature name "no" not found'),
            ("predict", b'{"instances": ["a"], "signature_name": "\\ud800"}', 400,
             'Serving signature name "\\ud800" not found'),
            ("predict", b"{", 400, "JSON parse error: "),
            ("predict", {"instances": ["x" * 10_001]}, 413,
             "a text of 10001 bytes, the limit is 10000"),
            ("predict", b"x" * 5_000_000, 413, "The body has 5000000 bytes, the limit is 50000"),
            ("predict", {"instances": ["x"] * 51}, 413,
             "The request has 51 rows, the queue holds 50"),
        ],
        ids=lambda value: None if isinstance(value, int | str) else "",
    )  # fmt: skip
    def test_bad_requests(self, served, method, content, status, message):
        body = content if isinstance(content, bytes) else json.dumps(content)
        response = served[1].post(f"{URL}:{method}", content=body)
        assert response.status_code == status
        assert message in response.json()["error"]

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


class SlowModel:
    """Stands in for a `ServedModel` whose calls take long, or fail."""

    version = 1

    def __init__(self, seconds=0.0, error=None, mark=""):
        self.seconds, self.error, self.mark = seconds, error, mark

    def inputs(self, signature):
        return {"text": Input(np.dtype(object), (None,))}

    def is_for_classify(self, signature):
        return False

    def batch_key(self, signature, row):
        return (signature,)

    def run(self, signature, rows):
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return [{"label": self.mark + row["text"].decode()} for row in rows]


class TestUnderPressure:
    def test_too_slow_is_504(self):
        app = ModelServer(SlowModel(0.5), "films", Limits(timeout=0.05)).app()
        with TestClient(app) as client:
            response = predict(client, {"instances": ["a"]})
        assert response.status_code == 504
        assert response.json() == {"error": "No answer within 0.05 seconds: try again later."}

    def test_a_full_queue_is_503(self):
        app = ModelServer(SlowModel(0.3), "films", Limits(max_queue=2, max_batch_size=1)).app()
        with TestClient(app) as client, ThreadPoolExecutor(6) as threads:
            responses = list(threads.map(predict, [client] * 6, [{"instances": ["a"]}] * 6))
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


PROCESS = """
import sys
import numpy as np
from keras_bert_scratch.serving.server import app, versions
from keras_bert_scratch.serving.server.rest import Input

class Model:
    version, folder = 1, "folder"
    def inputs(self, signature):
        return {"text": Input(np.dtype(object), (None,))}
    def batch_key(self, signature, row):
        return ()
    def run(self, signature, rows):
        return [{"n": 1}] * len(rows)

versions.ModelVersions.first = lambda self: Model()
app.serve(sys.argv[1], "films", port=0, allowed_hosts=["films.example"])
"""


def test_it_says_that_it_listens_once_it_does(tmp_path):
    """In a process of its own, whose model is a stand-in."""
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"\(version 1\): (http://127\.0\.0\.1:\d+)/v1/models/films$", line)[
                1
            ]
            # At once, without another try.
            response = httpx2.post(f"{address}{URL}:predict", json={"instances": ["a"]})
            assert response.json() == {"predictions": [1]}
            assert "films.example (--allowed-host)" in process.stdout.readline()
            assert process.stdout.readline() == f"Try it: {address}/\n"
            for host, status in (("films.example", 200), ("other.example", 400)):
                found = httpx2.get(f"{address}/healthz", headers={"Host": host})
                assert found.status_code == status
            huge = httpx2.get(f"{address}/healthz", headers={"X": "x" * 20_000})
            assert huge.status_code == 431
            process.terminate()
            assert process.wait(20) == -signal.SIGTERM
        finally:
            process.kill()


def test_an_address_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"listen at 127.0.0.1, port {port} .*: choose another"):
            serve(tmp_path, port=port)
