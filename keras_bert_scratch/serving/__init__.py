"""What leaves the house. The readers of exports are imported when first used."""

from typing import Any

_MODULES = {
    "LiteRTPredictor": "classifier",
    "OnnxPredictor": "classifier",
    "SavedModelPredictor": "classifier",
    "load_answerer": "answerer",
    "load_embedder": "sentence_encoder",
    "load_predictor": "classifier",
    "load_summarizer": "summarizer",
    "load_tagger": "tagger",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.readers.{_MODULES[name]}"), name)
