"""The commands that compare exports, on a small model and its labels."""

import csv
import json

import pytest

from keras_bert_scratch.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier):
    folder = tmp_path_factory.mktemp("compare")
    model = tiny_classifier()
    model.save_pretrained(folder / "model")
    model.export(folder / "m.tflite", format="litert")
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(*reviews, strict=True))
    return folder


def test_compare(folder, capsys):
    command = ["compare", "--model", f"{folder}/model", "--data", f"{folder}/data.csv"]
    command += [f"{folder}/m.tflite", "--output", f"{folder}/report", "--json"]
    assert main([*command, "--lengths", "8", "--threads", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["flipped_labels"] == row["accuracy_change"] == 0
    names = {path.name for path in (folder / "report").iterdir()}
    assert names == {"comparison.json", "comparison.txt", "comparison.png"}


def test_compare_fails_beyond_its_bounds(folder, capsys):
    command = ["compare", "--model", f"{folder}/model", "--data", f"{folder}/data.csv"]
    command += [f"{folder}/m.tflite", "--lengths", "8", "--threads", "1", "--max-logit-gap", "-1"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert "m.tflite: largest logit gap" in printed.err


def test_frontier(folder, capsys):
    command = ["frontier", "--model", f"{folder}/model", "--data", f"{folder}/data.csv"]
    command += ["--output", f"{folder}/best", "--precisions", "int8", "--lengths", "8", "64"]
    assert main(command) == 0
    # The model reads 32 tokens: 64 becomes 32.
    assert {path.name for path in (folder / "best").glob("*.tflite")} <= {
        "int8_8.tflite",
        "int8_32.tflite",
    }
    assert (folder / "best/README.md").read_text() in capsys.readouterr().out
