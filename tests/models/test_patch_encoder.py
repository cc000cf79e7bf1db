"""The encoder of pictures and spectrograms; its numbers are compared in tests/parity."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig, PatchConfig
from keras_bert_scratch.models.patch_encoder import PatchEncoder
from keras_bert_scratch.models.visual_bert import VisualBertEncoder

CONFIG = PatchConfig(
    height=9, width=12, patch_size=3, num_layers=2, num_heads=2, hidden_dim=8, feed_forward_dim=16
)
SOUND = dataclasses.replace(
    CONFIG, architecture="audio-spectrogram-transformer", channels=1, stride=2
)
PIXELS = np.random.default_rng(0).random((3, 9, 12, 3)).astype("float32")


@pytest.mark.parametrize("architecture", ["vit", "deit", "dinov2"])
def test_shapes(architecture: str) -> None:
    config = dataclasses.replace(CONFIG, architecture=architecture, pooler=True)
    encoder = PatchEncoder(config, ["a", "b", "c"])
    outputs = encoder(PIXELS, return_hidden_states=True, return_attention=True)
    length = 12 + (2 if architecture == "deit" else 1)
    assert outputs["sequence_output"].shape == (3, length, 8)
    assert outputs["pooled_output"].shape == (3, 8)
    assert outputs["logits"].shape == (3, 3)
    assert [x.shape for x in outputs["hidden_states"]] == [(3, length, 8)] * 3
    assert [x.shape for x in outputs["attention"]] == [(3, 2, length, length)] * 2


def test_spectrograms_are_frames_by_bands() -> None:
    # 9 bands and 12 frames in steps of 2: 4 x 5 patches.
    encoder = PatchEncoder(SOUND)
    outputs = encoder(np.ones((2, 12, 9), "float32"))
    assert outputs["sequence_output"].shape == (2, 22, 8)
    with pytest.raises(ValueError, match="have 12 bands, the encoder reads 9: give them as"):
        encoder(np.ones((2, 9, 12), "float32"))
    x = np.array(outputs["sequence_output"])
    np.testing.assert_allclose(outputs["pooled_output"], (x[:, 0] + x[:, 1]) / 2, atol=1e-6)


def test_summary_tokens() -> None:
    states = np.arange(2 * 5 * 8, dtype="float32").reshape(2, 5, 8)
    (found,) = PatchEncoder(dataclasses.replace(CONFIG, architecture="deit")).summary_tokens(
        states[:1]
    )
    np.testing.assert_allclose(found, [states[0, 0], states[0, 1], states[0, 3]])  # mean of 2, 3, 4


def test_means_and_deviations() -> None:
    mean, deviation = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    normalizing = PatchEncoder(dataclasses.replace(CONFIG, mean=mean, deviation=deviation))
    plain = PatchEncoder(CONFIG)
    plain.set_weights(normalizing.get_weights())
    np.testing.assert_allclose(
        normalizing(PIXELS)["sequence_output"],
        plain((PIXELS - mean) / deviation)["sequence_output"],
        atol=1e-6,
    )


@pytest.mark.slow
def test_it_learns_where_the_light_is() -> None:
    keras.utils.set_random_seed(0)
    pictures = np.random.default_rng(0).random((64, 9, 12, 3)).astype("float32")
    labels = np.arange(64) % 2
    pictures[labels == 1, :, :6] += 1
    pictures[labels == 0, :, 6:] += 1
    encoder = PatchEncoder(dataclasses.replace(CONFIG, num_layers=1), ["right", "left"])
    symbols = keras.Input((9, 12, 3))
    model = keras.Model(symbols, encoder(symbols)["logits"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit(pictures, labels, epochs=8, batch_size=16, verbose=0)
    logits = np.array(model(pictures))
    assert (logits.argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize("kind", ["deit", "dinov2", "sound", "visual"])
def test_saved_as_keras_file_with_its_state(kind: str, tmp_path: Path) -> None:
    inputs = PIXELS
    if kind == "visual":
        encoder = VisualBertEncoder(BertConfig(30, 1, 2, 8, 12, max_positions=9), visual_dim=5)
        ids = np.ones((1, 3), "int32")
        names = ("token_ids", "segment_ids", "padding_mask", "visual_mask", "visual_segment_ids")
        inputs = {**dict.fromkeys(names, ids), "visual_features": np.ones((1, 3, 5), "float32")}
        frozen = encoder.visual
    else:
        config = SOUND
        if kind != "sound":
            config = dataclasses.replace(
                CONFIG, architecture=kind, mean=(0.5,) * 3, deviation=(0.5,) * 3,
                distillation_head=kind == "deit",
            )  # fmt: skip
        encoder = PatchEncoder(config, ["a", "b"])
        inputs = np.ones((1, 12, 9), "float32") if kind == "sound" else PIXELS
        frozen = encoder.embeddings
    frozen.trainable = False
    expected = encoder(inputs)
    encoder.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, tensor in expected.items():
        np.testing.assert_array_equal(loaded(inputs)[name], tensor)
    assert len(loaded.trainable_weights) == len(encoder.trainable_weights)
    assert loaded.config == encoder.config


@pytest.mark.slow
def test_converts_to_litert_with_built_in_operations(tmp_path: Path) -> None:
    encoder = PatchEncoder(CONFIG, ["a", "b"])
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    signature = [tf.TensorSpec((1, 9, 12, 3), "float32")]
    archive.add_endpoint("serve", lambda pixels: encoder(pixels)["logits"], signature)
    archive.write_out(tmp_path / "saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved_model"))
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PIXELS[:1])
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, encoder(PIXELS[:1])["logits"], atol=1e-5)


def test_a_single_label() -> None:
    with pytest.raises(ValueError, match=r"A head needs two labels or more, received \['a'\]."):
        PatchEncoder(CONFIG, ["a"])
