"""The page for browsers: what its folder holds, what is refused. parity/ asks it in a browser."""

import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import WordPieceTokenizer
from keras_bert_scratch.checkpoints import registry
from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.packed import encode_code_points
from keras_bert_scratch.serving.readers.base import LiteRTRunner
from keras_bert_scratch.serving.web import folder as web
from keras_bert_scratch.text.preprocessing import StripHtml

LABELS = ["<b>bad</b>", "好", "__proto__"]
IMPORT = 'import { createWasmLib } from "@litertjs/wasm-utils";\n'


def tarball(package):
    """An archive of npm with short files of the right names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in package.files:
            content = (IMPORT if name == "dist/index.js" else name).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Short packages take the place of the runtime's: their archives by name; nothing is cached."""
    archives = {package.name: tarball(package) for package in web._RUNTIME}
    runtime = [
        package._replace(sha256=hashlib.sha256(archives[package.name]).hexdigest())
        for package in web._RUNTIME
    ]
    monkeypatch.setattr(web, "_RUNTIME", runtime)
    monkeypatch.setattr(registry, "CACHE", tmp_path / "cache")
    return archives


@pytest.fixture
def cached(packages):
    """The same, cached."""
    registry.CACHE.mkdir()
    names = ["litertjs-core-2.5.3.tgz", "litertjs-wasm-utils-2.5.3.tgz"]
    for name, content in zip(names, packages.values(), strict=True):
        (registry.CACHE / name).write_bytes(content)
    return packages


