"""Broken and hostile inputs by the hundred thousand: each must be accepted or refused by name.

    python benchmarks/fuzzing.py tokenizer --inputs 1000000
    python benchmarks/fuzzing.py checkpoints --inputs 100000
    python benchmarks/fuzzing.py server --inputs 100000
    python benchmarks/fuzzing.py readers --inputs 100000
    python benchmarks/fuzzing.py tables --inputs 100000
    python benchmarks/fuzzing.py columns --inputs 100000
    python benchmarks/fuzzing.py labels --inputs 100000
    python benchmarks/fuzzing.py exports --inputs 20000
    python benchmarks/fuzzing.py coverage --inputs 1000000   # pip install atheris

Good inputs are changed according to their structure, or byte by byte. Tables of examples and of
tags are drawn, written in a random dialect, and must be read back unchanged. Labels are drawn in
random containers, and each must be the class that it names. A find is an error that this package
does not raise itself or that is of an undocumented kind; a second or more of the processor's time;
memory beyond twice the input's size and a fixed floor; a wrong answer; or the end of the process,
which is separate and is started again after the input that ended it. Input number N depends on the
seed and N only, so that `--start N` begins with it again.

`coverage` gives the readers bytes that atheris (libFuzzer) makes, which looks for those that reach
new lines of this package.
"""

import abc
import argparse
import asyncio
import base64
import contextlib
import copy
import csv
import dataclasses
import faulthandler
import functools
import gzip
import io
import json
import logging
import math
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if sys.argv[1:2] == ["coverage"]:
    import atheris

    # Before the imports that matter.
    atheris.instrument_imports(include=["keras_bert_scratch"]).__enter__()

import keras
import numpy as np
import pandas
import polars
import tensorflow as tf

import keras_bert_scratch as kbs
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.data.labels import class_names, encode_label_sets, encode_labels
from keras_bert_scratch.serving.server.rest import RequestError
from keras_bert_scratch.text import preprocessing
from keras_bert_scratch.text.columns import column_values
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

PACKAGE = str(Path(kbs.__file__).parent)
SECONDS = 1.0
# Memory that Python, TensorFlow and their caches may use for an input of any size.
FLOOR = 64 << 20
# The largest body that the server accepts by default.
LONGEST_TEXT = 100_000
# Memory beyond that at the start of the process: a bomb fails and leaves the machine alone.
MOST_MEMORY = 2 << 30
# Seconds of the processor's time after which an input ends the process.
HANG = 20
CHUNK = 200

WORDS = ["a", "the", "film", "good", "bad", "##s", "##ing", "un", "##able", "über", *".,!?"]
TOKENS = [*SPECIAL_TOKENS, *WORDS, *"电影棒ابت", *"bcdefghij", *(f"##{c}" for c in "abcdefghij")]

# One value of each JSON type, and values that are nearly good.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 8, 1.5, -0.0, float("nan"), float("inf"), 1e-320, 10**6,
    2**31, 2**63, 10**400, "", "x", "8", "\ud800", "a\0b", "../../etc/passwd", "x" * 5000, [],
    [None], [[]], ["x", "x"], [0] * 100, {}, {"": None}, {"0": "x", "1": "y"}, {"type": "x"},
    [{"type": "x"}],
]  # fmt: skip
BYTES = [
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b",", b'"', b"{", b"}",
    b"[", b"]", b":", b"-", b"1e999", b"9" * 5000, b"null", b"NaN", b"\\u0000", b"\\ud800",
    b"[" * 5000, b"\xf0\x9f\x98", b"##", b"[MASK]", b"\xe2\x80\xa8", b"PK\x05\x06", b"\x80", b"=",
]  # fmt: skip


class WrongError(Exception):
    """An answer that cannot be right."""


class Case(NamedTuple):
    """An input and the attempt to read it.

    Attributes:
        size: Number of bytes of the input.
        attempt: Function that reads the input.
        text: Description of the input for a report.
    """

    size: int
    attempt: Callable[[], Any]
    text: str


# === Changing good inputs ===
def changed_bytes(draw: random.Random, content: bytes) -> bytes:
    """Changes bytes in one to four places."""
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at = draw.randrange(len(content) + 1)
        end = at + draw.choice([1, 1, 4, 16, len(content)])
        kind = draw.randrange(6)
        if kind == 0:
            content = content[:at] + draw.randbytes(1) + content[at + 1 :]
        elif kind == 1:
            content = content[:at] + content[end:]
        elif kind == 2:
            content = content[:at] + draw.choice(BYTES) + content[at:]
        elif kind == 3:
            content = content[:end] + content[at:end] * draw.choice([1, 1, 2, 50]) + content[end:]
        elif kind == 4:
            content = content[:at] + draw.randbytes(min(end, len(content)) - at) + content[end:]
        else:
            content = content[:at]
        content = content[: 1 << 18]
    return content


def changed_json(draw: random.Random, document: Any) -> Any:
    """Changes values, names or places of a JSON document in one to three places."""
    document = copy.deepcopy(document)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(document))
        if not places:
            return draw.choice(VALUES)
        parent, key = draw.choice(places)
        kind = draw.randrange(8)
        if kind < 4:
            parent[key] = copy.deepcopy(draw.choice(VALUES))
        elif kind == 4:
            del parent[key]
        elif kind == 5:
            other, its_key = draw.choice(places)
            parent[key] = copy.deepcopy(other[its_key])
        elif isinstance(parent, dict):
            parent[draw.choice(["", "x", key + "x", key.upper()])] = parent.pop(key)
        elif isinstance(parent[key], int):
            parent[key] = parent[key] * draw.choice([-1, 2, 10**3, 10**12]) + draw.choice([0, 1])
        else:
            parent *= 2
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    items: Iterable = ()
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))
    for key, value in items:
        yield document, key
        yield from _places(value)


