"""The example in the docstring of every public name runs, and prints what it says."""

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bert_scratch

# These train.
SLOW = {
    "AdversarialTraining",
    "BertClassifier",
    "BertQuestionAnswerer",
    "BertSentenceEncoder",
    "BertSklearnClassifier",
    "BertSummarizer",
    "BertTokenClassifier",
    "DifferentialPrivacy",
    "Distiller",
    "pretrain",
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Progress bars would stand among what the examples print.
    keras.config.disable_interactive_logging()
    yield
    keras.config.enable_interactive_logging()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in keras_bert_scratch.__all__
        if name != "__version__"
    ],
)
def test_example_of_a_public_name_runs(name):
    public = {name: getattr(keras_bert_scratch, name) for name in keras_bert_scratch.__all__}
    # An example may use what its module does.
    module = importlib.import_module(public[name].__module__)
    variables: dict[str, Any] = {"np": np, "keras": keras, "tf": tf, **public, **vars(module)}
    docstring = inspect.getdoc(public[name]) or ""
    test = doctest.DocTestParser().get_doctest(docstring, variables, name, module.__file__, 0)
    assert test.examples, f"{name} has no example"

    keras.utils.set_random_seed(0)
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert not "".join(said)


def test_every_public_name_is_in_the_reference():
    folder = Path(__file__).parents[1] / "docs/api"
    pages = "".join(path.read_text() for path in folder.glob("*.md"))
    missing = [
        name
        for name in keras_bert_scratch.__all__
        if name != "__version__"
        and f"::: {getattr(keras_bert_scratch, name).__module__}.{name}\n" not in pages
    ]
    assert not missing
