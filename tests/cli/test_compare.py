"""The commands that compare exports, on a small model and its labels."""

import json

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier, write_csv):
    folder = tmp_path_factory.mktemp("compare")
    model = tiny_classifier()
    model.save_pretrained(folder / "model")
    model.export(folder / "m.tflite", format="litert")
    write_csv(folder / "data.csv", ["text", "label"], zip(*reviews, strict=True))
    return folder


def test_compare(folder, run):
    command = ["compare", "--model", folder / "model", "--data", folder / "data.csv"]
    command += [folder / "m.tflite", "--lengths", 8, "--threads", 1]
    (row,) = json.loads(run(*command, "--output", folder / "report", "--json"))
    assert row["flipped_labels"] == row["accuracy_change"] == 0
    names = {path.name for path in (folder / "report").iterdir()}
    assert names == {"comparison.json", "comparison.txt", "comparison.png"}
    printed = run(*command, "--max-logit-gap", -1, status=1)
    assert printed.index("accuracy") < printed.index("m.tflite: largest logit gap")


def test_frontier(folder, run):
    command = ["frontier", "--model", folder / "model", "--data", folder / "data.csv"]
    printed = run(*command, "--output", folder / "best", "--precisions", "int8", "--lengths", 8, 64)
    # The model reads 32 tokens: 64 becomes 32.
    assert {path.name for path in (folder / "best").glob("*.tflite")} <= {
        "int8_8.tflite",
        "int8_32.tflite",
    }
    assert (folder / "best/README.md").read_text() in printed
