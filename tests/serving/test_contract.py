"""What holds for the exports of every task and format: one run each."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.serving import (
    load_answerer,
    load_embedder,
    load_predictor,
    load_summarizer,
    load_tagger,
    recipe,
)
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.graphs.signature import Check
from keras_bert_scratch.serving.readers.base import LiteRTRunner
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

TEXTS = [*PROBE_TEXTS, "Ein über-Film ist e\u0301in caf\u00e9s", "a good film! " * 20, "film"]
STRINGS = tf.constant([], tf.string)
IDS = tf.zeros((0, 4), tf.int32)


class Case(NamedTuple):
    """How a task's exports are loaded and asked, and the shapes of their outputs for no rows."""

    load: Callable[[Path], Any]
    # Answers texts by a model or a reader, with arrays or strings.
    answer: Callable[[Any, list[str]], Sequence[Any]]
    # What an export must not answer to the probes, and what is said if it does.
    wrong: np.ndarray
    message: str
    empty: dict[str, dict[str, tuple[int, ...]]]


def encode(model: Any, texts: list[str]) -> Sequence[Any]:
    kwargs = {"verbose": 0} if isinstance(model, keras.Model) else {}
    return model.encode(texts, batch_size=5, **kwargs)


ANSWERS = ("answer", "start", "end", "score", "probability", "no_answer_probability")
WORDS = ("words", "tags", "starts", "ends")
CASES = {
    "classifier": Case(
        load_predictor,
        lambda model, texts: model.probabilities(texts, batch_size=5),
        np.full((10, 2), 0.123),
        "probabilities differ from the model's by .* nothing was written",
        {
            "serving_default": {"label": (0,), "probabilities": (0, 2), "classes": (0, 2)},
            "pairs": {"label": (0,), "probabilities": (0, 2), "classes": (0, 2)},
            "tokens": {"logits": (0, 2)},
            "embeddings": {"pooled_output": (0, 16), "mean_output": (0, 16)},
            "classify": {"classes": (0, 2), "scores": (0, 2)},
        },
    ),
    "sentence_encoder": Case(
        load_embedder,
        encode,
        np.full((10, 16), np.nan),
        "embeddings differ from the model's by nan, more than 1e-05: nothing was written",
        {"serving_default": {"embeddings": (0, 16)}},
    ),
    "tagger": Case(
        load_tagger,
        lambda model, texts: model.probabilities(texts),
        np.zeros((4, 3)),
        "finds 4 words where the model finds 16[0-9]{2}: nothing was written",
        {
            "serving_default": {
                **dict.fromkeys(WORDS, (0, 0)),
                "probabilities": (0, 0, 3),
                "num_words": (0,),
                "classes": (0, 3),
            },
            "tokens": {"logits": (0, 4, 3)},
        },
    ),
    "answerer": Case(
        load_answerer,
        lambda model, texts: model.probabilities((["the film?"] * len(texts), texts)),
        np.full((10, 2), 0.123),
        "probabilities differ from the model's by .* nothing was written",
        {
            "serving_default": dict.fromkeys(ANSWERS, (0,)),
            "conversation": dict.fromkeys(ANSWERS, (0,)),
            "tokens": {"logits": (0, 2, 4)},
        },
    ),
    "summarizer": Case(
        load_summarizer,
        lambda model, texts: model.summarize(texts, batch_size=5),
        np.array(["wrong"] * 10),
        "For 'a film to remember' the export writes 'wrong' and the model '.*: nothing was written",
        {"serving_default": {"summary": (0,)}, "tokens": {"summary_ids": (0, 9)}},
    ),
}
EXPORTS = [
    *((task, name) for task in CASES for name in ("saved_model", "float32.tflite")),
    *((task, "int8.tflite") for task in CASES if task != "summarizer"),
    *(("classifier", name) for name in ("float16.tflite", "model.onnx", "code_points.onnx")),
    *((task, "code_points.tflite") for task in ("classifier", "sentence_encoder")),
    # Which read all of a text.
    *((task, "long.tflite") for task in ("tagger", "answerer")),
]
every_task = pytest.mark.parametrize("task", CASES)
every_export = pytest.mark.parametrize(("task", "name"), EXPORTS)


def check(found: Sequence[Any], wanted: Sequence[Any], tolerance: float) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        if isinstance(theirs, str):
            assert ours == theirs
        else:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


