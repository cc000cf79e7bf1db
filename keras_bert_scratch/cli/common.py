"""What the commands share: their arguments, reading files, and loading any kind of model."""

import argparse
import contextlib
import itertools
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_bert_scratch
from keras_bert_scratch import serving
from keras_bert_scratch.cli.quiet import stderr_kept
from keras_bert_scratch.files import write_hashes

if TYPE_CHECKING:
    from keras_bert_scratch.data.file_format import FileFormat
    from keras_bert_scratch.data.readers import Examples
    from keras_bert_scratch.data.table import Column
    from keras_bert_scratch.serving.engines import Engine

# Help texts of arguments whose names or uses differ.
CHECKPOINT = "checkpoint folder or hub id"
ANY_MODEL = "checkpoint, SavedModel or .tflite file"
EXAMPLES_FILE = "CSV, TSV, JSONL or Parquet file"

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "file": {"nargs": "?", "default": "-", "help": "one text a line (default: stdin)"},
    "--text-column": {"help": "column of the texts (default: the model's, or found)"},
    "--pair-column": {"help": "column of the second text, for pairs"},
    "--label-column": {"help": "column of the labels (default: the model's, or found)"},
    "--number-columns": {"nargs": "+", "metavar": "COLUMN", "help": "further columns of numbers"},
    "--category-columns": {
        "nargs": "+",
        "metavar": "COLUMN",
        "help": "further columns of which each has few values, such as brands",
    },
    "--image-columns": {
        "nargs": "+",
        "metavar": "COLUMN",
        "help": "further columns that name files of pictures, from the folder of the file on",
    },
    "--audio-columns": {
        "nargs": "+",
        "metavar": "COLUMN",
        "help": "further columns that name WAV files, likewise",
    },
    "--label-separator": {
        "help": "separates several labels of one text; makes the model multi-label"
    },
    "--encoding": {"help": "of the files, such as cp1252 (default: the model's, or utf-8)"},
    "--delimiter": {
        "type": lambda value: "\t" if value == r"\t" else value,
        "help": r"between the cells of CSV and TSV, such as ';' or '\t' (default: as the header "
        "shows)",
    },
    "--quoting": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether quotation marks in CSV and TSV enclose cells (default: in CSV, and in TSV "
        "files that show it)",
    },
    "--epochs": {"type": int, "default": 3, "help": "default: %(default)s"},
    "--batch-size": {"type": int, "default": 32, "help": "default: %(default)s"},
    "--learning-rate": {"type": float, "default": 5e-5, "help": "default: %(default)s"},
    "--sequence-length": {"type": int, "help": "most tokens that the model reads at once"},
    "--dtype": {"help": "such as mixed_bfloat16 (default: float32)"},
    "--seed": {"type": int, "default": 0, "help": "default: %(default)s"},
    "--distribute": {
        "choices": ["mirrored", "multi-worker"],
        "help": "train on all GPUs of this machine; or on the machines that TF_CONFIG lists, with "
        "this command running on each. Batch sizes are those of all devices together",
    },
    "--json": {"action": "store_true", "help": "print JSON"},
    "--engine": {
        # Those of serving.engines, which --help does not import.
        "choices": ["keras", "litert-int8", "litert", "auto"],
        "help": "what answers for a checkpoint: keras; a LiteRT file, built at first use and kept "
        "beside the checkpoint; or auto, the fastest (default: %(default)s)",
    },
    "--least-agreement": {
        "type": float,
        "default": 0.99,
        "metavar": "SHARE",
        "help": "least share of texts to which an engine must give the label of Keras (default: "
        "%(default)s)",
    },
}
ENGINE = ("--engine", "--least-agreement")
FILES = ("--encoding", "--delimiter", "--quoting")
DATA = (
    *("--text-column", "--pair-column", "--label-column", "--label-separator"),
    *FILES,
)
OTHER_COLUMNS = ("--number-columns", "--category-columns", "--image-columns", "--audio-columns")
LINES = ("file", "--encoding")
TRAINING = ("--epochs", "--batch-size", "--sequence-length", "--dtype", "--seed")

# The functions of `serving` that load the exports of each task.
_LOADERS = {
    "BertClassifier": "load_predictor",
    "ColumnClassifier": "load_column_predictor",
    "BertSentenceEncoder": "load_embedder",
    "BertTokenClassifier": "load_tagger",
    "BertQuestionAnswerer": "load_answerer",
    "BertSummarizer": "load_summarizer",
}


