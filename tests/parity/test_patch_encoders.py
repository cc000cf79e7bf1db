"""ViT, DeiT, DINOv2 and AST live against transformers, on random tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers

from keras_bert_scratch import PatchEncoder
from keras_bert_scratch.data.sounds import log_mel_spectrograms, pad_sounds

KINDS = {
    "ViTModel": transformers.ViTConfig,
    "ViTForImageClassification": transformers.ViTConfig,
    "DeiTModel": transformers.DeiTConfig,
    "DeiTForImageClassification": transformers.DeiTConfig,
    "DeiTForImageClassificationWithTeacher": transformers.DeiTConfig,
    "Dinov2Model": transformers.Dinov2Config,
    "Dinov2ForImageClassification": transformers.Dinov2Config,
    "ASTModel": transformers.ASTConfig,
    "ASTForAudioClassification": transformers.ASTConfig,
}


def unusual(kind: str, seed: int, **fields: Any) -> Any:
    """Makes a tiny model whose sizes and settings are drawn."""
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(1, 4))
    width = heads * int(rng.integers(3, 7))
    patch = int(rng.integers(2, 5))
    own: dict[str, Any] = {"image_size": patch * int(rng.integers(3, 6))}
    own["intermediate_size"] = int(rng.integers(8, 50))
    if kind.startswith("Dinov2"):
        own |= {"mlp_ratio": 3, "layerscale_value": 0.5}
        del own["intermediate_size"]
    if kind.startswith("AST"):
        own |= {"num_mel_bins": 11, "max_length": 23}
        own |= dict.fromkeys(("frequency_stride", "time_stride"), patch - 1)
        del own["image_size"]
    return getattr(transformers, kind)(
        KINDS[kind](
            num_hidden_layers=int(rng.integers(1, 4)),
            num_attention_heads=heads,
            hidden_size=width,
            patch_size=patch,
            hidden_act=["gelu", "gelu_pytorch_tanh"][seed % 2],
            layer_norm_eps=float(10 ** -rng.uniform(3, 12)),
            num_labels=3,
            attn_implementation="eager",
            **own | fields,
        )
    )


def draw(theirs: Any, seed: int, larger: int = 0) -> np.ndarray:
    """Draws inputs in our layout: pixels with their channels last, or spectrograms."""
    rng = np.random.default_rng(seed)
    config = theirs.config
    if config.model_type.startswith("audio"):
        return rng.normal(size=(2, config.max_length, config.num_mel_bins)).astype("float32")
    height, width = config.image_size + larger, config.image_size + 2 * larger
    return rng.normal(size=(2, height, width, 3)).astype("float32")


def run(theirs: Any, inputs: np.ndarray, **arguments: Any) -> Any:
    if inputs.ndim == 3:
        return theirs(input_values=torch.tensor(inputs), **arguments)
    return theirs(pixel_values=torch.tensor(np.moveaxis(inputs, 3, 1)), **arguments)


def pairs(ours: dict[str, Any], theirs: Any) -> list[tuple[Any, Any]]:
    """Pairs the outputs that both have."""
    names = {"logits": "logits", "sequence_output": "last_hidden_state"}
    names["pooled_output"] = "pooler_output"
    found = [(ours[name], theirs[other]) for name, other in names.items() if other in theirs]
    assert found
    return found


def assert_close(
    ours: Any, theirs: Any, tolerance: float, name: str = "", least: float = 1.0
) -> None:
    """Compares with a bound that is relative to the largest value, if that is above `least`."""
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    largest = max(least, np.abs(theirs).max())
    np.testing.assert_allclose(
        tf.convert_to_tensor(ours), theirs, rtol=0, atol=tolerance * largest, err_msg=name
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_outputs_gradients_and_files(
    kind: str, seed: int, tmp_path: Path, randomized, load_there
) -> None:
    theirs = randomized(unusual(kind, seed), seed)
    theirs.save_pretrained(tmp_path / "theirs")
    encoder = PatchEncoder.from_pretrained(tmp_path / "theirs")
    inputs = draw(theirs, seed)

    expected = run(theirs, inputs, output_hidden_states=True, output_attentions=True)
    with tf.GradientTape() as tape:
        outputs = encoder(inputs, return_hidden_states=True, return_attention=True)
        rng = np.random.default_rng(seed)
        loss, their_loss = 0.0, 0.0
        for x, reference in pairs(outputs, expected):
            assert_close(x, reference, 1e-5)
            cotangent = rng.normal(size=x.shape).astype("float32")
            loss += tf.reduce_sum(x * cotangent)
            their_loss += (reference * torch.tensor(cotangent)).sum()
    for name, other in (("hidden_states", "hidden_states"), ("attention", "attentions")):
        for x, reference in zip(outputs[name], expected[other], strict=True):
            assert_close(x, reference, 1e-5, name)

    # Their gradients, saved as if they were weights, are read as ours.
    their_loss.backward()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.zeros_like(weight) if weight.grad is None else weight.grad)
    theirs.save_pretrained(tmp_path / "gradients")
    gradients = PatchEncoder.from_pretrained(tmp_path / "gradients")
    weights = [weight.value for weight in encoder.trainable_weights]
    found = tape.gradient(loss, weights, unconnected_gradients="zero")
    for gradient, reference in zip(found, gradients.trainable_weights, strict=True):
        # That of a key's bias is 0 in theory, since softmax ignores it.
        assert_close(gradient, reference.numpy(), 1e-4, reference.path, least=0.01)

    encoder.save_pretrained(tmp_path / "ours")
    again = run(load_there(kind, tmp_path / "ours"), inputs)
    for x, reference in pairs(outputs, again):
        assert_close(x, reference, 1e-5)


@pytest.mark.parametrize("kind", ["ViTModel", "DeiTForImageClassification", "Dinov2Model"])
@pytest.mark.parametrize("larger", [7, -2])
def test_other_sizes(kind: str, larger: int, tmp_path: Path, randomized) -> None:
    theirs = randomized(unusual(kind, 4, image_size=12), 4)
    theirs.save_pretrained(tmp_path)
    inputs = draw(theirs, 4, larger)
    switch = {} if kind.startswith("Dinov2") else {"interpolate_pos_encoding": True}
    expected = run(theirs, inputs, **switch)
    for x, reference in pairs(PatchEncoder.from_pretrained(tmp_path)(inputs), expected):
        assert_close(x, reference, 1e-5)


def test_pixels_are_normalized_as_by_the_processor(tmp_path: Path, randomized) -> None:
    theirs = randomized(unusual("ViTForImageClassification", 0), 0)
    theirs.save_pretrained(tmp_path)
    size = theirs.config.image_size
    processor = transformers.ViTImageProcessor(
        image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6], size={"height": size, "width": size}
    )
    processor.save_pretrained(tmp_path)
    pictures = np.random.default_rng(0).integers(256, size=(2, size, size, 3)).astype("uint8")
    expected = theirs(**processor(list(pictures), return_tensors="pt")).logits
    encoder = PatchEncoder.from_pretrained(tmp_path)
    assert_close(encoder(pictures / 255.0)["logits"], expected, 1e-5)
    # And so by the folder that we write.
    encoder.save_pretrained(tmp_path / "ours")
    written = transformers.ViTImageProcessor.from_pretrained(tmp_path / "ours")
    again = theirs(**written(list(pictures), return_tensors="pt")).logits
    assert_close(encoder(pictures / 255.0)["logits"], again, 1e-5)


@pytest.mark.parametrize("num_frames", [64, 200])
def test_log_mels_are_those_of_the_extractor(num_frames: int) -> None:
    extractor = transformers.ASTFeatureExtractor(max_length=num_frames)
    rng = np.random.default_rng(0)
    seconds = np.arange(16_000) / 16_000
    sounds = [
        rng.normal(size=20_000) / 10,
        rng.normal(size=401) * 1e-5,
        np.sin(2 * np.pi * 440 * seconds),
        np.sin(2 * np.pi * 3000 * seconds**2),
        np.zeros(9_000),
    ]
    sounds = [sound.astype("float32") for sound in sounds]
    expected = extractor(sounds, sampling_rate=16_000, return_tensors="np")["input_values"]
    found = log_mel_spectrograms(*pad_sounds(sounds, num_frames))
    np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=1e-5)
    # In float32 a pure tone hides what is a millionth as loud.
    single = np.array(log_mel_spectrograms(*pad_sounds(sounds, num_frames), dtype="float32"))
    np.testing.assert_allclose(single, np.stack(expected), rtol=0, atol=2e-3)
    assert np.abs(single - expected).mean() < 1e-4
