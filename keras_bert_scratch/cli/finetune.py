"""Fine-tunes a checkpoint on a file of texts and labels, and reports how good it is."""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import keras_bert_scratch
from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder

# Number of texts that tell which attention heads a model needs.
_IMPORTANCE_TEXTS = 1000
# Pairs of options that exclude each other, and why.
_EXCLUDED = (
    ("class_weights", "label_separator", "--class-weights is for one label a text"),
    ("teacher", "label_separator", "--teacher is for one label a text"),
    ("teacher", "class_weights", "--teacher is for classes of one weight"),
    ("teacher", "distribute", "--teacher works on one machine only"),
    ("keep_heads", "distribute", "--keep-heads works on one machine only"),
    ("checkpoint", "early_stopping", "--checkpoint does not keep what --early-stopping counts"),
)
# The options that the weights depend on.
_RECIPE = (
    *("epochs", "batch_size", "optimizer", "learning_rate", "layer_decay", "lora", "freeze"),
    *("keep_layers", "keep_heads", "teacher", "sequence_length", "dtype", "seed"),
    *("class_weights", "label_separator"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    add("--model", required=True, help=f"{common.CHECKPOINT} to start from")
    add("--train", required=True, help=common.EXAMPLES_FILE)
    add("--output", required=True, help="new folder for the model and its report")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--validation", help="file of held-out examples")
    held_out.add_argument(
        "--validation-split",
        type=float,
        default=0.1,
        help="share of the training file to hold out, stratified (default: %(default)s)",
    )
    common.add_arguments(parser, *common.DATA, *common.TRAINING, "--distribute", "--json")
    add(
        "--optimizer",
        default="adamw",
        help="adamw, lamb, lion, muon or schedule-free (default: %(default)s)",
    )
    add(
        "--learning-rate",
        type=float,
        help="default: one that fits the optimizer; 1e-3 for adamw with --lora",
    )
    add(
        "--layer-decay",
        type=float,
        default=1.0,
        metavar="RATIO",
        help="learning rate of a layer over that of the layer above it, such as 0.9",
    )
    add("--class-weights", choices=["balanced"], help="weigh classes by their inverse frequency")
    add(
        "--early-stopping",
        type=int,
        metavar="EPOCHS",
        help="stop after this many epochs without a better validation loss, and keep the best",
    )
    add(
        "--calibrate",
        action="store_true",
        help="fit a temperature to the held-out texts, so that probabilities match frequencies",
    )
    add(
        "--checkpoint",
        help="file (.safetensors) that is written after every epoch; a training that was stopped "
        "goes on from it exactly",
    )
    _add_model_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that change the model before it is trained."""
    add = parser.add_argument
    add(
        "--lora",
        type=int,
        metavar="RANK",
        help="train only low-rank adapters and the head; the adapters are also written apart",
    )
    add("--freeze", type=int, metavar="K", help="freeze the embeddings and the first K layers")
    add("--keep-layers", type=int, nargs="+", metavar="N", help="keep only these, counted from 0")
    add(
        "--keep-heads",
        type=int,
        metavar="N",
        help="keep only the N attention heads of each layer that a fine-tuned --model needs most",
    )
    add("--teacher", help="checkpoint of a fine-tuned classifier, to also learn from its answers")
    add(
        "--rematerialize",
        action="store_true",
        help="compute activations again for the gradients: less memory, more arithmetic",
    )


def run(options: argparse.Namespace) -> None:
    """Runs the command; all input is checked before the model is loaded."""
    for option, other, reason in _EXCLUDED:
        if getattr(options, option) and getattr(options, other):
            raise ValueError(f"{reason}: omit {common.flag(other)}.")
    check_new_folder(options.output)
    train, held_out, labels = _read(options)

    import keras

    from keras_bert_scratch.data.labels import balanced_class_weights
    from keras_bert_scratch.training.distribution import (
        chief_first,
        distribution_strategy,
        is_chief,
    )
    from keras_bert_scratch.training.resuming import ExactResume

    strategy = distribution_strategy(options.distribute)
    keras.utils.set_random_seed(options.seed)
    callbacks: list[keras.callbacks.Callback] = []
    resume = None
    with strategy.scope():
        model = _model(options, train, labels)
        trainee = _compiled(options, model, len(train))
        if options.checkpoint:
            resume = ExactResume(options.checkpoint, _recipe(options, train))
            resume.restore(trainee)
            callbacks.append(resume)
    if options.early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                patience=options.early_stopping, restore_best_weights=True
            )
        )
    class_weight = None
    if options.class_weights:
        class_weight = balanced_class_weights(model.encode_labels(train.labels), model.labels)
    with common.progress_to_stderr():
        history = trainee.fit(
            common.texts_of(train),
            train.labels,
            batch_size=options.batch_size,
            epochs=options.epochs,
            initial_epoch=resume.epochs_done if resume else 0,
            validation_data=(common.texts_of(held_out), held_out.labels),
            class_weight=class_weight,
            callbacks=callbacks,
        ).history
    # Workers that only wait must not leave before: the cluster would count them as lost.
    with chief_first(strategy):
        if is_chief(strategy):
            _write(options, model, train, held_out, resume.history if resume else history)


def _read(options: argparse.Namespace) -> tuple[Any, Any, list[str]]:
    """Returns the examples to train on, those held out, and the names of the classes."""
    train = common.read_data(options.train, options)
    labels = _names(train)
    if len(labels) < 2:
        raise ValueError(
            f"{options.train} has only the label {labels[0]!r}: a classifier needs two or more."
        )
    if options.validation:
        held_out = common.read_data(options.validation, options)
        common.check_known({*labels}, {*_names(held_out)}, options, "labels")
    else:
        indices = keras_bert_scratch.stratified_split(
            train.labels, options.validation_split, options.seed
        )
        train, held_out = (train.take(part) for part in indices)
    return train, held_out, labels


def _names(examples: Any) -> list[str]:
    rows = ([row] if isinstance(row, str) else row for row in examples.labels)
    return sorted({label for row in rows for label in row})


def _model(options: argparse.Namespace, train: Any, labels: list[str]) -> Any:
    """Loads the checkpoint, and makes it smaller or freezes parts of it as the options say."""
    from keras_bert_scratch import BertClassifier, enable_lora, freeze_layers

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
    return model


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
    importance = head_importance(model, common.texts_of(some), some.labels)
    return model.with_heads(np.argsort(-importance)[:, :num_heads])


def _compiled(options: argparse.Namespace, model: Any, num_examples: int) -> Any:
    """Returns the model to train, compiled: a `Distiller` of the classifier if it has a teacher."""
    from keras_bert_scratch import BertClassifier, Distiller, bert_optimizer

    if options.teacher:
        teacher = BertClassifier.from_pretrained(options.teacher, dtype=options.dtype)
        model = Distiller(model, teacher)
    learning_rate = options.learning_rate
    if learning_rate is None and options.lora and options.optimizer == "adamw":
        learning_rate = 1e-3
    model.compile(
        bert_optimizer(
            options.optimizer,
            learning_rate,
            total_steps=options.epochs * -(-num_examples // options.batch_size),
            layer_decay=options.layer_decay,
        )
    )
    return model


def _recipe(options: argparse.Namespace, train: Any) -> dict[str, Any]:
    """Returns everything that the weights depend on, to check a checkpoint."""
    examples = repr((train.texts, train.pairs, train.labels))
    return {
        **{name: getattr(options, name) for name in _RECIPE},
        "examples": hashlib.sha256(examples.encode()).hexdigest(),
    }


def _write(
    options: argparse.Namespace, model: Any, train: Any, held_out: Any, history: Any
) -> None:
    from keras_bert_scratch.evaluation.baseline import compare_with_baseline
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.model_card import model_card
    from keras_bert_scratch.evaluation.report import examine, write_report

    with new_folder(options.output) as folder, common.progress_to_stderr():
        calibration = None
        if options.calibrate:
            calibration = model.calibrate(common.texts_of(held_out), held_out.labels)
        data = common.texts_of(held_out), model.encode_labels(held_out.labels)
        probabilities = model.probabilities(data[0], options.batch_size)
        how: dict[str, Any] = {"multi_label": model.multi_label}
        report = evaluate_classification(data[1], probabilities, model.labels, **how)
        model.save_pretrained(folder)
        if options.lora:
            model.save_adapter(folder / "adapter")
        details = examine(model, *data, probabilities, **how, batch_size=options.batch_size)
        details["baseline"] = compare_with_baseline(
            (common.texts_of(train), model.encode_labels(train.labels)),
            data,
            probabilities,
            model.labels,
            **how,
        )
        name = Path(options.output).name
        training = _how_trained(options, train, held_out, history)
        write_report(
            folder / "report", report, history, calibration, details, title=name, training=training
        )
        card = model_card(
            model, name=name, report=report, baseline=details["baseline"], training=training
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    common.print_report(report, options.json)
    if calibration and not options.json:
        print(calibration.to_text())


def _how_trained(
    options: argparse.Namespace, train: Any, held_out: Any, history: Any
) -> dict[str, Any]:
    """Returns the settings of the training for its report, without the paths of folders."""

    def named(value: Any) -> Any:
        return Path(value).name if isinstance(value, str) and Path(value).exists() else value

    settings = {name: named(getattr(options, name)) for name in _RECIPE}
    return {
        "model": named(options.model),
        "training examples": f"{len(train)} of {Path(options.train).name}",
        "held-out examples": len(held_out),
        "epochs done": len(history["loss"]),
        **{name: value for name, value in settings.items() if value not in (None, False)},
    }
