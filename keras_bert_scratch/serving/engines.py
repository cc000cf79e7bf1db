"""Engines that answer in place of Keras: a model's LiteRT file, compared with it once, and kept.

Asking a kept engine needs neither TensorFlow nor Keras.

Axes: B batch, S sequence, C classes, H hidden.
"""

import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_bert_scratch.checkpoints.registry import CACHE
from keras_bert_scratch.extras import check_installed
from keras_bert_scratch.files import new_file, read_json, sha256_of
from keras_bert_scratch.serving.packed import INPUTS, MODEL_HASH, RAW, READ_ERRORS, unpack
from keras_bert_scratch.serving.readers.base import num_cores
from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor
from keras_bert_scratch.serving.readers.sentence_encoder import LiteRTEmbedder

EngineName = Literal["keras", "litert-int8", "litert", "auto"]
# Precisions of the files, by the names of the engines.
PRECISIONS: dict[EngineName, str] = {"litert-int8": "int8", "litert": "float32"}
NAMES = ("keras", *PRECISIONS, "auto")
# The folder of a checkpoint's engines, and of those of models in memory.
FOLDER = "engine"
ENGINE_CACHE = CACHE / "engines"
_READERS: dict[str, type[LiteRTPredictor | LiteRTEmbedder]] = {
    "classifier": LiteRTPredictor,
    "sentence_encoder": LiteRTEmbedder,
}

# Texts on which an engine is compared with Keras, and how many tell enough.
_MOST_COMPARED, _ENOUGH_COMPARED = 256, 100
_SECONDS_TIMED = 0.5
# Most files of models in memory: a training after the other would fill the disk.
_MOST_CACHED = 8
# A LiteRT file has less than 2 GiB, and is made by way of float32.
_LARGEST_MODEL = 2**31
# The files of a checkpoint that its answers depend on.
_SOURCES = ("*.json", "*.safetensors", "*.bin", "*.txt")
_NOT_SOURCES = ("hashes.json", "file_format.json")
# What is recorded beside a file, and the fields of its `Agreement`.
_FIELDS = {"key", "task", "model", "sources", "multi_label"}