def test_the_folder(tiny_classifier, cached, tmp_path):
    model, folder = tiny_classifier(LABELS), tmp_path / "page"
    model.export(folder, format="web", precision="float32", examples=["</script>", "a good film"])
    core, utils = web._RUNTIME
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    runtime = {*core.files.values(), *utils.files.values(), "LICENSE"}
    assert files == {"index.html", "classifier.js", "model.json", "model.tflite", "hashes.json"} | {
        f"runtime/{name}" for name in runtime
    }
    check_hashes(folder)

    assert json.loads((folder / "model.json").read_text("utf-8")) == {
        "labels": LABELS,
        "num_code_points": 8 * 32,
        "megabytes": round((folder / "model.tflite").stat().st_size / 1e6, 1),
        "examples": ["</script>", "a good film"],
    }
    # Labels and texts are in no markup, whatever they hold.
    for name in ("index.html", "classifier.js"):
        assert (folder / name).read_bytes() == (web._HERE / name).read_bytes()
    assert 'from "./wasm-utils.js"' in (folder / "runtime/index.js").read_text()
    assert (folder / "runtime/index.js").read_text().startswith("// Changed by keras_bert_scratch")
    assert "Apache License" in (folder / "runtime/LICENSE").read_text()
    name = "litert_wasm_internal.wasm"
    assert (folder / "runtime" / name).read_text() == f"wasm/{name}"

    answers = LiteRTRunner(folder / "model.tflite")(
        code_points=encode_code_points("a good film", 256)
    )
    np.testing.assert_allclose(
        answers["probabilities"], model.probabilities(["a good film"]), atol=1e-5
    )
    assert answers["unread"].tolist() == [[0, 0]]


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_what_is_not_read(tiny_classifier, truncation):
    # 30 tokens fit.
    model = tiny_classifier(truncation=truncation)
    answer = web._Answer(model._signature({}))
    head = {"head": 30, "tail": 0, "head_tail": 8}[truncation]
    for count in (15, 40):
        text = " ".join(["é!", "ab,", "电影"][i % 3] for i in range(count))
        tokens = model.tokenizer.encode(text, sequence_length=10_000)
        spans = tokens.offsets[1:-1]
        assert len(spans) == 2 * count
        start = end = 0
        if len(spans) > 30:
            start = spans[head - 1][1] if head else 0
            end = spans[head - 30][0] if head < 30 else len(text)
        found = answer(tf.constant(encode_code_points(text, 256)))
        assert found["unread"].numpy().tolist() == [[start, end]]
        np.testing.assert_allclose(found["probabilities"], model.probabilities([text]), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "full_int8"}, "one of float32, float16, int8; received 'full_int8'"),
        ({"examples": "a film"}, "examples must be a list of strings, received 'a film'"),
        ({"examples": [3]}, r"examples must be a list of strings, received \[3\]"),
        ({"num_code_points": 0}, "num_code_points must be a positive whole number, received 0"),
        ({"texts": ["good"] * 3}, "pass texts=, at least 100; received 3"),
    ],
)
def test_options(tiny_classifier, cached, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny_classifier().export(tmp_path / "page", format="web", **options)
    assert not (tmp_path / "page").exists()


def test_models_that_have_no_page(tiny_classifier, models, tmp_path):
    with pytest.raises(ValueError, match="this model gives a score: use 'tf_saved_model' or 'lit"):
        tiny_classifier(["rating"]).export(tmp_path / "page", format="web")
    windows = tiny_classifier(truncation="windows", window_stride=4)
    with pytest.raises(ValueError, match="truncation='windows': use 'tf_saved_model', or load"):
        windows.export(tmp_path / "page", format="web")
    model = tiny_classifier()
    model.tokenizer = WordPieceTokenizer(model.tokenizer.vocabulary, preprocessing=[StripHtml()])
    with pytest.raises(ValueError, match=r"with preprocessing=\(\), received .* with inputs='ids'"):
        model.export(tmp_path / "page", format="web")
    for task in ("sentence_encoder", "tagger", "answerer", "summarizer"):
        name = type(models(task)).__name__
        with pytest.raises(ValueError, match=f"this is a {name}: use 'tf_saved_model' or 'litert'"):
            models(task).export(tmp_path / "page", format="web")
    assert not (tmp_path / "page").exists()


# === The runtime ===
def test_npm_fetches_it_once(packages, monkeypatch):
    calls = []

    def run(command, cwd, **_):
        calls.append(command[1:3])
        name = command[2].rpartition("@")[0]
        (cwd / f"{name[1:].replace('/', '-')}-2.5.3.tgz").write_bytes(packages[name])

    monkeypatch.setattr(web.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(web.subprocess, "run", run)
    for _ in range(2):
        files = [web._fetch(package) for package in web._RUNTIME]
    assert [file.read_bytes() for file in files] == [*packages.values()]
    assert calls == [["pack", "@litertjs/core@2.5.3"], ["pack", "@litertjs/wasm-utils@2.5.3"]]
    assert sorted(registry.CACHE.iterdir()) == sorted(files)


def test_without_npm_it_is_fetched_all_the_same(packages, monkeypatch):
    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.paths.append(self.path)
            content = packages[self.path[len("/npm/") :].partition("/-/")[0]]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    monkeypatch.setattr(web.shutil, "which", lambda name: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.paths = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/npm/"
        monkeypatch.setenv("npm_config_registry", address)
        files = [web._fetch(package) for package in web._RUNTIME]
        server.shutdown()
    assert [file.read_bytes() for file in files] == [*packages.values()]
    assert server.paths[0] == "/npm/@litertjs/core/-/core-2.5.3.tgz"


def test_without_network(tiny_classifier, packages, monkeypatch, tmp_path):
    def run(command, **_):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(web.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(web.subprocess, "run", run)
    message = r"is above\): without network, run `npm pack @litertjs/core@2.5.3` where .*cache\."
    with pytest.raises(FileNotFoundError, match=message):
        tiny_classifier().export(tmp_path / "page", format="web")
    assert not (tmp_path / "page").exists()
    assert [*registry.CACHE.iterdir()] == []


def test_a_damaged_package(cached):
    (registry.CACHE / "litertjs-core-2.5.3.tgz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"litertjs-core-2.5.3.tgz is damaged .*: remove it"):
        web._fetch(web._RUNTIME[0])
