"""What the comparisons share. They are collected where `make parity` has installed transformers."""

import functools
import http.server
import importlib.util
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["*"]


@pytest.fixture(scope="session")
def as_torch() -> Callable[..., dict[str, Any]]:
    """Returns a function that turns our inputs into the arguments of transformers' models."""
    import torch

    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    segments = {"segment_ids": "token_type_ids"}

    def convert(inputs: dict[str, Any], has_segments: bool = True) -> dict[str, Any]:
        arguments = names | segments if has_segments else names
        return {
            name: torch.tensor(np.asarray(inputs[ours])).long() for ours, name in arguments.items()
        }

    return convert


@pytest.fixture(scope="session")
def randomized() -> Callable[..., Any]:
    """Returns a function that draws weights far from their initial values, so that all show."""
    import torch

    def randomize(model: Any, seed: int = 0, scale: float = 1.0) -> Any:
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                is_norm = name.lower().endswith("norm.weight")
                deviation = scale * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.3
                weight.normal_(float(is_norm), deviation)
        return model.eval()

    return randomize


@pytest.fixture(scope="session")
def load_there() -> Callable[[str, Path], Any]:
    """Returns a function that loads a folder in transformers without a complaint."""
    import transformers

    def load(kind: str, folder: Path) -> Any:
        model, report = getattr(transformers, kind).from_pretrained(
            folder, output_loading_info=True
        )
        assert "missing_keys" in report
        assert {problem: list(names) for problem, names in report.items() if names} == {}
        return model.eval()

    return load


@pytest.fixture(scope="session")
def assert_same_gradients() -> Callable[..., None]:
    """Returns a function that compares the gradients of all weights, by rows of the name table."""
    import tensorflow as tf

    def compare(
        rows: Any, gradients: Any, theirs: Any, prefix: str = "", atol: float | None = None
    ) -> None:
        parameters = dict(theirs.named_parameters())
        assert set(parameters) == {row.huggingface.removeprefix(prefix) for row in rows}
        for row, gradient in zip(rows, gradients, strict=True):
            ours = np.array(tf.convert_to_tensor(gradient))
            reference = parameters[row.huggingface.removeprefix(prefix)].grad.numpy()
            reference = reference.T if row.transpose else reference
            if atol is None and row.ours.endswith("key.bias"):
                # It adds the same to all scores of a query, which softmax ignores: 0 in theory.
                assert max(np.abs(ours).max(), np.abs(reference).max()) < 1e-4
            else:
                tolerance = atol or 1e-4 * np.abs(reference).max()
                np.testing.assert_allclose(
                    ours, reference, rtol=0, atol=tolerance, err_msg=row.ours
                )

    return compare


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts what the page posts into the server's queue."""

    def do_POST(self):
        self.server.answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def install(npm: str, folder: Path, *packages: str) -> None:
    """Installs packages of npm's registry in a folder, or skips the test."""
    command = [npm, "install", "--prefix", str(folder), *packages]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm could not install {packages}: {installed.stderr[-200:]}")


@pytest.fixture
def ask_browser(tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that opens a page in the test's folder, and returns what it posts.

    It runs where `npm` and `chromium` are found (on Debian `apt-get install npm chromium`).
    """
    chromium, npm = shutil.which("chromium"), shutil.which("npm")
    if not chromium or not npm:
        pytest.skip("chromium and npm are not both installed")

    def ask(page: str, *packages: str) -> Any:
        install(npm, tmp_path, *packages)
        (tmp_path / "index.html").write_text(page)
        handler = functools.partial(Handler, directory=tmp_path)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.answers = queue.Queue()
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = subprocess.Popen(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
                + ["--disable-background-networking", "--disable-component-update"]
                + ["--disable-sync", "--remote-debugging-port=0"]
                + [f"--user-data-dir={tmp_path / 'profile'}"]
                + [f"http://127.0.0.1:{server.server_port}/index.html"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                return server.answers.get(timeout=120)
            finally:
                browser.terminate()
                browser.wait()
                server.shutdown()

    return ask


@pytest.fixture(scope="session")
def drive_browser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Returns a function that runs a script of playwright, and returns the JSON that it prints.

    The script is given its settings as JSON, and in them, as `browser`, where Chromium is;
    axe-core lies in its node_modules.
    """
    chromium, npm, node = map(shutil.which, ("chromium", "npm", "node"))
    if not chromium or not npm or not node:
        pytest.skip("chromium and npm are not both installed")
    folder = tmp_path_factory.mktemp("playwright")
    install(npm, folder, "playwright-core@1.65.1", "axe-core@4.14.1")

    def drive(script: str, **settings: Any) -> Any:
        (folder / "ask.mjs").write_text(script)
        result = subprocess.run(
            [node, "ask.mjs", json.dumps({**settings, "browser": chromium})],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return drive
