"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_bert_scratch

PUBLIC = [name for name in keras_bert_scratch.__all__ if name != "__version__"]
# The examples of these train, or take a model apart.
SLOW = {
    "AdversarialTraining",
    "BertClassifier",
    "BertQuestionAnswerer",
    "BertSentenceEncoder",
    "BertSklearnClassifier",
    "BertSummarizer",
    "BertTokenClassifier",
    "ColumnClassifier",
    "DifferentialPrivacy",
    "Distiller",
    "pretrain",
}
# Apache Beam has an environment of its own.
NEED_BEAM = ("shards_on_beam", "beam_transform")
# Examples that are not whole, by what they lack.
NOT_RUN = {
    **dict.fromkeys(
        (
            "checkpoints.adapters.AdapterCheckpoint",
            "checkpoints.encoder_decoder.EncoderDecoderCheckpoint",
            "checkpoints.google.GoogleCheckpoint",
            "checkpoints.huggingface.HuggingFaceCheckpoint",
            "checkpoints.huggingface.load_encoder",
            "checkpoints.keras_hub.to_keras_hub",
            "checkpoints.patch_encoders.PatchCheckpoint",
            "checkpoints.pytorch.PyTorchFile",
            "checkpoints.visual_bert.VisualBertCheckpoint",
            "models.patch_encoder.PatchEncoder.from_pretrained",
            "models.visual_bert.VisualBertEncoder.from_pretrained",
        ),
        "reads a checkpoint",
    ),
    **dict.fromkeys(("data.shards.ShardedExamples", "data.shards.write_shards"), "reads shards"),
    **dict.fromkeys(
        (
            "serving.readers.answerer.Answerer",
            "serving.readers.base.LiteRTRunner",
            "serving.readers.classifier.LiteRTPredictor",
            "serving.readers.classifier.OnnxPredictor",
            "serving.readers.classifier.SavedModelPredictor",
            "serving.readers.classifier._IdsPredictor.probabilities_of_ids",
            "serving.readers.clients.client_code",
            "serving.readers.column_classifier.LiteRTColumnPredictor",
            "serving.readers.column_classifier.SavedModelColumnPredictor",
            "serving.readers.sentence_encoder.Embedder",
            "serving.readers.summarizer.Summarizer",
            "serving.readers.tagger.Tagger",
            "serving.saved_model.save_functions",
            "serving.server.served_file.ServedFile",
            "serving.server.served_model.ServedModel",
            "serving.server.versions.ModelVersions",
        ),
        "reads an export",
    ),
    **dict.fromkeys(
        ("serving.server.app.ModelServer", "serving.server.batcher.Batcher"), "runs a server"
    ),
    **dict.fromkeys(
        (
            "evaluation.columns.compare_columns",
            "evaluation.columns.examine_rows",
            "evaluation.explanations.faithfulness",
            "evaluation.explanations.integrated_gradients",
            "data.file_format.find_format",
            "evaluation.model_card.model_card",
            "evaluation.plots.plot_embeddings",
            "evaluation.plots.plot_stress",
            "evaluation.report.examine",
            "evaluation.row_explanations.explain_row",
            "evaluation.stress.stress_test",
            "models.state.set_state",
            "tasks.column_classifier.ColumnClassifier.explain",
            "models.state.state_config",
            "tasks.encoder_model.EncoderModel.push_to_hub",
            "text.tokenizer.WordPieceTokenizer.__call__",
        ),
        "has the files or the figures of another model",
    ),
    **dict.fromkeys(
        (
            "layers.dropout.keyed_dropout",
            "training.adversarial.added_to_output",
            "training.distribution.distribution_strategy",
            "training.resuming.ExactResume",
        ),
        "is a part of a training",
    ),
}


def _modules() -> dict[str, ModuleType]:
    found = pkgutil.walk_packages(keras_bert_scratch.__path__, "keras_bert_scratch.")
    names = [module.name for module in found if not module.name.endswith(NEED_BEAM)]
    return {name: importlib.import_module(name) for name in names}


def _world() -> dict[str, Any]:
    """Everything that the package defines, by its name; a classifier, texts and labels."""
    keras.utils.set_random_seed(0)
    model = keras_bert_scratch.BertClassifier.from_pretrained("tiny-en", labels=["bad", "good"])
    everything = {
        name: thing
        for module in _modules().values()
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
    }
    return {
        "np": np,
        "keras": keras,
        "ops": ops,
        "tf": tf,
        "Path": Path,
        **everything,
        "model": model,
        "tokenizer": model.tokenizer,
        "vocabulary": model.tokenizer.vocabulary,
        "texts": ["a good film", "a bad film"],
        "labels": ["good", "bad"],
    }


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Progress bars would stand among what the examples print.
    keras.config.disable_interactive_logging()
    yield
    keras.config.enable_interactive_logging()


def _said(test: doctest.DocTest) -> str:
    """Returns what the examples did otherwise."""
    keras.utils.set_random_seed(0)
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PUBLIC],
)
def test_example_of_a_public_name_runs(name):
    public = {name: getattr(keras_bert_scratch, name) for name in PUBLIC}
    # It says by itself what it needs, but for what its module imports.
    module = importlib.import_module(public[name].__module__)
    variables: dict[str, Any] = {"np": np, "keras": keras, "tf": tf, **public, **vars(module)}
    docstring = inspect.getdoc(public[name]) or ""
    test = doctest.DocTestParser().get_doctest(docstring, variables, name, module.__file__, 0)
    assert test.examples, f"{name} has no example"
    assert not _said(test)


@pytest.mark.slow(minutes=1)
def test_all_other_examples_run(tmp_path, monkeypatch):
    finder = doctest.DocTestFinder(exclude_empty=True)
    said, ran, left_out = "", 0, set()
    world = _world()
    for module in _modules().values():
        for test in finder.find(module, extraglobs={**world, **vars(module)}):
            name = test.name.removeprefix("keras_bert_scratch.")
            if not test.examples or name.rpartition(".")[2] in PUBLIC:
                continue
            if name in NOT_RUN:
                left_out.add(name)
                continue
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            said += _said(test)
            ran += 1
    assert not said
    assert left_out == set(NOT_RUN)
    assert ran > 100


def test_every_public_name_is_in_the_reference():
    folder = Path(__file__).parents[1] / "docs/api"
    pages = "".join(path.read_text() for path in folder.glob("*.md"))
    missing = [
        name
        for name in PUBLIC
        if f"::: {getattr(keras_bert_scratch, name).__module__}.{name}\n" not in pages
    ]
    assert not missing
