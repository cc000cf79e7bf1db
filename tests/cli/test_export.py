"""`export` to files: what each format can be told. test_commands.py asks real exports."""

from pathlib import Path

import pytest

from keras_bert_scratch import BertClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier, write_csv):
    """A folder with a checkpoint, and a file of texts without labels."""
    folder = tmp_path_factory.mktemp("export")
    tiny_classifier().save_pretrained(folder / "model")
    write_csv(folder / "texts.csv", ["review"], ([text] for text in reviews[0]))
    return folder


@pytest.mark.parametrize(
    ("output", "options", "written", "expected"),
    [
        ("m.onnx", ["--format", "onnx"], "m.onnx", {"format": "onnx"}),
        (
            "m.tflite",
            ["--format", "litert", "--inputs", "text", "--precision", "float16"],
            "m.tflite",
            {"format": "litert", "inputs": "text", "precision": "float16"},
        ),
        (
            "m.tflite",
            ["--format", "mediapipe", "--precision", "full_int8", "--static-length", "16"]
            + ["--texts", "texts.csv", "--text-column", "review"],
            "m.tflite",
            {"format": "mediapipe", "precision": "full_int8", "static_length": 16, "texts": ...},
        ),
        (
            "page",
            ["--format", "web", "--precision", "float16", "--examples", "a", "<b>"],
            "page",
            {"format": "web", "precision": "float16", "examples": ["a", "<b>"]},
        ),
        ("new", ["--model-version", "7"], "new/7", {"format": "tf_saved_model"}),
    ],
)
def test_options_reach_the_export(
    folder, tiny_classifier, reviews, monkeypatch, run, output, options, written, expected
):
    exported = []
    model = tiny_classifier()
    monkeypatch.setattr(model, "export", lambda *args, **kwargs: exported.append((args, kwargs)))
    monkeypatch.setattr(BertClassifier, "from_pretrained", lambda path: model)
    monkeypatch.chdir(folder)
    assert "answers as the model does" in run("export", "--model", "model", output, *options)
    if "texts" in expected:
        expected = {**expected, "texts": reviews[0]}
    assert exported == [((Path(written),), expected)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "int8"], "--precision is for --format litert or mediapipe or web, r"),
        (["--format", "onnx", "--precision", "int8"], "--precision is for --format litert or"),
        (
            ["--format", "mediapipe", "--inputs", "text"],
            "--inputs is for --format litert or onnx, rec",
        ),
        (["--texts", "t.csv"], "--texts is for --format litert or mediapipe or web, received"),
        (["--examples", "a film"], "--examples is for --format web, received --format savedmodel"),
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
