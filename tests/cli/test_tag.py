"""The command `tag`, from a CoNLL file to spans of lines."""

import json

import pytest

from keras_bert_scratch.cli.main import main

LINES = "good\tB-x\nfilm\tI-x\nbad\tO\n\nthe\tO\ngood\tB-x\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_classifier):
    folder = tmp_path_factory.mktemp("tag")
    tiny_classifier().save_pretrained(folder / "start")
    (folder / "train.conll").write_text(LINES * 20)
    (folder / "held_out.conll").write_text(LINES)
    (folder / "bad.conll").write_text("a\tB-x\n\nb\tI-x\n")
    (folder / "other.conll").write_text("a\tB-y\n")
    (folder / "latin.txt").write_bytes(b"\xe9\n")
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


def test_evaluate(folder, run, tmp_path):
    command = ["tag", "evaluate", "--model", folder / "model", "--data"]
    found = json.loads(run(*command, folder / "held_out.conll", "--json"))
    assert found["per_type"]["x"]["support"] == 2
    lines = run(*command, folder / "held_out.conll").splitlines()
    assert lines[-2].split()[:2] == ["all", "1.0000"]
    # Another dialect.
    dialect = "# caf\xe9\n1\tgood\tB-x\n2\tfilm\tL-x\n3\tbad\tO\n\n1\tthe\tO\n2\tgood\tU-x\n"
    (tmp_path / "a.conll").write_bytes(dialect.encode("latin-1"))
    command += [tmp_path / "a.conll", "--encoding", "latin-1", "--word-column", 1]
    assert json.loads(run(*command, "--scheme", "BIO", "--json"))["f1"] == 1.0


def test_predict_lines(folder, run, stdin):
    stdin(b"Good  film bad\r\n\nthe good\n")
    printed = run("tag", "predict", "--model", folder / "model", "--json")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["text"] for row in rows] == ["Good  film bad", "", "the good"]
    (span,) = rows[0]["spans"]
    assert (span["text"], span["label"], span["start"]) == ("Good  film", "x", 0)
    assert rows[1]["spans"] == []
    assert [span["text"] for span in rows[2]["spans"]] == ["good"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--data", "bad.conll"], "keras-bert-scratch tag: 1 tags break BIO"),
        (
            ["evaluate", "--data", "bad.conll", "--word-column", "2"],
            "line 1 has 2 columns, received --word-column 2: count",
        ),
        (
            ["train", "--train", "train.conll", "--validation", "other.conll", "--output", "out"],
            "other.conll has tags that train.conll lacks: B-y",
        ),
        (["predict", "latin.txt"], "Line 1 is not UTF-8 (byte 0): convert the input, or name"),
    ],
)
def test_refusals(folder, run, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    assert message in run("tag", *arguments, "--model", "model", status=1)
