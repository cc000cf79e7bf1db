import json
import re

import keras
import pytest

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
def folder(tmp_path_factory, write_csv):
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
    write_csv(folder / "pairs.csv", ["text", "summary"], ROWS)
    return folder


def test_train_evaluate_run(folder, run):
    pairs, model, texts = (folder / name for name in ("pairs.csv", "model", "texts.txt"))
    printed = run(
        *("summarize", "train", "--model", folder / "encoder", "--output", model),
        *("--train", pairs, "--validation", pairs, "--epochs", 60, "--batch-size", 2),
        *("--learning-rate", 0.01, "--sequence-length", 16, "--summary-length", 6),
        *("--decoder-layers", 1, "--json"),
    )
    report = json.loads(printed)
    assert report["model"] == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0, "num_summaries": 2}
    # "the red fox runs" has "fox" of "a fox": 2 · 1/4 · 1/2 / (3/4) = 1/3; likewise the dog, with
    # both words of "a dog": 2 · 1/2 · 1 / (3/2) = 2/3. Mean: 1/2.
    assert report["lead-1"]["rouge1"] == pytest.approx(0.5)
    assert json.loads((model / "report.json").read_text()) == report

    printed = run("summarize", "evaluate", "--model", model, "--data", pairs, "--beams", 2)
    rows = [line.split() for line in printed.splitlines()]
    expected = "model ROUGE-1 100.0% ROUGE-2 100.0% ROUGE-L 100.0% (2 summaries)"
    assert rows[0] == expected.split()
    assert [row[0] for row in rows] == ["model", "lead-1", "central-1"]

    texts.write_text("\n".join(text for text, _ in ROWS))
    command = ["summarize", "run", "--model", model, texts]
    assert run(*command, "--no-repeat-ngrams", 2).splitlines() == ["a fox", "a dog"]
    texts.write_text(f"{ROWS[0][0]}\n\n")
    found, nothing = run(*command, "--forbid", "fox", "--min-length", 5).splitlines()
    assert "fox" not in found
    # Its tokens, words and signs, with [CLS] before them.
    assert len(re.findall(r"\w+|[^\w\s]", found)) >= 4
    assert nothing == ""


def test_refused(folder, run, tmp_path):
    empty, export, output = (tmp_path / name for name in ("empty.csv", "m.tflite", "out"))
    empty.write_text("text,summary\nThe fox runs.,a fox\nThe dog runs., \n")
    command = ["summarize", "train", "--model", folder / "encoder", "--output", output]
    assert "'summary' is empty in 1 row, on line 3" in run(
        *command, "--train", empty, "--validation", empty, status=1
    )
    assert not output.exists()

    export.touch()
    assert "is an export, and searches as it was exported to" in run(
        "summarize", "run", "--model", export, empty, "--beams", 2, status=1
    )
