"""Are explanations faithful, and answers robust and calibrated? A classifier of real film reviews.

    python benchmarks/explanations.py

Fine-tunes the encoder that comes with the package on film-review snippets, the same split as
`examples/sentiment.py`, and measures on held-out ones: how well integrated gradients are complete;
the deletion curves of integrated gradients and of attention roll-out beside random order; the
stress report; the baseline; how many labels that were flipped on purpose are found; and, with a
temperature fitted to one half of them, the calibration error on the other, before, after, and of
the exports. Prints JSON.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import BertClassifier, adamw, stratified_split
from keras_bert_scratch.evaluation.baseline import compare_with_baseline
from keras_bert_scratch.evaluation.calibration import expected_calibration_error
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.duplicates import find_duplicates
from keras_bert_scratch.evaluation.explanations import (
    Explanation,
    explain_by_rollout,
    faithfulness,
    integrated_gradients,
)
from keras_bert_scratch.evaluation.label_noise import find_label_suspects
from keras_bert_scratch.evaluation.plots import plot_faithfulness
from keras_bert_scratch.evaluation.report import write_report
from keras_bert_scratch.evaluation.stress import stress_test
from keras_bert_scratch.serving.readers.classifier import load_predictor

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_snippets, split

# Share of the held-out labels that are flipped to see whether they are found.
_NOISE = 0.05


def faithfulness_figures(model: BertClassifier, explanations: list[Explanation]) -> dict[str, Any]:
    """Returns the mean areas below the deletion curves."""
    result = faithfulness(model.probabilities, LABELS, explanations)
    return {
        "area": round(float(result.areas.mean()), 4),
        "area_in_random_order": round(float(result.random_areas.mean()), 4),
        "texts_below_random": int((result.areas < result.random_areas).sum()),
        "texts": len(explanations),
        "p_value": result.p_value,
    }


def noise_figures(
    true_ids: np.ndarray, probabilities: np.ndarray, texts: list[str]
) -> dict[str, Any]:
    """Flips some labels, and returns how many of those are suspect, and of the suspects flipped."""
    generator = np.random.default_rng(0)
    flipped = generator.choice(len(true_ids), int(_NOISE * len(true_ids)), replace=False)
    noisy = true_ids.copy()
    noisy[flipped] = 1 - noisy[flipped]
    suspects = find_label_suspects(noisy, probabilities, LABELS, texts).suspects
    found = len({suspect.position for suspect in suspects} & set(flipped.tolist()))
    first = {suspect.position for suspect in suspects[: len(flipped)]} & set(flipped.tolist())
    return {
        "flipped": len(flipped),
        "suspects": len(suspects),
        "flipped_among_suspects": found,
        "flipped_among_as_many_first": len(first),
    }


def calibration_figures(
    model: BertClassifier, texts: list[str], labels: list[str]
) -> dict[str, Any]:
    """Fits a temperature to half of the texts; returns the calibration errors on the others."""
    halves = stratified_split(labels, 0.5, seed=0)
    (fitted, fitted_labels), (others, other_labels) = (
        ([texts[i] for i in half], [labels[i] for i in half]) for half in halves
    )

    def error(answering: Any) -> float:
        probabilities = answering.probabilities(others)
        return expected_calibration_error(probabilities, model.encode_labels(other_labels))

    errors = {"before": error(model)}
    temperature = model.calibrate(fitted, fitted_labels).temperature
    errors["after"] = error(model)
    with tempfile.TemporaryDirectory() as folder:
        saved_model, litert, int8 = (f"{folder}/{name}" for name in ("m", "m.tflite", "i.tflite"))
        model.export(saved_model)
        model.export(litert, format="litert")
        model.export(int8, format="litert", precision="int8")
        errors["SavedModel"] = error(load_predictor(saved_model))
        errors["LiteRT"] = error(load_predictor(litert))
        errors["LiteRT int8"] = error(load_predictor(int8))
    return {
        "texts": {"fitted": len(fitted), "measured": len(others)},
        "temperature": temperature,
        "expected_calibration_error": errors,
    }


def main() -> None:
    """Fine-tunes, measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--explained", type=int, default=100, help="held-out texts to explain")
    parser.add_argument("--output", help="new folder for the report, the tables and the pictures")
    options = parser.parse_args()

    train, (texts, labels) = split(*fetch_snippets())
    keras.utils.set_random_seed(0)
    model = BertClassifier.from_pretrained("tiny-en-1", LABELS, sequence_length=64)
    model.compile(adamw(5e-4, total_steps=options.epochs * -(-len(train[0]) // 32)))
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        model.fit(train[0], train[1], epochs=options.epochs, verbose=2)
    seconds = time.perf_counter() - started

    true_ids, probabilities = model.encode_labels(labels), model.probabilities(texts)
    report = evaluate_classification(true_ids, probabilities, LABELS)
    baseline = compare_with_baseline(
        (train[0], model.encode_labels(train[1])), (texts, true_ids), probabilities, LABELS
    )
    stress = stress_test(model.probabilities, texts, true_ids, LABELS)
    leaks = find_duplicates(texts, train[0])
    suspects = find_label_suspects(true_ids, probabilities, LABELS, texts)

    tokenizer = model.check_tokenizer()
    explained = [text for text in texts if len(tokenizer.encode(text).token_ids) <= 64]
    explained = explained[: options.explained]
    started = time.perf_counter()
    gradients = [integrated_gradients(model, text) for text in explained]
    seconds_a_text = (time.perf_counter() - started) / len(gradients)
    errors = [explanation.completeness_error for explanation in gradients]
    rollouts = [explain_by_rollout(model, text) for text in explained]

    if options.output:
        details: dict[str, Any] = {
            "baseline": baseline,
            "stress": stress,
            "leaks": leaks,
            "suspects": suspects,
        }
        write_report(options.output, report, details=details)
        result = faithfulness(model.probabilities, LABELS, gradients)
        plot_faithfulness(result, Path(options.output) / "deletion.png")
    print(stress.to_text(), file=sys.stderr)
    figures = {
        "training_seconds": round(seconds),
        "accuracy": [report.accuracy, *report.intervals["accuracy"]],
        "baseline_accuracy": [baseline.report.accuracy, *baseline.report.intervals["accuracy"]],
        "mcnemar": baseline.test._asdict(),
        "leaks": {"exact": leaks.num_exact, "all": len(leaks.pairs)},
        "label_noise": noise_figures(true_ids, probabilities, texts),
        "stress": {
            name: {
                "accuracy": round(found.accuracy, 4),
                "texts_changed": round(found.changed, 4),
                "answers_changed": round(len(found.flips) / stress.num_texts, 4),
            }
            for name, found in stress.stresses.items()
        },
        "completeness_error": {"median": float(np.median(errors)), "largest": max(errors)},
        "seconds_a_text": round(seconds_a_text, 3),
        "integrated_gradients": faithfulness_figures(model, gradients),
        "attention_rollout": faithfulness_figures(model, rollouts),
        # Last: it changes the model's probabilities.
        "calibration": calibration_figures(model, texts, labels),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
