"""The command `serve`, and `export` for servers; a server runs in tests/benchmarks."""

import dataclasses

import pytest

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.serving.server import app


def test_arguments_reach_the_server(monkeypatch):
    calls = []
    monkeypatch.setattr(app, "serve", lambda *args, **kwargs: calls.append((args, kwargs)))
    command = ["serve", "folder", "--name", "films", "--port", "0", "--max-queue", "7"]
    command += ["--timeout", "2.5", "--allowed-host", "films.example", "--allowed-host", "films"]
    command += ["--cors-origin", "https://example.org", "--root-path", "/films"]
    assert main(command) == 0
    expected = {
        "host": "127.0.0.1",
        "port": 0,
        "limits": app.Limits(max_queue=7, timeout=2.5),
        "allowed_hosts": ["films.example", "films"],
        "cors_origins": ["https://example.org"],
        "root_path": "/films",
    }
    assert calls == [(("folder", "films"), expected)]


def test_help_tells_every_limit_and_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(app.Limits):
        option = f"--{field.name.replace('_', '-')} "
        assert f"(default: {field.default})" in text[text.rindex(option) :][:200]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere holds neither a saved_model.pb nor versions of one"),
        (["nowhere", "--max-batch-size", "0"], "max_batch_size must be greater than 0, received 0"),
        (["nowhere", "--name", "a/b"], "name must have none of"),
    ],
)
def test_refusals(arguments, message, capsys):
    assert main(["serve", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_export_refuses_a_version_that_exists(versioned_export, capsys):
    _, folder = versioned_export
    command = ["export", "--model", "unread", str(folder), "--model-version", "3"]
    assert main(command) == 1
    assert "has a version 3 already: choose another, such as 4" in capsys.readouterr().err


def test_only_a_saved_model_has_versions(capsys):
    command = ["export", "--model", "unread", "m.tflite", "--format", "litert"]
    assert main([*command, "--model-version", "1"]) == 1
    assert "--model-version is for --format savedmodel" in capsys.readouterr().err


def test_export_writes_a_version(tiny_classifier, tmp_path, monkeypatch):
    from keras_bert_scratch import BertClassifier

    exported = []
    model = tiny_classifier()
    monkeypatch.setattr(model, "export", lambda output, **options: exported.append(output))
    monkeypatch.setattr(BertClassifier, "from_pretrained", lambda path: model)
    assert main(["export", "--model", "m", str(tmp_path), "--model-version", "7"]) == 0
    assert exported == [tmp_path / "7"]
