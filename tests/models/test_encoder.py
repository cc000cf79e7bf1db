"""The encoder against transformers' (golden files), and as a Keras model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bert_scratch
from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.checkpoints.name_map import encoder_weights, pooler_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder

INPUTS = ("token_ids", "segment_ids", "padding_mask")


@pytest.fixture(params=["tiny_config", "modern_config"])
def config(request: pytest.FixtureRequest) -> BertConfig:
    return dataclasses.replace(request.getfixturevalue(request.param), initializer_range=0.2)


class Golden(SimpleNamespace):
    """A golden checkpoint, loaded: `encoder`, `inputs`, and transformers' `expected` arrays."""


@pytest.fixture(params=["erf", "tanh"])
def golden(request: pytest.FixtureRequest, golden_folder: Path) -> Golden:
    folder = golden_folder / "encoder" / request.param
    with np.load(folder / "cases.npz") as arrays:
        expected = dict(arrays)
    inputs = {name: expected.pop(name) for name in INPUTS}
    return Golden(encoder=load_encoder(folder), inputs=inputs, expected=expected)


# === Against transformers ===
def test_outputs(golden: Golden) -> None:
    outputs = golden.encoder(golden.inputs, return_hidden_states=True, return_attention=True)
    expected = golden.expected
    for ours, theirs in [
        (outputs["sequence_output"], expected["hidden_states"][-1]),
        (outputs["pooled_output"], expected["pooled_output"]),
        (np.stack(outputs["hidden_states"]), expected["hidden_states"]),
        (np.stack(outputs["attention"]), expected["attention"]),
    ]:
        assert ours.shape == theirs.shape
        assert np.abs(theirs).max() > 0.5
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_pooled_only(golden: Golden) -> None:
    outputs = golden.encoder(golden.inputs, return_attention=True, pooled_only=True)
    batch, length = golden.inputs["token_ids"].shape
    assert outputs["sequence_output"].shape[:2] == (batch, 1)
    assert outputs["attention"][-2].shape[2:] == (length, length)
    for ours, theirs in [
        (outputs["pooled_output"], golden.expected["pooled_output"]),
        (outputs["attention"][-1], golden.expected["attention"][-1][:, :, :1]),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_outputs_in_a_compiled_graph(golden: Golden) -> None:
    spec = {name: tf.TensorSpec((None, None), tf.int32) for name in INPUTS}
    outputs = tf.function(golden.encoder, input_signature=[spec])(golden.inputs)
    theirs = golden.expected["hidden_states"][-1]
    np.testing.assert_allclose(outputs["sequence_output"], theirs, rtol=0, atol=1e-5)


def test_gradients(golden: Golden) -> None:
    encoder, expected = golden.encoder, golden.expected
    with tf.GradientTape() as tape:
        outputs = encoder(golden.inputs)
        loss = tf.reduce_sum(outputs["sequence_output"] * expected["sequence_cotangent"])
        loss += tf.reduce_sum(outputs["pooled_output"] * expected["pooled_cotangent"])
    variables = encoder.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    by_variable = {
        id(variable): np.array(tf.convert_to_tensor(gradient))
        for variable, gradient in zip(variables, gradients, strict=True)
    }
    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    assert len(rows) == len(variables)
    for row in rows:
        ours = by_variable[id(at(golden, row.ours))]
        theirs = expected[f"gradient/{row.huggingface.removeprefix('bert.')}"]
        theirs = theirs.T if row.transpose else theirs
        if row.ours.endswith("key.bias"):
            # It adds the same to all scores of a query, which softmax ignores: 0 in theory.
            assert max(np.abs(ours).max(), np.abs(theirs).max()) < 1e-5
        else:
            tolerance = 1e-4 * np.abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=row.ours)


def swap(first: keras.Variable, second: keras.Variable) -> None:
    kept = np.array(first)
    first.assign(second)
    second.assign(kept)


def set_epsilon(encoder: BertEncoder) -> None:
    encoder.blocks[0].attention_norm.epsilon = encoder.embeddings.norm.epsilon = 1e-5


