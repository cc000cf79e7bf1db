"""The table of weight names is complete and can be read both ways."""

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import (
    CLASSIFIER,
    MASKED_LANGUAGE_MODEL,
    NEXT_SENTENCE,
    POOLER,
    encoder_weights,
)
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer


def test_every_weight_of_a_classifier_has_one_row(tiny_config: BertConfig) -> None:
    model = BertClassifier(BertEncoder(tiny_config), ["a", "b", "c"])
    rows = (*encoder_weights(tiny_config.num_layers), *POOLER, *CLASSIFIER)
    assert sorted(id(at(model, row.ours)) for row in rows) == sorted(map(id, model.weights))


def test_every_weight_of_a_pretrainer_has_one_row(tiny_config: BertConfig) -> None:
    model = BertPretrainer(BertEncoder(tiny_config))
    rows = (
        *encoder_weights(tiny_config.num_layers),
        *POOLER,
        *MASKED_LANGUAGE_MODEL,
        *NEXT_SENTENCE,
    )
    assert sorted(id(at(model, row.ours)) for row in rows) == sorted(map(id, model.weights))


def test_no_name_comes_twice() -> None:
    rows = (*encoder_weights(2), *POOLER, *CLASSIFIER, *MASKED_LANGUAGE_MODEL, *NEXT_SENTENCE)
    assert len({row.huggingface for row in rows}) == len({row.google for row in rows}) == len(rows)


def test_kernels_and_nothing_else_are_transposed() -> None:
    """Of Google's, only those that google-research/bert multiplies with transpose_b=True."""
    for row in (*encoder_weights(1), *POOLER, *CLASSIFIER, *MASKED_LANGUAGE_MODEL, *NEXT_SENTENCE):
        assert row.transpose == row.ours.endswith(".kernel")
        assert row.google_transpose == row.google.endswith("output_weights")