def add_arguments(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds arguments that several commands have, by their names."""
    for name in names:
        parser.add_argument(name, **_ARGUMENTS[name])


def add_train_action(actions: Any, summary: str, data: str) -> argparse.ArgumentParser:
    """Adds the action `train` of a command, with this help for itself and for --train."""
    parser: argparse.ArgumentParser = actions.add_parser("train", help=summary)
    parser.add_argument("--model", required=True, help=f"{CHECKPOINT} to start from")
    parser.add_argument("--train", required=True, help=data)
    parser.add_argument("--validation", required=True, help="the same, held out")
    parser.add_argument("--output", required=True, help="new folder for the model and its report")
    add_arguments(parser, *TRAINING, "--learning-rate")
    return parser


def add_file(parser: argparse.ArgumentParser, option: str, description: str) -> None:
    """Adds a file that is named by its place, or by an option."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        option[2:], nargs="?", metavar="FILE", default=argparse.SUPPRESS, help=description
    )
    group.add_argument(option, metavar="FILE", help="the same as an option")


def find_format(
    path: str,
    options: argparse.Namespace,
    model: str | None = None,
    *,
    needs_label: bool = True,
    others: Sequence[str] = (),
    say: bool = True,
) -> "FileFormat":
    """Returns how a file is to be read: by the options of `DATA`, by the model, or as it looks.

    Args:
        path: The file.
        options: The command's options.
        model: The model that may remember how its training file was read.
        needs_label: Whether the file must have labels.
        others: Columns that are neither texts nor labels.
        say: Whether to say on standard error what was found.
    """
    from keras_bert_scratch.data import file_format

    given = {
        name: value
        for name in map(field, DATA)
        if (value := getattr(options, name, None)) is not None
    }
    memory = remembered(model) if model else {}
    if model and (columns := model_columns(model)):
        texts = [name for name, column in columns.items() if column.kind == "text"]
        memory |= dict(zip(("text_column", "pair_column"), [*texts, None, None], strict=False))
    with naming_options({name: name for name in map(field, DATA)}):
        found, notes = file_format.find_format(
            path, given, memory, needs_label=needs_label, others=others
        )
    if say and notes:
        print(f"{path}: {', '.join(notes)}", file=sys.stderr)
    return found


def remembered(model: str) -> dict[str, Any]:
    """Returns how the training file of a model or an export was read, if it remembers."""
    from keras_bert_scratch.data.file_format import FILE_FORMAT, fields_from_json

    document, where = _kept_beside(model, FILE_FORMAT)
    return fields_from_json(document or "{}", where)


