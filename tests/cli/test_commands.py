"""The commands, from a CSV file to predictions of every kind of model."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from keras_bert_scratch.cli.main import main


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


def test_finetune_a_student_by_adapters(folder, tmp_path, run):
    run(
        *("finetune", "--model", folder / "start", "--train", folder / "train.csv"),
        *("--output", tmp_path / "small", "--teacher", folder / "model"),
        *("--keep-layers", 1, "--lora", 2, "--freeze", 0, "--layer-decay", 0.9),
        *("--optimizer", "lion", "--epochs", 1),
    )
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert config["num_hidden_layers"] == 1
    adapter = json.loads((tmp_path / "small/adapter/adapter_config.json").read_text())
    assert adapter["r"] == 2
    assert adapter["labels"] == ["negative", "positive"]


def test_finetune_with_fewer_heads_weighted_and_stopped_early(folder, tmp_path, run):
    run(
        *("finetune", "--model", folder / "model", "--train", folder / "train.csv"),
        *("--output", tmp_path / "small", "--keep-heads", 1, "--epochs", 1),
        *("--class-weights", "balanced", "--early-stopping", 1),
    )
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert (config["num_attention_heads"], config["head_dim"]) == (1, config["hidden_size"] // 2)


MIRRORED = ["--distribute", "mirrored"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "none.csv"], "There is no file none.csv"),
        (["--text-column", "body"], "no column 'body': its columns are 'text', 'label'"),
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


def test_other_refusals(folder, run, stdin):
    stdin(b"fine\n\xff\n")
    error = run("predict", "--model", folder / "model", status=1)
    assert "Line 2 is not UTF-8 (byte 0)" in error
    with pytest.raises(SystemExit) as stop:
        main(["finetune"])
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
    assert "baseline (TF-IDF + logistic regression): accuracy 0.7500" in text
    assert "WARNING: The model does not beat the baseline" in text
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
