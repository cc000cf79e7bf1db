"""The commands on models of several columns, from a CSV file to predictions."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.serving.server import app

HEADER = ["text", "stars", "shop", "photo", "label", "id"]
NAMED = ["--number-columns", "stars", "--category-columns", "shop", "--image-columns", "photo"]


COLUMNS = {"text": "text", "stars": "number", "shop": "category", "photo": "image"}


@pytest.fixture(scope="module")
def files(tmp_path_factory, reviews, write_csv):
    """A folder with reviews, their pictures, and what tells that a model reads columns."""
    folder = tmp_path_factory.mktemp("columns")
    (folder / "data").mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number, (text, label) in enumerate(zip(*reviews, strict=True)):
        stars = (5 if label == "positive" else 1) + generator.normal(0, 0.1)
        pixels = generator.integers(0, 256, (5, 4, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"data/{number}.png")
        photo = "" if number % 5 == 0 else f"{number}.png"
        shop = ["north", "south", ""][number % 3]
        rows.append([text, "" if number % 7 == 0 else f"{stars:.2f}", shop, photo, label, number])
    write_csv(folder / "data/offers.csv", HEADER, rows)
    (folder / "few.csv").write_text("text,stars\na,1\n")
    (folder / "described").mkdir()
    description = json.dumps({"labels": ["negative", "positive"], "columns": COLUMNS})
    (folder / "described/columns.json").write_text(description)
    return folder


@pytest.fixture(scope="module")
def folder(files, tiny_classifier):
    """The same with a model of them."""
    tiny_classifier().save_pretrained(files / "start")
    arguments = ["finetune", "data/offers.csv", *NAMED, "--image-size", "16"]
    arguments += ["--model", "start", "--output", "model", "--validation-split", "0.5"]
    arguments += ["--epochs", "15", "--learning-rate", "0.01", "--calibrate", "--json"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(files)
        assert main(arguments) == 0
    return files


@pytest.fixture(autouse=True)
def in_folder(files, monkeypatch):
    monkeypatch.chdir(files)


def rows_of(printed):
    return list(csv.DictReader(io.StringIO(printed)))


@pytest.mark.slow(minutes=1)
def test_finetune_writes_a_model_and_what_its_columns_are_worth(folder):
    report = json.loads((folder / "model/report/columns.json").read_text())
    assert report["all_columns"]["accuracy"] > 0.9
    assert report["alone"].keys() == {"text", "stars", "shop", "photo"}
    assert report["commonest"]["accuracy"] == pytest.approx(0.5, abs=0.05)
    page = (folder / "model/report/report.html").read_text()
    assert "Each column alone and left out" in page
    assert "always the commonest" in page
    assert "comparison with TF-IDF (needs" not in page
    assert str(folder) not in page
    card = (folder / "model/README.md").read_text()
    assert "ColumnClassifier.from_pretrained" in card
    assert "| image\\_size | 16 |" in card


@pytest.mark.slow(minutes=1)
def test_predict_and_evaluate_on_the_same_file(folder, run):
    rows = rows_of(run("predict", "--model", "model", "data/offers.csv"))
    assert list(rows[0]) == [*HEADER, "predicted_label", "probability"]
    assert [row["id"] for row in rows] == [str(n) for n in range(48)]
    right = np.mean([row["label"] == row["predicted_label"] for row in rows])
    asked = ["data/offers.csv", "--train", "data/offers.csv", "--slice-column", "shop", "--json"]
    found = json.loads(run("evaluate", "--model", "model", *asked))
    assert found["accuracy"] == found["columns"]["all_columns"]["accuracy"] == right
    assert [group["num_examples"] for group in found["by_column"].values()] == [16] * 3


@pytest.mark.slow(minutes=1)
def test_explain_tells_of_a_row(folder, run):
    printed = run("explain", "--model", "model", "data/offers.csv", "--row", 2, "--output", "why")
    assert "word of text" in printed
    assert "photo: row 1 column 1 " in printed
    found = json.loads((folder / "why/explanation.json").read_text())
    assert found["columns"]["photo"]["patches"] != [[0.0]]
    assert "<svg" in (folder / "why/explanation.html").read_text()
    arguments = ["--model", "model", "data/offers.csv", "--label", "positive", "--json"]
    assert json.loads(run("explain", *arguments))["label"] == "positive"


@pytest.mark.slow(minutes=1)
def test_an_export_predicts_as_the_model_does(folder, run):
    """Its pictures are decoded and resized before the graph gets them."""
    run("export", "--model", "model", "served")
    found = run("predict", "--model", "served", "data/offers.csv")
    assert found == run("predict", "--model", "model", "data/offers.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--number-columns", "weight"], "no column 'weight': its columns are 'text', 'stars'"),
        (["--number-columns", "text"], "'a  good film' in data/offers.csv, line 2, column 'text'"),
        (["--image-columns", "shop"], "data/north (data/offers.csv, line 2, column 'shop') is mis"),
        (["--number-columns", "id", "--category-columns", "id"], "'id' is named twice"),
        (["--number-columns", "label", "--label-column", "label"], "'label' is named twice"),
        (["--image-size", "32"], "are for --image-columns: name some"),
        (["--number-columns", "id", "--lora", "4"], "--lora is for models of texts alone"),
        (
            ["--number-columns", "id", "--model", "described"],
            "described reads the columns 'text', 'stars'",
        ),
        (
            ["--image-columns", "photo", "--image-size", "9"],
            "whole numbers from patch_size to 4096",
        ),
    ],
)
def test_finetune_refuses_before_it_trains(run, arguments, message):
    assert message in run("finetune", "data/offers.csv", *arguments, status=1)


def test_serve_wants_an_export(run):
    message = "export --model described described_served, and serve described_served."
    (Path("described/config.json")).write_text("{}")
    assert message in run("serve", "described", status=1)


def test_serve_takes_files_where_the_model_reads_some(run, monkeypatch):
    found = []
    monkeypatch.setattr(app, "serve", lambda *_, limits, **__: found.append(limits))
    (Path("versions/2/assets.extra")).mkdir(parents=True)
    description = Path("versions/2/assets.extra/columns.json")
    for columns, arguments in (
        (COLUMNS, ()),
        (COLUMNS, ("--max-text-bytes", 5)),
        ({"text": "text"}, ()),
    ):
        description.write_text(json.dumps({"columns": columns}))
        run("serve", "versions", *arguments)
    assert [(limits.max_text_bytes, limits.max_body_bytes) for limits in found] == [
        (12_000_000, 16_000_000),
        (5, 16_000_000),
        (100_000, 1_000_000),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "lines.txt"], "reads rows of several columns: give a CSV"),
        (["predict", "data/offers.csv", "--engine", "litert"], "described reads columns: omit it"),
        (["predict", "few.csv"], "few.csv has no column 'shop': its columns are 'text', 'stars'."),
        (["evaluate", "data/offers.csv", "--stress"], "--stress is for models of texts"),
        (["evaluate", "data/offers.csv", "--slice-column", "x"], "has no column 'x': its columns"),
        (["explain", "a good film"], "reads rows of several columns: give a CSV"),
        (["explain", "data/offers.csv", "--row", "49"], "--row must be from 1 to 48, the rows of"),
        (["compare", "--data", "data/offers.csv", "described"], "is for models of texts"),
        (["export", "x.tflite", "--format", "litert", "--pairs"], "--pairs is for models of texts"),
    ],
)
def test_other_commands_refuse(run, arguments, message):
    assert message in run(arguments[0], "--model", "described", *arguments[1:], status=1)
