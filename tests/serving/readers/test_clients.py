"""The code of apps: it runs in a process of its own, without this package."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest

from keras_bert_scratch.serving.readers.clients import LANGUAGES, client_code

TEXTS = ["A good FILM!", "caf\u00e9 电影 \U0001f600", "", "bad film " * 100]


@pytest.fixture
def exported(models, exports):
    return models("classifier"), exports("classifier", "code_points.tflite")


def test_python(exported, tmp_path):
    model, path = exported
    code = client_code(path, "python")
    (tmp_path / "client.py").write_text(code, encoding="utf-8")
    lines = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) == 8
    for text in TEXTS[:2]:
        run = [sys.executable, str(tmp_path / "client.py"), text]
        # In the folder of the file, without a path to this package.
        environment = {**os.environ, "PYTHONPATH": ""}
        said = subprocess.run(
            run, cwd=path.parent, env=environment, check=True, capture_output=True, text=True
        )
        found = ast.literal_eval(said.stdout)
        assert list(found) == model.labels
        np.testing.assert_allclose(list(found.values()), model.probabilities([text])[0], atol=1e-5)


@pytest.mark.slow
def test_c(exported, tmp_path):
    model, path = exported
    assert shutil.which("gcc"), "gcc compiles the client: apt-get install gcc"
    (tmp_path / "client.c").write_text(client_code(path, "c"), encoding="utf-8")
    library = Path(ai_edge_litert.__file__).parent
    compiler = ["gcc", "-Wall", "-Werror", "client.c", "-o", "client", "-l:libLiteRt.so"]
    compiler += [f"-L{library}", f"-Wl,-rpath,{library}"]
    subprocess.run(compiler, cwd=tmp_path, check=True)
    for text in TEXTS:
        run = [str(tmp_path / "client"), text]
        said = subprocess.run(run, cwd=path.parent, check=True, capture_output=True, text=True)
        rows = [line.split() for line in said.stdout.splitlines()]
        assert [label for label, _ in rows] == model.labels
        found = [float(value) for _, value in rows]
        np.testing.assert_allclose(found, model.probabilities([text])[0], atol=1e-5)


def test_code_is_filled_with_what_the_file_has(tiny_classifier, tmp_path):
    labels = ['"', "a \\ b", "$x @SIZE@"]
    model = tiny_classifier(labels=labels)
    path = tmp_path / "films.tflite"
    model.export(path, format="litert", inputs="code_points", num_code_points=77)
    for language in LANGUAGES:
        code = client_code(path, language)
        dollar = "\\$x" if language == "kotlin" else "$x"
        assert rf'"\"", "a \\ b", "{dollar} @SIZE@"' in code
        for part in ("films.tflite", "77", "serving_default"):
            assert part in code
        assert code.count("@") == 2


def test_refusals(exports):
    with pytest.raises(ValueError, match="language must be one of python, .*; received 'cobol'"):
        client_code("unread", "cobol")
    for task, name, received in (
        ("classifier", "float32.tflite", "takes ids"),
        ("classifier", "pairs.tflite", "takes code points of pairs"),
        ("sentence_encoder", "code_points.tflite", "takes code points of another task"),
    ):
        with pytest.raises(ValueError, match=f"received one that {received}: export a classifier"):
            client_code(exports(task, name), "c")
