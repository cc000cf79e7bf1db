"""The command `qa`, from a SQuAD file to a conversation."""

import json

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
    (folder / "latin.txt").write_bytes(b"\xe9")
    (folder / "empty.txt").write_text("\n")
    arguments = ["qa", "train", "--model", f"{folder}/start", "--output", f"{folder}/model"]
    arguments += ["--train", f"{folder}/squad.json", "--validation", f"{folder}/squad.json"]
    arguments += ["--epochs", "30", "--batch-size", "2", "--learning-rate", "0.01"]
    assert main(arguments) == 0
    return folder


def test_train_and_evaluate(folder, run):
    assert json.loads((folder / "model/report.json").read_text())["exact_match"] == 100.0
    command = ["qa", "evaluate", "--model", folder / "model", "--data"]
    found = json.loads(run(*command, folder / "squad.json", "--json"))
    assert found == {"exact_match": 100.0, "f1": 100.0}
    assert run(*command, folder / "squad.json") == "exact match: 100.00 %\nf1: 100.00 %\n"
    error = run(*command, folder / "faulty.json", status=1)
    assert "qas[0].answers[0] 'film' is not at 3, where" in error
    run(*command, folder / "faulty.json", "--skip-faulty")


def test_answer(folder, run):
    command = ["qa", "answer", "--model", folder / "model", "great", "--context"]
    answer = json.loads(run(*command, folder / "context.txt", "--json"))
    assert (answer["text"], answer["start"], answer["end"]) == ("film", 15, 19)
    assert run(*command, folder / "context.txt").startswith("film\t0.")
    assert "is not UTF-8" in run(*command, folder / "latin.txt", status=1)
    assert "empty.txt holds no text to answer from" in run(*command, folder / "empty.txt", status=1)


def test_chat_ends_at_an_empty_line(folder, run, stdin):
    # The second question is longer than the text.
    stdin(f"great\n{'long ' * 20}\nbad\n\nnever read\n".encode())
    printed = run("qa", "chat", "--model", folder / "model", "--context", folder / "context.txt")
    assert len(printed.splitlines()) == 3
    assert printed.startswith("film\t")
