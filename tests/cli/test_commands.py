"""The commands, from a CSV file to predictions of every kind of model."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_bert_scratch.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, tiny_classifier):
    """A folder with a checkpoint, a training file, and what the commands made of them."""
    folder = tmp_path_factory.mktemp("cli")
    tiny_classifier().save_pretrained(folder / "start")
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(*reviews, strict=True))
    status = main(
        ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv", "--output"]
        + [f"{folder}/model", "--validation-split", "0.25", "--epochs", "12", "--batch-size", "8"]
        + ["--learning-rate", "0.003", "--calibrate", "--json"]
    )
    assert status == 0
    assert main(["export", "--model", f"{folder}/model", f"{folder}/saved_model"]) == 0
    assert (
        main(["export", "--model", f"{folder}/model", f"{folder}/m.tflite", "--format", "litert"])
        == 0
    )
    return folder


def test_finetune_writes_a_checkpoint_and_its_report(folder):
    written = {str(path.relative_to(folder / "model")) for path in (folder / "model").rglob("*")}
    assert {"config.json", "model.safetensors", "vocab.txt"} <= written
    assert {"report/report.json", "report/confusion_matrix.png", "report/learning_curves.png"} <= (
        written
    )
    calibration = json.loads((folder / "model/report/calibration.json").read_text())
    config = json.loads((folder / "model/config.json").read_text())
    assert calibration["temperature"] == config["temperature"] != 1.0
    report = json.loads((folder / "model/report/report.json").read_text())
    assert report["accuracy"] > 0.9


@pytest.mark.parametrize("model", ["model", "saved_model", "m.tflite"])
def test_evaluate_every_kind(folder, model, capsys):
    command = ["evaluate", "--model", f"{folder}/{model}", "--data", f"{folder}/train.csv"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


@pytest.mark.parametrize("model", ["model", "saved_model", "m.tflite"])
def test_predict_every_kind(folder, model, capsys, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"a very good film\n\nthe awful movie\r\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["predict", "--model", f"{folder}/{model}", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a very good film", "", "the awful movie"]
    assert [rows[0]["label"], rows[2]["label"]] == ["positive", "negative"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_predict_reads_a_file_of_pairs(folder, capsys, tmp_path):
    (tmp_path / "pairs.tsv").write_text("good\tfilm\nbad\tmovie\n")
    assert main(["predict", "--model", f"{folder}/model", f"{tmp_path}/pairs.tsv", "--pairs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    label, probability, text = lines[0].split("\t", 2)
    assert label in ("negative", "positive")
    assert 0.5 <= float(probability) <= 1
    assert text == "good\tfilm"


class TestRefusals:
    """Exit status 1 and one line that says what is wrong, before any work."""

    def refused(self, capsys, *arguments):
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    def finetune(self, capsys, folder, train, *more):
        output = folder / "never"
        error = self.refused(
            capsys, "finetune", "--model", folder / "start", "--train", train, "--output", output,
            *more,
        )  # fmt: skip
        assert not output.exists()
        return error

    def test_missing_file(self, capsys, folder):
        assert "no file" in self.finetune(capsys, folder, folder / "none.csv")

    def test_missing_column(self, capsys, folder):
        error = self.finetune(capsys, folder, folder / "train.csv", "--text-column", "body")
        assert "no column 'body': its columns are 'text', 'label'" in error

    def test_one_class(self, capsys, folder, tmp_path):
        (tmp_path / "one.csv").write_text("text,label\ngood,yes\nbad,yes\n")
        assert "has only the label 'yes'" in self.finetune(capsys, folder, tmp_path / "one.csv")

    def test_unseen_labels(self, capsys, folder, tmp_path):
        (tmp_path / "more.csv").write_text("text,label\ngood,neutral\n")
        error = self.finetune(
            capsys, folder, folder / "train.csv", "--validation", tmp_path / "more.csv"
        )
        assert "has labels that" in error
        assert "neutral" in error

    def test_output_folder_is_not_empty(self, capsys, folder):
        error = self.refused(
            capsys, "finetune", "--model", folder / "start", "--train", folder / "train.csv",
            "--output", folder / "start",
        )  # fmt: skip
        assert "exists and is not empty" in error

    def test_not_utf8(self, capsys, folder, monkeypatch):
        stdin = io.TextIOWrapper(io.BytesIO(b"fine\n\xff\n"))
        monkeypatch.setattr(sys, "stdin", stdin)
        error = self.refused(capsys, "predict", "--model", folder / "model")
        assert "Line 2 is not UTF-8 (byte 0)" in error

    def test_litert_options_without_litert(self, capsys, folder):
        error = self.refused(
            capsys, "export", "--model", folder / "model", folder / "x", "--precision", "int8"
        )
        assert "--precision is for --format litert or mediapipe, received" in error

    def test_usage_is_status_2(self):
        with pytest.raises(SystemExit) as stop:
            main(["finetune"])
        assert stop.value.code == 2


def test_an_interrupted_finetune_leaves_nothing(folder, monkeypatch):
    from keras_bert_scratch import BertClassifier

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(BertClassifier, "fit", interrupt)
    before = sorted(path.name for path in folder.iterdir())
    status = main(
        ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv"]
        + ["--output", f"{folder}/stopped"]
    )
    assert status == 130
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("command", [[], ["finetune"], ["evaluate"], ["predict"], ["export"]])
def test_help_is_quick(command):
    def seconds():
        # Processor time, which other work on the machine does not add to.
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "keras_bert_scratch.cli.main", *command, "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert min(seconds() for _ in range(3)) < 0.5


def test_class_weights_are_balanced(folder, tmp_path):
    from keras_bert_scratch.data.labels import balanced_class_weights

    # n / (classes x count), by hand.
    assert balanced_class_weights(np.array([0, 0, 0, 1])) == {0: pytest.approx(2 / 3), 1: 2.0}
