"""The commands, from a CSV file to predictions of every kind of model."""

import argparse
import contextlib
import csv
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_bert_scratch import BertConfig
from keras_bert_scratch.cli import finetune
from keras_bert_scratch.cli.main import main
from keras_bert_scratch.training.fine_tuning import choose_fine_tuning


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, two_layer_classifier, write_csv):
    """A folder with a checkpoint, a training file, and what the commands made of them."""
    folder = tmp_path_factory.mktemp("cli")
    two_layer_classifier().save_pretrained(folder / "start")
    write_csv(folder / "train.csv", ["text", "label"], zip(*reviews, strict=True))
    (folder / "one.csv").write_text("text,label\ngood,yes\nbad,yes\n")
    (folder / "more.csv").write_text("text,label\ngood,neutral\n")
    # The first text stands in train.csv, too; the model misses the last one's label.
    rows = ["a really good film,positive,web", "the bad bad film,negative,web"]
    rows += ["great great movie,positive,mail", "bad bad awful film,positive,mail"]
    (folder / "held_out.csv").write_text("\n".join(["text,label,source", *rows]) + "\n")
    status = main(
        ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv", "--output"]
        + [f"{folder}/model", "--validation-split", "0.25", "--epochs", "12", "--batch-size", "8"]
        + ["--learning-rate", "0.003", "--calibrate", "--json"]
    )
    assert status == 0
    assert main(["export", "--model", f"{folder}/model", f"{folder}/saved_model"]) == 0
    litert = ["export", "--model", f"{folder}/model", f"{folder}/m.tflite", "--format", "litert"]
    assert main(litert) == 0
    return folder


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_finetune_writes_a_checkpoint_and_its_report(folder):
    written = names(folder / "model")
    assert {"config.json", "model.safetensors", "vocab.txt"} <= written
    assert {"report/report.json", "report/confusion_matrix.png", "report/learning_curves.png"} <= (
        written
    )
    calibration = json.loads((folder / "model/report/calibration.json").read_text())
    config = json.loads((folder / "model/config.json").read_text())
    assert calibration["temperature"] == config["temperature"] != 1.0
    report = json.loads((folder / "model/report/report.json").read_text())
    assert report["accuracy"] > 0.9
    page = (folder / "model/report/report.html").read_text("utf-8")
    for part in ("TF-IDF and logistic regression", "Stress", "Calibration", "Training", "Errors"):
        assert part in page
    # The card is the model's, and tells of no folder.
    card = (folder / "model/README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"value: {report['accuracy']:.1f}\n" in card
    assert "| epochs | 12 |" in card
    assert str(folder) not in card + page


@pytest.mark.parametrize("model", ["model", "saved_model", "m.tflite"])
def test_evaluate_and_predict_every_kind(folder, model, run, stdin):
    found = run("evaluate", "--model", folder / model, "--data", folder / "train.csv", "--json")
    assert json.loads(found)["accuracy"] > 0.9
    stdin(b"a very good film\n\nthe awful movie\r\n")
    printed = run("predict", "--model", folder / model, "--json")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["text"] for row in rows] == ["a very good film", "", "the awful movie"]
    assert [rows[0]["label"], rows[2]["label"]] == ["positive", "negative"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


class TestKeptEngine:
    """What `finetune` keeps beside a model, and `predict` answers by."""

    LINES = "a really good film\nthe bad bad film\n"

    @staticmethod
    def values(printed):
        return [float(line.split("\t")[1]) for line in printed.splitlines()]

    def test_predict_says_what_answers(self, folder, stdin, capsys):
        found = {}
        for options in ([], ["--engine", "keras"]):
            stdin(self.LINES.encode())
            assert main(["predict", "--model", f"{folder}/model", *options]) == 0
            printed = capsys.readouterr()
            found[len(options)] = self.values(printed.out)
            says = "Answers are those of litert-int8, kept beside" in printed.err
            assert says == (not options)
        assert found[0] == pytest.approx(found[2], abs=0.1)

    def test_predict_and_serve_without_tensorflow(self, folder, tmp_path, without_tensorflow):
        (tmp_path / "lines.txt").write_text(self.LINES)
        code = (
            "from keras_bert_scratch.cli.main import main\n"
            f"main(['predict', '--model', '{folder}/model', '{tmp_path}/lines.txt'])\n"
            "from keras_bert_scratch.cli import serve\n"
            "from keras_bert_scratch.serving.server.served_file import ServedFile\n"
            f"path = serve._served('{folder}/model', 'litert-int8')\n"
            "print(ServedFile(path).run('serving_default', [{'text': b'good'}])[0]['label'])"
        )
        labels = [line.split("\t")[0] for line in without_tensorflow(code).splitlines()]
        assert labels == ["positive", "negative", "positive"]

    def test_a_changed_model_is_asked_by_keras(self, folder, stdin, capsys, tmp_path):
        shutil.copytree(folder / "model", tmp_path / "model")
        config = tmp_path / "model/config.json"
        config.write_text(config.read_text().replace("negative", "no"))
        (tmp_path / "model/hashes.json").unlink()
        stdin(b"the bad bad film\n")
        assert main(["predict", "--model", f"{tmp_path}/model"]) == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("no\t")
        assert "litert" not in printed.err

    def test_is_built_at_first_use(self, folder, run, tmp_path):
        shutil.copytree(folder / "start", tmp_path / "start")
        for name in ("first", "second"):
            (tmp_path / f"{name}.txt").write_text(self.LINES)
            command = ["predict", "--model", tmp_path / "start", "--engine", "litert"]
            run(*command, tmp_path / f"{name}.txt", "--output", tmp_path / name)
        assert (tmp_path / "start/engine/litert.tflite").exists()
        # Which was built during the first run, and is no other model than before.
        first, second = (
            json.loads((tmp_path / n / "run.json").read_text()) for n in ("first", "second")
        )
        assert first == second
        asked = run(
            "evaluate",
            folder / "train.csv",
            "--model",
            tmp_path / "start",
            "--json",
            "--engine",
            "litert",
        )
        wanted = run("evaluate", folder / "train.csv", "--model", tmp_path / "start", "--json")
        assert json.loads(asked)["accuracy"] == json.loads(wanted)["accuracy"]

    def test_refusals(self, folder, run):
        error = run("predict", "--model", folder / "m.tflite", "--engine", "litert", status=1)
        assert "--engine is for checkpoints, and" in error
        error = run("serve", folder / "start", status=1)
        assert "start has no engine litert-int8 of its files: keep one" in error

    def test_the_names_are_those_of_the_package(self):
        from keras_bert_scratch.cli.common import _ARGUMENTS
        from keras_bert_scratch.serving.engines import NAMES

        assert sorted(_ARGUMENTS["--engine"]["choices"]) == sorted(NAMES)


def test_predict_reads_a_file_of_pairs(folder, run, tmp_path):
    (tmp_path / "pairs.tsv").write_text("good\tfilm\nbad\tmovie\n")
    command = ["predict", "--model", folder / "model", tmp_path / "pairs.tsv", "--pairs"]
    lines = run(*command).splitlines()
    assert len(lines) == 2
    label, probability, text = lines[0].split("\t", 2)
    assert label in ("negative", "positive")
    assert 0.5 <= float(probability) <= 1
    assert text == "good\tfilm"


class TestShardsOfPredictions:
    @pytest.fixture
    def texts(self, tmp_path):
        (tmp_path / "texts.txt").write_text("".join(f"a good film {n}\n" for n in range(7)))
        return tmp_path / "texts.txt"

    @pytest.fixture
    def predict(self, folder, run):
        def predict(texts, output, *more, status=0):
            command = ["predict", "--model", folder / "m.tflite", texts, "--output", output]
            return run(*command, "--shard-lines", 3, "--json", *more, status=status)

        return predict

    def contents(self, output):
        return {path.name: path.read_bytes() for path in output.iterdir()}

    def test_one_line_for_each_text_in_order(self, predict, texts, tmp_path):
        assert predict(texts, tmp_path / "output") == f"{tmp_path}/output\n"
        shards = sorted((tmp_path / "output").glob("predictions-*.jsonl"))
        lines = [shard.read_text().splitlines() for shard in shards]
        assert [len(shard) for shard in lines] == [3, 3, 1]
        found = [json.loads(line)["text"] for shard in lines for line in shard]
        assert found == [f"a good film {n}" for n in range(7)]

    def test_goes_on_after_an_interruption_with_the_same_output(
        self, predict, texts, tmp_path, monkeypatch
    ):
        from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor

        predict(texts, tmp_path / "unbroken")
        probabilities = LiteRTPredictor.probabilities
        seen = []

        def interrupted(predictor, texts, batch_size):
            seen.append(texts[0])
            if len(seen) == 2:
                raise KeyboardInterrupt
            return probabilities(predictor, texts, batch_size)

        monkeypatch.setattr(LiteRTPredictor, "probabilities", interrupted)
        predict(texts, tmp_path / "broken", status=130)
        assert sorted(self.contents(tmp_path / "broken")) == [
            "predictions-000000.jsonl", "run.json",
        ]  # fmt: skip
        predict(texts, tmp_path / "broken")
        assert self.contents(tmp_path / "broken") == self.contents(tmp_path / "unbroken")
        # The first shard was not made again.
        assert seen == ["a good film 0", "a good film 3", "a good film 3", "a good film 6"]

    def test_refusals(self, predict, texts, tmp_path):
        predict(texts, tmp_path / "output")
        texts.write_text("other\n")
        before = self.contents(tmp_path / "output")
        assert (
            "holds the predictions of another run, which differs in batch_size, file: name an"
        ) in predict(texts, tmp_path / "output", "--batch-size", 2, status=1)
        assert self.contents(tmp_path / "output") == before
        error = predict("-", tmp_path / "new", status=1)
        assert "--output needs a file, not standard input" in error
        error = predict(texts, tmp_path / "new", "--shard-lines", 0, status=1)
        assert "--shard-lines of at least 1; received" in error


@pytest.mark.slow
def test_finetune_a_student_by_adapters(folder, tmp_path, run):
    run(
        *("finetune", "--model", folder / "start", "--train", folder / "train.csv"),
        *("--output", tmp_path / "small", "--teacher", folder / "model"),
        *("--keep-layers", 1, "--lora", 2, "--freeze", 0, "--layer-decay", 0.9),
        *("--optimizer", "lion", "--epochs", 1, "--engine", "keras"),
    )
    assert not (tmp_path / "small/engine").exists()
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert config["num_hidden_layers"] == 1
    adapter = json.loads((tmp_path / "small/adapter/adapter_config.json").read_text())
    assert adapter["r"] == 2
    assert adapter["labels"] == ["negative", "positive"]


@pytest.mark.slow
def test_finetune_with_fewer_heads_weighted_and_stopped_early(folder, tmp_path, run):
    run(
        *("finetune", "--model", folder / "model", "--train", folder / "train.csv"),
        *("--output", tmp_path / "small", "--keep-heads", 1, "--epochs", 1),
        *("--class-weights", "balanced", "--early-stopping", 1, "--engine", "keras"),
    )
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert (config["num_attention_heads"], config["head_dim"]) == (1, config["hidden_size"] // 2)


MIRRORED = ["--distribute", "mirrored"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "none.csv"], "There is no file none.csv"),
        (["--text-column", "body"], "no column 'body': its columns are 'text', 'label'"),
        (["--validation-split", "0.02"], "A --validation-split of 0.02 splits 48 examples into"),
        (["--train", "one.csv"], "one.csv has only the label 'yes'"),
        (["--validation", "more.csv"], "labels that train.csv lacks: neutral. Remove these exam"),
        (["--keep-heads", "3"], "--keep-heads must be from 1 to the 2 of a layer: it is 3."),
        (["--keep-heads", "1", *MIRRORED], "--keep-heads works on one machine only: omit --distr"),
        (["--teacher", "x", *MIRRORED], "--teacher works on one machine only: omit --distribute."),
        (["--teacher", "x", "--label-separator", ";"], "--teacher is for one label a text: omit"),
        (
            ["--checkpoint", "x", "--early-stopping", "1"],
            "--checkpoint does not keep what --early-stopping counts: omit --early-stopping.",
        ),
        (["--optimizer", "sgd"], "The optimizers are adamw, lamb, lion, muon, schedule-free; rec"),
        (["--output", "start"], "exists and is not empty"),
    ],
)
def test_finetune_refuses_before_any_work(folder, monkeypatch, run, options, message):
    monkeypatch.chdir(folder)
    before = names(folder)
    command = ["finetune", "--model", "start", "--train", "train.csv", "--output", "never"]
    assert message in run(*command, *options, status=1)
    assert names(folder) == before


