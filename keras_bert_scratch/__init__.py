"""BERT written from scratch as Keras 3 layers: from raw text to a served model.

The public names are in the order in which data passes them, and are imported on first use:
TensorFlow and Keras take seconds to import, and a command's `--help` needs neither.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_scratch.checkpoints.huggingface import BertEncoder as BertEncoder
    from keras_bert_scratch.checkpoints.patch_encoders import PatchEncoder as PatchEncoder
    from keras_bert_scratch.checkpoints.visual_bert import VisualBertEncoder as VisualBertEncoder
    from keras_bert_scratch.config import BertConfig as BertConfig
    from keras_bert_scratch.config import PatchConfig as PatchConfig
    from keras_bert_scratch.data.pictures import read_picture as read_picture
    from keras_bert_scratch.data.readers import read_examples as read_examples
    from keras_bert_scratch.data.readers import stratified_split as stratified_split
    from keras_bert_scratch.data.sounds import read_sound as read_sound
    from keras_bert_scratch.data.spans import read_squad as read_squad
    from keras_bert_scratch.data.tags import read_conll as read_conll
    from keras_bert_scratch.models.adapting import enable_lora as enable_lora
    from keras_bert_scratch.models.adapting import freeze_layers as freeze_layers
    from keras_bert_scratch.models.adapting import keep_heads as keep_heads
    from keras_bert_scratch.models.adapting import keep_layers as keep_layers
    from keras_bert_scratch.models.adapting import merge_lora as merge_lora
    from keras_bert_scratch.models.beam_search import BeamSearch as BeamSearch
    from keras_bert_scratch.models.decoder import BertDecoder as BertDecoder
    from keras_bert_scratch.tasks.classifier import BertClassifier as BertClassifier
    from keras_bert_scratch.tasks.column_classifier import ColumnClassifier as ColumnClassifier
    from keras_bert_scratch.tasks.distiller import Distiller as Distiller
    from keras_bert_scratch.tasks.pretrainer import BertPretrainer as BertPretrainer
    from keras_bert_scratch.tasks.pretraining_recipe import PretrainingRecipe as PretrainingRecipe
    from keras_bert_scratch.tasks.pretraining_recipe import pretrain as pretrain
    from keras_bert_scratch.tasks.question_answerer import (
        BertQuestionAnswerer as BertQuestionAnswerer,
    )
    from keras_bert_scratch.tasks.sentence_encoder import (
        BertSentenceEncoder as BertSentenceEncoder,
    )
    from keras_bert_scratch.tasks.sklearn import BertSklearnClassifier as BertSklearnClassifier
    from keras_bert_scratch.tasks.summarizer import BertSummarizer as BertSummarizer
    from keras_bert_scratch.tasks.token_classifier import (
        BertTokenClassifier as BertTokenClassifier,
    )
    from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph as tokenizer_graph
    from keras_bert_scratch.text.tokenizer import WordPieceTokenizer as WordPieceTokenizer
    from keras_bert_scratch.text.vocabulary import Vocabulary as Vocabulary
    from keras_bert_scratch.training.adversarial import AdversarialTraining as AdversarialTraining
    from keras_bert_scratch.training.losses import CosineSimilarityLoss as CosineSimilarityLoss
    from keras_bert_scratch.training.losses import InBatchContrastiveLoss as InBatchContrastiveLoss
    from keras_bert_scratch.training.optimizers import adamw as adamw
    from keras_bert_scratch.training.optimizers import bert_optimizer as bert_optimizer
    from keras_bert_scratch.training.privacy import DifferentialPrivacy as DifferentialPrivacy

__version__ = "0.1.0"

_MODULE_OF = {
    "BertConfig": "config",
    "PatchConfig": "config",
    "read_examples": "data.readers",
    "read_squad": "data.spans",
    "read_conll": "data.tags",
    "read_picture": "data.pictures",
    "read_sound": "data.sounds",
    "stratified_split": "data.readers",
    "Vocabulary": "text.vocabulary",
    "WordPieceTokenizer": "text.tokenizer",
    "tokenizer_graph": "text.graphs.tokenizer_graph",
    "BertEncoder": "checkpoints.huggingface",  # with what its `from_pretrained` calls
    "PatchEncoder": "checkpoints.patch_encoders",
    "VisualBertEncoder": "checkpoints.visual_bert",
    "enable_lora": "models.adapting",
    "merge_lora": "models.adapting",
    "freeze_layers": "models.adapting",
    "keep_heads": "models.adapting",
    "keep_layers": "models.adapting",
    "BertDecoder": "models.decoder",
    "BeamSearch": "models.beam_search",
    "BertPretrainer": "tasks.pretrainer",
    "PretrainingRecipe": "tasks.pretraining_recipe",
    "pretrain": "tasks.pretraining_recipe",
    "BertClassifier": "tasks.classifier",
    "ColumnClassifier": "tasks.column_classifier",
    "Distiller": "tasks.distiller",
    "BertSentenceEncoder": "tasks.sentence_encoder",
    "BertTokenClassifier": "tasks.token_classifier",
    "BertQuestionAnswerer": "tasks.question_answerer",
    "BertSummarizer": "tasks.summarizer",
    "BertSklearnClassifier": "tasks.sklearn",
    "adamw": "training.optimizers",
    "bert_optimizer": "training.optimizers",
    "InBatchContrastiveLoss": "training.losses",
    "CosineSimilarityLoss": "training.losses",
    "DifferentialPrivacy": "training.privacy",
    "AdversarialTraining": "training.adversarial",
}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
