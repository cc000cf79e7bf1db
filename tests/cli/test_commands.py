"""The commands, from a CSV file to predictions of every kind of model."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_bert_scratch.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reviews, two_layer_classifier):
    """A folder with a checkpoint, a training file, and what the commands made of them."""
    folder = tmp_path_factory.mktemp("cli")
    two_layer_classifier().save_pretrained(folder / "start")
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(*reviews, strict=True))
    status = main(
        ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv", "--output"]
        + [f"{folder}/model", "--validation-split", "0.25", "--epochs", "12", "--batch-size", "8"]
        + ["--learning-rate", "0.003", "--calibrate", "--json"]
    )
    assert status == 0
    assert main(["export", "--model", f"{folder}/model", f"{folder}/saved_model"]) == 0
    assert (
        main(["export", "--model", f"{folder}/model", f"{folder}/m.tflite", "--format", "litert"])
        == 0
    )
    return folder


def test_finetune_writes_a_checkpoint_and_its_report(folder):
    written = {str(path.relative_to(folder / "model")) for path in (folder / "model").rglob("*")}
    assert {"config.json", "model.safetensors", "vocab.txt"} <= written
    assert {"report/report.json", "report/confusion_matrix.png", "report/learning_curves.png"} <= (
        written
    )
    calibration = json.loads((folder / "model/report/calibration.json").read_text())
    config = json.loads((folder / "model/config.json").read_text())
    assert calibration["temperature"] == config["temperature"] != 1.0
    report = json.loads((folder / "model/report/report.json").read_text())
    assert report["accuracy"] > 0.9


@pytest.mark.parametrize("model", ["model", "saved_model", "m.tflite"])
def test_evaluate_every_kind(folder, model, capsys):
    command = ["evaluate", "--model", f"{folder}/{model}", "--data", f"{folder}/train.csv"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


@pytest.mark.parametrize("model", ["model", "saved_model", "m.tflite"])
def test_predict_every_kind(folder, model, capsys, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"a very good film\n\nthe awful movie\r\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["predict", "--model", f"{folder}/{model}", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a very good film", "", "the awful movie"]
    assert [rows[0]["label"], rows[2]["label"]] == ["positive", "negative"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_predict_reads_a_file_of_pairs(folder, capsys, tmp_path):
    (tmp_path / "pairs.tsv").write_text("good\tfilm\nbad\tmovie\n")
    assert main(["predict", "--model", f"{folder}/model", f"{tmp_path}/pairs.tsv", "--pairs"]) == 0
    lines = capsys.readouterr().out.splitlines()
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

    def predict(self, folder, texts, output, *more):
        return main(
            ["predict", "--model", f"{folder}/m.tflite", f"{texts}", "--output", f"{output}"]
            + ["--shard-lines", "3", "--json", *more]
        )

    def contents(self, output):
        return {path.name: path.read_bytes() for path in output.iterdir()}

    def test_one_line_for_each_text_in_order(self, folder, texts, tmp_path, capsys):
        assert self.predict(folder, texts, tmp_path / "output") == 0
        assert capsys.readouterr().out == f"{tmp_path}/output\n"
        shards = sorted((tmp_path / "output").glob("predictions-*.jsonl"))
        lines = [shard.read_text().splitlines() for shard in shards]
        assert [len(shard) for shard in lines] == [3, 3, 1]
        found = [json.loads(line)["text"] for shard in lines for line in shard]
        assert found == [f"a good film {n}" for n in range(7)]

    def test_goes_on_after_an_interruption_with_the_same_output(
        self, folder, texts, tmp_path, monkeypatch
    ):
        from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor

        assert self.predict(folder, texts, tmp_path / "unbroken") == 0
        probabilities = LiteRTPredictor.probabilities
        seen = []

        def interrupted(predictor, texts, batch_size):
            seen.append(texts[0])
            if len(seen) == 2:
                raise KeyboardInterrupt
            return probabilities(predictor, texts, batch_size)

        monkeypatch.setattr(LiteRTPredictor, "probabilities", interrupted)
        assert self.predict(folder, texts, tmp_path / "broken") == 130
        assert sorted(self.contents(tmp_path / "broken")) == [
            "predictions-000000.jsonl", "run.json",
        ]  # fmt: skip
        assert self.predict(folder, texts, tmp_path / "broken") == 0
        assert self.contents(tmp_path / "broken") == self.contents(tmp_path / "unbroken")
        # The first shard was not made again.
        assert seen == ["a good film 0", "a good film 3", "a good film 3", "a good film 6"]

    def test_another_run(self, folder, texts, tmp_path, capsys):
        assert self.predict(folder, texts, tmp_path / "output") == 0
        texts.write_text("other\n")
        before = self.contents(tmp_path / "output")
        assert self.predict(folder, texts, tmp_path / "output", "--batch-size", "2") == 1
        error = capsys.readouterr().err
        assert (
            "holds the predictions of another run, which differs in file, batch_size: na" in error
        )
        assert self.contents(tmp_path / "output") == before

    def test_standard_input(self, folder, tmp_path, capsys):
        assert self.predict(folder, "-", tmp_path / "output") == 1
        assert "--output needs a file, not standard input" in capsys.readouterr().err

    def test_no_lines(self, folder, texts, tmp_path, capsys):
        assert self.predict(folder, texts, tmp_path / "output", "--shard-lines", "0") == 1
        assert "--shard-lines of at least 1; received" in capsys.readouterr().err


def test_finetune_a_student_by_adapters(folder, tmp_path, capsys):
    command = ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv"]
    status = main(
        [*command, "--output", f"{tmp_path}/small", "--teacher", f"{folder}/model"]
        + ["--keep-layers", "1", "--lora", "2", "--freeze", "0", "--layer-decay", "0.9"]
        + ["--optimizer", "lion", "--epochs", "1"]
    )
    assert status == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert config["num_hidden_layers"] == 1
    adapter = json.loads((tmp_path / "small/adapter/adapter_config.json").read_text())
    assert adapter["r"] == 2
    assert adapter["labels"] == ["negative", "positive"]


def test_finetune_with_fewer_heads(folder, tmp_path, capsys):
    status = main(
        ["finetune", "--model", f"{folder}/model", "--train", f"{folder}/train.csv"]
        + ["--output", f"{tmp_path}/small", "--keep-heads", "1", "--epochs", "1"]
    )
    assert status == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "small/config.json").read_text())
    assert (config["num_attention_heads"], config["head_dim"]) == (1, config["hidden_size"] // 2)


class TestRefusals:
    """Exit status 1 and one line that says what is wrong, before any work."""

    def refused(self, capsys, *arguments):
        assert main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    def finetune(self, capsys, folder, train, *more):
        output = folder / "never"
        error = self.refused(
            capsys, "finetune", "--model", folder / "start", "--train", train, "--output", output,
            *more,
        )  # fmt: skip
        assert not output.exists()
        return error

    def test_missing_file(self, capsys, folder):
        assert "no file" in self.finetune(capsys, folder, folder / "none.csv")

    def test_missing_column(self, capsys, folder):
        error = self.finetune(capsys, folder, folder / "train.csv", "--text-column", "body")
        assert "no column 'body': its columns are 'text', 'label'" in error

    def test_one_class(self, capsys, folder, tmp_path):
        (tmp_path / "one.csv").write_text("text,label\ngood,yes\nbad,yes\n")
        assert "has only the label 'yes'" in self.finetune(capsys, folder, tmp_path / "one.csv")

    def test_unseen_labels(self, capsys, folder, tmp_path):
        (tmp_path / "more.csv").write_text("text,label\ngood,neutral\n")
        error = self.finetune(
            capsys, folder, folder / "train.csv", "--validation", tmp_path / "more.csv"
        )
        assert "has labels that" in error
        assert "neutral" in error

    def test_more_heads_than_there_are(self, capsys, folder):
        error = self.finetune(capsys, folder, folder / "train.csv", "--keep-heads", "3")
        assert "--keep-heads must be from 1 to the 2 of a layer: it is 3." in error

    @pytest.mark.parametrize("option", [["--keep-heads", "1"], ["--teacher", "x"]])
    def test_what_works_on_one_machine_only(self, capsys, folder, option):
        error = self.finetune(
            capsys, folder, folder / "train.csv", *option, "--distribute", "mirrored"
        )
        assert f"{option[0]} works on one machine only: leave --distribute away." in error

    def test_a_teacher_of_several_labels(self, capsys, folder):
        error = self.finetune(
            capsys, folder, folder / "train.csv", "--teacher", "x", "--label-separator", ";"
        )
        assert "--teacher is for one label a text" in error

    def test_unknown_optimizer(self, capsys, folder):
        error = self.finetune(capsys, folder, folder / "train.csv", "--optimizer", "sgd")
        assert "The optimizers are adamw, lamb, lion, muon, schedule-free; received 'sgd'" in error

    def test_output_folder_is_not_empty(self, capsys, folder):
        error = self.refused(
            capsys, "finetune", "--model", folder / "start", "--train", folder / "train.csv",
            "--output", folder / "start",
        )  # fmt: skip
        assert "exists and is not empty" in error

    def test_not_utf8(self, capsys, folder, monkeypatch):
        stdin = io.TextIOWrapper(io.BytesIO(b"fine\n\xff\n"))
        monkeypatch.setattr(sys, "stdin", stdin)
        error = self.refused(capsys, "predict", "--model", folder / "model")
        assert "Line 2 is not UTF-8 (byte 0)" in error

    def test_litert_options_without_litert(self, capsys, folder):
        error = self.refused(
            capsys, "export", "--model", folder / "model", folder / "x", "--precision", "int8"
        )
        assert "--precision is for --format litert or mediapipe, received" in error

    def test_usage_is_status_2(self):
        with pytest.raises(SystemExit) as stop:
            main(["finetune"])
        assert stop.value.code == 2


def test_an_interrupted_finetune_leaves_nothing(folder, monkeypatch):
    from keras_bert_scratch import BertClassifier

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(BertClassifier, "fit", interrupt)
    before = sorted(path.name for path in folder.iterdir())
    status = main(
        ["finetune", "--model", f"{folder}/start", "--train", f"{folder}/train.csv"]
        + ["--output", f"{folder}/stopped"]
    )
    assert status == 130
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("command", [[], ["finetune"], ["evaluate"], ["predict"], ["export"]])
def test_help_is_quick(command):
    def seconds():
        # Processor time, which other work on the machine does not add to.
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "keras_bert_scratch.cli.main", *command, "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert min(seconds() for _ in range(3)) < 0.5


# === evaluate ===
@pytest.fixture(scope="module")
def held_out(folder):
    """A file whose first text stands in train.csv, too; the model misses the last one's label."""
    path = folder / "held_out.csv"
    rows = ["a really good film,positive,web", "the bad bad film,negative,web"]
    rows += ["great great movie,positive,mail", "bad bad awful film,positive,mail"]
    path.write_text("\n".join(["text,label,source", *rows]) + "\n")
    return path


