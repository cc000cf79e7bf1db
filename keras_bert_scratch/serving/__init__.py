"""What leaves the house. The readers of exports are imported when first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_scratch.serving.readers.answerer import load_answerer as load_answerer
    from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor as LiteRTPredictor
    from keras_bert_scratch.serving.readers.classifier import OnnxPredictor as OnnxPredictor
    from keras_bert_scratch.serving.readers.classifier import (
        SavedModelPredictor as SavedModelPredictor,
    )
    from keras_bert_scratch.serving.readers.classifier import load_predictor as load_predictor
    from keras_bert_scratch.serving.readers.column_classifier import (
        load_column_predictor as load_column_predictor,
    )
    from keras_bert_scratch.serving.readers.sentence_encoder import load_embedder as load_embedder
    from keras_bert_scratch.serving.readers.summarizer import load_summarizer as load_summarizer
    from keras_bert_scratch.serving.readers.tagger import load_tagger as load_tagger

_MODULES = {
    "LiteRTPredictor": "classifier",
    "OnnxPredictor": "classifier",
    "SavedModelPredictor": "classifier",
    "load_answerer": "answerer",
    "load_column_predictor": "column_classifier",
    "load_embedder": "sentence_encoder",
    "load_predictor": "classifier",
    "load_summarizer": "summarizer",
    "load_tagger": "tagger",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.readers.{_MODULES[name]}"), name)
