"""The encoder where its architecture is ModernBERT's; numbers: tests/parity/test_modernbert.py."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder

INPUTS = ("token_ids", "segment_ids", "padding_mask")


def encoder_of(config: BertConfig, **arguments) -> BertEncoder:
    keras.utils.set_random_seed(0)
    return BertEncoder(dataclasses.replace(config, initializer_range=0.3), **arguments)


def test_layers_alternate(modern_config: BertConfig) -> None:
    attentions = [block.attention for block in encoder_of(modern_config).blocks]
    assert [attention.window for attention in attentions] == [None, 4, 4, None]
    thetas = [attention.rope_theta for attention in attentions]
    assert thetas == [160_000.0, 10_000.0, 10_000.0, 160_000.0]


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
    assert [x.shape for x in full["hidden_states"]] == [(3, 15, 8)] * (num_layers + 1)
    assert [x.shape for x in full["attention"]] == [(3, 2, 15, 15)] * num_layers


def test_padding_changes_nothing(modern_config: BertConfig, random_inputs: Callable) -> None:
    encoder, lengths = encoder_of(modern_config), (15, 7, 1)
    inputs = random_inputs(modern_config, lengths)
    padded = encoder(inputs)["sequence_output"]
    for i, length in enumerate(lengths):
        alone = encoder({name: array[i : i + 1, :length] for name, array in inputs.items()})
        np.testing.assert_allclose(
            padded[i, :length], alone["sequence_output"][0], rtol=0, atol=1e-5
        )


def test_saved_and_loaded(
    modern_config: BertConfig, random_inputs: Callable, tmp_path: Path
) -> None:
    encoder, inputs = encoder_of(modern_config), random_inputs(modern_config)
    assert json.loads(json.dumps(encoder.get_config()))["config"]["architecture"] == "modernbert"
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    for name, array in encoder(inputs).items():
        np.testing.assert_array_equal(loaded(inputs)[name], array)


def test_rematerialized_gradients(modern_config: BertConfig, random_inputs: Callable) -> None:
    config = dataclasses.replace(modern_config, dropout=0.0, attention_dropout=0.0)
    inputs, gradients = random_inputs(config, (15, 7)), []
    for rematerialize in (False, True):
        encoder = encoder_of(config, rematerialize=rematerialize)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(inputs, training=True)["pooled_output"] ** 3)
        gradients.append(tape.gradient(loss, [w.value for w in encoder.trainable_weights]))
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), atol=1e-4)


def test_too_long_a_sequence(modern_config: BertConfig, random_inputs: Callable) -> None:
    with pytest.raises(
        ValueError, match="The sequence has 17 tokens, the encoder reads 16: trunca"
    ):
        encoder_of(modern_config)(random_inputs(modern_config, (17,)))