def json_bytes(draw: random.Random, document: Any) -> bytes:
    """Writes JSON, now and then with a name that comes twice, or nested without end."""
    text = json.dumps(document, ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.05:
        text = text.replace("{", '{"type": null, ', 1)
    if draw.random() < 0.02:
        text = text.replace("null", "[" * 100_000, 1)
    return text.encode(errors="surrogatepass")


def changed_file(draw: random.Random, name: str, content: bytes) -> bytes:
    """Changes the content of a file according to the structure that its name implies."""
    if draw.random() < 0.2 or not content:
        return changed_bytes(draw, content)
    if name.endswith(".json"):
        return json_bytes(draw, changed_json(draw, json.loads(content)))
    if name.endswith(".safetensors"):
        return changed_safetensors(draw, content)
    if name.endswith((".txt", ".csv", ".tsv", ".jsonl", ".conll")):
        return changed_lines(draw, content)
    return changed_bytes(draw, content)


def changed_safetensors(draw: random.Random, content: bytes) -> bytes:
    """Changes the header, its length, or what follows."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    kind = draw.randrange(8)
    if kind == 0:
        length = draw.choice([0, 1, length - 1, length + 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", length) + header + data
    if kind == 1:
        data = changed_bytes(draw, data)
    elif kind == 2:
        return content[: draw.randrange(len(content))]
    else:
        document = json.loads(header)
        name = draw.choice(list(document))
        entry = document[name]
        if kind == 3:
            document = changed_json(draw, document)
        elif kind == 4:
            entry["shape"] = draw.choice(
                [[], entry.get("shape", [])[::-1], [2**32, 2**32], [10**6, 10**6], [0], [1] * 1000]
            )
        elif kind == 5:
            entry["dtype"] = draw.choice(
                ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "X"]
            )
        elif kind == 6:
            entry["data_offsets"] = [draw.choice([0, 4, -1, 2**40, 2**64]) for _ in range(2)]
        else:
            document[f"{name}x"] = document.pop(name)
        header = json_bytes(draw, document)
    return struct.pack("<Q", len(header)) + header + data


def changed_lines(draw: random.Random, content: bytes) -> bytes:
    """Drops, doubles, exchanges, empties or changes lines."""
    lines = content.split(b"\n")
    for _ in range(draw.choice([1, 1, 2])):
        n = draw.randrange(len(lines))
        change = draw.randrange(6)
        if change == 0 and len(lines) > 1:
            del lines[n]
        elif change == 1:
            lines.insert(draw.randrange(len(lines)), lines[n])
        elif change == 2:
            other = draw.randrange(len(lines))
            lines[n], lines[other] = lines[other], lines[n]
        elif change == 3:
            lines[n] = draw.choice(
                [b"", b" ", b"\xff", b"\xed\xa0\x80", b"\r", b"x" * 200_000, b"\0"]
            )
        else:
            lines[n] = changed_bytes(draw, lines[n])
    return draw.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"]).join(lines)


# === Targets ===
class Target(abc.ABC):
    """A reader of untrusted input.

    Args:
        folder: An empty folder for files of the target.
    """

    refusals: tuple[type[Exception], ...] = ()
    inputs_per_case = 1
    floor = FLOOR

    @abc.abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abc.abstractmethod
    def case(self, draw: random.Random) -> Case:
        """Makes an input."""


POOLS = [
    range(0x20, 0x7F), range(0x250), range(0x300, 0x370), range(0x4E00, 0x4F00),
    range(0x1F300, 0x1FA00), range(0xD800, 0xE000), range(0x110000),
]  # fmt: skip
PIECES = [
    "<b", "-->", "<!--", "<script ", "http://", "www.", "@", "&lt;", "&#x", "1,", "\0", "ß", "İ",
    "\u0301\u0323", "\u200d", "\ufffd", "\u00ad", "\u2028", "\ufeff", "\U0010ffff",
]  # fmt: skip


class Tokenizing(Target):
    """Texts, in batches, to tokenizers of several kinds, in Python and as graphs."""

    inputs_per_case = 200

    def __init__(self, folder: Path) -> None:
        vocabulary = Vocabulary(TOKENS)
        steps = [
            preprocessing.StripHtml(),
            preprocessing.ReplaceUrls(),
            preprocessing.ReplaceUsers(),
            preprocessing.ReplaceNumbers(),
            preprocessing.RemoveStopWords(["the", "a"]),
        ]
        settings: list[dict[str, Any]] = [
            {},
            {"lowercase": False},
            {"allow_special_tokens": True},
            {"normalization": "mediapipe"},
            {"preprocessing": steps},
            {"tokenize_chinese_chars": False, "strip_accents": False},
            {"max_word_length": 6},
        ]
        self.tokenizers = [WordPieceTokenizer(vocabulary, **kwargs) for kwargs in settings]
        self.graphs = [
            [self._graph(tokenizer, "fast"), self._graph(tokenizer, "core")]
            for tokenizer in self.tokenizers
        ]

    @staticmethod
    def _graph(tokenizer: WordPieceTokenizer, engine: Any) -> Callable[[tf.Tensor], Any]:
        graph = tokenizer_graph(tokenizer, engine)
        signature = [tf.TensorSpec((None,), tf.string)]
        tokenize = tf.function(
            lambda texts: graph(texts, sequence_length=64), signature, autograph=False
        )
        # The cost of a first call and of a first long text does not count.
        tokenize(tf.constant(["a film", "a " * (LONGEST_TEXT // 2)]))
        return tokenize

    def text(self, draw: random.Random) -> str:
        """Draws a text."""
        parts = []
        for _ in range(draw.choice([0, 1, 2, 4, 8])):
            kind = draw.randrange(7)
            if kind < 3:
                parts.append(draw.choice(TOKENS).removeprefix("##"))
            elif kind < 5:
                parts += map(chr, draw.choices(draw.choice(POOLS), k=draw.choice([1, 2, 5, 12])))
            elif kind == 5:
                parts.append(chr(draw.choice(draw.choice(POOLS))) * draw.choice([2, 99, 101, 300]))
            else:
                parts.append(draw.choice(PIECES))
            parts.append(draw.choice(["", "", " "]))
        text = "".join(parts)
        return text if draw.random() > 1e-4 else (text * 2000)[:LONGEST_TEXT]

    def case(self, draw: random.Random) -> Case:
        """Draws a batch; half of the texts are bytes, of which half are changed."""
        texts: list[str | bytes] = []
        for _ in range(self.inputs_per_case):
            text = self.text(draw)
            encoded = text.encode(errors="surrogatepass")
            changed = changed_bytes(draw, encoded)[:LONGEST_TEXT]
            choices: list[str | bytes] = [text, text, encoded[:LONGEST_TEXT], changed]
            texts.append(draw.choice(choices))
        number = draw.randrange(len(self.tokenizers))
        size = sum(map(len, texts))
        return Case(size, lambda: self.attempt(number, texts), f"{number}: {texts!r}")

    def attempt(self, number: int, texts: list[str | bytes]) -> None:
        """Tokenizes, and checks that the answers are plausible."""
        tokenizer = self.tokenizers[number]
        size = len(tokenizer.vocabulary)
        rows = []
        for text in texts:
            encoding = tokenizer.encode(text, sequence_length=64)
            length = len(tokenizer._read(text))
            is_right = all(0 <= token < size for token in encoding.token_ids) and all(
                0 <= start <= end <= length for start, end in encoding.offsets
            )
            tokenizer.decode(encoding.token_ids).encode()
            if not is_right:
                raise WrongError(f"{text!r}: {encoding}")
            # Lone surrogates are no text to a graph.
            is_text = isinstance(text, bytes) or not re.search("[\ud800-\udfff]", text)
            rows.append(encoding.token_ids if is_text else [])
        given = [text if row else "" for text, row in zip(texts, rows, strict=True)]
        for graph in self.graphs[number]:
            inputs = {name: value.numpy() for name, value in graph(tf.constant(given)).items()}
            lengths = inputs["padding_mask"].sum(axis=1)
            for text, row, ids, length in zip(
                given, rows, inputs["token_ids"], lengths, strict=True
            ):
                if row and ids[:length].tolist() != row:
                    raise WrongError(f"{text!r}: Python {row}, graph {ids[:length].tolist()}")


class Checkpoints(Target):
    """Folders of checkpoints of every kind, with one or two changed files."""

    refusals = (ValueError, FileNotFoundError)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))
        config = tiny_config()
        encoder = kbs.BertEncoder(config)
        classifier = kbs.BertClassifier(encoder, ["bad", "good"], tokenizer)
        models: dict[str, tuple[Any, Callable[[Path], Any]]] = {
            "classifier": (classifier, kbs.BertClassifier.from_pretrained),
            "tagger": (
                kbs.BertTokenClassifier(encoder, ["O", "B-x", "I-x"], tokenizer),
                kbs.BertTokenClassifier.from_pretrained,
            ),
            "answerer": (
                kbs.BertQuestionAnswerer(encoder, tokenizer, max_question_length=4),
                kbs.BertQuestionAnswerer.from_pretrained,
            ),
            "pretrainer": (
                kbs.BertPretrainer(encoder, tokenizer),
                kbs.BertPretrainer.from_pretrained,
            ),
            "embedder": (
                kbs.BertSentenceEncoder(encoder, tokenizer),
                kbs.BertSentenceEncoder.from_pretrained,
            ),
            "summarizer": (
                kbs.BertSummarizer(encoder, kbs.BertDecoder(config), tokenizer, summary_length=4),
                kbs.BertSummarizer.from_pretrained,
            ),
        }
        self.loaders: dict[str, Callable[[Path], Any]] = {}
        for name, (model, load) in models.items():
            model.save_pretrained(folder / name)
            self.loaders[name] = load
        self._shard(folder / "classifier", folder / "sharded")
        self.loaders["sharded"] = kbs.BertClassifier.from_pretrained
        self._google(folder / "google", classifier)
        self.loaders["google"] = kbs.BertPretrainer.from_pretrained
        adapted = kbs.BertClassifier.from_pretrained(folder / "classifier")
        kbs.enable_lora(adapted.encoder, 2)
        adapted.save_adapter(folder / "adapter")
        self.loaders["adapter"] = adapted.load_adapter
        for name in self.loaders:
            (folder / name / "hashes.json").unlink(missing_ok=True)
        self.files = {
            name: {path.relative_to(folder / name): path.read_bytes()
                   for path in sorted((folder / name).rglob("*")) if path.is_file()}
            for name in self.loaders
        }  # fmt: skip
        for name, load in self.loaders.items():
            load(folder / name)

    @staticmethod
    def reuse_layers() -> None:
        """Makes layers once: they are most of the work, and the same for all inputs."""
        for part in ("BertEncoder", "BertDecoder"):
            made = functools.lru_cache(8)(getattr(kbs, part))
            for module in [*sys.modules.values()]:
                if module.__name__.startswith("keras_bert_scratch.tasks.") and part in vars(module):
                    setattr(module, part, made)

    @staticmethod
    def _shard(source: Path, target: Path) -> None:
        from safetensors.numpy import load_file, save_file

        shutil.copytree(source, target)
        tensors = load_file(source / "model.safetensors")
        (target / "model.safetensors").unlink()
        weight_map = {
            name: f"model-{number % 2}.safetensors" for number, name in enumerate(tensors)
        }
        for file in set(weight_map.values()):
            save_file({k: v for k, v in tensors.items() if weight_map[k] == file}, target / file)
        (target / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    @staticmethod
    def _google(folder: Path, model: Any) -> None:
        from keras_bert_scratch.checkpoints.checkpoint import at
        from keras_bert_scratch.checkpoints.huggingface import config_fields
        from keras_bert_scratch.checkpoints.name_map import encoder_weights

        folder.mkdir()
        (folder / "bert_config.json").write_text(json.dumps(config_fields(model.encoder.config)))
        model.tokenizer.vocabulary.to_file(folder / "vocab.txt")
        tensors = {
            row.google: keras.ops.convert_to_numpy(at(model, row.ours))
            for row in encoder_weights(model.encoder.config)
        }
        tf.raw_ops.SaveV2(
            prefix=str(folder / "bert_model.ckpt"), tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors), tensors=list(tensors.values()),
        )  # fmt: skip

    def case(self, draw: random.Random) -> Case:
        """Changes files; sometimes one is missing, a link, a folder, or a pipe."""
        name = draw.choice(list(self.loaders))
        files = self.files[name]
        changes: dict[Path, bytes | str] = {}
        for _ in range(draw.choice([1, 1, 1, 2])):
            path = draw.choice(list(files))
            changes[path] = changed_file(draw, path.name, files[path])
            if draw.random() < 0.02:
                changes[path] = draw.choice(["missing", "link", "loop", "folder", "pipe"])
        size = sum(map(len, files.values())) + sum(map(len, changes.values()))
        return Case(size, lambda: self.attempt(name, changes), f"{name}: {changes!r}")

    def attempt(self, name: str, changes: dict[Path, bytes | str]) -> None:
        """Loads the folder with the changes."""
        folder = self.folder / name
        try:
            for path, change in changes.items():
                if isinstance(change, bytes):
                    (folder / path).write_bytes(change)
                else:
                    replace_file(folder / path, change)
            self.loaders[name](folder)
            if any(change in ("link", "pipe") for change in changes.values()):
                raise WrongError("a link out of the folder was followed")
        finally:
            for path in changes:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    (folder / path).unlink()
                if (folder / path).is_dir():
                    (folder / path).rmdir()
                (folder / path).write_bytes(self.files[name][path])


def replace_file(path: Path, by: str) -> None:
    """Replaces a file by something else."""
    content = path.read_bytes()
    path.unlink()
    if by == "link":
        outside = path.parents[2] / "outside"
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif by == "loop":
        path.symlink_to(path)
    elif by == "folder":
        path.mkdir()
    elif by == "pipe":
        os.mkfifo(path)


class Requests(Target):
    """Bodies and addresses for the server's application, in this process."""

    def __init__(self, folder: Path) -> None:
        from keras_bert_scratch.serving.server.app import Limits, ModelServer
        from keras_bert_scratch.serving.server.served_model import ServedModel

        tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))
        model = kbs.BertClassifier(kbs.BertEncoder(tiny_config()), ["bad", "good"], tokenizer)
        model.export(folder / "export")
        served = ServedModel(folder / "export")
        served.warm_up()
        limits = Limits(
            max_text_bytes=10_000, max_body_bytes=100_000, max_queue=64, max_wait_ms=0.01
        )
        self.app = ModelServer(served, "films", limits).app()
        self.loop = asyncio.new_event_loop()
        self.lifespan = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(self.lifespan.__aenter__())
        url = "/v1/models/films"
        ids = {
            name: [[2, 5, 3], [2, 6, 3]] for name in ("token_ids", "segment_ids", "padding_mask")
        }
        ids["segment_ids"] = [[0, 0, 0], [0, 0, 0]]
        rows = [{name: values[n] for name, values in ids.items()} for n in range(2)]
        text, encoded = "a good film", {"b64": "Z29vZA=="}
        bodies = [
            {"instances": [text, "bad"]},
            {"instances": [{"text": text}, {"text": encoded}]},
            {"inputs": {"text": [text]}, "signature_name": ""},
            {"instances": [{"text": "a", "pair": "b"}], "signature_name": "pairs"},
            {"inputs": ids, "signature_name": "tokens"},
            {"instances": rows, "signature_name": "tokens"},
            {"instances": [text], "signature_name": "embeddings"},
        ]
        examples = [
            {"examples": [{"text": text}, {"text": ["bad"]}]},
            {"context": {"n": 1.5}, "examples": [{"text": encoded}], "signature_name": "classify"},
        ]
        self.seeds: list[tuple[str, Any]] = [
            *((f"{url}:predict", body) for body in bodies),
            *((f"{url}:classify", body) for body in examples),
            (f"{url}/versions/1:predict", bodies[0]),
            *((address, {}) for address in (f"{url}/metadata", url, "/healthz", "/metrics")),
        ]

    def case(self, draw: random.Random) -> Case:
        """Changes a body or an address."""
        address, content = draw.choice(self.seeds)
        method = "POST" if content else "GET"
        body = json_bytes(draw, changed_json(draw, content)) if content else b""
        if draw.random() < 0.2:
            body = changed_bytes(draw, body)
        if draw.random() < 0.05:
            address = changed_bytes(draw, address.encode()).decode(errors="replace")
        if draw.random() < 0.03:
            method = draw.choice(["GET", "POST", "PUT", "HEAD", "X"])
        text = f"{method} {address} {body!r}"
        return Case(len(body), lambda: self.attempt(method, address, body), text)

    def attempt(self, method: str, address: str, body: bytes) -> str:
        """Sends the request."""
        status, answer = self.loop.run_until_complete(self.ask(method, address, body))
        if status >= 500:
            raise WrongError(f"{status}: {answer[:500]!r}")
        if status >= 400 and method != "HEAD" and len(json.loads(answer)["error"]) < 10:
            raise WrongError(f"{status} without a reason: {answer[:500]!r}")
        if len(answer) > 100_000 + 1000 * len(body):
            raise WrongError(f"an answer of {len(answer)} bytes to {len(body)}")
        return str(status)

    async def ask(self, method: str, address: str, body: bytes) -> tuple[int, bytes]:
        """Calls the application as a server does."""
        status, parts = 0, []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": method, "path": address, "raw_path": address.encode(), "query_string": b"",
            "headers": [], "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return status, b"".join(parts)