def model_columns(model: str) -> "dict[str, Column]":
    """Returns the columns of a `ColumnClassifier`'s folder or export; {} of other models."""
    from keras_bert_scratch.serving.packed import COLUMNS

    document, where = _kept_beside(model, COLUMNS)
    if document is None:
        return {}
    from keras_bert_scratch.data.table import make_columns

    try:
        return make_columns(json.loads(document)["columns"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{where} is damaged ({error}): restore it.") from error


def _kept_beside(model: str, name: str) -> tuple[str | None, str | Path]:
    """Returns a text that a model or an export may have beside its weights, and where it stands."""
    from keras_bert_scratch.files import read_text
    from keras_bert_scratch.serving.packed import ASSETS, READ_ERRORS, unpack

    for path in (Path(model) / name, Path(model) / ASSETS / name):
        if path.is_file():
            return read_text(path), path
    if Path(model).is_file():
        # What is wrong with a file its reader tells.
        with contextlib.suppress(*READ_ERRORS):
            return unpack(model).get(name), model
    return None, model


def remember(fields: Mapping[str, Any], export: Path) -> None:
    """Writes what `remembered` returns into a finished SavedModel or LiteRT file."""
    from keras_bert_scratch.data.file_format import FILE_FORMAT, FileFormat
    from keras_bert_scratch.serving.packed import ASSETS

    if not fields:
        return
    document = FileFormat(**fields).to_json()
    if export.is_dir():
        (export / ASSETS).mkdir(exist_ok=True)
        (export / ASSETS / FILE_FORMAT).write_text(document, encoding="utf-8")
        write_hashes(export)
    else:
        with zipfile.ZipFile(export, "a") as archive:
            archive.writestr(FILE_FORMAT, document)


def free_folder(file: str) -> str:
    """Returns a folder that does not exist, named after a file.

    Example:
        >>> free_folder("data/headlines.csv.gz")
        'saved_models/headlines'
    """
    name = Path(Path(file).name.removesuffix(".gz")).stem
    numbered = (f"-{number}" for number in itertools.count(2))
    names = (f"saved_models/{name}{ending}" for ending in itertools.chain([""], numbered))
    return next(path for path in names if not Path(path).exists())


def read_data(
    path: str,
    file_format: "FileFormat",
    columns: "Mapping[str, Column] | None" = None,
    **other_options: str,
) -> Any:
    """Reads a file of examples: `Examples`, or of a model of columns `TableRows`.

    `other_options` names the option for an argument of `read_examples` if it has another name.
    """
    with naming_options({name: name for name in map(field, DATA)} | other_options):
        if not columns:
            return file_format.read(path)
        from keras_bert_scratch.data.table_files import read_table_rows

        return read_table_rows(path, file_format, columns)


def read_rows(
    path: str, file_format: "FileFormat", columns: "Mapping[str, Column] | None" = None
) -> tuple[list[dict[str, Any]], Any]:
    """Reads the rows of a file with all their columns, and the examples in them."""
    from keras_bert_scratch.data import readers

    if columns:
        found = read_data(path, file_format, columns)
        return found.cells, found
    named = file_format.columns
    with naming_options({name: name for name in map(field, DATA)}):
        rows = readers.read_rows(
            path,
            named,
            encoding=file_format.encoding,
            delimiter=file_format.delimiter,
            quoting=file_format.quoting,
            all_columns=True,
        )
        return [row for _, row in rows], readers.examples_of(path, rows, named)


def flag(option: str) -> str:
    """Returns the flag of an option: `--batch-size` of `batch_size`."""
    return f"--{option.replace('_', '-')}"


def field(flag: str) -> str:
    """Inverts `flag`."""
    return flag[2:].replace("-", "_")


@contextlib.contextmanager
def naming_options(options: Mapping[str, str]) -> Iterator[None]:
    """Makes a reader's errors name the option that holds an argument in place of the argument."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error).replace(", or pass label_column=None to read texts without labels", "")
        for name, option in options.items():
            shown = flag(option)
            message = message.replace(f"{name}=False", f"--no-{name}").replace(
                f"{name}=True", shown
            )
            # Names of files and columns stay as they are.
            message = re.sub(rf"(?<![\w'./-]){name}=", f"{shown} ", message)
            message = re.sub(rf"(?<![\w'./-]){name}(?![\w'/-]|\.\w)", shown, message)
        raise ValueError(message) from error


def check_known(known: set[str], found: set[str], options: argparse.Namespace, what: str) -> None:
    """Refuses labels of the validation file that the training file lacks."""
    if unseen := sorted(found - known):
        raise ValueError(
            f"{options.validation} has {what} that {options.train} lacks: {', '.join(unseen)}. "
            f"Remove these examples, or add some like them to {options.train}."
        )


def is_multi_label(examples: "Examples") -> bool:
    """Returns whether examples may have several labels each."""
    return examples.labels is not None and isinstance(examples.labels[0], list)


def texts_of(examples: Any) -> Any:
    """Returns what a model takes: one column of texts, a tuple of two, or a table."""
    if hasattr(examples, "table"):
        return examples.table
    return examples.texts if examples.pairs is None else (examples.texts, examples.pairs)


def is_table(path: str) -> bool:
    """Returns whether a file is read by columns, not line by line."""
    from keras_bert_scratch.data.readers import table_suffix

    return table_suffix(path) is not None


def classifier_and_data(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Loads the classifier `--model`, and returns it with the texts and true ids of `--data`."""
    if columns := model_columns(options.model):
        raise ValueError(
            f"{options.model} reads the columns {', '.join(map(repr, columns))}, and this command "
            "is for models of texts: use evaluate."
        )
    examples = read_data(options.data, find_format(options.data, options, options.model))
    model = load_checkpoint(options.model)
    return model, texts_of(examples), model.encode_labels(examples.labels)


def is_export(path: str) -> bool:
    """Returns whether a path is that of a SavedModel folder, or of a file such as LiteRT's."""
    return Path(path).is_file() or (Path(path) / "saved_model.pb").exists()


def load_checkpoint(path: str, task: str = "BertClassifier") -> Any:
    """Loads a trained checkpoint, by its folder or hub id; a classifier may be one of columns."""
    if task == "BertClassifier" and model_columns(path):
        task = "ColumnClassifier"
    try:
        return getattr(keras_bert_scratch, task).from_pretrained(path)
    except ValueError as error:
        way_out = f"fine-tune it first, keras-bert-scratch finetune FILE --model {path}"
        message = str(error).replace("pass labels=, the class names", way_out)
        raise ValueError(message) from error


def load_any(path: str, task: str = "BertClassifier", engine: "Engine | None" = None) -> Any:
    """Loads a checkpoint, by its folder or hub id, or an export of a task.

    Args:
        path: The checkpoint or export.
        task: The task.
        engine: What answers for a checkpoint, if not Keras.
    """
    if task == "BertClassifier" and model_columns(path):
        task = "ColumnClassifier"
        if engine is not None and engine.name != "keras":
            raise ValueError(
                f"--engine is for models of texts, and {path} reads columns: omit it, or export a "
                "LiteRT file and ask that."
            )
    if not is_export(path):
        if engine is None or engine.name == "keras":
            return load_checkpoint(path, task)
        return kept_engine(path, engine) or ByEngine(path, load_checkpoint(path, task), engine)
    if engine is not None:
        raise ValueError(
            f"--engine is for checkpoints, and {path} is an export, which is an engine: omit it."
        )
    if not Path(path).is_file():
        return getattr(serving, _LOADERS[task])(path)
    from keras_bert_scratch.serving.readers.base import num_cores

    return getattr(serving, _LOADERS[task])(path, num_cores())


def engine_of(options: argparse.Namespace) -> "Engine | None":
    """Returns the engine that the options ask for; None without --engine."""
    from keras_bert_scratch.serving.engines import Engine

    return Engine(options.engine, options.least_agreement) if options.engine else None


def kept_engine(path: str, engine: "Engine") -> Any:
    """Returns the engine that is kept beside a checkpoint, and says so; None if there is none."""
    from keras_bert_scratch.serving.engines import kept

    found = kept(path, engine.name)
    if found is None or not found[1].suffices(engine.least_agreement):
        return None
    print(
        f"Answers are those of {engine.name}, kept beside {path} ({found[1]}); --engine keras "
        "gives those of Keras.",
        file=sys.stderr,
    )
    return found[0]


class ByEngine:
    """A checkpoint that answers by an engine, which is built for the first texts.

    Args:
        path: Where the checkpoint is.
        model: The checkpoint, loaded.
        engine: What answers.

    Attributes:
        model: The checkpoint.
    """

    def __init__(self, path: str, model: Any, engine: "Engine") -> None:
        self._path = path
        self.model = model
        self._engine = engine
        self._reader: Any = None
        self.labels = getattr(model, "labels", None)
        self.multi_label = getattr(model, "multi_label", False)

    def probabilities(self, texts: Any, batch_size: int = 32) -> Any:
        """Computes the probability of every class."""
        return self._ask("probabilities", texts, batch_size)

    def encode(self, texts: Any, batch_size: int = 32) -> Any:
        """Computes the embeddings of texts."""
        return self._ask("encode", texts, batch_size)

    def _ask(self, method: str, texts: Any, batch_size: int) -> Any:
        from keras_bert_scratch.serving.engines import PRECISIONS, keep, kept

        name, is_local = self._engine.name, os.access(self._path, os.W_OK)
        if self._reader is None and name in PRECISIONS and is_local and len(texts):
            agreement = keep(self.model, Path(self._path), self._engine, texts)
            print(f"Answers are those of {name}: {agreement}.", file=sys.stderr)
            self._reader, _ = kept(self._path, name) or (None, None)
        if self._reader is None:
            return getattr(self.model, method)(texts, batch_size, engine=self._engine)
        return getattr(self._reader, method)(texts, batch_size)


def lines_in_chunks(
    path: str, size: int = 1024, encoding: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yields the lines of a file, or of standard input for "-", in chunks, so memory is bounded.

    Each chunk comes with the number of its first line. A line break must be a single byte in the
    encoding, by default UTF-8.
    """
    encoding = encoding or "utf-8"
    try:
        is_of_lines = "\n".encode(encoding) == b"\n"
    except (LookupError, UnicodeError):
        is_of_lines = False
    if not is_of_lines:
        raise ValueError(
            f"--encoding {encoding} cannot be read line by line: convert the input to UTF-8."
        )
    with contextlib.ExitStack() as stack:
        binary = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        lines = enumerate(binary, start=1)
        while chunk := list(itertools.islice(lines, size)):
            yield chunk[0][0], [_decode(number, line, encoding) for number, line in chunk]


def _decode(number: int, line: bytes, encoding: str) -> str:
    try:
        text = line.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Line {number} is not {encoding.upper()} (byte {error.start}): convert the input, or "
            "name its --encoding."
        ) from None
    # The byte order mark is no part of the first text.
    return text.removeprefix("\ufeff") if number == 1 else text


def progress_to_stderr() -> contextlib.redirect_stdout:
    """Keeps standard output for results: Keras prints its progress bars there."""
    return contextlib.redirect_stdout(sys.stderr)


@contextlib.contextmanager
def asking(model: Any) -> Iterator[None]:
    """Keeps standard output for results, as `progress_to_stderr` does, while a model answers.

    LiteRT tells how it computes: that is kept, unless asking fails.
    """
    from keras_bert_scratch.serving.readers.base import Reader

    is_export = isinstance(model, Reader)
    with progress_to_stderr(), stderr_kept() if is_export else contextlib.nullcontext():
        yield


def print_report(report: Any, as_json: bool) -> None:
    """Prints anything that has `to_dict` and `to_text`."""
    print(json.dumps(report.to_dict()) if as_json else report.to_text())
