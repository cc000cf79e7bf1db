"""The command `serve`; a server runs in tests/benchmarks."""

import dataclasses

import pytest

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.serving.server import app


def test_arguments_reach_the_server(monkeypatch, run):
    calls = []
    monkeypatch.setattr(app, "serve", lambda *args, **kwargs: calls.append((args, kwargs)))
    run(
        *("serve", "folder", "--name", "films", "--port", 0, "--max-queue", 7, "--timeout", 2.5),
        *("--allowed-host", "films.example", "--allowed-host", "films"),
        *("--cors-origin", "https://example.org", "--root-path", "/films"),
    )
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
def test_refusals(arguments, message, run):
    assert message in run("serve", *arguments, status=1)
