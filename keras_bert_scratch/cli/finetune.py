"""Fine-tunes a checkpoint on a file of texts and labels, and reports how good it is."""

import argparse
import hashlib
import json
from typing import Any

import keras_bert_scratch
from keras_bert_scratch.cli.common import (
    add_data_arguments,
    add_distribute_argument,
    progress_to_stderr,
    read_data,
    texts_of,
)
from keras_bert_scratch.files import check_new_folder, new_folder

# How many texts tell which attention heads a model needs.
_IMPORTANCE_TEXTS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint folder or hub id to start from")
    parser.add_argument("--train", required=True, help="CSV, TSV, JSONL or Parquet file")
    parser.add_argument("--output", required=True, help="new folder for the model and its report")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--validation", help="file of held-out examples")
    held_out.add_argument(
        "--validation-split",
        type=float,
        default=0.1,
        help="share of the training file to hold out, stratified (default: %(default)s)",
    )
    add_data_arguments(parser)
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument(
        "--optimizer",
        default="adamw",
        help="adamw, lamb, lion, muon or schedule-free (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        help="default: one that fits the optimizer; 1e-3 for adamw with --lora",
    )
    parser.add_argument(
        "--layer-decay",
        type=float,
        default=1.0,
        metavar="RATIO",
        help="learning rate of a layer over that of the layer above it, such as 0.9",
    )
    parser.add_argument(
        "--lora",
        type=int,
        metavar="RANK",
        help="train low-rank adapters and the head only; they are written apart, too",
    )
    parser.add_argument(
        "--freeze", type=int, metavar="K", help="leave the embeddings and the first K layers alone"
    )
    parser.add_argument(
        "--keep-layers", type=int, nargs="+", metavar="N", help="train these layers alone, from 0"
    )
    parser.add_argument(
        "--keep-heads",
        type=int,
        metavar="N",
        help="train so many attention heads a layer, those that a fine-tuned --model needs most",
    )
    parser.add_argument(
        "--teacher", help="checkpoint of a fine-tuned classifier, to learn from its answers, too"
    )
    parser.add_argument(
        "--rematerialize",
        action="store_true",
        help="compute what stands in a layer again for its gradient: less memory, more arithmetic",
    )
    parser.add_argument("--sequence-length", type=int, help="truncate texts to so many tokens")
    parser.add_argument("--dtype", help="such as mixed_bfloat16 (default: float32)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--class-weights", choices=["balanced"], help="weigh rare classes up by their frequency"
    )
    parser.add_argument(
        "--early-stopping",
        type=int,
        metavar="EPOCHS",
        help="stop, and keep the best epoch, after so many without a better validation loss",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit a temperature to the held-out texts, so that probabilities mean what they say",
    )
    parser.add_argument(
        "--checkpoint",
        help="file (.safetensors) that is written after every epoch; a training that was stopped "
        "goes on from it exactly",
    )
    add_distribute_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> None:
    """Runs the command; all input is checked before the model is loaded."""
    if options.class_weights and options.label_separator:
        raise ValueError("--class-weights is for one label a text: leave --label-separator away.")
    if options.teacher and (options.class_weights or options.label_separator):
        raise ValueError(
            "--teacher is for one label a text, and all classes of one weight: leave "
            "--label-separator and --class-weights away."
        )
    for name in ("teacher", "keep_heads"):
        if getattr(options, name) and options.distribute:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} works on one machine only: leave --distribute away.")
    if options.checkpoint and options.early_stopping:
        raise ValueError(
            "--checkpoint does not keep what --early-stopping counts: leave one of them away."
        )
    check_new_folder(options.output)
    train = read_data(options.train, options)
    labels = sorted({label for row in train.labels for label in _labels_of(row)})
    if len(labels) < 2:
        raise ValueError(
            f"{options.train} has only the label {labels[0]!r}: a classifier needs two or more."
        )
    if options.validation:
        held_out = read_data(options.validation, options)
        unseen = sorted({label for row in held_out.labels for label in _labels_of(row)} - {*labels})
        if unseen:
            raise ValueError(
                f"{options.validation} has labels that {options.train} lacks: {', '.join(unseen)}."
            )
    else:
        indices = keras_bert_scratch.stratified_split(
            train.labels, options.validation_split, options.seed
        )
        train, held_out = (train.take(part) for part in indices)

    import keras

    from keras_bert_scratch import (
        BertClassifier,
        Distiller,
        bert_optimizer,
        enable_lora,
        freeze_layers,
    )
    from keras_bert_scratch.data.labels import balanced_class_weights
    from keras_bert_scratch.training.distribution import (
        chief_first,
        distribution_strategy,
        is_chief,
    )
    from keras_bert_scratch.training.resuming import ExactResume

    strategy = distribution_strategy(options.distribute)
    keras.utils.set_random_seed(options.seed)
    with strategy.scope():
        model = BertClassifier.from_pretrained(
            options.model,
            labels,
            sequence_length=options.sequence_length,
            multi_label=options.label_separator is not None,
            dtype=options.dtype,
        )
        if options.keep_layers:
            model = model.with_layers(options.keep_layers)
        if options.keep_heads:
            model = _without_heads(model, train, options.keep_heads)
        if options.lora:
            enable_lora(model.encoder, options.lora)
        if options.freeze is not None:
            freeze_layers(model.encoder, options.freeze)
        model.encoder.rematerialize = options.rematerialize
        trainee = model
        if options.teacher:
            teacher = BertClassifier.from_pretrained(options.teacher, dtype=options.dtype)
            trainee = Distiller(model, teacher)
        learning_rate = options.learning_rate
        if learning_rate is None and options.lora and options.optimizer == "adamw":
            learning_rate = 1e-3
        trainee.compile(
            bert_optimizer(
                options.optimizer,
                learning_rate,
                total_steps=options.epochs * -(-len(train) // options.batch_size),
                layer_decay=options.layer_decay,
            )
        )
        if options.checkpoint:
            resume = ExactResume(options.checkpoint, _recipe(options, train))
            resume.restore(trainee)
    callbacks: list[keras.callbacks.Callback] = [resume] if options.checkpoint else []
    weights = None
    if options.class_weights:
        balanced = balanced_class_weights(model.encode_labels(train.labels), model.labels)
        weights = [balanced[label] for label in train.labels]
    if options.early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                patience=options.early_stopping, restore_best_weights=True
            )
        )
    with progress_to_stderr():
        history = trainee.fit(
            texts_of(train),
            train.labels,
            batch_size=options.batch_size,
            epochs=options.epochs,
            initial_epoch=resume.epochs_done if options.checkpoint else 0,
            validation_data=(texts_of(held_out), held_out.labels),
            sample_weight=weights,
            callbacks=callbacks,
        ).history
    # Those that only wait must not leave before: the cluster would count them as lost.
    with chief_first(strategy):
        if is_chief(strategy):
            _write(options, model, held_out, resume.history if options.checkpoint else history)


