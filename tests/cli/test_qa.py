"""The command `qa`, from a SQuAD file to a conversation."""

import io
import json
import sys

import pytest

from keras_bert_scratch.cli.main import main

CONTEXTS = ["a really great film", "very bad movie , awful"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_classifier):
    folder = tmp_path_factory.mktemp("qa")
    tiny_classifier().save_pretrained(folder / "start")
    answers = [("great", "film", 15), ("bad", "movie", 9)]
    qas = [
        {"question": question, "answers": [{"text": text, "answer_start": start}]}
        for question, text, start in answers
    ]
    paragraphs = [{"context": c, "qas": [qa]} for c, qa in zip(CONTEXTS, qas, strict=True)]
    document = {"data": [{"paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(document))
    qas[0]["answers"][0]["answer_start"] = 3
    (folder / "faulty.json").write_text(json.dumps(document))
    (folder / "context.txt").write_text(CONTEXTS[0])
    arguments = ["qa", "train", "--model", f"{folder}/start", "--output", f"{folder}/model"]
    arguments += ["--train", f"{folder}/squad.json", "--validation", f"{folder}/squad.json"]
    arguments += ["--epochs", "30", "--batch-size", "2", "--learning-rate", "0.01"]
    assert main(arguments) == 0
    return folder


def test_train_and_evaluate(folder, capsys):
    assert json.loads((folder / "model/report.json").read_text())["exact_match"] == 100.0
    arguments = ["qa", "evaluate", "--model", f"{folder}/model", "--data", f"{folder}/squad.json"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"exact_match": 100.0, "f1": 100.0}
    assert main(arguments) == 0
    assert capsys.readouterr().out == "exact match: 100.00 %\nf1: 100.00 %\n"


def test_answer(folder, capsys):
    arguments = ["qa", "answer", "--model", f"{folder}/model"]
    assert main([*arguments, "--context", f"{folder}/context.txt", "great", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["start"], answer["end"]) == ("film", 15, 19)
    assert main([*arguments, "--context", f"{folder}/context.txt", "great"]) == 0
    assert capsys.readouterr().out.startswith("film\t0.")


def test_chat_ends_at_an_empty_line(folder, capsys, monkeypatch):
    # The second question is longer than the text.
    lines = f"great\n{'long ' * 20}\nbad\n\nnever read\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    arguments = ["qa", "chat", "--model", f"{folder}/model", "--context", f"{folder}/context.txt"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert printed.out.startswith("film\t")


def test_refusals(folder, capsys, tmp_path):
    arguments = ["qa", "evaluate", "--model", f"{folder}/model", "--data", f"{folder}/faulty.json"]
    assert main(arguments) == 1
    assert "qas[0].answers[0] 'film' is not at 3, where" in capsys.readouterr().err
    assert main([*arguments, "--skip-faulty"]) == 0
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    arguments = ["qa", "answer", "--model", f"{folder}/model", "Who?"]
    assert main([*arguments, "--context", f"{tmp_path}/latin.txt"]) == 1
    assert "is not UTF-8" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n")
    assert main([*arguments, "--context", f"{tmp_path}/empty.txt"]) == 1
    assert "empty.txt holds no text to answer from" in capsys.readouterr().err
