"""What leaves the house. The predictors are imported when first used, and need no TensorFlow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_scratch.serving.predictor import LiteRTPredictor as LiteRTPredictor
    from keras_bert_scratch.serving.predictor import OnnxPredictor as OnnxPredictor
    from keras_bert_scratch.serving.predictor import SavedModelPredictor as SavedModelPredictor
    from keras_bert_scratch.serving.predictor import load_predictor as load_predictor

__all__ = ["LiteRTPredictor", "OnnxPredictor", "SavedModelPredictor", "load_predictor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_bert_scratch.serving import predictor

    return getattr(predictor, name)
