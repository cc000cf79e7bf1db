"""Seconds that people wait for commands in fresh processes, beside the bare import of TensorFlow.

    python benchmarks/waiting.py
    git worktree add ../before COMMIT
    python benchmarks/waiting.py --before ../before  # another version, in turn with this one

The model is MiniLM with a new head of two classes, saved with its int8 engine, and exported. A
server has waited until it gave its first answer. Medians of `--rounds`; empty where another version
does not know a command.
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = "a film to remember, if only for the wrong reasons"
TEXTS = [TEXT, "a waste of an evening", "one of the best of the year"] * 10


def prepare(folder: Path) -> None:
    """Writes the model, its engine and its exports."""
    from keras_bert_scratch import BertClassifier
    from keras_bert_scratch.serving.engines import Engine, keep

    model = BertClassifier.from_pretrained("minilm", ["negative", "positive"], pooling="pooler")
    model.save_pretrained(folder / "model")
    # Any share of equal labels: the head has learned nothing.
    keep(model, folder / "model", Engine("litert-int8", least_agreement=0), TEXTS)
    model.export(folder / "saved_model")
    model.export(folder / "int8.tflite", format="litert", precision="int8")


def run(source: Path, *arguments: str) -> None:
    """Runs a command of a version of the package in a fresh process."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=source, input=f"{TEXT}\n", text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {source}:\n{done.stderr}")


def command(*arguments: str) -> Callable[[Path], None]:
    """Returns a function that runs a command line of a version."""
    return lambda source: run(source, "-m", "keras_bert_scratch.cli.main", *arguments)


def exported(folder: Path, *arguments: str) -> Callable[[Path], None]:
    """Returns a function that exports the model, and removes what it wrote."""

    def export(source: Path) -> None:
        path = folder / "export"
        command("export", "--model", str(folder / "model"), *arguments, str(path))(source)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return export


def first_answer(model: Path) -> Callable[[Path], None]:
    """Returns a function that starts a server, and waits for its first answer."""
    from serving import free_port

    def wait(source: Path) -> None:
        port = free_port()
        arguments = ["serve", str(model), "--port", str(port)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/models/model:predict",
            f'{{"instances": ["{TEXT}"]}}'.encode(),
            {"Content-Type": "application/json"},
        )
        with subprocess.Popen(
            [sys.executable, "-m", "keras_bert_scratch.cli.main", *arguments],
            cwd=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                while server.poll() is None:
                    try:
                        urllib.request.urlopen(request).read()
                        return
                    except urllib.error.URLError:
                        time.sleep(0.02)
                raise RuntimeError(f"The server of {source} stopped.")
            finally:
                server.terminate()

    return wait


def questions(folder: Path) -> dict[str, Callable[[Path], None]]:
    """Returns what is timed, by name."""
    model = str(folder / "model")
    return {
        "import tensorflow": lambda source: run(source, "-c", "import tensorflow"),
        "--help": command("--help"),
        "predict a line, LiteRT": command("predict", "--model", str(folder / "int8.tflite")),
        "predict a line, checkpoint": command("predict", "--model", model),
        "predict a line, SavedModel": command("predict", "--model", str(folder / "saved_model")),
        "explain a line, checkpoint": command("explain", "--model", model, TEXT),
        "export, SavedModel": exported(folder),
        "export, int8 LiteRT": exported(folder, "--format", "litert", "--precision", "int8"),
        "serve, SavedModel": first_answer(folder / "saved_model"),
        "serve, checkpoint or LiteRT": first_answer(folder / "int8.tflite"),
    }


def main() -> None:
    """Times everything, and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, help="checkout of another version")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from keras_bert_scratch.tables import format_table

    sources = [ROOT, *([options.before.resolve()] if options.before else [])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        asked = questions(folder)
        seconds: dict[tuple[str, Path], list[float]] = {}
        for name, source in itertools.product([*asked] * options.rounds, sources):
            started = time.perf_counter()
            try:
                asked[name](source)
            except RuntimeError:
                if source == ROOT:
                    raise
                continue  # what another version does not know
            seconds.setdefault((name, source), []).append(time.perf_counter() - started)
    rows = []
    for name in asked:
        found = [seconds.get((name, source)) for source in sources]
        rows.append(
            [name, *(f"{statistics.median(times):.1f}" if times else "" for times in found)]
        )
    print(format_table(["seconds", "now", "before"][: 1 + len(sources)], rows))


if __name__ == "__main__":
    main()
