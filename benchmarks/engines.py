"""Engines for answers: ours, ONNX Runtime and transformers' pipeline on the same texts.

    make parity  # installs the competitors
    .venv/bin/python benchmarks/engines.py --models engine_models --output engines.json

MiniLM is fine-tuned on film snippets and on R8, once, with BERT's own head; `--models` keeps both.
Each engine answers raw texts, tokenizing included, in a process of its own: the held-out snippets
and R8's test set, whose labels are compared with those of Keras and with the true ones; and
`--texts` snippets and news mixed. All engines take turns, `--rounds` times; medians count.

- keras, litert, litert-int8: `model.predict(texts, engine=...)`.
- onnx-int8: our ONNX export, quantized by `onnxruntime.quantization.quantize_dynamic`, fed with the
  batches that our LiteRT reader makes.
- pipeline: transformers' `pipeline("text-classification")` on PyTorch, batches of 32.

Peak memory is that of the process, from its start.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "examples"), str(Path(__file__).parent)]

OURS = ("keras", "litert", "litert-int8")
SETS = ("snippets", "r8", "mixed")
ENGINES = (*OURS, "onnx-int8", "pipeline")
BATCH_SIZE, SEQUENCE_LENGTH = 32, 256
NUM_HELD_OUT = 1000
ONNX = "int8.onnx"
Columns = tuple[list[str], list[str]]


# === Texts and models ===
def load_sets() -> dict[str, tuple[Columns, Columns]]:
    """Returns texts and labels of each set: those to train on, and those held out."""
    from few_shot import permutation, take
    from fine_tuning import fetch_reuters
    from sentiment import fetch_snippets

    snippets = fetch_snippets()
    order = permutation(snippets)
    parts = take(snippets, order[NUM_HELD_OUT:]), take(snippets, order[:NUM_HELD_OUT])
    return {"snippets": parts, "r8": (fetch_reuters("train"), fetch_reuters("test"))}


def mixed(sets: dict[str, tuple[Columns, Columns]], count: int) -> list[str]:
    """Returns so many texts of both sets, in turn and then shuffled."""
    texts = [[*train[0], *held_out[0]] for train, held_out in sets.values()]
    pairs = [text for column in zip(*texts, strict=False) for text in column]
    chosen = (pairs * -(-count // len(pairs)))[:count]
    return [chosen[i] for i in np.random.default_rng(0).permutation(count)]


def train(columns: Columns, folder: Path) -> None:
    """Fine-tunes MiniLM, and writes it, as ONNX, too."""
    import keras
    from onnxruntime.quantization import quantize_dynamic

    from keras_bert_scratch import BertClassifier, adamw

    keras.utils.set_random_seed(0)
    labels = sorted(set(columns[1]))
    model = BertClassifier.from_pretrained(
        "minilm", labels, pooling="pooler", sequence_length=SEQUENCE_LENGTH
    )
    model.compile(adamw(5e-5, total_steps=2 * -(-len(columns[0]) // BATCH_SIZE)))
    model.fit(*columns, batch_size=BATCH_SIZE, epochs=2, verbose=2)
    model.save_pretrained(folder)
    with tempfile.TemporaryDirectory() as temporary:
        model.export(Path(temporary) / "float.onnx", format="onnx")
        quantize_dynamic(Path(temporary) / "float.onnx", folder / ONNX)


# === Engines ===
def answering(engine: str, folder: Path) -> Callable[[list[str]], np.ndarray]:
    """Returns a function from texts to the ids of their labels."""
    if engine in OURS:
        from keras_bert_scratch import BertClassifier
        from keras_bert_scratch.serving.engines import Engine

        model = BertClassifier.from_pretrained(folder)
        # Any share of equal labels: it is what is measured.
        chosen = Engine(engine, least_agreement=0)  # type: ignore[arg-type]
        return lambda texts: model.predict(texts, BATCH_SIZE, verbose=0, engine=chosen).argmax(1)
    if engine == "onnx-int8":
        from keras_bert_scratch.serving import OnnxPredictor
        from keras_bert_scratch.serving.readers.base import num_cores

        reader = OnnxPredictor(folder / ONNX, num_cores(), allow_changed=True)
        return lambda texts: reader.probabilities(texts, BATCH_SIZE).argmax(1)
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    pipe = transformers.pipeline("text-classification", network, tokenizer=tokenizer)

    def ask(texts: list[str]) -> np.ndarray:
        settings = {"truncation": True, "max_length": SEQUENCE_LENGTH, "batch_size": BATCH_SIZE}
        return np.array([network.config.label2id[a["label"]] for a in pipe(texts, **settings)])

    return ask


def work(engine: str, folder: Path, texts: list[str]) -> dict[str, Any]:
    """Measures an engine in this process, after it was warmed up."""
    ask = answering(engine, folder)
    ask(texts[:64])
    started = time.perf_counter()
    found = ask(texts)
    seconds = time.perf_counter() - started
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_bytes": peak, "labels": found.tolist()}


def run_apart(engine: str, folder: Path, texts: list[str]) -> dict[str, Any]:
    """Runs `work` in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        question, answer = Path(temporary) / "question.json", Path(temporary) / "answer.json"
        question.write_text(json.dumps([engine, str(folder), texts]))
        command = [sys.executable, __file__, "--work", str(question), str(answer)]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


