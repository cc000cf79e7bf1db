"""The table of weight names is complete and can be read both ways."""

import dataclasses

import pytest

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import (
    CLASSIFIER,
    NEXT_SENTENCE,
    SPAN,
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


@pytest.mark.parametrize("task", [BertClassifier, BertPretrainer])
def test_every_weight_of_a_task_has_one_row(config: BertConfig, task: type) -> None:
    model = task(BertEncoder(config), *([["a", "b", "c"]] if task is BertClassifier else []))
    rows = {row.ours: row for row in all_rows(config) if row.ours.split(".")[0] in dir(model)}
    variables = {path: at(model, path) for path in rows}
    assert sorted(map(id, variables.values())) == sorted(map(id, model.weights))
    for path, variable in variables.items():
        assert rows[path].shape(config) in ((), tuple(variable.shape)), path


def test_names_of_google() -> None:
    """As google-research/bert writes them; only heads multiply with transpose_b=True."""
    config = BertConfig(num_layers=2)
    rows = [row for row in (*all_rows(config), *SPAN) if row not in CLASSIFIER]
    names = {row.ours: row.google for row in rows if ".blocks.0." not in row.ours}
    assert names == {
        "encoder.embeddings.token.embeddings": "bert/embeddings/word_embeddings",
        "encoder.embeddings.position.embeddings": "bert/embeddings/position_embeddings",
        "encoder.embeddings.segment.embeddings": "bert/embeddings/token_type_embeddings",
        "encoder.embeddings.norm.gamma": "bert/embeddings/LayerNorm/gamma",
        "encoder.embeddings.norm.beta": "bert/embeddings/LayerNorm/beta",
        **{
            f"encoder.blocks.1.{ours}.{suffix}": f"bert/encoder/layer_1/{google}/{suffix}"
            for ours, google, *suffixes in (
                ("attention.query", "attention/self/query", "kernel", "bias"),
                ("attention.key", "attention/self/key", "kernel", "bias"),
                ("attention.value", "attention/self/value", "kernel", "bias"),
                ("attention.output_projection", "attention/output/dense", "kernel", "bias"),
                ("attention_norm", "attention/output/LayerNorm", "gamma", "beta"),
                ("feed_forward.expand", "intermediate/dense", "kernel", "bias"),
                ("feed_forward.contract", "output/dense", "kernel", "bias"),
                ("feed_forward_norm", "output/LayerNorm", "gamma", "beta"),
            )
            for suffix in suffixes
        },
        "encoder.pooler.dense.kernel": "bert/pooler/dense/kernel",
        "encoder.pooler.dense.bias": "bert/pooler/dense/bias",
        "masked_language_model.dense.kernel": "cls/predictions/transform/dense/kernel",
        "masked_language_model.dense.bias": "cls/predictions/transform/dense/bias",
        "masked_language_model.norm.gamma": "cls/predictions/transform/LayerNorm/gamma",
        "masked_language_model.norm.beta": "cls/predictions/transform/LayerNorm/beta",
        "masked_language_model.bias": "cls/predictions/output_bias",
        "next_sentence.logits.kernel": "cls/seq_relationship/output_weights",
        "next_sentence.logits.bias": "cls/seq_relationship/output_bias",
        "head.logits.kernel": "cls/squad/output_weights",
        "head.logits.bias": "cls/squad/output_bias",
    }
    assert [row.google for row in CLASSIFIER] == ["output_weights", "output_bias"]
    transposed = {row.google for row in rows if row.google_transpose}
    assert transposed == {"cls/seq_relationship/output_weights", "cls/squad/output_weights"}


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
