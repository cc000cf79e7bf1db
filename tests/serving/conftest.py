"""A small model of every task, and its exports, made once and shared."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The format, its options, and the tolerance of answers, by the name of an export.
FORMATS: dict[str, tuple[str, dict[str, Any], float]] = {
    "saved_model": ("tf_saved_model", {}, 1e-5),
    "float32.tflite": ("litert", {}, 1e-5),
    "float16.tflite": ("litert", {"precision": "float16"}, 1e-2),
    "int8.tflite": ("litert", {"precision": "int8"}, 0.25),
    "model.onnx": ("onnx", {}, 1e-5),
    "code_points.tflite": ("litert", {"inputs": "code_points"}, 1e-5),
    "long.tflite": ("litert", {"inputs": "code_points", "num_code_points": 9_300}, 1e-5),
    "pairs.tflite": ("litert", {"inputs": "code_points", "pairs": True}, 1e-5),
    "pairs.onnx": ("onnx", {"inputs": "code_points", "pairs": True}, 1e-5),
    "code_points.onnx": ("onnx", {"inputs": "code_points"}, 1e-5),
}


@pytest.fixture(scope="session")
def tolerances() -> dict[str, float]:
    """The tolerances of answers, by the name of an export."""
    return {name: tolerance for name, (_, _, tolerance) in FORMATS.items()}


@pytest.fixture(scope="session")
def models(tiny_classifier: Callable[..., Any]) -> Callable[[str], Any]:
    """Returns a function that gives the model of a task; its windows are short."""
    from keras_bert_scratch.models.decoder import BertDecoder
    from keras_bert_scratch.tasks.question_answerer import BertQuestionAnswerer
    from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
    from keras_bert_scratch.tasks.summarizer import BertSummarizer
    from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier

    @functools.cache
    def model(task: str) -> Any:
        classifier = tiny_classifier(temperature=1.7)
        encoder, tokenizer = classifier.encoder, classifier.tokenizer
        windows = {"window_stride": 4, "sequence_length": 12}
        if task == "classifier":
            return classifier
        if task == "sentence_encoder":
            return BertSentenceEncoder(encoder, tokenizer)
        if task == "tagger":
            return BertTokenClassifier(encoder, ["O", "B-x", "I-x"], tokenizer, **windows)
        if task == "answerer":
            lengths = {"max_question_length": 4, "max_answer_length": 4}
            return BertQuestionAnswerer(encoder, tokenizer, **windows, **lengths)
        return BertSummarizer(encoder, BertDecoder(encoder.config), tokenizer, summary_length=9)

    return model


@pytest.fixture(scope="session")
def exports(
    models: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Returns a function that gives the path of a task's export, by its name in `FORMATS`."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(task: str, name: str) -> Path:
        export_format, options, _ = FORMATS[name]
        models(task).export(folder / task / name, format=export_format, **options)
        return folder / task / name

    return export
