"""VisualBERT live against transformers, on random tiny models."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers

from keras_bert_scratch import VisualBertEncoder


@pytest.mark.parametrize("kind", ["VisualBertModel", "VisualBertForPreTraining"])
@pytest.mark.parametrize("seed", range(2))
def test_outputs_and_gradients(kind: str, seed: int, tmp_path: Path, randomized) -> None:
    rng = np.random.default_rng(seed)
    config = transformers.VisualBertConfig(
        vocab_size=31,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=17,
        max_position_embeddings=11,
        type_vocab_size=3,
        visual_embedding_dim=7,
        layer_norm_eps=float(10 ** -rng.uniform(3, 12)),
        # Otherwise the row of this token has no gradient.
        pad_token_id=None,
    )
    theirs = randomized(getattr(transformers, kind)(config), seed)
    theirs.save_pretrained(tmp_path / "theirs")
    encoder = VisualBertEncoder.from_pretrained(tmp_path / "theirs")
    base = getattr(theirs, "visual_bert", theirs)

    mask = np.array([[1] * 9, [1] * 5 + [0] * 4], "int32")
    inputs = {
        "token_ids": rng.integers(31, size=(2, 9), dtype="int32"),
        "segment_ids": rng.integers(3, size=(2, 9), dtype="int32"),
        "padding_mask": mask,
        "visual_features": rng.normal(size=(2, 4, 7)).astype("float32"),
        "visual_mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]], "int32"),
    }
    segments = {"visual_segment_ids": rng.integers(3, size=(2, 4), dtype="int32")}
    if seed:
        inputs |= segments
    arguments = {
        "input_ids": "token_ids",
        "token_type_ids": "segment_ids",
        "attention_mask": "padding_mask",
        "visual_embeds": "visual_features",
        "visual_attention_mask": "visual_mask",
        "visual_token_type_ids": "visual_segment_ids",
    }
    tensors = {
        name: torch.tensor(inputs[ours]) for name, ours in arguments.items() if ours in inputs
    }
    expected = base(**{n: t.long() if "int" in str(t.dtype) else t for n, t in tensors.items()})
    is_read = np.concatenate([mask, inputs["visual_mask"]], axis=1)[..., None]
    cotangent = rng.normal(size=(2, 13, 12)).astype("float32") * is_read
    (expected.last_hidden_state * torch.tensor(cotangent)).sum().backward(retain_graph=True)
    expected.pooler_output.sum().backward()
    with tf.GradientTape() as tape:
        outputs = encoder(inputs)
        loss = tf.reduce_sum(outputs["sequence_output"] * cotangent)
        loss += tf.reduce_sum(outputs["pooled_output"])
    for ours, reference in (
        (outputs["sequence_output"] * is_read, expected.last_hidden_state.detach() * is_read),
        (outputs["pooled_output"], expected.pooler_output.detach()),
    ):
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-5)

    # Their gradients, saved as if they were weights, are read as ours.
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.zeros_like(weight) if weight.grad is None else weight.grad)
    theirs.save_pretrained(tmp_path / "gradients")
    gradients = VisualBertEncoder.from_pretrained(tmp_path / "gradients")
    weights = [weight.value for weight in encoder.trainable_weights]
    found = tape.gradient(loss, weights, unconnected_gradients="zero")
    for gradient, reference in zip(found, gradients.trainable_weights, strict=True):
        values = reference.numpy()
        # That of a key's bias is 0 in theory, since softmax ignores it.
        tolerance = 1e-4 * max(0.01, np.abs(values).max())
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient),
            values,
            rtol=0,
            atol=tolerance,
            err_msg=reference.path,
        )


def test_other_models_are_refused(tmp_path: Path) -> None:
    config = transformers.VisualBertConfig(bypass_transformer=True)
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="and bypass_transformer True; only 'visual_bert' without"):
        VisualBertEncoder.from_pretrained(tmp_path)
