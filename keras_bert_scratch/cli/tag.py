"""Tags words: trains on a CoNLL file, finds spans in lines of text, or evaluates."""

import argparse
import json
from typing import TYPE_CHECKING

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder

if TYPE_CHECKING:
    from keras_bert_scratch.data.tags import TaggedTexts

_TAGS_FILE = "file of a word and its tag a line"
# Lines held in memory at a time.
_CHUNK = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    summary = "fine-tune a checkpoint, and report how good it is"
    train = common.add_train_action(actions, summary, _TAGS_FILE)
    predict = actions.add_parser("predict", help="find the spans of every line")
    predict.add_argument("--model", required=True, help=common.ANY_MODEL)
    common.add_arguments(predict, *common.LINES)
    evaluate = actions.add_parser("evaluate", help="compare with true tags")
    evaluate.add_argument("--model", required=True, help=common.CHECKPOINT)
    evaluate.add_argument("--data", required=True, help=_TAGS_FILE)
    for action in (train, evaluate):
        common.add_arguments(action, "--encoding")
        action.add_argument(
            "--word-column",
            type=int,
            default=0,
            help="from 0, or -1 for the last (default: %(default)s)",
        )
        action.add_argument(
            "--tag-column", type=int, default=-1, help="counted likewise (default: %(default)s)"
        )
        action.add_argument(
            "--scheme",
            choices=["BIO", "BIOES", "IO"],
            help="convert the tags to this scheme (default: the file's own; BIO for IOB1)",
        )
    for action in (train, predict, evaluate):
        common.add_arguments(action, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the action."""
    {"train": _train, "predict": _predict, "evaluate": _evaluate}[options.action](options)


def _read(path: str, options: argparse.Namespace) -> "TaggedTexts":
    from keras_bert_scratch import read_conll

    names = {name: name for name in ("encoding", "word_column", "tag_column", "scheme")}
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    with common.naming_options(names):
        return read_conll(path, **given)


def _train(options: argparse.Namespace) -> None:
    from keras_bert_scratch.data.tags import OUTSIDE

    check_new_folder(options.output)
    train, held_out = _read(options.train, options), _read(options.validation, options)
    tags = {tag for row in train.tags for tag in row}
    common.check_known(tags, {tag for row in held_out.tags for tag in row}, options, "tags")

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
    with new_folder(options.output) as folder, common.progress_to_stderr():
        model.fit(*train, options.batch_size, epochs=options.epochs, validation_data=held_out)
        report = model.report(*held_out, options.batch_size)
        model.save_pretrained(folder)
        (folder / "report.json").write_text(json.dumps(report.to_dict(), indent=2), "utf-8")
    common.print_report(report, options.json)


def _evaluate(options: argparse.Namespace) -> None:
    from keras_bert_scratch import BertTokenClassifier

    texts = _read(options.data, options)
    model = BertTokenClassifier.from_pretrained(options.model)
    with common.progress_to_stderr():
        report = model.report(*texts)
    common.print_report(report, options.json)


def _predict(options: argparse.Namespace) -> None:
    model = common.load_any(options.model, "BertTokenClassifier")
    for _, texts in common.lines_in_chunks(options.file, _CHUNK, options.encoding):
        with common.asking(model):
            rows = model.find_spans(texts)
        for text, spans in zip(texts, rows, strict=True):
            if options.json:
                found = [span._asdict() for span in spans]
                print(json.dumps({"text": text, "spans": found}, ensure_ascii=False))
            else:
                print("\t".join(f"{span.label}: {span.text}" for span in spans))