def _without_heads(model: Any, train: Any, num_heads: int) -> Any:
    """Returns a classifier of those heads that some training texts need most."""
    import numpy as np

    from keras_bert_scratch.evaluation.head_importance import head_importance

    most = model.encoder.config.num_heads
    if not 1 <= num_heads <= most:
        raise ValueError(
            f"--keep-heads must be from 1 to the {most} of a layer: it is {num_heads}."
        )
    indices = np.random.default_rng(0).permutation(len(train))[:_IMPORTANCE_TEXTS]
    some = train.take(indices)
    importance = head_importance(model, texts_of(some), some.labels)
    return model.with_heads(np.argsort(-importance)[:, :num_heads])


def _write(options: argparse.Namespace, model: Any, held_out: Any, history: Any) -> None:
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.report import write_report

    with new_folder(options.output) as folder, progress_to_stderr():
        calibration = None
        if options.calibrate:
            calibration = model.calibrate(texts_of(held_out), held_out.labels)
        report = evaluate_classification(
            model.encode_labels(held_out.labels),
            model.probabilities(texts_of(held_out)),
            model.labels,
            multi_label=model.multi_label,
        )
        model.save_pretrained(folder)
        if options.lora:
            model.save_adapter(folder / "adapter")
        write_report(folder / "report", report, history, calibration)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        print(report.to_text())
        print(calibration.to_text() if calibration else "")


def _recipe(options: argparse.Namespace, train: Any) -> dict[str, Any]:
    """Returns what the weights depend on, for a checkpoint to be checked by."""
    names = (
        "epochs batch_size optimizer learning_rate layer_decay lora freeze keep_layers keep_heads "
        "teacher sequence_length dtype seed class_weights label_separator"
    )
    examples = repr((train.texts, train.pairs, train.labels))
    return {
        **{name: getattr(options, name) for name in names.split()},
        "examples": hashlib.sha256(examples.encode()).hexdigest(),
    }


def _labels_of(row: str | list[str]) -> list[str]:
    return [row] if isinstance(row, str) else row
