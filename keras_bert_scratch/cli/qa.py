"""Answers questions: trains on SQuAD's format, answers, chats about a text, or evaluates."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    summary = "fine-tune a checkpoint, and report how good it is"
    train = common.add_train_action(actions, summary, "JSON file in SQuAD's format, 1.1 or 2.0")
    train.add_argument(
        "--no-answers",
        action="store_true",
        help="let the model answer nothing, with the threshold that is best on --validation",
    )
    evaluate = actions.add_parser("evaluate", help="exact match and F1, as SQuAD counts them")
    evaluate.add_argument("--model", required=True, help=common.CHECKPOINT)
    evaluate.add_argument("--data", required=True, help="JSON file in SQuAD's format")
    for action in (train, evaluate):
        action.add_argument(
            "--skip-faulty", action="store_true", help="leave out what is faulty, and log it"
        )
    answer = actions.add_parser("answer", help="answer one question")
    answer.add_argument("question")
    chat = actions.add_parser(
        "chat", help="answer every line of standard input, considering the turns before it"
    )
    for action in (answer, chat):
        action.add_argument("--model", required=True, help=common.ANY_MODEL)
        action.add_argument("--context", required=True, help="file of the text, UTF-8")
    for action in (train, evaluate, answer, chat):
        common.add_arguments(action, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the action."""
    actions = {"train": _train, "evaluate": _evaluate, "answer": _answer, "chat": _chat}
    actions[options.action](options)


def _train(options: argparse.Namespace) -> None:
    from keras_bert_scratch import read_squad

    check_new_folder(options.output)
    train, held_out = (
        read_squad(path, skip_faulty=options.skip_faulty)
        for path in (options.train, options.validation)
    )

    import keras

    from keras_bert_scratch import BertQuestionAnswerer, adamw

    keras.utils.set_random_seed(options.seed)
    model = BertQuestionAnswerer.from_pretrained(
        options.model,
        dtype=options.dtype,
        **({"sequence_length": options.sequence_length} if options.sequence_length else {}),
    )
    with new_folder(options.output) as folder, common.progress_to_stderr():
        # A question becomes one row for each of its windows.
        batches = len(model.batches(train, batch_size=options.batch_size))
        model.compile(adamw(options.learning_rate, total_steps=options.epochs * batches))
        model.fit(
            train, batch_size=options.batch_size, epochs=options.epochs, validation_data=held_out
        )
        if options.no_answers:
            model.tune_no_answer(held_out)
        figures = model.evaluate(held_out)
        model.save_pretrained(folder)
        (folder / "report.json").write_text(json.dumps(figures, indent=2), "utf-8")
    _print_figures(figures, options.json)


def _evaluate(options: argparse.Namespace) -> None:
    from keras_bert_scratch import BertQuestionAnswerer, read_squad

    questions = read_squad(options.data, skip_faulty=options.skip_faulty)
    model = BertQuestionAnswerer.from_pretrained(options.model)
    with common.progress_to_stderr():
        figures = model.evaluate(questions)
    _print_figures(figures, options.json)


def _print_figures(figures: dict[str, float], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:.2f} %")


def _answer(options: argparse.Namespace) -> None:
    context = _read(options.context)
    model = common.load_any(options.model, "BertQuestionAnswerer")
    with common.asking(model):
        answer = model.answer(options.question, context)
    _print_answer(answer, options.json)


def _chat(options: argparse.Namespace) -> None:
    context = _read(options.context)
    model = common.load_any(options.model, "BertQuestionAnswerer")
    history: list[tuple[str, str]] = []
    if sys.stdin.isatty():
        print("Ask about the text; an empty line ends.", file=sys.stderr)
    for line in sys.stdin:
        question = line.strip()
        if not question:
            return
        with common.asking(model):
            answer = model.answer(question, context, history)
        _print_answer(answer, options.json)
        history.append((question, answer.text))


def _print_answer(answer: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer._asdict(), ensure_ascii=False), flush=True)
    else:
        text = " ".join(answer.text.split()) or "(no answer)"
        print(f"{text}\t{answer.probability:.4f}", flush=True)


def _read(path: str) -> str:
    try:
        context = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): convert it.") from None
    if not context.strip():
        raise ValueError(f"{path} holds no text to answer from: name another file.")
    return context
