"""The command `serve`: refusals here, a server that runs in tests/benchmarks/test_serving.py."""

import pytest

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.serving import server


def test_arguments_reach_the_server(monkeypatch):
    calls = []
    monkeypatch.setattr(server, "serve", lambda *args, **kwargs: calls.append((args, kwargs)))
    command = ["serve", "folder", "--name", "films", "--port", "0", "--max-queue", "7"]
    assert main([*command, "--timeout", "2.5"]) == 0
    limits = server.Limits(max_queue=7, timeout=2.5)
    expected = {"host": "127.0.0.1", "port": 0, "limits": limits}
    assert calls == [(("folder", "films"), expected)]


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