def set_other_gelu(encoder: BertEncoder) -> None:
    feed_forward = encoder.blocks[0].feed_forward
    other = {"gelu": "gelu_tanh", "gelu_tanh": "gelu"}
    feed_forward.activation = other[feed_forward.activation]


@pytest.mark.parametrize(
    "damage",
    [
        lambda e: swap(e.blocks[0].attention.query.kernel, e.blocks[0].attention.key.kernel),
        lambda e: swap(e.blocks[0].attention.query.bias, e.blocks[0].attention.value.bias),
        lambda e: swap(e.blocks[0].attention_norm.gamma, e.blocks[0].feed_forward_norm.gamma),
        lambda e: swap(e.blocks[0].attention.value.kernel, e.blocks[1].attention.value.kernel),
        lambda e: e.blocks[1].attention.value.kernel.assign(
            np.array(e.blocks[1].attention.value.kernel).T
        ),
        set_epsilon,
        set_other_gelu,
    ],
    ids=["q-k", "biases", "norms", "blocks", "transposed", "epsilon", "gelu"],
)
def test_golden_outputs_would_show(golden: Golden, damage: Callable[[BertEncoder], None]) -> None:
    damage(golden.encoder)
    outputs = golden.encoder(golden.inputs)["sequence_output"]
    error = np.abs(np.array(outputs) - golden.expected["hidden_states"][-1]).max()
    assert error > 1e-4  # ten times what is allowed


# === ModernBERT; its numbers: tests/parity/test_modernbert.py ===
def test_layers_alternate(modern_config: BertConfig) -> None:
    windows = [block.attention.window for block in BertEncoder(modern_config).blocks]
    assert windows == [None, 4, 4, None]


@pytest.mark.parametrize("num_layers", [3, 4], ids=["last is local", "last is global"])
def test_all_ways_to_the_same_answer(
    modern_config: BertConfig, random_inputs: Callable, num_layers: int
) -> None:
    keras.utils.set_random_seed(0)
    config = dataclasses.replace(modern_config, num_layers=num_layers, initializer_range=0.3)
    encoder, inputs = BertEncoder(config), random_inputs(config, (15, 7, 1))
    plain = encoder(inputs)
    full = encoder(inputs, return_hidden_states=True, return_attention=True)
    pooled = encoder(inputs, pooled_only=True)
    spec = {name: tf.TensorSpec((None, None), tf.int32) for name in INPUTS}
    graph = tf.function(encoder, input_signature=[spec])(inputs)
    assert pooled["sequence_output"].shape == (3, 1, 8)
    mask = inputs["padding_mask"].astype(bool)
    expected = np.array(plain["sequence_output"])[mask]
    for other in (full, graph):
        found = np.array(other["sequence_output"])[mask]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    expected = plain["pooled_output"]
    for other in (full, graph, pooled):
        np.testing.assert_allclose(other["pooled_output"], expected, rtol=0, atol=1e-5)


# === Padding ===
def test_what_stands_in_the_padding_changes_no_bit(golden: Golden) -> None:
    mask = golden.inputs["padding_mask"].astype(bool)
    other = {
        "token_ids": np.where(mask, golden.inputs["token_ids"], 0),
        "segment_ids": np.where(mask, golden.inputs["segment_ids"], 0),
        "padding_mask": golden.inputs["padding_mask"],
    }
    ours, theirs = (golden.encoder(x)["sequence_output"] for x in (golden.inputs, other))
    np.testing.assert_array_equal(np.array(ours)[mask], np.array(theirs)[mask])
    assert np.abs(np.array(ours)[~mask] - np.array(theirs)[~mask]).max() > 0.1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tiny_config", {}),
        ("tiny_config", {"position_embedding": "sinusoidal"}),
        ("modern_config", {}),
    ],
    ids=["bert", "sinusoidal", "modernbert"],
)
def test_padding_changes_nothing(
    request: pytest.FixtureRequest, random_inputs: Callable, name: str, changes: dict[str, Any]
) -> None:
    tiny = request.getfixturevalue(name)
    config = dataclasses.replace(tiny, initializer_range=0.2, **changes)
    keras.utils.set_random_seed(0)
    encoder = BertEncoder(config)
    lengths = (12, 7, 1)
    inputs = random_inputs(config, lengths)
    padded = encoder(inputs)
    for i, length in enumerate(lengths):
        alone = encoder({name: array[i : i + 1, :length] for name, array in inputs.items()})
        for name, cut in (("sequence_output", np.s_[i, :length]), ("pooled_output", np.s_[i])):
            np.testing.assert_allclose(padded[name][cut], alone[name][0], rtol=0, atol=3e-6)