@pytest.fixture(scope="module")
def headlines(tmp_path_factory, folder, reviews, write_csv):
    """A folder with a CSV file whose columns have to be found, and what one command made of it."""
    place = tmp_path_factory.mktemp("headlines")
    examples = enumerate(zip(*reviews, strict=True))
    rows = ((n, f"{text}; {text}", label) for n, (text, label) in examples)
    path = write_csv(place / "news.csv", ["id", "headline", "kind"], rows)
    path.write_text(path.read_text().replace(",", "\t"))
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()) as printed:
        arguments = ["finetune", "news.csv", "--model", f"{folder}/start", "--epochs", "2"]
        arguments += ["--early-stopping", "1", "--engine", "keras"]
        assert main([*arguments, "--json"]) == 0
        place.joinpath("printed.json").write_text(printed.getvalue())
        export = ["export", "--model", "saved_models/news", "m.tflite", "--format", "litert"]
        assert main(export) == 0
    return place


class TestOneFileSuffices:
    def test_says_what_it_reads_and_writes_before_it_works(self, headlines, run, monkeypatch):
        monkeypatch.chdir(headlines)
        line = run("finetune", "news.csv", "--model", "none/", "--epochs", 1, status=1)
        # 48 texts; each class has as many. The folder's name is taken.
        assert line.startswith(
            "news.csv: texts in 'headline', labels in 'kind', cells separated by '\\t'; "
            "negative 24, positive 24; 43 texts to train, 5 held out for the figures; the model "
            "will be in saved_models/news-2\n"
        )
        assert line.endswith("or the id of a model on the hub.\n")

    def test_the_model_stands_beside_what_it_has_to_beat(self, headlines):
        printed = json.loads((headlines / "printed.json").read_text())
        assert printed["output"] == "saved_models/news"
        assert printed["num_examples"] == 5
        baseline = printed["baseline"]
        assert baseline["report"]["num_examples"] == baseline["commonest"]["num_examples"] == 5
        assert baseline["report"]["accuracy"] == 1.0  # a word tells each class

    @pytest.mark.parametrize("model", ["saved_models/news", "m.tflite"])
    def test_its_model_reads_the_same_file(self, headlines, run, monkeypatch, model):
        monkeypatch.chdir(headlines)
        header, *rows = run("predict", "--model", model, "news.csv").splitlines()
        assert header.split("\t") == ["id", "headline", "kind", "predicted_label", "probability"]
        given = (headlines / "news.csv").read_text().splitlines()[1:]
        assert [row.rsplit("\t", 2)[0] for row in rows] == given
        found = json.loads(run("evaluate", "news.csv", "--model", model, "--json"))
        is_right = [row.split("\t")[2] == row.split("\t")[3] for row in rows]
        assert found["accuracy"] == pytest.approx(np.mean(is_right))

    def test_rows_to_a_file_and_again(self, headlines, run, tmp_path):
        predict = ["predict", "--model", headlines / "m.tflite"]
        output = tmp_path / "found.csv"
        printed = run(*predict, headlines / "news.csv", "--output", output)
        assert printed == f"{output}: 48 rows\n"
        assert "exists: remove it" in run(*predict, output, "--output", output, status=1)
        # A row in JSON; columns of a prediction that are there stay.
        row, *_ = run(*predict, output, "--json").splitlines()
        row = json.loads(row)
        assert list(row)[-2:] == ["predicted_label_2", "probability_2"]
        assert row["predicted_label"] == row["predicted_label_2"]
        error = run(*predict, output, "--shard-lines", 3, status=1)
        assert "--shard-lines is for files of lines" in error

    def test_other_formats_keep_their_values(self, headlines, run, tmp_path):
        (tmp_path / "a.jsonl").write_text(
            '{"headline": "a good, film", "n": 1, "tags": ["é", 2]}\n{"headline": "bad", "n": null}'
        )
        predict = ["predict", "--model", headlines / "m.tflite", tmp_path / "a.jsonl"]
        header, *rows = list(csv.reader(io.StringIO(run(*predict))))
        assert header[:3] == ["headline", "n", "tags"]
        assert [row[:3] for row in rows] == [["a good, film", "1", '["é", 2]'], ["bad", "", ""]]

    def test_a_file_of_other_columns(self, headlines, folder, run, tmp_path):
        (tmp_path / "a.csv").write_text("title,kind\na good film,positive\n")
        predict = ["predict", "--model", headlines / "m.tflite", tmp_path / "a.csv"]
        error = run(*predict, status=1)
        assert "no column 'headline': its columns are 'title', 'kind'. Name one of them with " in (
            error
        )
        assert "--text-column." in error
        assert len(run(*predict, "--text-column", "title").splitlines()) == 2
        # A model that remembers nothing finds the texts.
        predict[2] = folder / "start"
        assert len(run(*predict).splitlines()) == 2

    def test_explains_a_row(self, headlines, run):
        explain = ["explain", "--model", headlines / "saved_models/news", "--json"]
        found = json.loads(run(*explain, headlines / "news.csv", "--row", 2))
        second = (headlines / "news.csv").read_text().splitlines()[2].split("\t")[1]
        assert found["words"][0] == second.split()[0]
        error = run(*explain, headlines / "news.csv", "--row", 49, status=1)
        assert "--row must be from 1 to 48, the rows of" in error
        assert "--row is for files of examples" in run(*explain, "a", "--row", 1, status=1)

    def test_what_is_remembered_may_be_damaged(self, headlines, run, tmp_path):
        shutil.copytree(headlines / "saved_models/news", tmp_path / "model")
        (tmp_path / "model/file_format.json").write_text('{"text_column": 7}')
        error = run("predict", "--model", tmp_path / "model", headlines / "news.csv", status=1)
        assert "file_format.json does not say how a file of examples is read (text_column is" in (
            error
        )

    def test_columns_that_cannot_be_told_apart(self, folder, run, write_csv, tmp_path, reviews):
        texts, labels = reviews
        rows = zip(texts, texts[::-1], labels, strict=True)
        path = write_csv(tmp_path / "a.csv", ["a", "b", "c"], rows)
        error = run("finetune", path, "--model", folder / "start", status=1)
        assert "several may hold the texts. Name one of them with --text-column, and a second" in (
            error
        )
        assert [line.split()[0] for line in error.splitlines()[1:]] == ["a", "b", "c"]


