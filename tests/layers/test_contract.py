"""What holds for every layer: one run each, as KerasHub's `run_layer_test`."""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.layers.attention import MultiHeadAttention
from keras_bert_scratch.layers.decoder_block import DecoderBlock
from keras_bert_scratch.layers.dense import Dense
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.embeddings import BertEmbeddings
from keras_bert_scratch.layers.encoder_block import EncoderBlock
from keras_bert_scratch.layers.feed_forward import FeedForward
from keras_bert_scratch.layers.gated_feed_forward import GatedFeedForward
from keras_bert_scratch.layers.heads import (
    ClassificationHead,
    MaskedLanguageModelHead,
    NormalizedPooler,
    Pooler,
)
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock
from keras_bert_scratch.layers.rotary_attention import RotaryAttention
from keras_bert_scratch.layers.token_embeddings import TokenEmbeddings

STATES = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")
IDS = np.random.default_rng(1).integers(10, size=(3, 5), dtype="int32")
SEGMENTS = IDS % 2
POSITIONS = IDS[:, :2] % 5
TABLE = np.random.default_rng(2).normal(size=(10, 8)).astype("float32")


class Case(NamedTuple):
    """A layer, every argument of its own, what it is called with, and its output's shape."""

    layer_class: type[keras.layers.Layer]
    arguments: dict[str, Any]
    inputs: tuple[np.ndarray, ...]
    output_shape: tuple[int, ...]

    def make(self, **kwargs: Any) -> keras.layers.Layer:
        return self.layer_class(**self.arguments, **kwargs)


EMBEDDINGS = {
    "vocab_size": 10,
    "hidden_dim": 8,
    "max_positions": 6,
    "num_segments": 3,
    "position_embedding": "learned",
    "dropout": 0.2,
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.3,
}
ROTARY_ATTENTION = {
    "num_heads": 2,
    "hidden_dim": 8,
    "rope_theta": 10.0,
    "window": None,
    "dropout": 0.2,
    "initializer_range": 0.3,
}
CASES = [
    Case(
        MultiHeadAttention,
        {
            "num_heads": 2,
            "hidden_dim": 8,
            "dropout": 0.2,
            "initializer_range": 0.3,
            "head_dim": 3,
        },
        (STATES,),
        (3, 5, 8),
    ),
    Case(
        FeedForward,
        {
            "hidden_dim": 8,
            "feed_forward_dim": 12,
            "activation": "gelu_tanh",
            "initializer_range": 0.3,
        },
        (STATES,),
        (3, 5, 8),
    ),
    Case(
        EncoderBlock,
        {
            "num_heads": 2,
            "hidden_dim": 8,
            "feed_forward_dim": 12,
            "activation": "relu",
            "dropout": 0.2,
            "attention_dropout": 0.3,
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.3,
            "head_dim": 3,
        },
        (STATES,),
        (3, 5, 8),
    ),
    Case(
        DecoderBlock,
        {
            "num_heads": 2,
            "hidden_dim": 8,
            "feed_forward_dim": 12,
            "activation": "relu",
            "dropout": 0.2,
            "attention_dropout": 0.3,
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.3,
        },
        (STATES, STATES[:, ::-1]),
        (3, 5, 8),
    ),
    Case(BertEmbeddings, EMBEDDINGS, (IDS, SEGMENTS), (3, 5, 8)),
    Case(
        BertEmbeddings,
        {**EMBEDDINGS, "position_embedding": "sinusoidal"},
        (IDS, SEGMENTS),
        (3, 5, 8),
    ),
    Case(RotaryAttention, ROTARY_ATTENTION, (STATES,), (3, 5, 8)),
    Case(RotaryAttention, {**ROTARY_ATTENTION, "window": 2}, (STATES,), (3, 5, 8)),
    Case(
        GatedFeedForward,
        {
            "hidden_dim": 8,
            "feed_forward_dim": 12,
            "activation": "gelu_tanh",
            "dropout": 0.2,
            "initializer_range": 0.3,
        },
        (STATES,),
        (3, 5, 8),
    ),
    *(
        Case(
            PreNormBlock,
            {
                "num_heads": 2,
                "hidden_dim": 8,
                "feed_forward_dim": 12,
                "activation": "relu",
                "rope_theta": 10.0,
                "window": 4,
                "dropout": 0.2,
                "attention_dropout": 0.3,
                "layer_norm_epsilon": 1e-5,
                "initializer_range": 0.3,
                "is_first": is_end,
                "is_last": is_end,
            },
            (STATES,),
            (3, 5, 8),
        )
        for is_end in (False, True)
    ),
    Case(
        TokenEmbeddings,
        {
            "vocab_size": 10,
            "hidden_dim": 8,
            "max_positions": 6,
            "dropout": 0.2,
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.3,
        },
        (IDS,),
        (3, 5, 8),
    ),
    Case(
        NormalizedPooler,
        {
            "hidden_dim": 8,
            "activation": "gelu_tanh",
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.3,
        },
        (STATES,),
        (3, 8),
    ),
    Case(Pooler, {"hidden_dim": 8, "initializer_range": 0.3}, (STATES,), (3, 8)),
    Case(
        ClassificationHead,
        {"num_classes": 4, "dropout": 0.2, "initializer_range": 0.3},
        (STATES[:, 0],),
        (3, 4),
    ),
    *(
        Case(
            MaskedLanguageModelHead,
            {
                "hidden_dim": 8,
                "vocab_size": 10,
                "activation": "gelu_tanh",
                "layer_norm_epsilon": 1e-5,
                "initializer_range": 0.3,
                "use_bias": use_bias,
            },
            (STATES, POSITIONS, TABLE),
            (3, 2, 10),
        )
        for use_bias in (True, False)
    ),
]
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.layer_class.__name__)


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    keras.utils.set_random_seed(0)


