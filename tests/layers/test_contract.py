"""What holds for every layer: one run each, as KerasHub's `run_layer_test`."""

import dataclasses
import importlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig, PatchConfig
from keras_bert_scratch.layers.attention import MultiHeadAttention
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.columns import ColumnEmbeddings
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
    ReplacedTokensHead,
)
from keras_bert_scratch.layers.patches import PatchEmbedding
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock
from keras_bert_scratch.layers.rotary_attention import RotaryAttention
from keras_bert_scratch.layers.token_embeddings import TokenEmbeddings
from keras_bert_scratch.layers.visual_embedding import VisualEmbedding
from keras_bert_scratch.layers.vit_block import ViTBlock

STATES = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")
IDS = np.random.default_rng(1).integers(10, size=(3, 5), dtype="int32")
SEGMENTS = IDS % 2
POSITIONS = IDS[:, :2] % 5
PIXELS = np.random.default_rng(3).normal(size=(3, 7, 9, 2)).astype("float32")
TABLE = np.random.default_rng(2).normal(size=(10, 8)).astype("float32")

CONFIG = BertConfig(
    vocab_size=10,
    num_layers=3,
    num_heads=2,
    hidden_dim=8,
    feed_forward_dim=12,
    max_positions=6,
    num_segments=3,
    activation="gelu_tanh",
    dropout=0.2,
    attention_dropout=0.3,
    layer_norm_epsilon=1e-5,
    initializer_range=0.3,
    head_dim=3,
)
MODERN_CONFIG = dataclasses.replace(
    CONFIG, num_segments=2, head_dim=None, architecture="modernbert", local_window=4
)
PATCH_CONFIG = PatchConfig(
    architecture="dinov2",
    num_heads=2,
    hidden_dim=8,
    feed_forward_dim=12,
    dropout=0.2,
    attention_dropout=0.3,
    initializer_range=0.3,
    layer_scale=0.7,
)
# A value for every argument of every layer, none of them its default.
ARGUMENTS = {
    **CONFIG.to_dict(),
    "config": CONFIG,
    "position_embedding": "sinusoidal",
    "rope_theta": 10.0,
    "window": 2,
    "num_classes": 4,
    "use_bias": False,
    "columns": [
        {"kind": "number", "mean": 1.0, "scale": 2.0},
        {"kind": "category", "categories": ["a", "b"]},
    ],
    "height": 5,
    "width": 8,
    "patch_size": 3,
    "stride": 2,
    "channels": 2,
    "num_special_tokens": 2,
    "visual_dim": 7,
}


class Case(NamedTuple):
    """A layer, what it is called with, its output's shape, and arguments of its own."""

    layer_class: type[BaseLayer]
    inputs: tuple[np.ndarray, ...]
    output_shape: tuple[int, ...]
    changes: Mapping[str, Any] = MappingProxyType({})

    @property
    def arguments(self) -> dict[str, Any]:
        names = set(inspect.signature(self.layer_class).parameters) - {"kwargs"}
        return {name: {**ARGUMENTS, **self.changes}[name] for name in names}

    def make(self, **kwargs: Any) -> keras.layers.Layer:
        return self.layer_class(**self.arguments, **kwargs)