@pytest.mark.slow
def test_several_labels_a_text(folder, reviews, run, write_csv, tmp_path):
    examples = [
        (text, [label, *["film"] * ("film" in text)]) for text, label in zip(*reviews, strict=True)
    ]
    lines = [json.dumps({"text": text, "label": labels}) for text, labels in examples]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    command = ["finetune", tmp_path / "a.jsonl", "--model", folder / "start", "--epochs", 1]
    run(*command, "--output", tmp_path / "model")
    # In a table, several labels stand in one cell.
    rows = [(text, ";".join(labels)) for text, labels in examples]
    path = write_csv(tmp_path / "a.csv", ["text", "label"], rows)
    model = ["--model", tmp_path / "model"]
    report = json.loads(run("evaluate", path, *model, "--json"))
    assert [figures["support"] for figures in report["per_class"].values()] == [24, 24, 24]
    for row in csv.DictReader(io.StringIO(run("predict", path, *model))):
        named, values = (
            row[column].split(";") if row[column] else []
            for column in ("predicted_label", "probability")
        )
        assert {*named} <= {"film", "negative", "positive"}
        assert len(values) == len(named)
        assert all(float(value) >= 0.5 for value in values)


def test_other_refusals(folder, run, stdin):
    stdin(b"fine\n\xff\n")
    error = run("predict", "--model", folder / "model", status=1)
    assert "Line 2 is not UTF-8 (byte 0)" in error
    error = run("predict", "--model", folder / "model", "--text-column", "a", status=1)
    assert "--text-column is for a CSV, TSV, JSONL or Parquet file, and '-' is read line" in error
    for arguments in (["finetune"], ["evaluate", "a.csv", "--data", "b.csv", "--model", "m"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_an_interrupted_finetune_leaves_nothing(folder, monkeypatch, run):
    from keras_bert_scratch import BertClassifier

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(BertClassifier, "fit", interrupt)
    before = names(folder)
    command = ["finetune", "--model", folder / "start", "--train", folder / "train.csv"]
    run(*command, "--output", folder / "stopped", status=130)
    assert names(folder) == before


@pytest.mark.parametrize(
    ("options", "is_chosen", "epochs", "batch_size"),
    [
        ([], True, None, None),
        (["--epochs", 2], True, 2, None),
        (["--learning-rate", 0.001], False, 3, 32),
        (["--optimizer", "lion", "--batch-size", 4], False, 3, 4),
        (["--lora", 2, "--epochs", 1], True, 1, None),
        (["--lora", 2, "--optimizer", "adamw"], False, 3, 32),
        (["--early-stopping", 1], False, 3, 32),
    ],
)
def test_fit_chooses_the_training_unless_an_option_does(
    folder, run, monkeypatch, options, is_chosen, epochs, batch_size
):
    from keras_bert_scratch import BertClassifier

    seen = {}

    def fit(model, texts, labels, validation_data=None, **arguments):
        seen.update(arguments, is_chosen=model.chooses_training, texts=texts)
        seen["watched"] = validation_data and validation_data[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(BertClassifier, "fit", fit)
    command = ["finetune", folder / "train.csv", "--model", folder / "start"]
    run(*command, "--output", folder / "stopped", *options, status=130)
    assert (seen["is_chosen"], seen["epochs"], seen["batch_size"]) == (
        is_chosen,
        epochs,
        batch_size,
    )
    # 5 of 48 texts are held out for the figures: what chooses weights does not see them.
    if "--early-stopping" in options:
        assert (len(seen["texts"]), len(seen["watched"])) == (38, 5)
        assert not {*seen["texts"]} & {*seen["watched"]}
    else:
        assert len(seen["texts"]) == 43
        assert (seen["watched"] is None) == is_chosen


def test_the_report_tells_what_fit_chose(tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "train.csv").touch()
    parser = argparse.ArgumentParser()
    finetune.add_arguments(parser)
    command = ["--model", f"{tmp_path}/start", "--train", f"{tmp_path}/train.csv"]
    train, held_out = [None] * 1200, [None] * 134

    def told(command, chosen, losses):
        history = {"loss": losses, "val_loss": losses}
        return finetune._how_trained(parser.parse_args(command), chosen, train, held_out, history)

    chosen = choose_fine_tuning(1200, BertConfig())
    assert told(command, chosen, [0.7, 0.4, 0.5]) == {
        "model": "start",
        "training examples": "1200 of train.csv",
        "held-out examples": 134,
        "epochs done": 3,
        "epochs": 6,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 5e-5,
        "seed": 0,
        "held out for the best epoch": 0.1,
        "best epoch": 2,
    }
    by_hand = told([*command, "--epochs", "2"], None, [0.5, 0.6])
    assert by_hand["epochs"] == 2
    assert not {"best epoch", "held out for the best epoch"} & {*by_hand}


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from keras_bert_scratch.cli.main import main\n"
        "try:\n"
        "    main(['--help'])\n"  # which adds the arguments of every command
        "finally:\n"
        "    assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & {*sys.modules}\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "Trains a vocabulary from raw text" in found.stdout


# === evaluate ===
def test_evaluate_with_the_training_file(folder, run, tmp_path):
    command = ["evaluate", "--model", folder / "model", "--data", folder / "held_out.csv"]
    command += ["--train", folder / "train.csv", "--slice-column", "source"]
    text = run(*command, "--output", tmp_path / "report")
    assert "accuracy 0.7500 on 4 examples\n95 % intervals: accuracy 0.2500 to 1.0000" in text
    (row,) = [line for line in text.splitlines() if line.startswith("TF-IDF + logistic")]
    assert row.split()[4] == "0.7500"
    assert "NOTE: 4 held-out examples do not tell whether the model is good" in text
    assert "1 exact and " in text

    parts = ["baseline", "by_column", "by_length", "errors", "label_suspects", "leaks", "stress"]
    assert {f"{part}.{kind}" for part in parts for kind in ("txt", "json")} <= (
        names(tmp_path / "report")
    )
    assert {"report.html", "README.md"} <= names(tmp_path / "report")
    assert "name: held_out.csv" in (tmp_path / "report" / "README.md").read_text()
    errors = json.loads((tmp_path / "report" / "errors.json").read_text())
    assert [(e["position"], e["true"], e["answer"]) for e in errors["errors"]] == [
        (3, "positive", "negative")
    ]
    assert errors["explanations"]["3"]["label"] == "negative"
    by_column = json.loads((tmp_path / "report" / "by_column.json").read_text())
    assert {name: figures["accuracy"] for name, figures in by_column.items()} == {
        "web": 1.0,
        "mail": 0.5,
    }


def test_evaluate_prints_the_same_as_json(folder, run):
    command = ["evaluate", "--model", folder / "saved_model", "--data", folder / "held_out.csv"]
    found = json.loads(run(*command, "--json", "--train", folder / "train.csv"))
    assert found["baseline"]["test"] == {"first_only": 0, "second_only": 0, "p_value": 1.0}
    exact = [pair["position"] for pair in found["leaks"]["pairs"] if pair["similarity"] == 1]
    assert exact == [0]
    assert found["label_suspects"]["num_examples"] == 4


def test_evaluate_refuses_an_unknown_slice_column_before_it_loads_the_model(folder, run):
    command = ["evaluate", "--model", "none", "--data", folder / "held_out.csv"]
    assert "has no column 'site': its columns are 'text', 'label', 'source'" in run(
        *command, "--slice-column", "site", status=1
    )


def test_evaluate_under_stress(folder, run, tmp_path):
    command = ["evaluate", "--model", folder / "m.tflite", "--data", folder / "held_out.csv"]
    text = run(*command, "--stress", "--output", tmp_path / "report")
    assert "\nstress\n" in text
    # The vocabulary is uncased: letters of another case are no other text.
    (row,) = [line.split() for line in text.splitlines() if line.startswith("upper case ")]
    assert row[2:] == ["0.7500", "+0.0000", "100.0%", "0.0%"]
    assert {"stress.txt", "stress.json", "stress.png"} <= names(tmp_path / "report")
    # An export has no card: it is no checkpoint.
    assert "README.md" not in names(tmp_path / "report")


# === explain ===
def test_explain(folder, run, tmp_path):
    command = ["explain", "--model", folder / "model", "a really awful film"]
    found = json.loads(run(*command, "--output", tmp_path / "why", "--json"))
    assert (found["label"], found["words"]) == ("negative", ["a", "really", "awful", "film"])
    assert int(np.argmax(found["scores"])) == 2
    assert names(tmp_path / "why") == {"explanation.html", "explanation.json", "explanation.png"}
    rollout = [*command, "--method", "rollout"]
    assert re.match(r"negative, probability [\d.]+% \(attention roll-out\)\n", run(*rollout))
    assert "--label is for --method gradients: attention has no label." in (
        run(*rollout, "--label", "x", status=1)
    )
