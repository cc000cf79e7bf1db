"""Summarizes: trains on a file of texts and summaries, summarizes lines of text, or evaluates."""

import argparse
import json
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli.common import (
    add_encoding_argument,
    add_file_arguments,
    lines_in_chunks,
    progress_to_stderr,
    read_data,
)
from keras_bert_scratch.files import check_new_folder, new_folder

# Lines held in memory at a time.
_CHUNK = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train on texts and summaries, and report ROUGE")
    train.add_argument("--model", required=True, help="checkpoint folder or hub id to start from")
    train.add_argument("--train", required=True, help="CSV, TSV, JSONL or Parquet file")
    train.add_argument("--validation", required=True, help="file of held-out examples")
    train.add_argument("--output", required=True, help="new folder for the model and its report")
    _add_columns(train)
    train.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    train.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    train.add_argument("--learning-rate", type=float, default=1e-4, help="default: %(default)s")
    train.add_argument("--sequence-length", type=int, help="truncate texts to so many tokens")
    train.add_argument("--summary-length", type=int, help="most tokens of a summary (default: 64)")
    train.add_argument("--decoder-layers", type=int, help="default: as many as the encoder has")
    train.add_argument("--dtype", help="such as mixed_bfloat16 (default: float32)")
    train.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_search(train)
    run = actions.add_parser("run", help="summarize every line")
    run.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    run.add_argument("file", nargs="?", default="-", help="one text a line (default: stdin)")
    add_encoding_argument(run)
    _add_search(run)
    evaluate = actions.add_parser("evaluate", help="compare by ROUGE, beside extractive baselines")
    evaluate.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    evaluate.add_argument("--data", required=True, help="CSV, TSV, JSONL or Parquet file")
    _add_columns(evaluate)
    _add_search(evaluate)
    for action in (train, evaluate):
        action.add_argument(
            "--sentences", type=int, default=1, help="of the baselines (default: %(default)s)"
        )
    for action in (train, run, evaluate):
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text-column", default="text", help="default: %(default)s")
    parser.add_argument("--summary-column", default="summary", help="default: %(default)s")
    add_file_arguments(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--beams", type=int, help="search with so many beams (default: greedily)")
    parser.add_argument("--length-penalty", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument(
        "--no-repeat-ngrams", type=int, default=0, metavar="N", help="n-grams that come only once"
    )
    parser.add_argument(
        "--min-length",
        type=int,
        default=0,
        metavar="N",
        help="least tokens of a summary, [CLS] included",
    )
    parser.add_argument(
        "--forbid",
        action="append",
        default=[],
        metavar="WORD",
        help="a word that is not written; may come several times",
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
    with new_folder(options.output) as folder, progress_to_stderr():
        model.fit(*train, options.batch_size, epochs=options.epochs, validation_data=held_out)
        model.save_pretrained(folder)
        report = _report(model, held_out, options)
        (folder / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    _print_report(report, options)


def _evaluate(options: argparse.Namespace) -> None:
    data = _read(options.data, options)
    _print_report(_report(_load(options), data, options), options)


def _run(options: argparse.Namespace) -> None:
    model = _load(options)
    search = _search(options)
    for _, texts in lines_in_chunks(options.file, _CHUNK, options.encoding):
        for text, summary in zip(texts, model.summarize(texts, **search), strict=True):
            row = {"text": text, "summary": summary}
            print(json.dumps(row, ensure_ascii=False) if options.json else summary)


def _read(path: str, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    # As the second texts of pairs, summaries must not be empty.
    examples = read_data(
        path, options, pair_column="summary_column", label_column=None, label_separator=None
    )
    return examples.texts, examples.pairs or []


def _load(options: argparse.Namespace) -> Any:
    place = Path(options.model)
    if place.is_file() or (place / "saved_model.pb").exists():
        if _search(options):
            raise ValueError(
                f"{place} is an export, and searches as it was exported to: leave --beams, "
                "--no-repeat-ngrams, --min-length and --forbid out, or name a checkpoint."
            )
        from keras_bert_scratch.serving.readers.summarizer import load_summarizer

        return load_summarizer(place)
    from keras_bert_scratch import BertSummarizer

    return BertSummarizer.from_pretrained(options.model)


def _search(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `summarize`."""
    search: dict[str, Any] = {}
    if options.beams:
        from keras_bert_scratch import BeamSearch

        search["sampler"] = BeamSearch(options.beams, options.length_penalty)
    if options.no_repeat_ngrams:
        search["no_repeat_ngram_size"] = options.no_repeat_ngrams
    if options.min_length:
        search["min_length"] = options.min_length
    if options.forbid:
        search["forbidden_words"] = options.forbid
    return search


def _report(
    model: Any, data: tuple[list[str], list[str]], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Returns ROUGE of the model and the baselines."""
    from keras_bert_scratch.evaluation.summarization import central_sentences, lead, rouge

    texts, references = data
    summaries = {
        "model": model.summarize(texts, **_search(options)),
        f"lead-{options.sentences}": lead(texts, options.sentences),
        f"central-{options.sentences}": central_sentences(texts, options.sentences),
    }
    return {name: rouge(found, references)._asdict() for name, found in summaries.items()}


def _print_report(report: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(report))
        return
    from keras_bert_scratch.evaluation.summarization import RougeReport

    for name, figures in report.items():
        print(f"{name:<12}{RougeReport(**figures).to_text()}")  # type: ignore[arg-type]
