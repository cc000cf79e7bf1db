"""MediaPipe's package for browsers runs what `export(format="mediapipe")` writes, in Chromium.

It runs where `npm` and `chromium` are found (on Debian `apt-get install npm chromium`).
"""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor

PACKAGE = "@mediapipe/tasks-text"
PAGE = f"""<!doctype html><script type="module">
let answers;
try {{
  const {{FilesetResolver, TextClassifier}} =
    await import("./node_modules/{PACKAGE}/text_bundle.mjs");
  const files = await FilesetResolver.forTextTasks("./node_modules/{PACKAGE}/wasm");
  const options = {{baseOptions: {{modelAssetPath: "./model.tflite"}}}};
  const classifier = await TextClassifier.createFromOptions(files, options);
  const texts = await (await fetch("./texts.json")).json();
  answers = texts.map(text => Object.fromEntries(
    classifier.classify(text).classifications[0].categories.map(c => [c.categoryName, c.score])));
}} catch (error) {{
  answers = String(error);
}}
await fetch("./answers", {{method: "POST", body: JSON.stringify(answers)}});
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts what the page posts into the server's queue."""

    def do_POST(self):
        self.server.answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_tasks_text_gives_the_probabilities(two_layer_classifier, tmp_path):
    chromium, npm = shutil.which("chromium"), shutil.which("npm")
    if not chromium or not npm:
        pytest.skip("chromium and npm are not both installed")
    installed = subprocess.run(
        [npm, "install", "--prefix", str(tmp_path), f"{PACKAGE}@1.0.1"],
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {installed.stderr[-200:]}")
    model = two_layer_classifier()
    model.export(tmp_path / "model.tflite", format="mediapipe")
    (tmp_path / "texts.json").write_text(json.dumps(PROBE_TEXTS))
    (tmp_path / "index.html").write_text(PAGE)

    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.answers = queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
            + [f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
            + [f"http://127.0.0.1:{server.server_port}/index.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            answers = server.answers.get(timeout=120)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()

    assert isinstance(answers, list), answers
    found = [[answer[label] for label in model.labels] for answer in answers]
    # LiteRTPredictor tokenizes as MediaPipe does; test_mediapipe.py compares it with the model.
    expected = LiteRTPredictor(tmp_path / "model.tflite").probabilities(PROBE_TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