@dataclasses.dataclass(frozen=True)
class Engine:
    """What answers, and how often its labels must be Keras'.

    Attributes:
        name: `"litert-int8"`, a LiteRT file with int8 weights, the fastest; `"litert"`, the same in
            float32; `"keras"`; or `"auto"`, which times them on the first texts.
        least_agreement: Least share of the compared texts that must get the same label as from
            Keras (of embeddings, one with a cosine of at least 0.98). One may differ, unless the
            share is 1.

    Raises:
        ValueError: If the name is none of these, or the share is not from 0 to 1.

    Example:
        >>> from keras_bert_scratch import BertClassifier
        >>> model = BertClassifier.from_pretrained("tiny-en", labels=["bad", "good"])
        >>> model.probabilities(["a film"], engine=Engine("litert", least_agreement=0.9)).shape
        (1, 2)
    """

    name: EngineName = "litert-int8"
    least_agreement: float = 0.99

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"engine must be one of {', '.join(NAMES)}; received {self.name!r}.")
        if not 0 <= self.least_agreement <= 1:
            raise ValueError(
                f"least_agreement is a share from 0 to 1, received {self.least_agreement!r}."
            )


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How an engine's answers compare with those of Keras.

    Attributes:
        compared: Number of texts.
        equal: Number of those with the same label.
        largest_difference: Of a probability, a score or a component.
    """

    compared: int
    equal: int
    largest_difference: float

    def suffices(self, least: float) -> bool:
        """Whether the share of equal labels is at least this; one may differ, unless it is 1."""
        may_differ = 1 if least < 1 else 0
        return self.compared - self.equal <= may_differ or self.equal / self.compared >= least

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.compared} labels as from Keras, values at most "
            f"{self.largest_difference:.2g} off"
        )


class EngineDisagreesError(ValueError):
    """An engine gives too many texts other labels than Keras does."""


def as_engine(engine: str | Engine) -> Engine:
    """Returns an engine given by itself or by its name; see `Engine`."""
    if isinstance(engine, Engine):
        return engine
    if not isinstance(engine, str):
        raise TypeError(f"engine must be a name or an Engine, received {engine!r}.")
    return Engine(engine)  # type: ignore[arg-type]


# === Choosing ===
def choose(engine: Engine, model: Any, columns: Sequence[Sequence[str]]) -> Any:
    """Returns what answers for a model: the reader of an engine, or None for Keras itself.

    Args:
        engine: What the user asks for.
        model: A task, with `engine_signature`, `engine_key`, `predict` and `same_answers`.
        columns: The texts, or pairs, some of which are compared or timed.

    Raises:
        ValueError: If the model cannot be held by an engine, or the engine disagrees.
        ImportError: If ai-edge-litert is not installed.
    """
    if engine.name == "keras":
        return None
    key = model.engine_key()
    if engine.name == "auto":
        engine = dataclasses.replace(engine, name=_chosen(engine, model, key, columns))
        if engine.name == "keras":
            return None
    return _load(engine, model, key, columns, ENGINE_CACHE / key, None)[0]


_CHOICES: dict[tuple[str, float], EngineName] = {}


def _chosen(engine: Engine, model: Any, key: str, columns: Sequence[Sequence[str]]) -> EngineName:
    """Times the engines that a model may have on some texts, and says which is the fastest."""
    question = key, engine.least_agreement
    if question not in _CHOICES:
        texts = _some(columns, 64)
        rates: dict[EngineName, float] = {
            "keras": _rate(lambda: model.predict(texts, verbose=0), texts)
        }
        refused = []
        for name in PRECISIONS:
            try:
                given = Engine(name, engine.least_agreement)
                reader, _ = _load(given, model, key, columns, ENGINE_CACHE / key, None)
            except (ValueError, ImportError) as error:
                refused.append(f"{name} refused: {error}")
                continue
            rates[name] = _rate(functools.partial(reader.raw, _columns(texts), 32), texts)
            break  # the float32 file is slower
        best = max(rates, key=lambda name: rates[name])
        found = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        print("; ".join([f"engine: {best} (texts a second: {found})", *refused]), file=sys.stderr)
        _CHOICES[question] = best
    return _CHOICES[question]


def _rate(answer: Any, texts: Any) -> float:
    """Returns the texts that are answered a second, after a first run."""
    number = len(_columns(texts)[0])
    answer()
    started, runs = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS_TIMED:
        answer()
        runs += 1
    return runs * number / (time.perf_counter() - started)


# === A checkpoint's engine ===
def keep(model: Any, folder: Path, engine: Engine, texts: Any) -> Agreement:
    """Writes an engine beside a checkpoint that holds the same model.

    Args:
        model: See `choose`.
        folder: The checkpoint's folder.
        engine: Which, and its bound.
        texts: Texts, or a tuple of two columns, on which it is compared.

    Returns:
        How it compares with Keras.

    Raises:
        ValueError: See `choose`.
        ImportError: See `choose`.
    """
    folder, key = Path(folder), model.engine_key()
    return _load(engine, model, key, _columns(texts), folder / FOLDER, sources(folder))[1]


def kept(folder: str | Path, name: str = "litert-int8") -> tuple[Any, Agreement] | None:
    """Returns the engine beside a checkpoint, without TensorFlow; None if there is none for it.

    Args:
        folder: The checkpoint's folder.
        name: The engine.

    Returns:
        Its reader, and how it compares with Keras.
    """
    path, record = kept_file(folder, name)
    if record is None:
        return None
    reader = _reader(path, record["task"], record["model"])
    reader.multi_label = record["multi_label"]
    return reader, _agreement(record)


def kept_file(folder: str | Path, name: str) -> tuple[Path, dict[str, Any] | None]:
    """Returns where the engine beside a checkpoint is, and its record, None without one for it.

    Args:
        folder: The checkpoint's folder.
        name: The engine.
    """
    path = Path(folder) / FOLDER / f"{name}.tflite"
    record = _record(path)
    if record is not None and record["sources"] != sources(Path(folder)):
        record = None
    return path, record


def sources(folder: Path) -> dict[str, str]:
    """Returns the sha256 of a checkpoint's files by name: an engine is of these files alone."""
    files = {path for pattern in _SOURCES for path in folder.glob(pattern)}
    return {
        path.name: sha256_of(path)
        for path in sorted(files)
        if path.is_file() and path.name not in _NOT_SOURCES
    }


# === Files ===
def _load(
    engine: Engine,
    model: Any,
    key: str,
    columns: Sequence[Sequence[str]],
    folder: Path,
    found_sources: dict[str, str] | None,
) -> tuple[Any, Agreement]:
    """Loads a model's engine of a folder, or builds it; compares it unless that was done."""
    path = folder / f"{engine.name}.tflite"
    record = _record(path)
    is_of_model = record is not None and record["key"] == key
    if record is not None and is_of_model and record["sources"] == found_sources:
        agreement = _agreement(record)
        knows_more = len(columns[0]) > agreement.compared < _ENOUGH_COMPARED
        if agreement.suffices(engine.least_agreement) and not knows_more:
            return _reader(path, record["task"], record["model"]), agreement
    signature = _checked(model)
    if record is None or not is_of_model:
        print(f"Building the engine {engine.name}, once ...", file=sys.stderr)
        _write(signature, path, PRECISIONS[engine.name])
    model_hash = unpack(path)[MODEL_HASH]
    reader = _reader(path, signature.task, model_hash)
    try:
        agreement = _compare(engine, model, reader, columns)
    except EngineDisagreesError:
        path.unlink(missing_ok=True)
        raise
    record = {
        "key": key,
        "task": signature.task,
        "model": model_hash,
        "sources": found_sources,
        "multi_label": getattr(model, "multi_label", False),
        **dataclasses.asdict(agreement),
    }
    with new_file(_record_path(path)) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return reader, agreement


