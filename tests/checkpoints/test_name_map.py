"""The table of weight names is complete and can be read both ways."""

import dataclasses

import pytest

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import (
    CLASSIFIER,
    NEXT_SENTENCE,
    Weight,
    encoder_weights,
    masked_language_model_weights,
    pooler_weights,
)
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer


@pytest.fixture(params=["tiny_config", "modern_config"])
def config(request: pytest.FixtureRequest) -> BertConfig:
    return request.getfixturevalue(request.param)


def all_rows(config: BertConfig) -> tuple[Weight, ...]:
    return (
        *encoder_weights(config),
        *pooler_weights(config),
        *CLASSIFIER,
        *masked_language_model_weights(config),
        *NEXT_SENTENCE,
    )


def test_every_weight_of_a_classifier_has_one_row(config: BertConfig) -> None:
    model = BertClassifier(BertEncoder(config), ["a", "b", "c"])
    rows = (*encoder_weights(config), *pooler_weights(config), *CLASSIFIER)
    assert sorted(id(at(model, row.ours)) for row in rows) == sorted(map(id, model.weights))


def test_every_weight_of_a_pretrainer_has_one_row(config: BertConfig) -> None:
    model = BertPretrainer(BertEncoder(config))
    rows = [row for row in all_rows(config) if row not in CLASSIFIER]
    assert sorted(id(at(model, row.ours)) for row in rows) == sorted(map(id, model.weights))


def test_no_name_comes_twice(tiny_config: BertConfig, modern_config: BertConfig) -> None:
    rows = all_rows(tiny_config)
    assert len({row.huggingface for row in rows}) == len({row.google for row in rows}) == len(rows)
    # ModernBERT's pooler and its masked-LM head are one.
    names = [row.huggingface for row in all_rows(modern_config)]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"head.dense.weight", "head.norm.weight"}


def test_a_single_block_is_the_first_and_the_last(modern_config: BertConfig) -> None:
    rows = encoder_weights(dataclasses.replace(modern_config, num_layers=1))
    assert not any("attn_norm" in row.huggingface for row in rows)
    assert rows[-1][:2] == ("encoder.blocks.0.output_norm.gamma", "model.final_norm.weight")


def test_kernels_and_nothing_else_are_transposed(config: BertConfig) -> None:
    """Of Google's, only those that google-research/bert multiplies with transpose_b=True."""
    for row in all_rows(config):
        assert row.transpose == row.ours.endswith(".kernel")
        assert row.google_transpose == row.google.endswith("output_weights")