class Readers(Target):
    """Files of examples of every format, and the JSON of configs and of requests."""

    refusals = (ValueError, FileNotFoundError, TypeError, RequestError)

    def __init__(self, folder: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        from keras_bert_scratch.checkpoints.huggingface import config_fields, read_config
        from keras_bert_scratch.data.documents import read_documents
        from keras_bert_scratch.data.readers import read_examples
        from keras_bert_scratch.data.shards import ShardedExamples, ShardSettings, write_shards
        from keras_bert_scratch.data.spans import read_squad
        from keras_bert_scratch.data.tags import read_conll
        from keras_bert_scratch.files import read_json
        from keras_bert_scratch.serving.server import rest
        from keras_bert_scratch.serving.server.limits import Limits

        limits = Limits(max_text_bytes=1000)
        self.folder = folder
        rows = [{"text": "a good film", "pair": 'it "is", so', "label": "good"},
                {"text": "schlecht\u2028é", "pair": "电影", "label": "bad"}]  # fmt: skip
        commas = 'text,pair,label\na good film,"it ""is"",\nso",good\nschlecht,电影,bad\n'
        table = pyarrow.Table.from_pylist(rows)
        parquet.write_table(table, folder / "x.parquet")
        answer = {"text": "Bath", "answer_start": 8}
        turn = {"question": "Who?", "answer": "Ann"}
        squad = {"data": [{"paragraphs": [{"context": "Ann, in Bath, by the sea.", "qas": [
            {"id": "1", "question": "Where?", "answers": [answer], "history": [turn]},
            {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
        ]}]}]}  # fmt: skip
        vocabulary = Vocabulary(TOKENS)
        tokenizer = WordPieceTokenizer(vocabulary)
        documents = "A good film. It is.\n\nA bad film.\nSo it is.\n"
        (folder / "x.txt").write_text(documents)
        write_shards([folder / "x.txt"], folder / "shards", tokenizer, ShardSettings(16))
        tokenizer.to_file(folder / "tokenizer.json")
        vocabulary.to_file(folder / "vocab.txt")
        tiny_config().to_json(folder / "ours.json")

        def examples(path: Path) -> Any:
            return read_examples(path, pair_column="pair")

        def shards(path: Path) -> Any:
            return len(ShardedExamples(path.parent, vocabulary))

        def body(path: Path) -> Any:
            content = rest.parse_body(path.read_bytes())
            if "examples" in content:
                return rest.examples_of(content, limits)
            text = rest.Input(np.dtype(object), (None,))
            ids = rest.Input(np.dtype("int32"), (None, None))
            inputs = {"ids": {"token_ids": ids}}.get(rest.signature_name(content, "text"))
            return rest.predict_rows(content, inputs or {"text": text}, limits)

        conll = b"Jane\tB-x\nAusten I-x\nwrote O\n\n-DOCSTART- O\nIn O\nBath B-x\n"
        config = {"model_type": "bert", **config_fields(tiny_config())}
        bodies = [
            {"instances": ["a", {"b64": "Z29vZA=="}]},
            {"inputs": {"token_ids": [[1, 2], [3, 4]]}, "signature_name": "ids"},
            {"examples": [{"text": "a", "n": [1.5, 2]}], "context": {"m": ["a"]}},
        ]
        self.seeds: list[tuple[str, bytes, Callable[[Path], Any]]] = [
            ("x.csv", commas.encode(), examples),
            ("x.tsv", commas.replace(",", "\t").encode(), examples),
            ("x.jsonl", "\n".join(json.dumps(row) for row in rows).encode(), examples),
            ("x.parquet", (folder / "x.parquet").read_bytes(), examples),
            ("squad.json", json.dumps(squad).encode(), read_squad),
            ("x.conll", conll, read_conll),
            ("x.txt", documents.encode(), lambda path: list(read_documents(path))),
            *(
                (name, (folder / name).read_bytes(), WordPieceTokenizer.from_file)
                for name in ("vocab.txt", "tokenizer.json")
            ),
            ("ours.json", (folder / "ours.json").read_bytes(), BertConfig.from_json),
            ("theirs.json", json.dumps(config).encode(), lambda p: read_config(read_json(p), p)),
            ("shards/index.json", (folder / "shards" / "index.json").read_bytes(), shards),
            *(("body.json", json.dumps(content).encode(), body) for content in bodies),
        ]
        for name, content, read in self.seeds:
            (folder / name).write_bytes(content)
            read(folder / name)

    def case(self, draw: random.Random) -> Case:
        """Changes a file."""
        name, good, read = draw.choice(self.seeds)
        content = changed_file(draw, name, good)
        if name.endswith(".jsonl") and draw.random() < 0.5:
            rows = changed_json(draw, [json.loads(line) for line in good.splitlines()])
            rows = rows if isinstance(rows, list) else [rows]
            content = b"\n".join(json_bytes(draw, row) for row in rows)

        def attempt() -> None:
            (self.folder / name).write_bytes(content)
            read(self.folder / name)

        return Case(len(content), attempt, f"{name}: {content!r}")


class Columns(Readers):
    """Pictures, sounds, tables that name them, what a model says of its columns, and requests."""

    # What the door for pictures documents: 64 million pixels, and four times as much meanwhile.
    floor = 1 << 30

    def __init__(self, folder: Path) -> None:
        from PIL import Image
        from scipy.io import wavfile

        from keras_bert_scratch.data.file_format import FileFormat
        from keras_bert_scratch.data.pictures import read_picture
        from keras_bert_scratch.data.sounds import read_sound
        from keras_bert_scratch.data.table import make_columns
        from keras_bert_scratch.data.table_files import read_table_rows
        from keras_bert_scratch.files import read_json
        from keras_bert_scratch.serving.server import rest
        from keras_bert_scratch.serving.server.limits import Limits

        self.folder = folder
        pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype="uint8")
        picture = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned
        grey = Image.fromarray(pixels[..., 0].astype("uint16") * 257)
        samples = np.random.default_rng(0).integers(-9000, 9000, (300, 2), dtype="int16")
        files: dict[str, Callable[[Path], Any]] = {
            "x.png": picture.save,
            "palette.png": picture.convert("P").save,
            "grey.png": grey.save,
            "x.jpg": lambda path: picture.convert("RGB").save(path, exif=exif),
            "x.gif": picture.convert("P").save,
            "x.bmp": picture.convert("RGB").save,
            "x.webp": picture.save,
            "x.wav": lambda path: wavfile.write(path, 8000, samples),
            "float.wav": lambda path: wavfile.write(path, 44_100, samples[:, 0] / np.float32(2e4)),
        }
        for name, write in files.items():
            write(folder / name)
        described: dict[str, Any] = {
            "title": "text",
            "price": {"kind": "number", "mean": 1.0, "scale": 2.0},
            "shop": {"kind": "category", "categories": ["north", "south"]},
            "photo": {"kind": "image", "height": 8, "width": 8, "patch_size": 4},
            "clip": {"kind": "audio", "num_frames": 16, "patch_size": 16},
        }
        columns = make_columns(described)
        file_format = FileFormat("title", label_column="label")
        commas = "title,price,shop,photo,clip,label\n"
        commas += "a bear,1.5,north,x.png,,toy\n,2,3.0,x.jpg,x.wav,toy\na saw,,,,float.wav,tool\n"
        row = {"title": "a", "price": 2.5, "shop": 3, "photo": "x.png", "clip": None, "label": "x"}
        kinds = {"title": "text", "price": "number", "photo": "image", "clip": "audio"}
        types: dict[str, tuple[Any, tuple[None, ...]]] = {
            "price": ("float64", (None,)),
            "clip": ("float32", (None, None)),
        }
        inputs = {
            name: rest.Input(np.dtype(types[name][0]), types[name][1], kind)
            if name in types
            else rest.Input(np.dtype(object), (None,), kind)
            for name, kind in kinds.items()
        }
        limits = Limits(max_text_bytes=10_000)

        def table(path: Path) -> Any:
            return read_table_rows(path, file_format, columns)

        def body(path: Path) -> Any:
            return rest.predict_rows(rest.parse_body(path.read_bytes()), inputs, limits)

        def b64(name: str) -> dict[str, str]:
            return {"b64": base64.b64encode((folder / name).read_bytes()).decode()}

        bodies = [
            {"instances": [{"title": "a", "photo": b64("x.png")}, {"price": 2, "clip": [0.5]}]},
            {"inputs": {"title": ["a", "b"], "clip": [b64("x.wav"), None]}},
        ]
        self.seeds = [
            *(
                (name, (folder / name).read_bytes(), read_sound if "wav" in name else read_picture)
                for name in files
            ),
            ("x.csv", commas.encode(), table),
            ("x.jsonl", f"{json.dumps(row)}\n{json.dumps(row)}".encode(), table),
            ("columns.json", json.dumps(described).encode(), lambda p: make_columns(read_json(p))),
            *(("body.json", json.dumps(content).encode(), body) for content in bodies),
        ]
        for name, content, read in self.seeds:
            (folder / name).write_bytes(content)
            read(folder / name)

    def case(self, draw: random.Random) -> Case:
        """Changes a file, all others as they were."""
        case = super().case(draw)

        def attempt() -> None:
            try:
                case.attempt()
            finally:
                for name, content, _ in self.seeds:
                    (self.folder / name).write_bytes(content)

        return Case(case.size, attempt, case.text)


class Tables(Target):
    """Tables of examples and files of tags in random dialects: read back unchanged, or refused."""

    refusals = (ValueError, TypeError)
    # Characters with a meaning in the formats, and letters of several encodings.
    characters = "ab1éü\"'\\,;|\t\n\r #-[]{}:\u00a0"
    encodings = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1", "cp1252")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text(self, draw: random.Random, without: str = "") -> str:
        """Draws a text that is not blank."""
        characters = [c for c in self.characters if c not in without]
        while not (text := "".join(draw.choices(characters, k=draw.choice([1, 3, 9, 30])))).strip():
            pass
        return text

    def case(self, draw: random.Random) -> Case:
        """Writes a file and reads it; now and then with some bytes changed."""
        encoding = draw.choice(self.encodings)
        kind = draw.choice(["csv", "csv", "jsonl", "parquet", "conll"])
        make = {"csv": self.table, "jsonl": self.lines, "parquet": self.parquet}
        name, content, read = make.get(kind, self.tags)(draw, encoding)
        is_changed = draw.random() < 0.3
        if is_changed:
            content = changed_bytes(draw, content)
        if draw.random() < 0.2 and kind != "parquet":
            name, content = f"{name}.gz", gzip.compress(content, 1)
            if is_changed and draw.random() < 0.3:
                content = changed_bytes(draw, content)
        path = self.folder / name

        def attempt() -> None:
            path.write_bytes(content)
            try:
                read(path, is_changed)
            except self.refusals as error:
                if str(path) not in str(error):
                    raise WrongError(f"The file is not named: {error}") from error
                raise

        return Case(len(content), attempt, f"{name}, {encoding}, {is_changed}: {content!r}")

    def table(self, draw: random.Random, encoding: str) -> tuple[str, bytes, Any]:
        """Writes CSV or TSV as Python does, with and without quotation marks."""
        suffix, delimiter = draw.choice([("csv", ","), ("tsv", "\t"), ("csv", ";"), ("tsv", "|")])
        newline = draw.choice(["\n", "\r\n", "\r"])
        quoting: Any = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
        without = {
            csv.QUOTE_NONE: f"{delimiter}\n\r",
            csv.QUOTE_ALL: "",
            # Python 3.11 quotes only the line breaks of the file itself.
            csv.QUOTE_MINIMAL: "".join({"\n", "\r"} - {*newline}),
        }[quoting]
        rows = [
            (str(n), self.text(draw, without), draw.choice(["x", "y", "1"]))
            for n in range(draw.choice([1, 2, 5, 20]))
        ]
        columns = draw.choice([[1, 2], [2, 1], [0, 1, 2]])
        file = io.StringIO(newline="")
        quotes: dict[str, Any] = {"quotechar": None} if quoting == csv.QUOTE_NONE else {}
        writer = csv.writer(
            file, delimiter=delimiter, quoting=quoting, lineterminator=newline, **quotes
        )
        table = [("id", "text", "label"), *rows]
        writer.writerows([[row[n] for n in columns] for row in table])
        is_told = draw.random() < 0.5

        def read(path: Path, is_changed: bool) -> None:
            from keras_bert_scratch.data.readers import read_examples

            found = read_examples(
                path,
                encoding=encoding,
                delimiter=delimiter,
                quoting=quoting != csv.QUOTE_NONE if is_told else None,
            )
            texts = [row[1] for row in rows]
            ours = found.texts
            if not is_told:  # Marks around a cell that needs none may be either.
                texts, ours = ([t.replace('"', "") for t in column] for column in (texts, ours))
            if not is_changed and (ours, found.labels) != (texts, [row[2] for row in rows]):
                raise WrongError(f"{delimiter!r} {quoting} {newline!r}: {found} <- {rows}")

        return f"x.{suffix}", file.getvalue().encode(encoding), read

    def lines(self, draw: random.Random, encoding: str) -> tuple[str, bytes, Any]:
        """Writes JSON, an object a line."""
        labels: list[Any] = ["x", " y ", 1, 1.0, True, 0, -2.0]
        names = ["x", "y", "1", "1", "true", "0", "-2"]
        rows = [(self.text(draw), draw.randrange(7)) for _ in range(draw.choice([1, 2, 9]))]
        is_ascii = draw.random() < 0.5
        lines = [
            json.dumps({"text": text, "label": labels[n], "id": None}, ensure_ascii=is_ascii)
            for text, n in rows
        ]
        content = draw.choice(["\n", "\r\n", "\r", "\n\n"]).join(lines).encode(encoding)
        return "x.jsonl", content, self.reader(rows, names, encoding)

    def parquet(self, draw: random.Random, encoding: str) -> tuple[str, bytes, Any]:
        """Writes Parquet by pyarrow, in several types."""
        import pyarrow
        from pyarrow import parquet

        rows = [(self.text(draw), draw.randrange(2)) for _ in range(draw.choice([1, 2, 9]))]
        types: list[tuple[list[Any], Any, list[str]]] = [
            (["x", "y"], pyarrow.large_string(), ["x", "y"]),
            (["x", "y"], pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), ["x", "y"]),
            ([0, 1], pyarrow.int8(), ["0", "1"]),
            ([0.0, 1.0], pyarrow.float64(), ["0", "1"]),
            ([False, True], pyarrow.bool_(), ["false", "true"]),
        ]
        values, type_, names = draw.choice(types)
        table = {
            "text": pyarrow.array([text for text, _ in rows]),
            "label": pyarrow.array([values[n] for _, n in rows], type_),
        }
        file = io.BytesIO()
        parquet.write_table(pyarrow.table(table), file, row_group_size=draw.choice([1, 100]))
        return "x.parquet", file.getvalue(), self.reader(rows, names, "utf-8")

    @staticmethod
    def reader(rows: list[tuple[str, int]], names: list[str], encoding: str) -> Any:
        """Returns a function that compares a file with its rows."""

        def read(path: Path, is_changed: bool) -> None:
            from keras_bert_scratch.data.readers import read_examples

            found = read_examples(path, encoding=encoding)
            expected = [text for text, _ in rows], [names[n] for _, n in rows]
            if not is_changed and (found.texts, found.labels) != expected:
                raise WrongError(f"{found} <- {rows}")

        return read

    def tags(self, draw: random.Random, encoding: str) -> tuple[str, bytes, Any]:
        """Writes words and tags in one of five schemes, with comments and other columns."""
        separator = draw.choice(["\t", " ", "  "])
        without = "\t\n\r" + " " * (separator != "\t")
        scheme = draw.choice(["BIO", "IOB1", "BIOES", "BILOU", "IO"])
        others = draw.choice([0, 1, 2])
        lines, expected = ["-DOCSTART- O", ""], []
        for _ in range(draw.choice([1, 2, 5])):
            if draw.random() < 0.3:
                lines.append(draw.choice(["# id 7 a b c d", "#", "# text = so"]))
            words: list[tuple[str, str]] = []
            spans: list[tuple[str, int, int]] = []
            before = None
            for _ in range(draw.choice([1, 2, 4])):
                # IO cannot separate neighbours.
                gap = draw.randrange(scheme == "IO", 3)
                label, length = draw.choice("xy"), draw.choice([1, 1, 2, 3])
                letters = {
                    "BIOES": "S" if length == 1 else "B" + "I" * (length - 2) + "E",
                    "BILOU": "U" if length == 1 else "B" + "I" * (length - 2) + "L",
                    "IO": "I" * length,
                    "IOB1": "BI"[before != label or gap > 0] + "I" * (length - 1),
                }.get(scheme, "B" + "I" * (length - 1))
                spans.append((label, len(words) + gap, len(words) + gap + length))
                tags = ["O"] * gap + [f"{letter}-{label}" for letter in letters]
                words += [(self.text(draw, without).strip(" "), tag) for tag in tags]
                before = label
            cells = [[word, *["NN"] * others, tag] for word, tag in words]
            lines += [separator.join(row) for row in cells] + [draw.choice(["", " ", "\t"])]
            expected.append(([word for word, _ in words], spans))
        newline = draw.choice(["\n", "\r\n", "\r"])

        def read(path: Path, is_changed: bool) -> None:
            from keras_bert_scratch.data.tags import read_conll, spans_of

            found = read_conll(path, encoding=encoding)
            labels = {tag for row in found.tags for tag in row}
            spans = [[tuple(span) for span in spans_of(row, labels)] for row in found.tags]
            if not is_changed and list(zip(found.words, spans, strict=True)) != expected:
                raise WrongError(f"{found} <- {expected}")

        return "x.conll", newline.join(lines).encode(encoding), read