def _checked(model: Any) -> Any:
    """Returns the signature of a model that an engine can hold."""
    check_installed("ai_edge_litert", "litert", "A LiteRT engine")
    size = 4 * model.count_params()
    if size >= _LARGEST_MODEL:
        raise ValueError(
            f"{model.name} has {size / 1e9:.1f} GB of weights, and a LiteRT engine holds less than "
            f"{_LARGEST_MODEL / 1e9:.1f}: use engine='keras'."
        )
    return model.engine_signature()


def _write(signature: Any, path: Path, precision: str) -> None:
    """Writes a LiteRT file that gives the task's answers, and what the network computes."""
    from keras_bert_scratch.serving.litert import check_operations, convert, to_bytes
    from keras_bert_scratch.serving.packed import pack
    from keras_bert_scratch.serving.recipe import require_tensorflow

    require_tensorflow()
    graph = signature.lite_of_ids()

    def function(*values: Any) -> dict[str, Any]:
        raw = signature.compute(dict(zip(INPUTS, values, strict=True)))
        # The answers follow from it: the network runs once.
        computed = dataclasses.replace(signature, network=lambda inputs, training: raw)
        answers = computed.of_ids({})
        return {signature.output: answers, **({} if answers is raw else {RAW: raw})}

    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        pack(file, to_bytes(convert(graph._replace(function=function), precision)), graph.files)
        check_operations(file)
    if path.is_relative_to(ENGINE_CACHE):
        others = sorted(ENGINE_CACHE.glob("*/*.tflite"), key=os.path.getmtime)
        for other in others[:-_MOST_CACHED]:
            other.unlink(missing_ok=True)


def _compare(
    engine: Engine, model: Any, reader: Any, columns: Sequence[Sequence[str]]
) -> Agreement:
    """Compares an engine's answers to some texts with those of Keras.

    Raises:
        EngineDisagreesError: If too many texts get another label.
    """
    texts = _some(columns, _MOST_COMPARED)
    wanted = np.asarray(model.predict(texts, verbose=0), "float32")
    found = reader.raw(_columns(texts), 32)
    same, difference = model.same_answers(wanted, found)
    agreement = Agreement(len(same), int(np.sum(same)), float(difference))
    # Written so that a difference that is not a number fails, too.
    if agreement.suffices(engine.least_agreement) and difference < np.inf:
        return agreement
    first = _columns(texts)[0]
    examples = ", ".join(repr(first[i][:60]) for i in np.flatnonzero(~same)[:3])
    others = " or ".join(repr(name) for name in ("litert", "keras") if name != engine.name)
    raise EngineDisagreesError(
        f"The engine {engine.name!r} gives the label of Keras to "
        f"{agreement.equal / agreement.compared:.1%} of {agreement.compared} texts, fewer than "
        f"least_agreement={engine.least_agreement:.1%}; others get, for example, {examples}. Use "
        f"{others}, or a lower least_agreement."
    )


def _some(columns: Sequence[Sequence[str]], most: int) -> Any:
    """Returns some texts, or pairs, from all over the columns."""
    places = np.unique(np.linspace(0, len(columns[0]) - 1, most).astype(int))
    taken = tuple([column[i] for i in places] for column in columns)
    return taken if len(taken) > 1 else taken[0]


def _columns(texts: Any) -> list[Any]:
    return list(texts) if isinstance(texts, tuple) else [texts]


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _record(path: Path) -> dict[str, Any] | None:
    """Returns what is known of a file of an engine, if it is the one that was compared."""
    try:
        record = read_json(_record_path(path))
        is_same = record["model"] == unpack(path)[MODEL_HASH]
        _agreement(record)
        return record if is_same and record.keys() >= _FIELDS else None
    except READ_ERRORS:
        return None


def _agreement(record: dict[str, Any]) -> Agreement:
    names = [field.name for field in dataclasses.fields(Agreement)]
    return Agreement(**{name: record[name] for name in names})


@functools.lru_cache(2)
def _reader(path: Path, task: str, model_hash: str) -> Any:
    """Loads a file, which stays loaded; another one of the same name has another hash."""
    return _READERS[task](path, num_cores())