def test_evaluate_with_the_training_file(folder, held_out, capsys, tmp_path):
    command = ["evaluate", "--model", f"{folder}/model", "--data", f"{held_out}", "--train"]
    command += [f"{folder}/train.csv", "--slice-column", "source", "--output", f"{tmp_path}/report"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "accuracy 0.7500 on 4 examples\n95 % intervals: accuracy 0.2500 to 1.0000" in text
    assert "baseline (TF-IDF + logistic regression): accuracy 0.7500" in text
    assert "WARNING: The model does not beat the baseline" in text
    assert "1 exact and " in text

    names = {path.name for path in (tmp_path / "report").iterdir()}
    parts = ["baseline", "by_column", "by_length", "label_suspects", "leaks"]
    assert {f"{part}.{kind}" for part in parts for kind in ("txt", "json")} <= names
    by_column = json.loads((tmp_path / "report" / "by_column.json").read_text())
    assert {name: figures["accuracy"] for name, figures in by_column.items()} == {
        "web": 1.0,
        "mail": 0.5,
    }


def test_evaluate_prints_the_same_as_json(folder, held_out, capsys):
    command = ["evaluate", "--model", f"{folder}/saved_model", "--data", f"{held_out}", "--json"]
    assert main([*command, "--train", f"{folder}/train.csv"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["baseline"]["test"] == {"first_only": 0, "second_only": 0, "p_value": 1.0}
    exact = [pair["position"] for pair in found["leaks"]["pairs"] if pair["similarity"] == 1]
    assert exact == [0]
    assert found["label_suspects"]["num_examples"] == 4


def test_evaluate_refuses_an_unknown_slice_column_before_it_loads_the_model(held_out, capsys):
    command = ["evaluate", "--model", "none", "--data", f"{held_out}", "--slice-column", "site"]
    assert main(command) == 1
    assert "has no column 'site': its columns are 'text', 'label', 'source'" in (
        capsys.readouterr().err
    )


def test_evaluate_under_stress(folder, held_out, capsys, tmp_path):
    command = ["evaluate", "--model", f"{folder}/m.tflite", "--data", f"{held_out}", "--stress"]
    assert main([*command, "--output", f"{tmp_path}/report"]) == 0
    text = capsys.readouterr().out
    assert "\nstress\n" in text
    # The vocabulary is uncased: letters of another case are no other text.
    (row,) = [line.split() for line in text.splitlines() if line.startswith("upper case ")]
    assert row[2:] == ["0.7500", "+0.0000", "100.0%", "0.0%"]
    assert {"stress.txt", "stress.json", "stress.png"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }


# === explain ===
def test_explain(folder, capsys, tmp_path):
    command = ["explain", "--model", f"{folder}/model", "a really awful film"]
    assert main([*command, "--output", f"{tmp_path}/why", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["label"], found["words"]) == ("negative", ["a", "really", "awful", "film"])
    assert int(np.argmax(found["scores"])) == 2
    assert {path.name for path in (tmp_path / "why").iterdir()} == {
        "explanation.html", "explanation.json", "explanation.png",
    }  # fmt: skip
    assert main([*command, "--method", "rollout"]) == 0
    assert capsys.readouterr().out.startswith("negative (attention roll-out)\n")


def test_explain_refuses_a_label_of_attention(folder, capsys):
    command = ["explain", "--model", f"{folder}/model", "a", "--method", "rollout", "--label", "x"]
    assert main(command) == 1
    assert "--label is for --method gradients: attention has no label." in capsys.readouterr().err
