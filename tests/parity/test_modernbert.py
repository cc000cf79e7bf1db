"""ModernBERT live against transformers, on random tiny models: other numbers on every seed."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers
from safetensors.numpy import load_file

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.huggingface import load_encoder, write_checkpoint
from keras_bert_scratch.checkpoints.name_map import encoder_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

LABELS = ["bad", "good", "neither"]
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxy"]))
assert len(TOKENIZER.vocabulary) == 30


def unusual(kind: str, seed: int, **fields: Any) -> Any:
    """Makes a tiny transformers.ModernBert whose sizes and settings are drawn."""
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 4))
    config = transformers.ModernBertConfig(
        **{
            "vocab_size": 30,
            "num_hidden_layers": int(rng.integers(1, 6)),
            "num_attention_heads": heads,
            "hidden_size": heads * 2 * int(rng.integers(2, 5)),
            "intermediate_size": int(rng.integers(8, 50)),
            "max_position_embeddings": 64,
            "norm_eps": float(10 ** -rng.uniform(3, 12)),
            "local_attention": 2 * int(rng.integers(1, 6)),
            "global_attn_every_n_layers": int(rng.integers(1, 4)),
            "global_rope_theta": float(10 ** rng.uniform(1, 5)),
            "local_rope_theta": float(10 ** rng.uniform(1, 5)),
            "pad_token_id": 0,
            "bos_token_id": 2,
            "cls_token_id": 2,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "attn_implementation": "eager",
            **fields,
        }
    )
    return getattr(transformers, kind)(config)


@pytest.fixture
def as_torch(as_torch):
    """Returns the function for models without segments."""
    return functools.partial(as_torch, has_segments=False)


@pytest.fixture
def random_model(randomized):
    return lambda kind, seed, **fields: randomized(unusual(kind, seed, **fields), seed)


def draw(random_inputs: Callable, config: BertConfig, lengths: Any, seed: int) -> dict[str, Any]:
    inputs = random_inputs(config, lengths, seed)
    # transformers gives the row of its padding token, 0, no gradient.
    return {**inputs, "token_ids": np.maximum(inputs["token_ids"], 1)}


@pytest.mark.parametrize("lengths", [(12, 5, 1), (31, 30, 8)], ids=["short", "long"])
@pytest.mark.parametrize("seed", range(6))
def test_encoder(
    seed: int,
    lengths: tuple[int, ...],
    random_inputs: Callable,
    tmp_path: Path,
    as_torch,
    random_model,
    assert_same_gradients,
) -> None:
    activation = ["gelu", "gelu_pytorch_tanh", "relu"][seed % 3]
    theirs = random_model("ModernBertModel", seed, hidden_activation=activation,
                          classifier_activation=activation)  # fmt: skip
    theirs.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    inputs = draw(random_inputs, encoder.config, lengths, seed)
    mask = inputs["padding_mask"].astype(bool)

    expected = theirs(**as_torch(inputs), output_hidden_states=True, output_attentions=True)
    cotangent = np.random.default_rng(seed).normal(size=expected.last_hidden_state.shape)
    # What stands in the padding is no one's: masks of other values give it other states.
    cotangent = (cotangent * mask[:, :, None]).astype("float32")
    (expected.last_hidden_state * torch.tensor(cotangent)).sum().backward()
    with tf.GradientTape() as tape:
        states = encoder(inputs)["sequence_output"]
        loss = tf.reduce_sum(states * cotangent)
    outputs = encoder(inputs, return_hidden_states=True, return_attention=True)

    pairs = [
        (states, expected.last_hidden_state),
        *zip(outputs["hidden_states"], expected.hidden_states, strict=True),
        *((np.moveaxis(ours, 1, 2), reference.transpose(1, 2))
          for ours, reference in zip(outputs["attention"], expected.attentions, strict=True)),
    ]  # fmt: skip
    for ours, reference in pairs:
        reference = reference.detach().numpy()[mask]
        np.testing.assert_allclose(np.array(ours)[mask], reference, rtol=0, atol=1e-5)

    rows = encoder_weights(encoder.config)
    variables = [at(SimpleNamespace(encoder=encoder), row.ours).value for row in rows]
    assert_same_gradients(rows, tape.gradient(loss, variables), theirs, "model.")


def test_8192_tokens(random_inputs: Callable, tmp_path: Path, as_torch, random_model) -> None:
    theirs = random_model(
        "ModernBertModel",
        0,
        num_hidden_layers=4,
        num_attention_heads=1,
        hidden_size=16,
        max_position_embeddings=8192,
        local_attention=128,
        global_attn_every_n_layers=3,
        global_rope_theta=160_000.0,
        local_rope_theta=10_000.0,
        attn_implementation="sdpa",
    )
    theirs.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    inputs = random_inputs(encoder.config, (8192,))
    with torch.no_grad():
        expected = theirs(**as_torch(inputs)).last_hidden_state.numpy()
    found = encoder(inputs)["sequence_output"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def assert_same_file(ours: Path, theirs: Path) -> None:
    written, reference = (load_file(path / "model.safetensors") for path in (ours, theirs))
    assert set(written) == set(reference)
    for name, tensor in reference.items():
        np.testing.assert_array_equal(written[name], tensor, err_msg=name)
        assert written[name].dtype == tensor.dtype


FIELDS = (
    "hidden_activation", "norm_eps", "local_attention", "layer_types", "rope_parameters",
    "max_position_embeddings", "intermediate_size", "mlp_dropout", "attention_dropout",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_encoder_written_again(seed: int, tmp_path: Path, random_model, load_there) -> None:
    theirs = random_model("ModernBertForMaskedLM", seed)
    theirs.save_pretrained(tmp_path / "theirs")
    encoder = load_encoder(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    write_checkpoint(
        tmp_path / "ours",
        SimpleNamespace(encoder=encoder),
        encoder_weights(encoder.config),
        architecture="BertModel",
        pad_token_id=0,
    )
    loaded = load_there("ModernBertModel", tmp_path / "ours")
    for name, tensor in theirs.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    for field in FIELDS:
        assert getattr(loaded.config, field) == getattr(theirs.config, field)


@pytest.mark.parametrize("seed", range(3))
def test_masked_language_model(
    seed: int, random_inputs: Callable, tmp_path: Path, as_torch, random_model, load_there
) -> None:
    theirs = random_model("ModernBertForMaskedLM", seed)
    theirs.save_pretrained(tmp_path / "theirs")
    TOKENIZER.save(tmp_path / "theirs")
    model = BertPretrainer.from_pretrained(tmp_path / "theirs")
    assert model.next_sentence is None
    inputs = draw(random_inputs, model.encoder.config, (20, 6), seed)
    inputs["masked_positions"] = np.array([[3, 0], [5, 1]], "int32")
    expected = theirs(**as_torch(inputs)).logits.detach().numpy()
    expected = np.take_along_axis(expected, inputs["masked_positions"][:, :, None], axis=1)
    found = model(inputs)["masked_language_model"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    model.save_pretrained(tmp_path / "ours")
    assert_same_file(tmp_path / "ours", tmp_path / "theirs")
    load_there("ModernBertForMaskedLM", tmp_path / "ours")


@pytest.mark.parametrize("seed", range(3))
def test_classifier(
    seed: int, random_inputs: Callable, tmp_path: Path, as_torch, random_model, load_there
) -> None:
    fields = {"id2label": dict(enumerate(LABELS)), "classifier_pooling": "cls"}
    theirs = random_model("ModernBertForSequenceClassification", seed, **fields)
    theirs.save_pretrained(tmp_path / "theirs")
    TOKENIZER.save(tmp_path / "theirs")
    model = BertClassifier.from_pretrained(tmp_path / "theirs")
    assert model.labels == LABELS
    inputs = draw(random_inputs, model.encoder.config, (20, 6, 1), seed)
    expected = theirs(**as_torch(inputs)).logits.detach().numpy()
    np.testing.assert_allclose(model(inputs), expected, rtol=0, atol=1e-5)

    model.save_pretrained(tmp_path / "ours")
    assert_same_file(tmp_path / "ours", tmp_path / "theirs")
    loaded = load_there("ModernBertForSequenceClassification", tmp_path / "ours")
    logits = loaded(**as_torch(inputs)).logits.detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_a_model_made_here_loads_there(
    modern_config: BertConfig, random_inputs: Callable, tmp_path: Path, as_torch, load_there
) -> None:
    keras.utils.set_random_seed(0)
    model = BertClassifier(BertEncoder(modern_config), LABELS, TOKENIZER)
    model.save_pretrained(tmp_path / "ours")
    theirs = load_there("ModernBertForSequenceClassification", tmp_path / "ours")
    inputs = random_inputs(modern_config, (15, 7))
    expected = theirs(**as_torch(inputs)).logits.detach().numpy()
    np.testing.assert_allclose(model(inputs), expected, rtol=0, atol=1e-5)