MODERN_BLOCKS = [{"config": MODERN_CONFIG, "index": n} for n in range(3)]
MASKED = (STATES, POSITIONS, TABLE)
CASES = [
    Case(MultiHeadAttention, (STATES,), (3, 5, 8)),
    Case(FeedForward, (STATES,), (3, 5, 8)),
    Case(EncoderBlock, (STATES,), (3, 5, 8)),
    Case(DecoderBlock, (STATES, STATES[:, ::-1]), (3, 5, 8)),
    Case(BertEmbeddings, (IDS, SEGMENTS), (3, 5, 8)),
    Case(BertEmbeddings, (IDS, SEGMENTS), (3, 5, 8), {"position_embedding": "learned"}),
    # 3 x 4 patches, and positions for 2 x 3.
    Case(PatchEmbedding, (PIXELS,), (3, 14, 8)),
    Case(PatchEmbedding, (PIXELS[:, :5, :8],), (3, 8, 8)),
    Case(RotaryAttention, (STATES,), (3, 5, 8)),
    Case(RotaryAttention, (STATES,), (3, 5, 8), {"window": None}),
    Case(GatedFeedForward, (STATES,), (3, 5, 8)),
    *(Case(PreNormBlock, (STATES,), (3, 5, 8), changes) for changes in MODERN_BLOCKS),
    Case(ViTBlock, (STATES,), (3, 5, 8), {"config": PATCH_CONFIG}),
    Case(VisualEmbedding, (STATES[..., :7], SEGMENTS), (3, 5, 8)),
    Case(TokenEmbeddings, (IDS,), (3, 5, 8)),
    Case(NormalizedPooler, (STATES,), (3, 8)),
    Case(Pooler, (STATES,), (3, 8)),
    Case(ReplacedTokensHead, (STATES,), (3, 5, 1)),
    Case(ColumnEmbeddings, (STATES[:, 0, :1], IDS[:, :1] % 3), (3, 2, 8), {"dropout": 0.7}),
    Case(
        ColumnEmbeddings,
        (np.abs(STATES[:, :4, :4, None]) * np.full(3, 100, "float32"), IDS[:, :1] % 3),
        (3, 4 + 1, 8),
        {
            "columns": [
                {"kind": "image", "height": 4, "width": 4, "patch_size": 2},
                {"kind": "category", "categories": ["a", "b"]},
            ],
            "dropout": 0.7,
        },
    ),
    Case(
        ColumnEmbeddings,
        (STATES[:, :2], IDS[:, :1] % 3),
        (3, 2 + 1, 8),
        {
            "columns": [
                {"kind": "image", "encoder": PATCH_CONFIG.to_dict()},
                {"kind": "category", "categories": ["a", "b"]},
            ],
            "dropout": 0.7,
        },
    ),
    Case(ClassificationHead, (STATES[:, 0],), (3, 4)),
    Case(MaskedLanguageModelHead, MASKED, (3, 2, 10)),
    Case(MaskedLanguageModelHead, MASKED, (3, 2, 10), {"use_bias": True}),
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
    assert layers - {BaseLayer, Dense, Dropout} == {case.layer_class for case in CASES}


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
    layer = case.make(name="mine")
    config = json.loads(json.dumps(layer.get_config()))
    arguments = {**case.arguments, "name": "mine"}
    if "config" in arguments:
        arguments["config"] = arguments["config"].to_dict()
    assert config == {**config, **arguments}
    copy = case.layer_class.from_config(config)
    assert copy.get_config() == config
    assert [weight.shape for weight in copy.weights] == [weight.shape for weight in layer.weights]


@every_layer
def test_sizes_come_from_the_config_of_a_network(case: Case) -> None:
    if "config" in case.arguments:
        return  # a block, which keeps it whole
    fields = CONFIG.to_dict()
    own = {name: case.arguments[name] for name in case.arguments.keys() - fields.keys()}
    config = case.layer_class.for_config(CONFIG, **own).get_config()
    for name in case.arguments.keys() & fields.keys():
        assert config[name] == fields[name], name


def test_given_arguments_go_before_the_config() -> None:
    layer = MultiHeadAttention.for_config(CONFIG, dropout=0.6, head_dim=4, name="mine")
    assert (layer.dropout, layer.head_dim, layer.name) == (0.6, 4, "mine")


@every_layer
def test_unknown_activation(case: Case) -> None:
    if "activation" in case.arguments:
        message = (
            "activation must be one of gelu, gelu_tanh, quick_gelu, relu, silu; received 'swish'."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            case.layer_class(**{**case.arguments, "activation": "swish"})


@pytest.mark.parametrize("layer_class", [BertEmbeddings, TokenEmbeddings])
@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_too_long_a_sequence(layer_class: type[BaseLayer], position_embedding: str) -> None:
    config = dataclasses.replace(CONFIG, max_positions=5, position_embedding=position_embedding)
    layer = layer_class.for_config(config)
    layer(IDS, SEGMENTS)
    covers = {BertEmbeddings: "position embedding covers", TokenEmbeddings: "encoder reads"}
    message = (
        f"The sequence has 6 tokens, the {covers[layer_class]} 5: truncate the texts to "
        "sequence_length=5, or raise max_positions."
    )
    for ids in (np.zeros((1, 6), "int32"), keras.Input((6,), dtype="int32")):
        with pytest.raises(ValueError, match=re.escape(message)):
            layer(ids, ids)


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
    if not {"dropout", "config"} & case.arguments.keys():
        assert "training" not in inspect.signature(case.layer_class.call).parameters
        return
    layer = case.make()
    plain = np.array(layer(*case.inputs))
    np.testing.assert_array_equal(layer(*case.inputs, training=False), plain)
    assert np.abs(np.array(layer(*case.inputs, training=True)) - plain).max() > 1e-3