# === Answers ===
@every_export
def test_answers_as_the_model(models, exports, tolerances, task, name):
    case = CASES[task]
    reader, wanted = case.load(exports(task, name)), case.answer(models(task), TEXTS)
    assert len(set(map(str, wanted))) > 2
    check(case.answer(reader, TEXTS), wanted, tolerances[name])
    assert len(case.answer(reader, [])) == 0


@every_export
def test_many_callers(exports, from_threads, task, name):
    case = CASES[task]
    reader = case.load(exports(task, name))
    for found, alone in from_threads(lambda text: case.answer(reader, [text]), TEXTS[:4], 10):
        check(found, alone, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sentence_encoder", "tagger", "answerer"])
def test_onnx_answers_as_the_model(models, exports, tolerances, task):
    test_answers_as_the_model(models, exports, tolerances, task, "code_points.onnx")


def test_exports_of_version_0_1_0(golden_folder):
    golden = json.loads((golden_folder / "exports" / "answers.json").read_text())
    texts = golden["texts"]
    for task, wanted in golden["answers"].items():
        reader = CASES[task].load(golden_folder / "exports" / f"{task}.tflite")
        found = CASES[task].answer(reader, texts)
        if task == "answerer":
            found = reader.probabilities((texts[::-1], texts))
        check(found, wanted, 1e-5)


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite", "model.onnx"])
def test_pairs(models, exports, name):
    model, pairs = models("classifier"), (TEXTS, TEXTS[::-1])
    reader = load_predictor(exports("classifier", name))
    assert reader.labels == model.labels
    check(reader.probabilities(pairs), model.probabilities(pairs), 1e-5)


@pytest.mark.parametrize(("task", "name"), [pair for pair in EXPORTS if "tflite" in pair[1]])
def test_files_are_complete_and_of_built_in_operations(exports, task, name):
    with zipfile.ZipFile(exports(task, name)) as packed:
        wanted = {"tokenizer_config.json", "model.sha256"}
        assert set(packed.namelist()) == wanted | (
            {"labels.txt"} if task == "classifier" else set()
        )
    interpreter = LiteRTRunner(exports(task, name))._interpreter
    operations = {op["op_name"] for op in interpreter._get_ops_details()}
    assert "FULLY_CONNECTED" in operations
    assert not [op for op in operations if op.startswith("Flex") or op == "VAR_HANDLE"]
    inputs = interpreter.get_signature_runner("serving_default").get_input_details()
    ids = {"token_ids", "segment_ids", "padding_mask"}
    texts = {"history", "question", "context"} if task == "answerer" else {"code_points"}
    takes_code_points = name in ("code_points.tflite", "long.tflite")
    assert set(inputs) == (texts if takes_code_points else ids)


# === SavedModels ===
@every_task
def test_signatures(models, exports, task):
    model, loaded = models(task), tf.saved_model.load(exports(task, "saved_model"))
    empty = {}
    for name, function in loaded.signatures.items():
        graph = function.graph.as_graph_def()
        operations = {node.op for node in graph.node}
        operations |= {node.op for inner in graph.library.function for node in inner.node_def}
        # Core operations have no scope, such as that of tensorflow-text.
        assert not [op for op in operations if op.startswith("Xla") or ">" in op]
        specs = function.structured_input_signature[1]
        none = {key: STRINGS if spec.dtype == tf.string else IDS for key, spec in specs.items()}
        empty[name] = {key: tuple(value.shape) for key, value in function(**none).items()}
    wanted = CASES[task].empty
    # How long summaries of no texts are is the loop's affair.
    if task == "summarizer":
        wanted = {**wanted, "tokens": empty["tokens"]}
    assert empty == wanted
    # No weight is stored twice.
    variables = exports(task, "saved_model") / "variables" / "variables"
    stored = tf.train.list_variables(str(variables))
    sizes = [np.prod(shape) for key, shape in stored if key.endswith("VARIABLE_VALUE")]
    assert sum(sizes) <= model.count_params()


@pytest.mark.parametrize("task", [task for task in CASES if task != "sentence_encoder"])
class TestIds:
    """The signature `tokens` computes what the network does, and refuses what no table holds."""

    @pytest.fixture
    def tokens(self, models, exports, task) -> tuple[Any, dict[str, Any], Any]:
        loaded = tf.saved_model.load(exports(task, "saved_model"))
        graph = tokenizer_graph(models(task).tokenizer)
        inputs = graph(tf.constant(["a good film", "film"]), sequence_length=12)
        return models(task), inputs, loaded.signatures["tokens"]

    def test_good(self, tokens, task):
        model, inputs, function = tokens
        (found,) = function(**inputs).values()
        wanted = model.generate(inputs) if task == "summarizer" else model(inputs)
        np.testing.assert_allclose(found, wanted, atol=1e-5)

    def test_bad(self, tokens, task):
        model, inputs, function = tokens
        ids, refused = inputs["token_ids"], tf.errors.InvalidArgumentError
        last = model.encoder.config.vocab_size - 1
        for bad in (ids - 5, ids + 1000):
            with pytest.raises(refused, match=f"token_ids must be from 0 to {last}"):
                function(**{**inputs, "token_ids": bad})
        with pytest.raises(refused, match="segment_ids must be from 0 to 1"):
            function(**{**inputs, "segment_ids": ids * 0 + 2})
        with pytest.raises(refused, match="at most 32 tokens, the positions of .* truncate them"):
            function(**{key: tf.zeros((1, 33), tf.int32) for key in inputs})


# === Refusals ===
@every_task
@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_an_export_of_another_task_is_not_loaded(exports, task, name):
    for other in [other for other in CASES if other != task]:
        with pytest.raises(ValueError, match="is not a (SavedModel|LiteRT file) of a.* `export`"):
            CASES[task].load(exports(other, name))


@every_task
def test_what_is_no_export_is_not_loaded(tmp_path, task):
    load = CASES[task].load
    with pytest.raises(FileNotFoundError, match="does not exist: name a SavedModel folder or a"):
        load(tmp_path / "none")
    (tmp_path / "text.tflite").write_text("no")
    with pytest.raises(ValueError, match="is not a LiteRT file of a"):
        load(tmp_path / "text.tflite")
    with pytest.raises(ValueError, match="is not a SavedModel of a"):
        load(tmp_path)


class TestRecipe:
    @pytest.fixture
    def quick(self, monkeypatch):
        """Takes the place of the writers, which take long, and of the fresh process."""

        def write_folder(signature: Any, path: Path) -> Check:
            (path / "saved_model.pb").write_text("written")
            return Check(signature.expected)

        def write_file(signature: Any, path: Path, precision: str = "float32") -> Check:
            path.write_text("written")
            return Check(signature.expected, precision)

        writers = {"tf_saved_model": write_folder, "litert": write_file}
        monkeypatch.setattr(recipe, "_WRITERS", writers)

        def set_answer(answer: np.ndarray) -> None:
            monkeypatch.setattr(recipe, "ask", lambda path, texts, **_: (answer, {}))

        return set_answer

    @every_task
    @pytest.mark.parametrize("export_format", ["tf_saved_model", "litert"])
    def test_an_export_that_answers_otherwise_does_not_appear(
        self, models, quick, tmp_path, task, export_format
    ):
        quick(CASES[task].wrong)
        with pytest.raises(RuntimeError, match=CASES[task].message):
            models(task).export(tmp_path / "export", format=export_format)
        assert list(tmp_path.iterdir()) == []

    @every_task
    def test_what_answers_alike_appears(self, models, quick, tmp_path, task):
        model = models(task)
        signature = model._signature({})
        wanted = signature.expected(signature.probes)
        quick(np.concatenate(wanted) if task == "tagger" else np.asarray(wanted))
        model.export(tmp_path / "model.tflite", format="litert")
        model.export(tmp_path / "model", version=2)
        paths = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert paths == {"model.tflite", "model/2/saved_model.pb", "model/2/hashes.json"}

    @pytest.mark.parametrize(("precision", "gap"), [("float32", 1e-5), ("int8", 0.25)])
    def test_the_gap_of_a_precision(self, models, quick, tmp_path, precision, gap):
        model = models("classifier")
        for share in (0.9, 1.1):
            quick(model.probabilities(PROBE_TEXTS) + share * gap)
            if share < 1:
                model.export(tmp_path / "m", format="litert", precision=precision)
                continue
            with pytest.raises(RuntimeError, match=f"more than {gap}: nothing was written"):
                model.export(tmp_path / "m", format="litert", precision=precision)

    @every_task
    def test_options(self, models, tmp_path, task):
        model = models(task)
        precisions = "float32" if task == "summarizer" else "float32, float16, int8"
        with pytest.raises(ValueError, match=f"precision must be one of {precisions}.* 'int4'"):
            model.export(tmp_path / "m.tflite", format="litert", precision="int4")
        with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
            model.export(tmp_path / "m.tflite", format="litert", depth=3)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "note.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="exists and is not empty"):
            model.export(tmp_path)

    def test_another_backend(self, models, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(RuntimeError, match="needs Keras' TensorFlow backend, .* on 'jax'"):
            models("classifier").export(tmp_path / "saved_model")