class Labels(Target):
    """Labels in random containers: each is the class that it names, or is refused."""

    refusals = (ValueError, TypeError)
    names = (
        "good",
        "bad",
        "",
        "1",
        "2",
        "0",
        "-1",
        "1.0",
        "01",
        "true",
        "False",
        "nan",
        "١",
        "a b",
    )
    values = (*names, 0, 1, 2, 3, -1, 1.0, 0.5, True, False, None, math.nan, math.inf, b"good", "B")

    def __init__(self, folder: Path) -> None: ...

    def case(self, draw: random.Random) -> Case:
        """Draws the names of classes, and labels of which most are some of them."""
        named = draw.sample([*self.names, 0, 1, 2, True, 3.0], draw.randint(2, 5))
        pool = named if draw.random() < 0.5 else [*named, *range(len(named))]
        pool = pool if draw.random() < 0.6 else [*pool, *self.values]
        y: list[Any] = [draw.choice(pool) for _ in range(draw.randint(0, 4))]
        is_several = draw.random() < 0.4
        if is_several:
            width = len(named)
            rows: list[Any] = [draw.sample(pool, draw.randint(0, min(3, len(pool)))) for _ in y]
            bits = [[draw.randint(0, 1) for _ in range(width)] for _ in y]
            y = draw.choice([rows, bits])
        form = draw.choice(["list", "tuple", "array", "series", "column", "frame", "polars"])
        text = f"labels {named!r}, y {y!r} as {form}, several {is_several}"
        return Case(len(text), functools.partial(self.attempt, named, y, form, is_several), text)

    def attempt(self, named: list[Any], y: list[Any], form: str, is_several: bool) -> str:
        """Encodes labels, and compares each with the class that the rule says."""
        labels = class_names(named)
        try:
            held = self.held(y, form)
        # The library itself refuses what it cannot hold.
        except Exception:
            return "not held"
        if not is_several:
            encoded = encode_labels(held, labels)
            if encoded.ndim == 2 and len(encoded):
                raise WrongError("Single labels became rows.")
            values = [v.item() if isinstance(v, np.generic) else v for v in column_values(held)]
            for value, class_id in zip(values, encoded, strict=True):
                value = value[0] if isinstance(value, list | np.ndarray) else value
                if not self.means(value, labels[class_id], int(class_id), labels):
                    raise WrongError(f"{value!r} became {labels[class_id]!r}")
            return "taken"
        encoded = encode_label_sets(held, labels)
        # A library may have made other values of a mixed list.
        rows = [list(row) if isinstance(row, list | tuple) else [row] for row in self.rows(held)]
        for row, bits in zip(rows, encoded, strict=True):
            chosen = {labels[class_id] for class_id in np.flatnonzero(bits)}
            as_bits = len(row) == len(labels) and all(value in (0, 1) for value in row)
            by_bits = {labels[i] for i, value in enumerate(row) if as_bits and value}
            as_names = all(
                any(self.means(value, name, -1, labels) for name in chosen) for value in row
            )
            if not (as_bits and chosen == by_bits) and not (as_names and len(chosen) <= len(row)):
                raise WrongError(f"{row!r} became {chosen!r}")
        return "taken"

    @staticmethod
    def rows(held: Any) -> list[Any]:
        """Returns the values of a container as its library returns them, nested arrays as lists."""
        if isinstance(held, pandas.DataFrame):
            held = held["label"]
        if isinstance(held, polars.Series):
            return held.to_list()
        return held.tolist() if isinstance(held, np.ndarray) else list(held)

    @staticmethod
    def held(y: list[Any], form: str) -> Any:
        """Puts labels into a container whose index is unrelated to their positions."""
        index = list(range(len(y), 0, -1))
        forms: dict[str, Callable[[], Any]] = {
            "list": lambda: y,
            "tuple": lambda: tuple(y),
            "array": lambda: np.array(y),
            "series": lambda: pandas.Series(y, index=index, dtype=object),
            "column": lambda: [[value] for value in y],
            "frame": lambda: pandas.DataFrame({"label": pandas.Series(y, index, dtype=object)}),
            "polars": lambda: polars.Series(y),
        }
        return forms[form]()

    @staticmethod
    def means(value: Any, name: str, class_id: int, labels: list[str]) -> bool:
        """Whether a label may mean a class: by its spelling, its number, or its id."""
        value = value.decode() if isinstance(value, bytes) else value
        if str(value) == name or (isinstance(value, bool) and str(value).lower() == name.lower()):
            return True
        if isinstance(value, str):
            return False
        numbers = []
        for label in labels:
            with contextlib.suppress(ValueError):
                numbers.append(float(label))
        if any(math.isfinite(number) for number in numbers):
            with contextlib.suppress(ValueError):
                return float(name) == float(value)
            return False
        return float(value) == class_id


