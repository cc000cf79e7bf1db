import csv
import json
import re

import keras
import pytest

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

ROWS = [
    ("The red fox runs. It sleeps.", "a fox"),
    ("A big dog runs. The fox sleeps.", "a dog"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of a tiny encoder, and a file of texts and summaries."""
    folder = tmp_path_factory.mktemp("summarize")
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *"the a red big fox dog run ##s it sleep .".split()])
    config = BertConfig(
        vocab_size=len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=16,
        dropout=0.0,
        attention_dropout=0.0,
    )
    BertClassifier(BertEncoder(config), ["a", "b"], WordPieceTokenizer(vocabulary)).save_pretrained(
        folder / "encoder"
    )
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "summary"), *ROWS])
    return folder


def test_train_evaluate_run(folder, capsys):
    pairs, model = str(folder / "pairs.csv"), str(folder / "model")
    arguments = ["--model", str(folder / "encoder"), "--train", pairs, "--validation", pairs]
    settings = ["--epochs", "60", "--batch-size", "2", "--learning-rate", "0.01"]
    lengths = ["--sequence-length", "16", "--summary-length", "6", "--decoder-layers", "1"]
    status = main(
        ["summarize", "train", *arguments, "--output", model, *settings, *lengths, "--json"]
    )
    assert status == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0, "num_summaries": 2}
    # "the red fox runs" has "fox" of "a fox": 2 · 1/4 · 1/2 / (3/4) = 1/3; likewise the dog, with
    # both words of "a dog": 2 · 1/2 · 1 / (3/2) = 2/3. Mean: 1/2.
    assert report["lead-1"]["rouge1"] == pytest.approx(0.5)
    assert json.loads((folder / "model" / "report.json").read_text()) == report

    assert main(["summarize", "evaluate", "--model", model, "--data", pairs, "--beams", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0].split()
        == "model ROUGE-1 100.0% ROUGE-2 100.0% ROUGE-L 100.0% (2 summaries)".split()
    )
    assert [line.split()[0] for line in lines] == ["model", "lead-1", "central-1"]

    texts = folder / "texts.txt"
    texts.write_text("\n".join(text for text, _ in ROWS))
    assert main(["summarize", "run", "--model", model, str(texts), "--no-repeat-ngrams", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a fox", "a dog"]
    texts.write_text(f"{ROWS[0][0]}\n\n")
    choice = ["--forbid", "fox", "--min-length", "5"]
    assert main(["summarize", "run", "--model", model, str(texts), *choice]) == 0
    found, nothing = capsys.readouterr().out.splitlines()
    assert "fox" not in found
    # Its tokens, words and signs, with [CLS] before them.
    assert len(re.findall(r"\w+|[^\w\s]", found)) >= 4
    assert nothing == ""


def test_refused(folder, capsys, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("text,summary\nThe fox runs.,a fox\nThe dog runs., \n")
    arguments = ["--model", str(folder / "encoder"), "--train", str(empty), "--validation"]
    output = ["--output", str(tmp_path / "out")]
    assert main(["summarize", "train", *arguments, str(empty), *output]) == 1
    assert "'summary' is empty in 1 row, on line 3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

    export = tmp_path / "model.tflite"
    export.touch()
    assert main(["summarize", "run", "--model", str(export), str(empty), "--beams", "2"]) == 1
    assert "is an export, and searches as it was exported to" in capsys.readouterr().err
