"""What TensorFlow writes when it is imported, before any setting of its own is read."""

import os
import subprocess
import sys

import pytest

from keras_bert_scratch.cli.quiet import stderr_kept


@pytest.fixture
def import_tensorflow(tmp_path):
    """Returns a function that imports a package of that name in a process, and its messages."""

    def run(source, environment=()):
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow/__init__.py").write_text(source)
        code = (
            "import os, sys\n"
            "from keras_bert_scratch.cli.quiet import quiet_tensorflow\n"
            "quiet_tensorflow()\n"
            "quiet_tensorflow()\n"
            "assert 'tensorflow' not in sys.modules\n"
            "import tensorflow\n"
            "assert tensorflow.answer == 42\n"
            "assert tensorflow.__spec__.loader is tensorflow.__loader__\n"
            "assert type(tensorflow.__loader__).__name__ == 'SourceFileLoader'\n"
            "assert os.environ['TF_CPP_MIN_LOG_LEVEL'] == tensorflow.level\n"
            "os.write(2, b'later')\n"
        )
        path = os.pathsep.join([str(tmp_path), *sys.path])
        others = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**others, "PYTHONPATH": path, **dict(environment)},
            capture_output=True,
            text=True,
        )

    return run


SOURCE = "import os\nos.write(2, b'noise ')\nanswer = 42\n"
SOURCE += "level = os.environ['TF_CPP_MIN_LOG_LEVEL']\n"


def test_messages_of_the_import_are_kept(import_tensorflow):
    ran = import_tensorflow(SOURCE)
    assert (ran.returncode, ran.stderr) == (0, "later")


def test_all_messages_may_be_wanted(import_tensorflow):
    ran = import_tensorflow(SOURCE, {"TF_CPP_MIN_LOG_LEVEL": "0"}.items())
    assert (ran.returncode, ran.stderr) == (0, "noise later")


def test_a_failed_import_tells_why(import_tensorflow):
    ran = import_tensorflow(SOURCE + "raise ImportError('no wheel')\n")
    assert ran.returncode == 1
    assert ran.stderr.startswith("noise Traceback")
    assert ran.stderr.endswith("ImportError: no wheel\n")


def test_what_was_kept_is_shown_after_an_error(capfd):
    def fail():
        os.write(2, b"why")
        raise KeyError

    with pytest.raises(KeyError), stderr_kept():
        fail()
    with stderr_kept():
        os.write(2, b"nothing")
    assert capfd.readouterr().err == "why"


def test_a_command_says_nothing_but_its_own():
    """With the real TensorFlow, whose messages no environment variable stops."""
    ran = subprocess.run(
        [sys.executable, "-m", "keras_bert_scratch.cli.main", "predict", "--model", "tiny-en"],
        capture_output=True,
        text=True,
        input="a film\n",
    )
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.endswith(
        "has no classification head: fine-tune it first, keras-bert-scratch finetune FILE --model "
        "tiny-en."
    )
