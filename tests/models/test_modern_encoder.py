"""The encoder where its architecture is ModernBERT's; numbers: tests/parity/test_modernbert.py."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder

INPUTS = ("token_ids", "segment_ids", "padding_mask")


def encoder_of(config: BertConfig) -> BertEncoder:
    keras.utils.set_random_seed(0)
    return BertEncoder(dataclasses.replace(config, initializer_range=0.3))


def test_layers_alternate(modern_config: BertConfig) -> None:
    windows = [block.attention.window for block in encoder_of(modern_config).blocks]
    assert windows == [None, 4, 4, None]


def test_weights_exist_from_the_start(modern_config: BertConfig, random_inputs: Callable) -> None:
    encoder = encoder_of(modern_config)
    # Table and norm; four products and two norms a block, less the first norm, and the last one;
    # the pooler's product and norm.
    h, f, v = 8, 12, 30
    block = 3 * h * h + h * h + h * 2 * f + f * h + 2 * h
    expected = (v * h + h) + 4 * block - h + h + (h * h + h)
    assert encoder.count_params() == expected
    encoder(random_inputs(modern_config))
    assert encoder.count_params() == expected


@pytest.mark.parametrize("num_layers", [3, 4], ids=["last is local", "last is global"])
def test_all_ways_to_the_same_answer(
    modern_config: BertConfig, random_inputs: Callable, num_layers: int
) -> None:
    config = dataclasses.replace(modern_config, num_layers=num_layers)
    encoder, inputs = encoder_of(config), random_inputs(config, (15, 7, 1))
    plain = encoder(inputs)
    full = encoder(inputs, return_hidden_states=True, return_attention=True)
    pooled = encoder(inputs, pooled_only=True)
    graph = tf.function(
        encoder, input_signature=[{name: tf.TensorSpec((None, None), tf.int32) for name in INPUTS}]
    )(inputs)
    assert pooled["sequence_output"].shape == (3, 1, 8)
    mask = inputs["padding_mask"].astype(bool)
    for other in (full, graph):
        np.testing.assert_allclose(
            np.array(other["sequence_output"])[mask],
            np.array(plain["sequence_output"])[mask],
            rtol=0,
            atol=1e-5,
        )
    for other in (full, graph, pooled):
        np.testing.assert_allclose(
            other["pooled_output"], plain["pooled_output"], rtol=0, atol=1e-5
        )
