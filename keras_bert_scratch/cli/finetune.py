"""Fine-tunes a checkpoint on a file of texts and labels, and reports how good it is."""

import argparse
import dataclasses
import hashlib
import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import keras_bert_scratch
from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder, write_hashes
from keras_bert_scratch.tables import shortened

# Share of the texts that is held out, where it holds all classes.
_HELD_OUT = 0.1
# Labels that are counted by name before the training, and characters of the text to try.
_MOST_NAMED = 20
_LONGEST_EXAMPLE = 80
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
# What models of further columns do not have.
_NOT_OF_COLUMNS = ("teacher", "keep_layers", "keep_heads", "lora", "distribute", "checkpoint")
# The options that name further columns, and their kinds.
_KINDS = {common.field(option): option[2:].split("-")[0] for option in common.OTHER_COLUMNS}
# Options that choose the training, or what the one that `fit` chooses is not for; with any of them
# it is by hand, and these are the defaults.
_BY_HAND = (
    *("optimizer", "learning_rate", "layer_decay", "early_stopping"),
    *("teacher", "checkpoint", "distribute"),
)
_DEFAULTS = {"epochs": 3, "batch_size": 32, "optimizer": "adamw", "layer_decay": 1.0}
# The options that the weights depend on.
_RECIPE = (
    *("epochs", "batch_size", "optimizer", "learning_rate", "layer_decay", "lora", "freeze"),
    *("keep_layers", "keep_heads", "teacher", "sequence_length", "dtype", "seed"),
    *("class_weights", "label_separator"),
)
_OF_PICTURES = ("image_encoder", "image_size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    common.add_file(parser, "--train", common.EXAMPLES_FILE)
    add(
        "--model",
        default="minilm",
        help=f"{common.CHECKPOINT} to start from, or tiny-en (default: %(default)s)",
    )
    add(
        "--output",
        help="new folder for the model and its report (default: named after the file, in "
        "saved_models)",
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--validation", help="file of held-out examples")
    held_out.add_argument(
        "--validation-split",
        type=float,
        help="share of the training file to hold out, stratified (default: 0.1, or more where "
        "each class needs it)",
    )
    common.add_arguments(parser, *common.DATA, "--sequence-length", "--dtype", "--seed")
    common.add_arguments(parser, "--distribute", "--json", *common.OTHER_COLUMNS)
    add("--image-encoder", help="ViT, DeiT or DINOv2 that reads the pictures, folder or hub id")
    add(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="height and width to which pictures are resized (default: 224)",
    )
    chosen = "chosen by the number of texts"
    add("--epochs", type=int, help=f"default: {chosen}, or 3 if --optimizer or its like is given")
    add("--batch-size", type=int, help=f"default: {chosen}, or 32 likewise")
    add(
        "--optimizer",
        help="adamw, lamb, lion, muon or schedule-free (default: adamw, with a schedule that is "
        f"{chosen})",
    )
    add(
        "--learning-rate",
        type=float,
        help=f"default: {chosen}, or one that fits the optimizer; 1e-3 for adamw with --lora",
    )
    add(
        "--layer-decay",
        type=float,
        metavar="RATIO",
        help="learning rate of a layer over that of the layer above it, such as 0.9",
    )
    add(
        "--engine",
        choices=["litert-int8", "litert", "keras"],
        default="litert-int8",
        help="LiteRT file that is kept beside the model, for quick answers of predict and serve; "
        "keras: none (default: %(default)s)",
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
    if options.output:
        check_new_folder(options.output)
    is_by_hand = any(getattr(options, option) is not None for option in _BY_HAND)
    if is_by_hand:
        for option, value in _DEFAULTS.items():
            if getattr(options, option) is None:
                setattr(options, option, value)
    others = _other_columns(options)
    base = common.model_columns(options.model)
    file_format = common.find_format(
        options.train, options, options.model if base else None, others=list(others), say=False
    )
    columns = base or _columns(file_format, others)
    train, held_out, labels = _read(options, file_format, columns)
    if common.is_multi_label(train) and file_format.label_separator is None:
        # Exports tell by it that a text may have several labels, which lists in JSON are.
        file_format = dataclasses.replace(file_format, label_separator=";")
    _say(options, file_format, columns, train, held_out)
    watched = held_out
    if options.early_stopping:
        # The texts that choose the weights cannot tell how good these are.
        train, watched = _split(options, train, labels)

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
        if columns:
            model = _model_of_columns(options, file_format, {} if base else others, train, labels)
        else:
            model = _model(options, train, labels)
        trainee = model
        if is_by_hand:
            trainee = _compiled(options, model, len(train))
        else:
            model.compile()
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
    # A frozen encoder reads the pictures here, once for all that follows.
    x, watched_x, held_out_x = (_inputs(model, part) for part in (train, watched, held_out))
    class_weight = None
    if options.class_weights:
        class_weight = balanced_class_weights(model.encode_labels(train.labels), model.labels)
    with common.progress_to_stderr():
        history = trainee.fit(
            x,
            train.labels,
            batch_size=options.batch_size,
            epochs=options.epochs,
            initial_epoch=resume.epochs_done if resume else 0,
            validation_data=(watched_x, watched.labels) if is_by_hand else None,
            class_weight=class_weight,
            callbacks=callbacks,
            # A line an epoch where no bar can be drawn.
            verbose=1 if sys.stderr.isatty() else 2,
        ).history
    # Workers that only wait must not leave before: the cluster would count them as lost.
    with chief_first(strategy):
        if is_chief(strategy):
            history = resume.history if resume else history
            _write(options, model, file_format, (x, train), (held_out_x, held_out), history)


def _other_columns(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Returns the columns that the options name beside texts and labels, as a model takes them."""
    pictures = {"encoder": options.image_encoder, "height": options.image_size}
    pictures |= {"width": options.image_size}
    settings = {"image": {name: value for name, value in pictures.items() if value is not None}}
    named = [name for option in _KINDS for name in getattr(options, option) or ()]
    main = [options.text_column, options.pair_column, options.label_column]
    if twice := [name for name in named if (named + main).count(name) > 1]:
        raise ValueError(f"The column {twice[0]!r} is named twice: name it for one kind alone.")
    if settings["image"] and not options.image_columns:
        raise ValueError("--image-encoder and --image-size are for --image-columns: name some.")
    refused = [option for option in _NOT_OF_COLUMNS if getattr(options, option) is not None]
    has_columns = common.model_columns(options.model)
    if named and has_columns:
        raise ValueError(
            f"{options.model} reads the columns {', '.join(map(repr, has_columns))} already: omit "
            "the options that name columns, or start from another model."
        )
    if refused and (named or has_columns):
        raise ValueError(f"{common.flag(refused[0])} is for models of texts alone: omit it.")
    return {
        name: {"kind": kind, **settings.get(kind, {})}
        for option, kind in _KINDS.items()
        for name in getattr(options, option) or ()
    }


def _columns(file_format: Any, others: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the columns by which a file is read; {} of texts alone."""
    if not others:
        return {}
    from keras_bert_scratch.data.table import make_columns

    # Files are read before the encoder of their pictures is loaded.
    read = {
        name: {key: value for key, value in column.items() if key != "encoder"}
        for name, column in others.items()
    }
    return make_columns(_texts(file_format) | read)


def _texts(file_format: Any) -> dict[str, dict[str, str]]:
    names = (file_format.text_column, file_format.pair_column)
    return {name: {"kind": "text"} for name in names if name is not None}


def _inputs(model: Any, examples: Any) -> Any:
    inputs = common.texts_of(examples)
    return model.examples(inputs) if hasattr(model, "columns") else inputs


def _read(
    options: argparse.Namespace, file_format: Any, columns: dict[str, Any]
) -> tuple[Any, Any, list[str]]:
    """Returns the examples to train on, those held out, and the names of the classes."""
    train = common.read_data(options.train, file_format, columns)
    labels = _names(train)
    if len(labels) < 2:
        raise ValueError(
            f"{options.train} has only the label {labels[0]!r}: a classifier needs two or more."
        )
    if options.validation:
        held_out = common.read_data(options.validation, file_format, columns)
        common.check_known({*labels}, {*_names(held_out)}, options, "labels")
        return train, held_out, labels
    return *_split(options, train, labels), labels


def _split(options: argparse.Namespace, examples: Any, labels: list[str]) -> tuple[Any, Any]:
    """Returns the examples without those held out, and these: at least as many as classes."""
    share = options.validation_split
    if share is None:
        share = min(max(_HELD_OUT, len(labels) / len(examples)), 0.5)
    with common.naming_options({"fraction": "validation_split"}):
        parts = keras_bert_scratch.stratified_split(examples.labels, share, options.seed)
    train, held_out = (examples.take(part) for part in parts)
    return train, held_out


def _names(examples: Any) -> list[str]:
    return sorted(_counts(examples))


def _counts(examples: Any) -> Counter[str]:
    rows = ([row] if isinstance(row, str) else row for row in examples.labels)
    return Counter(label for row in rows for label in row)


def _say(
    options: argparse.Namespace,
    file_format: Any,
    columns: dict[str, Any],
    train: Any,
    held_out: Any,
) -> None:
    """Says in one line what was read, and what becomes of it."""
    counts = sorted(
        (_counts(train) + _counts(held_out)).items(), key=lambda item: (-item[1], item[0])
    )
    names = [f"{name} {count}" for name, count in counts[:_MOST_NAMED]]
    names += [f"and {len(counts) - _MOST_NAMED} more"] * (len(counts) > _MOST_NAMED)
    cells = f", cells separated by {file_format.delimiter!r}" * bool(file_format.delimiter)
    texts = [name for name in (file_format.text_column, file_format.pair_column) if name]
    read = [f"texts in {' and '.join(map(repr, texts))}" if texts else "no texts (--text-column)"]
    read += [f"{c.kind} in {name!r}" for name, c in columns.items() if c.kind != "text"]
    what = "rows" if columns else "texts"
    print(
        f"{options.train}: {', '.join(read)}, labels in "
        f"{file_format.label_column!r}{cells}; {', '.join(names)}; {len(train)} {what} to train, "
        f"{len(held_out)} held out for the figures; the model will be in "
        f"{options.output or common.free_folder(options.train)}",
        file=sys.stderr,
    )


def _model(options: argparse.Namespace, train: Any, labels: list[str]) -> Any:
    """Loads the checkpoint, and makes it smaller or freezes parts of it as the options say."""
    from keras_bert_scratch import BertClassifier, enable_lora, freeze_layers

    model = BertClassifier.from_pretrained(
        options.model,
        labels,
        sequence_length=options.sequence_length,
        multi_label=common.is_multi_label(train),
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


def _model_of_columns(
    options: argparse.Namespace,
    file_format: Any,
    others: dict[str, dict[str, Any]],
    train: Any,
    labels: list[str],
) -> Any:
    """Loads the checkpoint for rows; without others, it knows its columns and labels."""
    from keras_bert_scratch import ColumnClassifier, freeze_layers

    settings: dict[str, Any] = {}
    if others:
        settings = {
            "labels": labels,
            "columns": _texts(file_format) | others,
            "multi_label": common.is_multi_label(train),
        }
    if options.sequence_length is not None:
        settings["sequence_length"] = options.sequence_length
    model = ColumnClassifier.from_pretrained(options.model, dtype=options.dtype, **settings)
    common.check_known({*model.labels}, {*labels}, options, "labels")
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
    options: argparse.Namespace,
    model: Any,
    file_format: Any,
    trained: tuple[Any, Any],
    held: tuple[Any, Any],
    history: Any,
) -> None:
    """Writes the folder, and prints how good the model is and what to try next.

    Args:
        options: Those of the command.
        model: The model.
        file_format: How the file was read.
        trained: What the model was trained on, as it takes it, and as it was read.
        held: The same that was held out.
        history: The figures of every epoch.
    """
    from keras_bert_scratch.data.file_format import FILE_FORMAT
    from keras_bert_scratch.evaluation.baseline import compare_with_baseline
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.columns import examine_rows
    from keras_bert_scratch.evaluation.model_card import model_card
    from keras_bert_scratch.evaluation.report import examine, write_report

    (train_x, train), (x, held_out) = trained, held
    # Asked again: another run may have taken the name meanwhile.
    output = options.output or common.free_folder(options.train)
    with new_folder(output) as folder, common.progress_to_stderr():
        calibration = None
        if options.calibrate:
            calibration = model.calibrate(x, held_out.labels)
        data = x, model.encode_labels(held_out.labels)
        probabilities = model.probabilities(data[0])
        report = evaluate_classification(
            data[1], probabilities, model.labels, multi_label=model.multi_label
        )
        model.save_pretrained(folder)
        (folder / FILE_FORMAT).write_text(file_format.to_json(), encoding="utf-8")
        write_hashes(folder)
        if options.lora:
            model.save_adapter(folder / "adapter")
    # The model is safe now: what follows may take long where texts are many.
    has_columns = hasattr(model, "columns")
    if options.engine != "keras" and model.has_engines:
        _keep_engine(options.engine, model, output, x)
    print("Comparing with TF-IDF and logistic regression ...", file=sys.stderr)
    train_data = train_x, model.encode_labels(train.labels)
    how = {"multi_label": model.multi_label}
    name = Path(output).name
    training = _how_trained(options, model.chosen_training, train, held_out, history)
    comparison = None
    if not has_columns:
        comparison = compare_with_baseline(train_data, data, probabilities, model.labels, **how)
    with common.progress_to_stderr():
        if has_columns:
            quotes = held_out.quotes()
            details = examine_rows(model, *data, probabilities, quotes, train=train_data, **how)
        else:
            print("Explaining errors, and asking again with changed texts ...")
            details = examine(model, *data, probabilities, **how)
            details["baseline"] = comparison
        write_report(
            Path(output) / "report",
            report,
            history,
            calibration,
            details,
            title=name,
            training=training,
        )
    card = model_card(model, name=name, report=report, baseline=comparison, training=training)
    (Path(output) / "README.md").write_text(card, encoding="utf-8")
    shown = "columns" if has_columns else "baseline"
    compared = details.get(shown)
    if options.json:
        found = {shown: compared and compared.to_dict(), "output": output}
        print(json.dumps({**report.to_dict(), **found}))
        return
    print(report.to_text())
    if calibration:
        print(calibration.to_text())
    if compared:
        print(compared.to_text())
    print(f"The model is in {output}, its report in {output}/report. Try it:")
    print("\n".join(_next_commands(options, output, held_out)))


def _keep_engine(name: Any, model: Any, output: str, texts: Any) -> None:
    """Keeps an engine beside the model, and says how it compares; or why there is none."""
    from keras_bert_scratch.serving.engines import Engine, keep

    with common.progress_to_stderr():
        try:
            print(f"The engine {name} is kept: {keep(model, Path(output), Engine(name), texts)}.")
        except (ValueError, RuntimeError, ImportError) as error:
            print(f"No engine is kept, predict asks Keras: {error}")


def _next_commands(options: argparse.Namespace, output: str, held_out: Any) -> list[str]:
    """Returns commands to copy that ask the new model."""
    predict = f"keras-bert-scratch predict --model {shlex.quote(output)}"
    commands = [f"  {predict} {shlex.quote(options.train)}"]
    if getattr(held_out, "texts", None) and held_out.pairs is None:
        text = shlex.quote(shortened(min(held_out.texts, key=len), _LONGEST_EXAMPLE))
        commands.insert(0, f"  echo {text} | {predict}")
    return commands


def _how_trained(
    options: argparse.Namespace, chosen: Any, train: Any, held_out: Any, history: Any
) -> dict[str, Any]:
    """Returns the settings of the training for its report, without the paths of folders.

    Args:
        options: Those of the command.
        chosen: The `FineTuning` that `fit` chose, or None.
        train: The examples to train on.
        held_out: The examples of the figures.
        history: The figures of every epoch.
    """

    def named(value: Any) -> Any:
        return Path(value).name if isinstance(value, str) and Path(value).exists() else value

    settings = {name: named(getattr(options, name)) for name in (*_RECIPE, *_OF_PICTURES)}
    if chosen is not None:
        settings |= {"optimizer": "adamw", **chosen._asdict()}
        settings["held out for the best epoch"] = settings.pop("held_out") or None
    if (chosen is not None or options.early_stopping) and "val_loss" in history:
        settings["best epoch"] = 1 + history["val_loss"].index(min(history["val_loss"]))
    return {
        "model": named(options.model),
        "training examples": f"{len(train)} of {Path(options.train).name}",
        "held-out examples": len(held_out),
        "epochs done": len(history["loss"]),
        **{name: value for name, value in settings.items() if value is not None},
    }