class Exports(Target):
    """LiteRT files: the archive behind the model, but not the model, which is a program."""

    refusals = (ValueError, FileNotFoundError)

    def __init__(self, folder: Path) -> None:
        from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor

        tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))
        model = kbs.BertClassifier(kbs.BertEncoder(tiny_config()), ["bad", "good"], tokenizer)
        self.path, self.load = folder / "x.tflite", LiteRTPredictor
        model.export(self.path, format="litert")
        content = self.path.read_bytes()
        with zipfile.ZipFile(self.path) as packed:
            self.files = {name: packed.read(name) for name in packed.namelist()}
            self.start = min(entry.header_offset for entry in packed.infolist())
        self.network, self.packed = content[: self.start], content[self.start :]
        self.load(self.path)

    def case(self, draw: random.Random) -> Case:
        """Changes a packed file, how it is packed, or the archive's bytes."""
        if draw.random() < 0.3:
            content = self.network + changed_bytes(draw, self.packed)
        else:
            name = draw.choice(list(self.files))
            changed = changed_file(draw, name, self.files[name])
            if draw.random() < 0.05:
                changed = b" " * (1 << 27)
            kind = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            if len(changed) > 1 << 20:
                kind = zipfile.ZIP_DEFLATED
            self.path.write_bytes(self.network)
            with zipfile.ZipFile(self.path, "a", kind) as packed:
                for other, good in {**self.files, name: changed}.items():
                    packed.writestr(other, good)
            content = self.path.read_bytes()

        def attempt() -> None:
            self.path.write_bytes(content)
            self.load(self.path)

        return Case(len(content), attempt, repr(content[self.start :])[:5000])


