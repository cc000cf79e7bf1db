"""`export` to files: what each format can be told."""

import zipfile

import numpy as np
import pytest

from keras_bert_scratch.serving import load_predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier, write_csv):
    """A folder with a checkpoint, and a file of texts without labels."""
    folder = tmp_path_factory.mktemp("export")
    tiny_classifier().save_pretrained(folder / "model")
    write_csv(folder / "texts.csv", ["review"], ([text] for text in reviews[0] * 3))
    return folder


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model.onnx", ["--format", "onnx"]),
        ("text.tflite", ["--format", "litert", "--inputs", "text", "--precision", "float16"]),
    ],
)
def test_files_answer(folder, tiny_classifier, run, name, options):
    printed = run("export", "--model", folder / "model", folder / name, *options)
    assert "answers as the model does" in printed
    found = load_predictor(folder / name).probabilities(["a good film"])
    expected = tiny_classifier().probabilities(["a good film"])
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_texts_calibrate(folder, run):
    path = folder / "phone.tflite"
    run(
        *("export", "--model", folder / "model", path, "--format", "mediapipe"),
        *("--precision", "full_int8", "--static-length", 16),
        *("--texts", folder / "texts.csv", "--text-column", "review"),
    )
    with zipfile.ZipFile(path) as packed:
        assert packed.namelist() == ["vocab.txt", "labels.txt", "model.sha256"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "int8"], "--precision is for --format litert or mediapipe, received"),
        (["--format", "onnx", "--precision", "int8"], "--precision is for --format litert or"),
        (["--format", "mediapipe", "--inputs", "text"], "--inputs is for --format litert, rec"),
        (["--texts", "t.csv"], "--texts is for --format litert or mediapipe, received --format"),
        (["--format", "litert", "--model-version", "1"], "--model-version is for --format savedm"),
        (["--format", "litert", "--precision", "full_int8"], "pass texts=, at least 100; received"),
    ],
)
def test_what_a_format_does_not_know_is_refused(folder, run, options, message):
    output = folder / "never"
    assert message in run("export", "--model", folder / "model", output, *options, status=1)
    assert not output.exists()


def test_a_version_that_exists_is_refused(versioned_export, run):
    _, folder = versioned_export
    assert "has a version 3 already: choose another, such as 4" in run(
        "export", "--model", "unread", folder, "--model-version", 3, status=1
    )


def test_a_version_is_written_beside_others(tiny_classifier, tmp_path, monkeypatch, run):
    from keras_bert_scratch import BertClassifier

    exported = []
    model = tiny_classifier()
    monkeypatch.setattr(model, "export", lambda output, **options: exported.append(output))
    monkeypatch.setattr(BertClassifier, "from_pretrained", lambda path: model)
    run("export", "--model", "m", tmp_path, "--model-version", 7)
    assert exported == [tmp_path / "7"]