def test_what_is_padding_gets_no_gradient(tiny_config: BertConfig, random_inputs: Callable) -> None:
    encoder = BertEncoder(tiny_config)
    inputs = random_inputs(tiny_config, (6, 3))
    inputs["token_ids"][:] = np.arange(12).reshape(2, 6)
    table = encoder.embeddings.token.embeddings
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(inputs)["pooled_output"] ** 2)
    gradient = np.abs(np.array(tf.convert_to_tensor(tape.gradient(loss, table.value)))).max(1)
    assert gradient[:9].min() > 1e-9  # the tokens of both texts
    assert gradient[9:].max() < 1e-20  # the padding of the second, and unused tokens


# === A Keras model ===
def test_outputs_on_request_only(config: BertConfig, random_inputs: Callable) -> None:
    encoder, inputs = BertEncoder(config), random_inputs(config)
    assert list(encoder(inputs)) == ["sequence_output", "pooled_output"]
    outputs = encoder(inputs, return_hidden_states=True, return_attention=True)
    num_layers = config.num_layers
    assert [tuple(x.shape) for x in outputs["hidden_states"]] == [(3, 7, 8)] * (num_layers + 1)
    assert [tuple(x.shape) for x in outputs["attention"]] == [(3, 2, 7, 7)] * num_layers
    np.testing.assert_array_equal(outputs["hidden_states"][-1], outputs["sequence_output"])
    for attention in outputs["attention"]:
        np.testing.assert_allclose(np.sum(attention, -1), 1, rtol=1e-6)
        assert np.array(attention)[1, :, :4, 4:].max() < 1e-20


def test_weights_exist_from_the_start(config: BertConfig, random_inputs: Callable) -> None:
    encoder = BertEncoder(config)
    h, f, v, s = 8, 12, 30, 16
    if config.architecture == "bert":
        # Devlin et al. 2018: tables, 3 norm pairs, 4 + 2 dense layers a block, the pooler.
        block = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
        expected = (v + s + 2) * h + 2 * h + 3 * block + (h * h + h)
    else:
        # Table and norm; four products and two norms a block, less the first norm, and the last
        # one; the pooler's product and norm.
        block = 3 * h * h + h * h + h * 2 * f + f * h + 2 * h
        expected = (v * h + h) + 4 * block - h + h + (h * h + h)
    assert encoder.count_params() == expected
    encoder(random_inputs(config))
    assert encoder.count_params() == expected


def test_base_has_the_size_of_the_paper() -> None:
    # 110M (Devlin et al. 2018, section 3); exactly as bert-base-uncased counts without MLM head.
    # Built from shapes alone, so that nothing of this size is allocated.
    with keras.StatelessScope():
        encoders = [BertEncoder(BertConfig.preset("base", num_layers=n)) for n in (1, 2)]
        one, two = (sum(np.prod(weight.shape) for weight in e.weights) for e in encoders)
    assert one + 11 * (two - one) == 109_482_240


def test_config_round_trip(config: BertConfig) -> None:
    encoder = BertEncoder(config, name="mine", dtype="mixed_bfloat16")
    copy = BertEncoder.from_config(json.loads(json.dumps(encoder.get_config())))
    assert copy.config == config
    assert copy.get_config() == encoder.get_config()
    assert (copy.name, copy.dtype_policy.name) == ("mine", "mixed_bfloat16")