def as_model(layer: keras.layers.Layer, inputs: tuple[np.ndarray, ...]) -> keras.Model:
    """Wraps a layer in a functional model whose batch and length are open."""
    symbols = []
    for array in inputs:
        # The last axis of states holds features; batch and sequence are open.
        features = array.shape[-1:] if array.dtype == "float32" else ()
        open_axes = array.ndim - len(features) - 1
        symbols.append(keras.Input((*[None] * open_axes, *features), dtype=array.dtype.name))
    return keras.Model(symbols, layer(*symbols))


def test_no_layer_is_forgotten() -> None:
    folder = Path(inspect.getfile(MultiHeadAttention)).parent
    modules = [
        importlib.import_module(f"keras_bert_scratch.layers.{path.stem}")
        for path in folder.glob("[a-z]*.py")
    ]
    layers = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, keras.layers.Layer) and member.__module__ == module.__name__
    }
    # They are Keras' layers but for methods that test_dense.py and test_dropout.py test.
    assert layers - {Dense, Dropout} == {case.layer_class for case in CASES}


@every_layer
def test_build_makes_every_weight(case: Case) -> None:
    layer = case.make()
    layer.build(case.inputs[0].shape)
    paths = [weight.path for weight in layer.weights]
    layer(*case.inputs)
    assert len(layer.trainable_weights) > 1
    assert [weight.path for weight in layer.weights] == paths
    assert len(set(paths)) == len(paths)


@every_layer
def test_config_holds_every_argument(case: Case) -> None:
    parameters = set(inspect.signature(case.layer_class).parameters) - {"kwargs"}
    assert set(case.arguments) == parameters  # or this case leaves an argument out
    config = case.make(name="mine").get_config()
    assert config == {**config, **case.arguments, "name": "mine"}
    copy = case.layer_class.from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config


@every_layer
def test_same_shape_symbolically_and_eagerly(case: Case) -> None:
    layer = case.make()
    symbolic = as_model(layer, case.inputs).output_shape
    eager = tuple(layer(*case.inputs).shape)
    assert eager == case.output_shape
    assert len(symbolic) == len(eager)
    assert symbolic[-1] == eager[-1]
    assert all(open_ in (None, size) for open_, size in zip(symbolic, eager, strict=True))


@every_layer
def test_gradient_reaches_every_weight(case: Case) -> None:
    layer = case.make()
    with tf.GradientTape() as tape:
        outputs = layer(*case.inputs)
        # Not the plain sum: that of a layer norm's outputs is constant.
        loss = tf.reduce_sum(outputs * np.random.default_rng(2).normal(size=outputs.shape))
    gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        largest = np.abs(tf.convert_to_tensor(gradient)).max()
        if weight.path.endswith("key/bias"):
            # It adds the same to all scores of a query, and softmax ignores that.
            assert largest < 1e-5
        else:
            assert np.isfinite(largest), weight.path
            assert largest > 1e-4, weight.path


@every_layer
@pytest.mark.parametrize(
    ("policy", "compute"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")]
)
def test_mixed_precision(case: Case, policy: str, compute: str) -> None:
    layer, exact = case.make(dtype=policy), case.make()
    exact_outputs = exact(*case.inputs)
    layer.build(case.inputs[0].shape)
    layer.set_weights(exact.get_weights())
    outputs = layer(*case.inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == compute
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    # bfloat16 keeps 8 bits; the values are of order 1.
    np.testing.assert_allclose(np.array(outputs, "float32"), exact_outputs, atol=0.05)


@every_layer
def test_saved_and_loaded_in_a_model(case: Case, tmp_path: Path) -> None:
    model = as_model(case.make(), case.inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(list(case.inputs)), model(list(case.inputs)))


@every_layer
def test_dropout_acts_in_training_only(case: Case) -> None:
    if "dropout" not in case.arguments:
        assert "training" not in inspect.signature(case.layer_class.call).parameters
        return
    layer = case.make()
    plain = np.array(layer(*case.inputs))
    np.testing.assert_array_equal(layer(*case.inputs, training=False), plain)
    assert np.abs(np.array(layer(*case.inputs, training=True)) - plain).max() > 1e-3
