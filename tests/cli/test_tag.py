"""The command `tag`, from a CoNLL file to spans of lines."""

import io
import json
import sys

import pytest

from keras_bert_scratch.cli.main import main

LINES = "good\tB-x\nfilm\tI-x\nbad\tO\n\nthe\tO\ngood\tB-x\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_classifier):
    folder = tmp_path_factory.mktemp("tag")
    tiny_classifier().save_pretrained(folder / "start")
    (folder / "train.conll").write_text(LINES * 20)
    (folder / "held_out.conll").write_text(LINES)
    arguments = ["tag", "train", "--model", f"{folder}/start", "--output", f"{folder}/model"]
    arguments += ["--train", f"{folder}/train.conll", "--validation", f"{folder}/held_out.conll"]
    arguments += ["--epochs", "12", "--batch-size", "8", "--learning-rate", "0.01"]
    assert main(arguments) == 0
    return folder


def test_train_writes_a_checkpoint_and_a_report(folder):
    assert {path.name for path in (folder / "model").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "report.json",
        "vocab.txt",
    }
    report = json.loads((folder / "model/report.json").read_text())
    assert report["f1"] == 1.0
    config = json.loads((folder / "model/config.json").read_text())
    assert list(config["id2label"].values()) == ["O", "B-x", "I-x"]


def test_evaluate(folder, capsys):
    arguments = ["tag", "evaluate", "--model", f"{folder}/model"]
    assert main([*arguments, "--data", f"{folder}/held_out.conll", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_type"]["x"]["support"] == 2
    assert main([*arguments, "--data", f"{folder}/held_out.conll"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].split()[:2] == ["all", "1.0000"]


def test_evaluate_a_file_of_another_dialect(folder, capsys, tmp_path):
    lines = "# caf\xe9\n1\tgood\tB-x\n2\tfilm\tL-x\n3\tbad\tO\n\n1\tthe\tO\n2\tgood\tU-x\n"
    (tmp_path / "a.conll").write_bytes(lines.encode("latin-1"))
    arguments = ["tag", "evaluate", "--model", f"{folder}/model", "--data", f"{tmp_path}/a.conll"]
    arguments += ["--encoding", "latin-1", "--word-column", "1", "--scheme", "BIO", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["f1"] == 1.0


def test_predict_lines(folder, capsys, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"Good  film bad\r\n\nthe good\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["tag", "predict", "--model", f"{folder}/model", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["Good  film bad", "", "the good"]
    (span,) = rows[0]["spans"]
    assert (span["text"], span["label"], span["start"]) == ("Good  film", "x", 0)
    assert rows[1]["spans"] == []
    assert [span["text"] for span in rows[2]["spans"]] == ["good"]


def test_refusals(folder, capsys, tmp_path):
    (tmp_path / "bad.conll").write_text("a\tB-x\n\nb\tI-x\n")
    arguments = ["tag", "evaluate", "--model", f"{folder}/model", "--data"]
    assert main([*arguments, f"{tmp_path}/bad.conll"]) == 1
    assert "keras-bert-scratch tag: 1 tags break BIO" in capsys.readouterr().err
    assert main([*arguments, f"{tmp_path}/bad.conll", "--word-column", "2"]) == 1
    assert "line 1 has 2 columns, received --word-column 2: count" in capsys.readouterr().err
    (tmp_path / "other.conll").write_text("a\tB-y\n")
    arguments = ["tag", "train", "--model", f"{folder}/start", "--output", f"{tmp_path}/out"]
    arguments += ["--train", f"{folder}/train.conll", "--validation", f"{tmp_path}/other.conll"]
    assert main(arguments) == 1
    assert "has tags that" in capsys.readouterr().err
    (tmp_path / "latin.txt").write_bytes(b"\xe9\n")
    assert main(["tag", "predict", "--model", f"{folder}/model", f"{tmp_path}/latin.txt"]) == 1
    assert "Line 1 is not UTF-8 (byte 0): convert the input, or name" in capsys.readouterr().err