def test_saved_and_loaded(config: BertConfig, random_inputs: Callable, tmp_path: Path) -> None:
    encoder = BertEncoder(config)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    inputs = random_inputs(config)
    for name, array in encoder(inputs).items():
        np.testing.assert_array_equal(loaded(inputs)[name], array)


def test_part_of_a_functional_model(
    tiny_config: BertConfig, random_inputs: Callable, tmp_path: Path
) -> None:
    symbols = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    logits = keras.layers.Dense(2)(BertEncoder(tiny_config)(symbols)["pooled_output"])
    model = keras.Model(symbols, logits)
    inputs = random_inputs(tiny_config)
    assert model.output_shape == (None, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def train(config: BertConfig, inputs: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Trains two steps, dropout included, and returns the weights."""
    keras.utils.set_random_seed(seed)
    encoder = BertEncoder(dataclasses.replace(config, num_layers=1))
    symbols = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    model = keras.Model(symbols, encoder(symbols)["pooled_output"])
    model.compile("adam", "mse", run_eagerly=True)  # tracing takes seconds
    model.fit(inputs, np.zeros((3, config.hidden_dim)), epochs=2, verbose=0)
    return encoder.get_weights()


def test_a_seed_repeats_a_training(tiny_config: BertConfig, random_inputs: Callable) -> None:
    inputs = random_inputs(tiny_config)
    first, again, other = (train(tiny_config, inputs, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_dropout_acts_in_training_only(tiny_config: BertConfig, random_inputs: Callable) -> None:
    encoder, inputs = BertEncoder(tiny_config), random_inputs(tiny_config)
    plain, again, trained = (
        np.array(encoder(inputs, training=training)["sequence_output"])
        for training in (None, False, True)
    )
    np.testing.assert_array_equal(plain, again)
    assert np.abs(trained - plain).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(golden: Golden, policy: str) -> None:
    encoder = BertEncoder(golden.encoder.config, dtype=policy)
    encoder.set_weights(golden.encoder.get_weights())
    outputs = encoder(golden.inputs)["sequence_output"]
    assert outputs.dtype == policy.removeprefix("mixed_")
    error = np.abs(np.array(tf.cast(outputs, "float32")) - golden.expected["hidden_states"][-1])
    # 11 and 8 significant bits, through up to three layers of sharp attention.
    assert error.mean() < {"mixed_float16": 0.005, "mixed_bfloat16": 0.04}[policy]


def test_from_pretrained_is_load_encoder(golden_folder: Path) -> None:
    folder = golden_folder / "encoder" / "erf"
    encoder = keras_bert_scratch.BertEncoder.from_pretrained(
        folder, name="mine", rematerialize=True
    )
    assert type(encoder) is BertEncoder
    assert (encoder.name, encoder.rematerialize) == ("mine", True)
    for ours, theirs in zip(encoder.get_weights(), load_encoder(folder).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(FileNotFoundError, match="'no such folder' is not a folder"):
        BertEncoder.from_pretrained("no such folder")


def test_the_public_name_brings_the_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    module = keras_bert_scratch._MODULE_OF["BertEncoder"]
    assert load_encoder.__module__ == f"keras_bert_scratch.{module}"
    monkeypatch.setattr(BertEncoder, "_load_checkpoint", None)  # without that module
    with pytest.raises(RuntimeError, match="import BertEncoder from keras_bert_scratch"):
        BertEncoder.from_pretrained("minilm")


def test_summary_shows_shapes(config: BertConfig, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = BertEncoder(config)
    encoder.summary()
    shown = capsys.readouterr().out
    # H = 8: the embeddings and the blocks, and the pooler.
    assert shown.count("(None, None, 8)") == 1 + config.num_layers
    assert shown.count("(None, 8)") == 1
    assert repr(encoder) == (
        f"<BertEncoder name={encoder.name}: {config.architecture}, {config.num_layers} layers of "
        f"8, {sum(w.size for w in encoder.get_weights()):,} parameters>"
    )
