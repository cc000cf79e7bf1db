"""Live against PyTorch and transformers, on random tiny models: other numbers on every seed."""

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

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.checkpoints.name_map import encoder_weights, pooler_weights
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from keras_bert_scratch.training.optimizers import adamw
from keras_bert_scratch.training.schedules import WarmupLinearDecay

LABELS = ["bad", "good", "neither"]


def random_config(seed: int, **fields: Any) -> Any:
    """Draws a tiny transformers.BertConfig."""
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 5))
    return transformers.BertConfig(
        vocab_size=int(rng.integers(20, 80)),
        num_hidden_layers=int(rng.integers(1, 5)),
        num_attention_heads=heads,
        hidden_size=heads * int(rng.integers(3, 9)),
        intermediate_size=int(rng.integers(8, 50)),
        max_position_embeddings=int(rng.integers(12, 30)),
        layer_norm_eps=float(10 ** -rng.uniform(3, 12)),
        **fields,
    )


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("seed", range(5))
def test_encoder(
    seed: int,
    activation: str,
    random_inputs: Callable,
    tmp_path: Path,
    as_torch,
    randomized,
    assert_same_gradients,
) -> None:
    config = random_config(seed, hidden_act=activation)
    theirs = randomized(transformers.BertModel(config), seed)
    theirs.set_attn_implementation("eager")
    theirs.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    inputs = random_inputs(encoder.config, (12, 5, 1, 9), seed)
    # transformers gives the row of its padding token, 0, no gradient.
    inputs["token_ids"] = np.maximum(inputs["token_ids"], 1)

    expected = theirs(**as_torch(inputs), output_hidden_states=True, output_attentions=True)
    rng = np.random.default_rng(seed)
    c_sequence, c_pooled = (
        rng.normal(size=output.shape).astype("float32")
        for output in (expected.last_hidden_state, expected.pooler_output)
    )
    loss = (expected.last_hidden_state * torch.tensor(c_sequence)).sum()
    loss = loss + (expected.pooler_output * torch.tensor(c_pooled)).sum()
    loss.backward()
    with tf.GradientTape() as tape:
        outputs = encoder(inputs, return_hidden_states=True, return_attention=True)
        our_loss = tf.reduce_sum(outputs["sequence_output"] * c_sequence)
        our_loss += tf.reduce_sum(outputs["pooled_output"] * c_pooled)

    pairs = [
        *zip(outputs["hidden_states"], expected.hidden_states, strict=True),
        *zip(outputs["attention"], expected.attentions, strict=True),
        (outputs["pooled_output"], expected.pooler_output),
    ]
    for ours, reference in pairs:
        np.testing.assert_allclose(ours, reference.detach().numpy(), rtol=0, atol=1e-5)

    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    variables = [at(SimpleNamespace(encoder=encoder), row.ours) for row in rows]
    gradients = tape.gradient(our_loss, [variable.value for variable in variables])
    assert_same_gradients(rows, gradients, theirs, "bert.")


def tokenizer(vocab_size: int) -> WordPieceTokenizer:
    words = (f"w{n}" for n in range(vocab_size - len(SPECIAL_TOKENS)))
    return WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_round_trip_from_transformers(
    activation: str, random_inputs: Callable, tmp_path: Path, as_torch, randomized, load_there
) -> None:
    config = random_config(7, hidden_act=activation, id2label=dict(enumerate(LABELS)))
    original = randomized(transformers.BertForSequenceClassification(config), 7)
    original.save_pretrained(tmp_path / "theirs")
    tokenizer(config.vocab_size).save(tmp_path / "theirs")

    model = BertClassifier.from_pretrained(tmp_path / "theirs")
    assert model.labels == LABELS
    inputs = random_inputs(model.encoder.config, (12, 5, 1))
    expected = original(**as_torch(inputs)).logits.detach().numpy()
    np.testing.assert_allclose(model(inputs), expected, rtol=0, atol=1e-5)

    model.save_pretrained(tmp_path / "ours")
    loaded = load_there("BertForSequenceClassification", tmp_path / "ours")
    for field in ("hidden_act", "layer_norm_eps", "type_vocab_size", "id2label", "hidden_size"):
        assert getattr(loaded.config, field) == getattr(original.config, field)
    weights = loaded.state_dict()
    assert set(weights) == set(original.state_dict())
    for name, tensor in original.state_dict().items():
        assert torch.equal(weights[name], tensor), name
        assert weights[name].dtype == tensor.dtype


def test_a_model_made_here_loads_there(
    tiny_config: Any, random_inputs: Callable, tmp_path: Path, as_torch, load_there
) -> None:
    keras.utils.set_random_seed(0)
    encoder = BertEncoder(tiny_config)
    model = BertClassifier(encoder, LABELS, tokenizer(tiny_config.vocab_size))
    model.save_pretrained(tmp_path)
    theirs = load_there("BertForSequenceClassification", tmp_path)
    inputs = random_inputs(tiny_config)
    expected = theirs(**as_torch(inputs)).logits.detach().numpy()
    np.testing.assert_allclose(model(inputs), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(0, 5), (1, 5), (3, 8), (80, 794)])
def test_schedule(warmup_steps: int, total_steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    theirs = transformers.get_linear_schedule_with_warmup(optimizer, warmup_steps, total_steps)
    ours = WarmupLinearDecay(5e-5, total_steps=total_steps, warmup_steps=warmup_steps)
    for step in range(total_steps + 1):
        np.testing.assert_allclose(
            float(ours(step)), theirs.get_last_lr()[0], rtol=1e-5, atol=1e-11
        )
        optimizer.step()
        theirs.step()


def test_optimizer() -> None:
    """Ten steps of PyTorch's AdamW, clipping and schedule: the recipe of transformers."""
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}
    ours = {name: keras.Variable(array, name=name) for name, array in start.items()}
    theirs = {
        name: torch.nn.Parameter(torch.tensor(array).float()) for name, array in start.items()
    }
    optimizer = adamw(1e-2, total_steps=10, warmup_ratio=0.2, weight_decay=0.1)
    groups = [
        {"params": [theirs["kernel"]], "weight_decay": 0.1},
        {"params": [theirs["bias"]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=1e-2, eps=1e-8)
    schedule = transformers.get_linear_schedule_with_warmup(reference, 2, 10)
    for step in range(10):
        scale = 3.0 if step % 2 else 0.05  # above and below the clipping
        gradients = {name: scale * rng.normal(size=array.shape) for name, array in start.items()}
        optimizer.apply(
            [keras.ops.convert_to_tensor(gradients[name], "float32") for name in ours],
            list(ours.values()),
        )
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name]).float()
        torch.nn.utils.clip_grad_norm_(list(theirs.values()), 1.0)
        reference.step()
        schedule.step()
    for name, parameter in theirs.items():
        assert np.abs(np.array(ours[name]) - start[name]).max() > 0.01
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), rtol=0, atol=1e-6)