# === The table ===
def measure(options: argparse.Namespace, models: Path) -> list[dict[str, Any]]:
    """Returns a row for each set and engine."""
    sets = load_sets()
    for name, (training, _) in sets.items():
        if not (models / name / ONNX).exists():
            train(training, models / name)
    asked = {name: held_out[0] for name, (_, held_out) in sets.items()}
    asked["mixed"] = mixed(sets, options.texts)
    rows = []
    for name in options.sets:
        texts = asked[name]
        folder = models / ("r8" if name == "mixed" else name)
        runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in options.engines}
        for _ in range(options.rounds):
            for engine, found in runs.items():
                found.append(run_apart(engine, folder, texts))
                print(name, engine, f"{found[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
        wanted = np.array(runs[options.engines[0]][0]["labels"])
        for engine, found in runs.items():
            labels = np.array(found[0]["labels"])
            row = {
                "texts": name,
                "engine": engine,
                "texts_per_second": len(texts) / statistics.median(r["seconds"] for r in found),
                "peak_mb": statistics.median(r["peak_bytes"] for r in found) / 1e6,
                "equal_labels": float(np.mean(labels == wanted)),
            }
            if name in sets:
                known = sorted(set(sets[name][0][1]))
                true = np.array([known.index(label) for label in sets[name][1][1]])
                row["accuracy"] = float(np.mean(labels == true))
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the figures as a table; `times` is against the first engine."""
    from keras_bert_scratch.tables import format_table

    first: dict[str, float] = {}
    lines = []
    for row in rows:
        rate = row["texts_per_second"]
        times = rate / first.setdefault(row["texts"], rate)
        accuracy = f"{row['accuracy']:.2%}" if "accuracy" in row else ""
        speed = [f"{rate:.0f}", f"{times:.2f}", f"{row['peak_mb']:.0f}"]
        lines.append([row["texts"], row["engine"], *speed, f"{row['equal_labels']:.2%}", accuracy])
    names = ["texts", "engine", "texts/s", "times", "peak MB", "labels as keras", "accuracy"]
    return format_table(names, lines)


def main() -> None:
    """Measures, or works for a measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=10_000, help="mixed ones (default: 10000)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--models", type=Path, help="folder of the trained models, kept")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--work", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        question, answer = options.work
        engine, folder, texts = json.loads(question.read_text())
        answer.write_text(json.dumps(work(engine, Path(folder), texts)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(options, options.models or Path(temporary))
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2))
    print(table(rows))


if __name__ == "__main__":
    main()
