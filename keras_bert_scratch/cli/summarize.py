"""Summarizes: trains on a file of texts and summaries, summarizes lines of text, or evaluates."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder

if TYPE_CHECKING:
    from keras_bert_scratch.evaluation.summarization import RougeReport

# Lines held in memory at a time.
_CHUNK = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    summary = "train on texts and summaries, and report ROUGE"
    train = common.add_train_action(actions, summary, common.EXAMPLES_FILE)
    train.add_argument("--summary-length", type=int, help="most tokens of a summary (default: 64)")
    train.add_argument("--decoder-layers", type=int, help="default: as many as the encoder has")
    train.set_defaults(epochs=5, learning_rate=1e-4)
    run = actions.add_parser("run", help="summarize every line")
    run.add_argument("--model", required=True, help=common.ANY_MODEL)
    common.add_arguments(run, *common.LINES)
    evaluate = actions.add_parser("evaluate", help="compare by ROUGE, beside extractive baselines")
    evaluate.add_argument("--model", required=True, help=common.ANY_MODEL)
    evaluate.add_argument("--data", required=True, help=common.EXAMPLES_FILE)
    for action in (train, evaluate):
        action.add_argument("--text-column", default="text", help="default: %(default)s")
        common.add_arguments(action, *common.FILES)
        action.add_argument("--summary-column", default="summary", help="default: %(default)s")
        action.add_argument(
            "--sentences",
            type=int,
            default=1,
            help="sentences of the baselines (default: %(default)s)",
        )
    for action in (train, run, evaluate):
        _add_search(action)
        common.add_arguments(action, "--json")


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beams", type=int, help="beams of the search (default: greedy)")
    parser.add_argument("--length-penalty", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument(
        "--no-repeat-ngrams", type=int, default=0, metavar="N", help="n-grams that do not repeat"
    )
    parser.add_argument(
        "--min-length",
        type=int,
        default=0,
        metavar="N",
        help="fewest tokens of a summary, [CLS] included",
    )
    parser.add_argument(
        "--forbid",
        action="append",
        default=[],
        metavar="WORD",
        help="a word that no summary holds; may be repeated",
    )


def run(options: argparse.Namespace) -> None:
    """Runs the action."""
    {"train": _train, "run": _run, "evaluate": _evaluate}[options.action](options)


def _train(options: argparse.Namespace) -> None:
    check_new_folder(options.output)
    train, held_out = (_read(path, options) for path in (options.train, options.validation))

    import keras

    from keras_bert_scratch import BertSummarizer, adamw

    keras.utils.set_random_seed(options.seed)
    model = BertSummarizer.from_pretrained(
        options.model,
        sequence_length=options.sequence_length,
        summary_length=options.summary_length,
        num_decoder_layers=options.decoder_layers,
        dtype=options.dtype,
    )
    batches = -(-len(train[0]) // options.batch_size)
    model.compile(
        adamw(options.learning_rate, total_steps=options.epochs * batches, warmup_ratio=0.1)
    )
    with new_folder(options.output) as folder, common.progress_to_stderr():
        model.fit(*train, options.batch_size, epochs=options.epochs, validation_data=held_out)
        model.save_pretrained(folder)
        report = _report(model, held_out, options)
        (folder / "report.json").write_text(json.dumps(_figures(report), indent=2), "utf-8")
    _print_report(report, options.json)


def _evaluate(options: argparse.Namespace) -> None:
    data = _read(options.data, options)
    _print_report(_report(_load(options), data, options), options.json)


def _run(options: argparse.Namespace) -> None:
    model = _load(options)
    search = _search(options)
    for _, texts in common.lines_in_chunks(options.file, _CHUNK, options.encoding):
        with common.asking(model):
            summaries = model.summarize(texts, **search)
        for text, summary in zip(texts, summaries, strict=True):
            row = {"text": text, "summary": summary}
            print(json.dumps(row, ensure_ascii=False) if options.json else summary)


def _read(path: str, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    from keras_bert_scratch.data.file_format import FileFormat

    file_format = FileFormat(
        text_column=options.text_column,
        # As the second texts of pairs, summaries must not be empty.
        pair_column=options.summary_column,
        encoding=options.encoding or "utf-8",
        delimiter=options.delimiter,
        quoting=options.quoting,
    )
    examples = common.read_data(path, file_format, pair_column="summary_column")
    return examples.texts, examples.pairs or []


def _load(options: argparse.Namespace) -> Any:
    if common.is_export(options.model) and _search(options):
        raise ValueError(
            f"{options.model} is an export, and searches as it was exported to: omit --beams, "
            "--no-repeat-ngrams, --min-length and --forbid, or name a checkpoint."
        )
    return common.load_any(options.model, "BertSummarizer")


def _search(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `summarize`."""
    search = {
        "no_repeat_ngram_size": options.no_repeat_ngrams,
        "min_length": options.min_length,
        "forbidden_words": options.forbid,
    }
    if options.beams:
        from keras_bert_scratch import BeamSearch

        search["sampler"] = BeamSearch(options.beams, options.length_penalty)
    return {name: value for name, value in search.items() if value}


def _report(
    model: Any, data: tuple[list[str], list[str]], options: argparse.Namespace
) -> dict[str, "RougeReport"]:
    """Returns ROUGE of the model and the baselines."""
    from keras_bert_scratch.evaluation.summarization import central_sentences, lead, rouge

    texts, references = data
    summaries = {
        "model": model.summarize(texts, **_search(options)),
        f"lead-{options.sentences}": lead(texts, options.sentences),
        f"central-{options.sentences}": central_sentences(texts, options.sentences),
    }
    return {name: rouge(found, references) for name, found in summaries.items()}


def _figures(report: dict[str, "RougeReport"]) -> dict[str, dict[str, float]]:
    return {name: found._asdict() for name, found in report.items()}


def _print_report(report: dict[str, "RougeReport"], as_json: bool) -> None:
    if as_json:
        print(json.dumps(_figures(report)))
        return
    for name, found in report.items():
        print(f"{name:<12}{found.to_text()}")
