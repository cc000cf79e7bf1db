"""What is frozen, adapted or quantized survives `.keras` files and clones, in every task."""

import keras
import numpy as np
import pytest

from keras_bert_scratch import BertClassifier, enable_lora, freeze_layers
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
from keras_bert_scratch.tasks.summarizer import BertSummarizer


def adapt(model):
    enable_lora(model.encoder, 2)
    for weight in model.encoder.weights:
        if weight.name.startswith("lora_"):
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))


def flags(model):
    layers = [layer.trainable for layer in model._flatten_layers()]
    return layers, {weight.path: weight.trainable for weight in model.weights}


def test_what_was_not_changed_is_not_in_the_config(two_layer_classifier):
    assert "state" not in two_layer_classifier().get_config()


def test_an_encoder_alone(two_layer_classifier, tmp_path):
    encoder = two_layer_classifier().encoder
    freeze_layers(encoder, 1)
    encoder.save(tmp_path / "encoder.keras")
    assert flags(keras.saving.load_model(tmp_path / "encoder.keras")) == flags(encoder)


class TestLora:
    def test_a_loaded_model_goes_on_learning(self, two_layer_classifier, reviews, tmp_path):
        model = two_layer_classifier()
        enable_lora(model.encoder, 2)
        model.compile(keras.optimizers.Adam(1e-2))
        model.fit(*reviews, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for theirs, ours in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
            np.testing.assert_array_equal(theirs, ours)
        before = [np.array(weight) for weight in loaded.encoder.trainable_weights]
        assert len(before) == 2 * 6 * 2
        loaded.fit(*reviews, verbose=0)
        for weight, old in zip(loaded.encoder.trainable_weights, before, strict=True):
            assert np.abs(np.array(weight) - old).max() > 1e-4

    def test_weights_files_hold_the_updates(self, two_layer_classifier, tmp_path):
        model = two_layer_classifier()
        adapt(model)
        model.save_weights(tmp_path / "adapted.weights.h5")
        other = two_layer_classifier()
        other.load_weights(tmp_path / "adapted.weights.h5")
        text = ["a good film"]
        np.testing.assert_allclose(
            other.predict(text, verbose=0), model.predict(text, verbose=0), atol=1e-5
        )
        other = two_layer_classifier()
        enable_lora(other.encoder, 2)
        other.load_weights(tmp_path / "adapted.weights.h5")
        for theirs, ours in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(theirs, ours)

    def test_a_file_without_updates_leaves_new_ones_ready(self, two_layer_classifier, tmp_path):
        model = two_layer_classifier()
        model.save_weights(tmp_path / "plain.weights.h5")
        enable_lora(model.encoder, 2)
        model.load_weights(tmp_path / "plain.weights.h5")
        query = model.encoder.blocks[0].attention.query
        assert np.abs(query.lora_kernel_a).min() > 0
        assert np.abs(query.lora_kernel_b).max() == 0


class TestSmaller:
    def test_keeps_what_is_frozen_and_the_class(self, two_layer_classifier):
        class Mine(BertClassifier):
            pass

        base = two_layer_classifier(changes={"num_layers": 3})
        model = Mine(base.encoder, base.labels, base.tokenizer, temperature=2.0)
        freeze_layers(model.encoder, 2)
        model.head.trainable = False
        smaller = model.with_layers([1, 2])
        assert type(smaller) is Mine
        assert smaller.temperature == 2.0
        assert [block.trainable for block in smaller.encoder.blocks] == [False, True]
        assert not smaller.encoder.embeddings.trainable
        assert not smaller.head.trainable
        fewer = model.with_heads([[0]] * 3)
        assert type(fewer) is Mine
        assert [block.trainable for block in fewer.encoder.blocks] == [False, False, True]
        text = ["a good film"]
        np.testing.assert_allclose(
            model.with_layers([0, 1, 2]).predict(text, verbose=0),
            model.predict(text, verbose=0),
            atol=1e-6,
        )

    def test_adapted_layers(self, two_layer_classifier):
        model = two_layer_classifier()
        adapt(model)
        smaller = model.with_layers([1])
        for ours, theirs in zip(
            model.encoder.blocks[1].get_weights(),
            smaller.encoder.blocks[0].get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert not smaller.encoder.blocks[0].attention.query._kernel.trainable


class TestFloat16:
    def test_weights_of_float16_are_refused(self, two_layer_classifier):
        model = two_layer_classifier()
        encoder = type(model.encoder)(model.encoder.config, dtype="float16")
        with pytest.raises(ValueError, match='float16 weights, which do not learn: .*"mixed_float'):
            BertClassifier(encoder, model.labels, dtype="float16").compile("adam")

    def test_an_encoder_whose_loss_is_not_scaled(self, two_layer_classifier):
        model = two_layer_classifier()
        encoder = type(model.encoder)(model.encoder.config, dtype="mixed_float16")
        with pytest.raises(
            ValueError, match="compute in float16, .* make the whole model, not only its encoder"
        ):
            BertClassifier(encoder, model.labels).compile("adam")

    def test_mixed_float16_learns(self, two_layer_classifier, reviews):
        like = two_layer_classifier()
        encoder = type(like.encoder)(like.encoder.config, dtype="mixed_float16")
        model = BertClassifier(encoder, like.labels, like.tokenizer, dtype="mixed_float16")
        model.compile(keras.optimizers.Adam(3e-3), metrics=[])
        losses = model.fit(*reviews, epochs=8, batch_size=16, verbose=0).history["loss"]
        assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("task", [BertSentenceEncoder, BertSummarizer])
def test_windows_are_the_classifiers(two_layer_classifier, task):
    of = two_layer_classifier()
    decoder = [BertDecoder(of.encoder.config)] if task is BertSummarizer else []
    with pytest.raises(ValueError, match=f"{task.__name__} reads the heads of long texts, rec"):
        task(of.encoder, *decoder, of.tokenizer, truncation="windows")
