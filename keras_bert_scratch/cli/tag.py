"""Tags words: trains on a CoNLL file, finds spans in lines of text, or evaluates."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_bert_scratch.cli.common import (
    add_encoding_argument,
    lines_in_chunks,
    naming_options,
    progress_to_stderr,
)
from keras_bert_scratch.files import check_new_folder, new_folder

if TYPE_CHECKING:
    from keras_bert_scratch.data.tags import TaggedTexts

# Lines held in memory at a time.
_CHUNK = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="fine-tune a checkpoint, and report how good it is")
    train.add_argument("--model", required=True, help="checkpoint folder or hub id to start from")
    train.add_argument("--train", required=True, help="file of a word and its tag a line")
    train.add_argument("--validation", required=True, help="file of held-out sentences")
    train.add_argument("--output", required=True, help="new folder for the model and its report")
    _add_conll_arguments(train)
    add_training_arguments(train)
    predict = actions.add_parser("predict", help="find the spans of every line")
    predict.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    predict.add_argument("file", nargs="?", default="-", help="one text a line (default: stdin)")
    add_encoding_argument(predict)
    predict.add_argument("--json", action="store_true", help="print one JSON object a line")
    evaluate = actions.add_parser("evaluate", help="compare with true tags")
    evaluate.add_argument("--model", required=True, help="checkpoint folder or hub id")
    evaluate.add_argument("--data", required=True, help="file of a word and its tag a line")
    _add_conll_arguments(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_conll_arguments(parser: argparse.ArgumentParser) -> None:
    add_encoding_argument(parser)
    parser.add_argument(
        "--word-column", type=int, default=0, help="from 0, or -1 for the last (default: 0)"
    )
    parser.add_argument("--tag-column", type=int, default=-1, help="counted alike (default: -1)")
    parser.add_argument(
        "--scheme",
        choices=["BIO", "BIOES", "IO"],
        help="turn the tags into these (default: the file's own; BIO for IOB1)",
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the settings of a training that tasks on tokens share."""
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="default: %(default)s")
    parser.add_argument("--sequence-length", type=int, help="tokens of a window")
    parser.add_argument("--dtype", help="such as mixed_bfloat16 (default: float32)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> None:
    """Runs the action."""
    {"train": _train, "predict": _predict, "evaluate": _evaluate}[options.action](options)


def _read(path: str, options: argparse.Namespace) -> "TaggedTexts":
    from keras_bert_scratch import read_conll

    names = {name: name for name in ("encoding", "word_column", "tag_column", "scheme")}
    with naming_options(names):
        return read_conll(path, **{name: getattr(options, name) for name in names})


def _train(options: argparse.Namespace) -> None:
    from keras_bert_scratch.data.tags import OUTSIDE

    check_new_folder(options.output)
    train, held_out = _read(options.train, options), _read(options.validation, options)
    tags = {tag for row in train.tags for tag in row}
    unseen = sorted({tag for row in held_out.tags for tag in row} - tags)
    if unseen:
        raise ValueError(
            f"{options.validation} has tags that {options.train} lacks: {', '.join(unseen)}."
        )

    import keras

    from keras_bert_scratch import BertTokenClassifier, adamw

    keras.utils.set_random_seed(options.seed)
    model = BertTokenClassifier.from_pretrained(
        options.model,
        # O is the first, as in most checkpoints.
        sorted(tags, key=lambda tag: (tag != OUTSIDE, tag)),
        sequence_length=options.sequence_length,
        dtype=options.dtype,
    )
    batches = -(-len(train.words) // options.batch_size)
    model.compile(adamw(options.learning_rate, total_steps=options.epochs * batches))
    with new_folder(options.output) as folder, progress_to_stderr():
        model.fit(
            train.words,
            train.tags,
            options.batch_size,
            epochs=options.epochs,
            validation_data=held_out,
        )
        report = model.report(held_out.words, held_out.tags, options.batch_size)
        model.save_pretrained(folder)
        (folder / "report.json").write_text(json.dumps(report.to_dict(), indent=2), "utf-8")
    print(json.dumps(report.to_dict()) if options.json else report.to_text())


def _evaluate(options: argparse.Namespace) -> None:
    from keras_bert_scratch import BertTokenClassifier

    texts = _read(options.data, options)
    model = BertTokenClassifier.from_pretrained(options.model)
    with progress_to_stderr():
        report = model.report(*texts)
    print(json.dumps(report.to_dict()) if options.json else report.to_text())


def _predict(options: argparse.Namespace) -> None:
    model = _load(options.model)
    for _, texts in lines_in_chunks(options.file, _CHUNK, options.encoding):
        for text, spans in zip(texts, model.find_spans(texts), strict=True):
            if options.json:
                found = [span._asdict() for span in spans]
                print(json.dumps({"text": text, "spans": found}, ensure_ascii=False))
            else:
                print("\t".join(f"{span.label}: {span.text}" for span in spans))


def _load(path: str) -> Any:
    place = Path(path)
    if place.is_file() or (place / "saved_model.pb").exists():
        from keras_bert_scratch.serving.readers.tagger import load_tagger

        return load_tagger(place)
    from keras_bert_scratch import BertTokenClassifier

    return BertTokenClassifier.from_pretrained(path)
