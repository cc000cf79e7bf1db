"""The command encode, from lines to embeddings by every kind of model."""

import io
import json
import sys

import numpy as np
import pytest

from keras_bert_scratch import BertSentenceEncoder
from keras_bert_scratch.cli.main import main

LINES = b"a good film\n\nthe awful movie\r\n"
TEXTS = ["a good film", "", "the awful movie"]


@pytest.fixture(scope="module")
def encoder(tiny_classifier):
    classifier = tiny_classifier()
    return BertSentenceEncoder(classifier.encoder, classifier.tokenizer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder):
    folder = tmp_path_factory.mktemp("encode")
    (folder / "lines.txt").write_bytes(LINES)
    encoder.save_pretrained(folder / "model")
    encoder.export(folder / "m.tflite", format="litert")
    return folder


@pytest.mark.parametrize("model", ["model", "m.tflite"])
def test_an_array(folder, encoder, tmp_path, model):
    command = ["encode", "--model", f"{folder}/{model}", f"{folder}/lines.txt"]
    assert main([*command, "--output", f"{tmp_path}/found.npy"]) == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), encoder.encode(TEXTS, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("to_file", [True, False], ids=["file", "stdout"])
def test_json_lines(folder, encoder, tmp_path, capsys, monkeypatch, to_file):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES)))
    output = ["--output", f"{tmp_path}/found.jsonl"] * to_file
    assert main(["encode", "--model", f"{folder}/model", *output]) == 0
    printed = (tmp_path / "found.jsonl").read_text() if to_file else capsys.readouterr().out
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_allclose(
        [row["embedding"] for row in rows], encoder.encode(TEXTS, verbose=0), atol=1e-6
    )


def refused(capsys, folder, *arguments):
    assert main(["encode", "--model", f"{folder}/model", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def test_refusals(folder, tmp_path, capsys):
    error = refused(capsys, folder, "--output", "found.csv")
    assert "--output must end in .npy or .jsonl, received found.csv" in error
    (tmp_path / "none.txt").touch()
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\n")
    for name, message in (
        ("none.txt", "There are no texts: give at least one line"),
        ("bad.txt", "Line 2 is not UTF-8 (byte 0)"),
    ):
        output = tmp_path / "found.npy"
        assert message in refused(capsys, folder, tmp_path / name, "--output", output)
        assert not output.exists()
