"""`push_to_hub` against a local stand-in of the hub's API, by huggingface_hub's own client."""

import base64
import http.server
import json
import re
import threading

import pytest
import yaml
from huggingface_hub import constants

from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.model_card import model_card
from keras_bert_scratch.tasks.classifier import BertClassifier

TOKEN = "hf_of_the_test"


class Hub(http.server.ThreadingHTTPServer):
    """What the client asks of the hub to make a model and to commit files to it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.models = {}  # id -> {"private": bool, "files": {path: bytes}, "summary": str}
        self.objects = {}  # sha256 -> bytes, of large files


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def is_refused(self):
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return False
        self.answer(401, {"error": "Invalid username or password."})
        return True

    def do_GET(self):
        name = self.path.removeprefix("/api/models/").split("?")[0]
        name = name.removesuffix("/revision/main")
        if self.is_refused():
            return
        if name in self.server.models:
            private = self.server.models[name]["private"]
            self.answer(200, {"id": name, "private": private, "siblings": [], "tags": []})
        else:
            self.answer(404, {"error": "Repository not found"})

    def do_PUT(self):
        self.server.objects[self.path.removeprefix("/objects/")] = self.body()
        self.answer(200, {})

    def do_POST(self):
        content = self.body()
        path = self.path.split("?")[0]
        if path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.is_refused():
            pass
        elif path == "/api/repos/create":
            self.create(json.loads(content))
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            # Weights are large files, however small they are here.
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(content)["files"]
            ]
            self.answer(200, {"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {
                    **wanted,
                    "actions": {
                        "upload": {"href": f"{self.server.address}/objects/{wanted['oid']}"}
                    },
                }
                for wanted in json.loads(content)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self.commit(found[1], content)
        else:
            self.answer(404, {"error": path})

    def create(self, wanted):
        name = "/".join(filter(None, (wanted.get("organization") or "me", wanted["name"])))
        url = f"{self.server.address}/{name}"
        if name in self.server.models:
            self.answer(409, {"error": "You already created this model repo", "url": url})
            return
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.server.models[name] = {"private": private, "files": {}}
        self.answer(200, {"url": url, "name": name})

    def commit(self, name, content):
        model = self.server.models[name]
        for line in content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                model["summary"] = value["summary"]
            elif entry["key"] == "file":
                assert value["encoding"] == "base64"
                model["files"][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                model["files"][value["path"]] = self.server.objects[value["oid"]]
        url = f"{self.server.address}/{name}/commit/{'0' * 40}"
        self.answer(200, {"success": True, "commitOid": "0" * 40, "commitUrl": url})


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Large files by HTTP: the other way needs the hub's storage.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def front_matter(card):
    start, metadata, text = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(metadata), text


def test_what_is_sent_is_what_save_pretrained_writes(hub, tiny_classifier, tmp_path):
    model = tiny_classifier()
    url = model.push_to_hub("me/films", token=TOKEN)
    assert url == f"{hub.address}/me/films/commit/{'0' * 40}"
    sent = dict(hub.models["me/films"]["files"])
    card = sent.pop("README.md").decode()
    model.save_pretrained(tmp_path / "saved")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert sent == saved
    assert "model.safetensors" in sent
    assert len(hub.objects) == 1

    # And what is on the hub is a checkpoint.
    (tmp_path / "fetched").mkdir()
    for name, content in hub.models["me/films"]["files"].items():
        (tmp_path / "fetched" / name).write_bytes(content)
    fetched = BertClassifier.from_pretrained(tmp_path / "fetched")
    assert (fetched.probabilities(["a film"]) == model.probabilities(["a film"])).all()
    metadata, text = front_matter(card)
    assert metadata["pipeline_tag"] == "text-classification"
    assert "license" not in metadata
    assert "Its labels: negative, positive." in text


def test_a_card_with_figures(hub, tiny_classifier):
    model = tiny_classifier()
    report = evaluate_classification([0, 1, 1, 1], [[1, 0], [0, 1], [0, 1], [1, 0]], model.labels)
    card = model_card(model, name="films", report=report, license="mit", language="en")
    model.push_to_hub("me/films", card=card, token=TOKEN, commit_message="First")
    assert hub.models["me/films"]["summary"] == "First"
    assert hub.models["me/films"]["files"]["README.md"].decode() == card


def test_a_private_model(hub, tiny_classifier):
    model = tiny_classifier()
    model.push_to_hub("me/secret", private=True, token=TOKEN)
    assert hub.models["me/secret"]["private"]
    # Once more, into the same; but never into one that strangers read.
    model.push_to_hub("me/secret", private=True, token=TOKEN)
    hub.models["me/open"] = {"private": False, "files": {}}
    message = "me/open is on the hub already and public, received private=True: change its"
    with pytest.raises(ValueError, match=message):
        model.push_to_hub("me/open", private=True, token=TOKEN)
    assert hub.models["me/open"]["files"] == {}


def test_a_refused_token(hub, tiny_classifier):
    message = "The hub refused to write me/films: log in with `hf auth login`, or pass token= of"
    with pytest.raises(PermissionError, match=message):
        tiny_classifier().push_to_hub("me/films", token="hf_of_somebody_else")
    assert hub.models == {}


def test_what_cannot_be_saved_is_refused_before_anything_is_sent(hub, tiny_classifier):
    without = tiny_classifier()
    without.tokenizer = None
    with pytest.raises(ValueError, match="has no tokenizer"):
        without.push_to_hub("me/films", token=TOKEN)
    with pytest.raises(ValueError, match="Repo id must"):
        tiny_classifier().push_to_hub("me//films", token=TOKEN)
    assert hub.models == {}