TARGETS: dict[str, type[Target]] = {
    "tokenizer": Tokenizing,
    "checkpoints": Checkpoints,
    "server": Requests,
    "readers": Readers,
    "tables": Tables,
    "columns": Columns,
    "labels": Labels,
    "exports": Exports,
}


def tiny_config() -> BertConfig:
    """Returns the smallest config whose axes differ."""
    return BertConfig(
        vocab_size=len(TOKENS), num_layers=1, num_heads=2, hidden_dim=4, feed_forward_dim=6,
        max_positions=16,
    )  # fmt: skip


# === Running ===
@dataclasses.dataclass
class Outcomes:
    """The outcomes of inputs.

    Attributes:
        counts: Number of inputs by outcome.
        finds: The first input and the number of inputs for each place where something went wrong.
        slowest: Largest processor time in seconds.
        largest: Largest memory in bytes beyond twice the input's size.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    finds: dict[str, tuple[str, int]] = dataclasses.field(default_factory=dict)
    slowest: float = 0.0
    largest: int = 0

    def find(self, place: str, text: str, count: int = 1) -> None:
        """Records that something went wrong."""
        first, before = self.finds.get(place, (text, 0))
        self.finds[place] = first, before + count

    def add(self, other: "Outcomes") -> None:
        """Adds the outcomes of other inputs."""
        self.counts.update(other.counts)
        for place, (text, count) in other.finds.items():
            self.find(place, text, count)
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)


def fuzz(
    target: Target,
    cases: Iterable[int],
    seed: int,
    note: Callable[[int], Any] = lambda number: None,
) -> Outcomes:
    """Gives inputs to a target.

    Args:
        target: The target.
        cases: Numbers of the inputs.
        seed: Seed of all inputs.
        note: Called with the number of an input before it is tried.
    """
    outcomes = Outcomes()
    for number in cases:
        case = target.case(random.Random(f"{seed}:{number}"))
        text = f"case {number}: {case.text[:3000]}"
        note(number)
        before = reset_peak()
        started = time.process_time()
        try:
            outcome = case.attempt() or "taken"
        except Exception as error:
            outcome = type(error).__name__
            if not is_refusal(error, target.refusals):
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{outcome} at {last.filename}:{last.lineno}"
                outcomes.find(place, f"{str(error)[:1000]} <- {text}")
        seconds = time.process_time() - started
        memory = peak() - before - 2 * case.size
        outcomes.counts[outcome] += target.inputs_per_case
        outcomes.slowest = max(outcomes.slowest, seconds)
        outcomes.largest = max(outcomes.largest, memory)
        if seconds >= SECONDS:
            outcomes.find(f"slow, {outcome}", f"{seconds:.1f} s <- {text}")
        if memory > target.floor:
            outcomes.find(f"large, {outcome}", f"{memory >> 20} MB <- {text}")
    return outcomes


def is_refusal(error: Exception, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether an error is of a documented kind, has a text, and was raised by this package."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return type(error) in kinds and last.filename.startswith(PACKAGE) and len(str(error)) > 20


def reset_peak() -> int:
    """Resets the peak of this process' memory to the current value, and returns that."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Returns the peak memory of this process since `reset_peak`, in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def work(options: argparse.Namespace) -> None:
    """Runs inputs in this process, and prints their outcomes chunk by chunk as JSON."""
    logging.disable(logging.WARNING)
    # Ends the process after this much processor time, and prints the place.
    faulthandler.register(signal.SIGPROF, chain=True)
    progress = os.open(options.progress, os.O_WRONLY)

    def note(number: int) -> None:
        os.pwrite(progress, struct.pack("<q", number), 0)
        signal.setitimer(signal.ITIMER_PROF, HANG)
        faulthandler.dump_traceback_later(100 * HANG, exit=True)  # For inputs that sleep.

    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[options.target](Path(folder))
        if isinstance(target, Checkpoints):
            target.reuse_layers()
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + MOST_MEMORY, -1))
        for start in range(options.start, options.stop, CHUNK):
            cases = range(start, min(start + CHUNK, options.stop))
            outcomes = fuzz(target, cases, options.seed, note)
            print(json.dumps({"done": cases.stop, **vars(outcomes)}), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def run(target: str, start: int, stop: int, seed: int) -> Outcomes:
    """Runs inputs in processes of their own, until all are done."""
    outcomes = Outcomes()
    todo = [(start, stop)]
    while todo:
        start, stop = todo.pop()
        with tempfile.NamedTemporaryFile() as progress, tempfile.TemporaryFile() as errors:
            progress.write(struct.pack("<q", -1))
            progress.flush()
            command = [sys.executable, __file__, target, f"--seed={seed}", f"--start={start}",
                       f"--stop={stop}", f"--progress={progress.name}"]  # fmt: skip
            worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            for line in worker.stdout or ():
                found = json.loads(line)
                start = found.pop("done")
                outcomes.add(Outcomes(**found))
                print(f"{start:,} {dict(outcomes.counts)}", file=sys.stderr)
            worker.wait()
            errors.seek(0)
            reason = errors.read().decode(errors="replace")[-3000:]
            last = struct.unpack("<q", Path(progress.name).read_bytes())[0]
        if start == stop:
            continue
        if last < start:
            sys.exit(f"The process ended by itself:\n{reason}")
        outcomes.counts["end of the process"] += TARGETS[target].inputs_per_case
        outcomes.find(f"end of the process, {worker.returncode}", f"case {last}: {reason}")
        todo += [(low, high) for low, high in ((last + 1, stop), (start, last)) if low < high]
    return outcomes


def cover(inputs: int, seed: int) -> None:
    """Runs the readers on inputs from atheris, which ends the process."""
    with tempfile.TemporaryDirectory() as folder:
        target = Readers(Path(folder))
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, (_, content, _) in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(bytes([number]) + content)

        def attempt(data: bytes) -> None:
            name, _, read = target.seeds[data[0] % len(target.seeds) if data else 0]
            (target.folder / name).write_bytes(data[1:])
            try:
                read(target.folder / name)
            except Exception as error:
                if not is_refusal(error, target.refusals):
                    raise

        options = [f"-runs={inputs}", f"-seed={seed + 1}", "-timeout=10", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], attempt)
        atheris.Fuzz()


def main() -> None:
    """Runs inputs and prints their outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("target", choices=[*TARGETS, "coverage"])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    # For the worker processes.
    parser.add_argument("--stop", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target == "coverage":
        return cover(options.inputs, options.seed)
    if options.progress:
        return work(options)
    stop = options.start + -(-options.inputs // TARGETS[options.target].inputs_per_case)
    outcomes = run(options.target, options.start, stop, options.seed)
    seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    print(f"{options.target}: {outcomes.counts.total():,} inputs, {seconds:.0f} s of the processor")
    for outcome, count in outcomes.counts.most_common():
        print(f"{count:>12,} {outcome}")
    megabytes = outcomes.largest / 2**20
    print(f"slowest {outcomes.slowest:.2f} s, most memory {megabytes:.0f} MB beyond twice the size")
    for place, (first, count) in outcomes.finds.items():
        print(f"\nFIND, {count} times: {place}\n  {first}")
    sys.exit(bool(outcomes.finds))


if __name__ == "__main__":
    main()
