"""What tests of several folders share: tiny sizes, random inputs, the golden checkpoints."""

import concurrent.futures
import dataclasses
import functools
import gc
import importlib.util
import os
import subprocess
import sys

# Before the first import of Keras. Another backend may be chosen from outside.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests run in as many processes as there are processors: threads for their tiny models would only
# wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig

# The tests that may be skipped where CI=true, and why; any other skip is a failure there.
ALLOWED_SKIPS = {
    "tests/docs/test_accessibility.py": "needs Chromium, a package of npm and the built site",
    "tests/parity/test_mediapipe_browser.py": "needs Chromium and a package of npm",
    "tests/parity/test_code_points_browser.py": "needs Chromium and packages of npm",
    "tests/parity/test_column_page_browser.py": "needs Chromium and packages of npm",
    "tests/parity/test_web_browser.py": "needs Chromium and packages of npm",
}
_COUNTS = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def counts(request) -> Counter[str]:
    """What was compared with the reference tokenizer, to be printed at the end."""
    return request.config.stash.setdefault(_COUNTS, Counter())


def pytest_sessionfinish(session) -> None:
    # Tests run in worker processes; what they counted is printed by the process that started them.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = dict(session.config.stash.get(_COUNTS, {}))


def pytest_collection_modifyitems(items) -> None:
    # The longest first, so that at the end no process works alone: `@pytest.mark.slow(minutes=2)`.
    items.sort(
        key=lambda item: (
            -max((m.kwargs.get("minutes", 0) for m in item.iter_markers("slow")), default=0)
        )
    )


def pytest_collection_finish() -> None:
    # TensorFlow and Keras are a million objects that stay: the collector need not look at them.
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    found = getattr(node, "workeroutput", {}).get("counts", {})
    node.config.stash.setdefault(_COUNTS, Counter()).update(found)


def pytest_terminal_summary(terminalreporter, config) -> None:
    if counts := config.stash.get(_COUNTS, None):
        terminalreporter.section("identity with tokenizers")
        for name, count in counts.items():
            terminalreporter.write_line(f"{count:>12,} {name}")


def _without_silent_skips(report: Any) -> Any:
    is_allowed = report.nodeid.split("::")[0] in ALLOWED_SKIPS or hasattr(report, "wasxfail")
    if report.skipped and not is_allowed and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _without_silent_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _without_silent_skips((yield))


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers():
    # One more than processors, since some tests wait, for servers and for processes of their own.
    return (yield) + 1


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Returns a function that loads a script of benchmarks/ or examples/ as a module."""

    def load(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", "_")
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where processes of its own look for its functions
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def without_tensorflow() -> Callable[[str], str]:
    """Returns a function that runs code where neither TensorFlow nor Keras can be imported."""
    absent = "import sys\nfor name in ('tensorflow', 'keras'): sys.modules[name] = None\n"

    def run(code: str) -> str:
        process = subprocess.run(
            [sys.executable, "-c", absent + code], capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Where the golden files are, each beside the script that made it."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def tiny_config() -> BertConfig:
    """The smallest encoder whose axes all differ: H=8, N=2, D=4, F=12, V=30."""
    return BertConfig(
        vocab_size=30,
        num_layers=3,
        num_heads=2,
        hidden_dim=8,
        feed_forward_dim=12,
        max_positions=16,
    )


@pytest.fixture
def modern_config() -> BertConfig:
    """The smallest ModernBERT whose axes all differ, its layers global, local, local, global."""
    return BertConfig(
        vocab_size=30,
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        feed_forward_dim=12,
        max_positions=16,
        layer_norm_epsilon=1e-5,
        architecture="modernbert",
        local_window=4,
    )


@pytest.fixture
def random_inputs() -> Callable[..., dict[str, np.ndarray]]:
    """Returns a function that draws inputs; what is padding holds random ids, too."""

    def draw(
        config: BertConfig, lengths: Sequence[int] = (7, 4, 1), seed: int = 0
    ) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        shape = (len(lengths), max(lengths))
        mask = np.arange(shape[1]) < np.array(lengths)[:, None]
        return {
            "token_ids": rng.integers(config.vocab_size, size=shape, dtype="int32"),
            "segment_ids": rng.integers(config.num_segments, size=shape, dtype="int32"),
            "padding_mask": mask.astype("int32"),
        }

    return draw


@pytest.fixture(scope="session")
def from_threads() -> Callable[..., Any]:
    """Returns a function that asks many times from eight threads, and alone.

    It returns pairs of an answer and the one to the same question asked alone.
    """

    def ask_all(ask: Callable[[Any], Any], questions: Sequence[Any], times: int = 25) -> Any:
        alone = [ask(question) for question in questions]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, [*questions] * times))
        return zip(found, alone * times, strict=True)

    return ask_all


@pytest.fixture(scope="session")
def reviews() -> tuple[list[str], list[str]]:
    """48 small reviews, and labels that follow from one of their words."""
    texts = [
        f"{article} {adverb} {adjective} {noun}"
        for article in ("a", "the")
        for adverb in ("", "very", "really")
        for adjective in ("good", "great", "bad", "awful")
        for noun in ("film", "movie")
    ]
    labels = ["negative" if "bad" in text or "awful" in text else "positive" for text in texts]
    return texts, labels


@pytest.fixture(scope="session")
def tiny_classifier() -> Callable[..., Any]:
    """Returns a function that makes the same small classifier with random weights."""
    import keras

    from keras_bert_scratch import BertClassifier, BertEncoder, Vocabulary, WordPieceTokenizer

    words = "a the very really good great bad awful film movie , . ##s über".split()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *"电影棒", "caf", "##e"]

    def make(
        labels: Sequence[str] = ("negative", "positive"),
        changes: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> BertClassifier:
        keras.utils.set_random_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            feed_forward_dim=32,
            max_positions=32,
            # Wide enough for the logits of two texts to differ.
            initializer_range=0.2,
        )
        encoder = BertEncoder(dataclasses.replace(config, **(changes or {})))
        tokenizer = WordPieceTokenizer(Vocabulary(vocabulary))
        return BertClassifier(encoder, labels, tokenizer, **kwargs)

    return make


@pytest.fixture(scope="session")
def tiny_column_classifier() -> Callable[..., Any]:
    """Returns a function that makes the same small classifier of columns with random weights."""
    import keras

    from keras_bert_scratch import BertEncoder, ColumnClassifier, Vocabulary, WordPieceTokenizer

    words = "[PAD] [UNK] [CLS] [SEP] [MASK] a red blue toy tool bear saw ##s .".split()

    def make(
        columns: dict[str, Any], labels: Sequence[str] = ("toy", "tool"), **kwargs: Any
    ) -> ColumnClassifier:
        keras.utils.set_random_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            num_layers=1,
            num_heads=2,
            hidden_dim=8,
            feed_forward_dim=16,
            max_positions=16,
            initializer_range=0.3,
        )
        tokenizer = WordPieceTokenizer(Vocabulary(words))
        return ColumnClassifier(BertEncoder(config), labels, tokenizer, columns=columns, **kwargs)

    return make


@pytest.fixture(scope="session")
def two_layer_classifier(tiny_classifier: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that makes the same of two layers, where one layer could not tell."""
    return functools.partial(tiny_classifier, changes={"num_layers": 2})


@pytest.fixture(scope="session")
def versioned_export(
    tiny_classifier: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """A small classifier, and a folder with its SavedModel as version 3, beside an empty 2."""
    model = tiny_classifier()
    folder = tmp_path_factory.mktemp("versions")
    (folder / "2").mkdir()
    model.export(folder, version=3)
    return model, folder
