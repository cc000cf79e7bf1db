"""`export` to files: what each format can be told."""

import csv
import zipfile

import numpy as np
import pytest

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.serving import load_predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier):
    """A folder with a checkpoint, and a file of texts without labels."""
    folder = tmp_path_factory.mktemp("export")
    tiny_classifier().save_pretrained(folder / "model")
    with (folder / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review"])
        writer.writerows([text] for text in reviews[0] * 3)
    return folder


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model.onnx", ["--format", "onnx"]),
        ("text.tflite", ["--format", "litert", "--inputs", "text", "--precision", "float16"]),
    ],
)
def test_files_answer(folder, tiny_classifier, capsys, name, options):
    assert main(["export", "--model", f"{folder}/model", f"{folder}/{name}", *options]) == 0
    assert "answers as the model does" in capsys.readouterr().out
    found = load_predictor(folder / name).probabilities(["a good film"])
    expected = tiny_classifier().probabilities(["a good film"])
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_texts_calibrate(folder):
    path = folder / "phone.tflite"
    status = main(
        ["export", "--model", f"{folder}/model", str(path), "--format", "mediapipe"]
        + ["--precision", "full_int8", "--static-length", "16"]
        + ["--texts", f"{folder}/texts.csv", "--text-column", "review"]
    )
    assert status == 0
    with zipfile.ZipFile(path) as packed:
        assert packed.namelist() == ["vocab.txt", "labels.txt", "model.sha256"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onnx", "--precision", "int8"], "--precision is for --format litert or"),
        (["--format", "mediapipe", "--inputs", "text"], "--inputs is for --format litert, rec"),
        (["--texts", "t.csv"], "--texts is for --format litert or mediapipe, received --format"),
        (["--format", "litert", "--precision", "full_int8"], "pass texts=, at least 100; received"),
    ],
)
def test_what_a_format_does_not_know_is_refused(folder, capsys, options, message):
    output = folder / "never"
    assert main(["export", "--model", f"{folder}/model", str(output), *options]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()
