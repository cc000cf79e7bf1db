"""The command encode, from lines to embeddings by every kind of model."""

import json

import numpy as np
import pytest

from keras_bert_scratch import BertSentenceEncoder

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
def test_an_array(folder, encoder, tmp_path, run, model):
    run(
        *("encode", "--model", folder / model, folder / "lines.txt"),
        *("--output", tmp_path / "found.npy"),
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), encoder.encode(TEXTS, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("to_file", [True, False], ids=["file", "stdout"])
def test_json_lines(folder, encoder, tmp_path, run, stdin, to_file):
    stdin(LINES)
    output = ["--output", tmp_path / "found.jsonl"] * to_file
    printed = run("encode", "--model", folder / "model", *output)
    if to_file:
        printed = (tmp_path / "found.jsonl").read_text()
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_allclose(
        [row["embedding"] for row in rows], encoder.encode(TEXTS, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("content", "output", "message"),
    [
        (b"fine", "found.csv", "--output must end in .npy or .jsonl, received"),
        (b"", "found.npy", "There are no texts: give at least one line"),
        (b"fine\n\xff\n", "found.npy", "Line 2 is not UTF-8 (byte 0)"),
    ],
)
def test_refusals(folder, tmp_path, run, stdin, content, output, message):
    stdin(content)
    command = ["encode", "--model", folder / "model", "--output", tmp_path / output]
    assert message in run(*command, status=1)
    assert not (tmp_path / output).exists()
