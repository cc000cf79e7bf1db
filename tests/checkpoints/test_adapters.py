"""Adapters and head apart from their encoder."""

import json

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from keras_bert_scratch import BertClassifier, BertEncoder, enable_lora
from keras_bert_scratch.files import HASHES
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph


@pytest.fixture
def model(two_layer_classifier):
    return two_layer_classifier()


def adapt(model, rank, seed=0):
    """Gives adapters and head some values, as a training would."""
    enable_lora(model.encoder, rank)
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))
    return answers(model)


def answers(model):
    graph = tokenizer_graph(model.tokenizer, "fast")
    return np.array(model(graph(tf.constant(["a good film", "the bad movie"]), sequence_length=8)))


def test_several_adapters_over_one_encoder(two_layer_classifier, tmp_path):
    expected = {}
    for rank in (1, 2):
        adapted = two_layer_classifier()
        expected[rank] = adapt(adapted, rank, seed=rank)
        adapted.save_adapter(tmp_path / f"{rank}")
    model = two_layer_classifier()
    for rank in (1, 2, 1):
        model.load_adapter(tmp_path / f"{rank}")
        np.testing.assert_array_equal(answers(model), expected[rank])
    assert np.abs(expected[1] - expected[2]).max() > 0.1


def test_a_function_that_keras_has_traced_uses_what_was_loaded(
    model, two_layer_classifier, tmp_path
):
    adapted = two_layer_classifier()
    adapt(adapted, 1)
    adapted.save_adapter(tmp_path / "adapter")
    before = model.predict(["a good film"], verbose=0)
    model.load_adapter(tmp_path / "adapter")
    after = model.predict(["a good film"], verbose=0)
    np.testing.assert_allclose(after, answers(adapted)[:1], atol=1e-5)
    assert np.abs(after - before).max() > 0.1


def test_a_folder_holds_adapters_and_head_by_the_names_of_peft(model, tmp_path):
    adapt(model, 2)
    model.save_adapter(tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter/adapter_model.safetensors")
    # Two blocks of six matrices with A and B; the head.
    assert len(tensors) == 2 * 6 * 2 + 2
    query = "base_model.model.bert.encoder.layer.1.attention.self.query"
    a, b = tensors[f"{query}.lora_A.weight"], tensors[f"{query}.lora_B.weight"]
    assert (a.shape, b.shape) == ((2, 16), (16, 2))
    dense = model.encoder.blocks[1].attention.query
    kernel = next(np.array(weight) for weight in dense.weights if weight.name == "kernel")
    np.testing.assert_allclose(kernel + (b @ a).T, dense.kernel, atol=1e-6)
    assert tensors["base_model.model.classifier.weight"].shape == (2, 16)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (2, 2, "SEQ_CLS")


def test_the_checkpoint_is_merged_and_answers_alike(model, tmp_path):
    before = adapt(model, 2)
    model.save_pretrained(tmp_path / "merged")
    merged = BertClassifier.from_pretrained(tmp_path / "merged")
    np.testing.assert_allclose(answers(merged), before, atol=1e-5)


def test_the_checkpoint_of_a_mixed_precision_model_is_float32(two_layer_classifier, tmp_path):
    config = two_layer_classifier().encoder.config
    model = BertClassifier(
        BertEncoder(config, dtype="mixed_bfloat16"), ["negative", "positive"],
        two_layer_classifier().tokenizer, dtype="mixed_bfloat16",
    )  # fmt: skip
    enable_lora(model.encoder, 1)
    model.save_pretrained(tmp_path / "model")
    tensors = load_file(tmp_path / "model/model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype("float32")}


class TestRefusals:
    @pytest.fixture
    def folder(self, two_layer_classifier, tmp_path):
        model = two_layer_classifier()
        adapt(model, 1)
        model.save_adapter(tmp_path / "adapter")
        return tmp_path / "adapter"

    def test_of_another_encoder(self, model, folder):
        bias = model.encoder.blocks[1].feed_forward.contract.bias
        bias.assign_add(np.full(bias.shape, 1e-6))
        before = answers(model)
        message = (
            r"holds adapters of another encoder \(sha256 \w{12}\.\.\., the model's is \w{12}\."
        )
        with pytest.raises(ValueError, match=message):
            model.load_adapter(folder)
        np.testing.assert_array_equal(answers(model), before)

    def test_of_other_labels(self, two_layer_classifier, folder):
        model = two_layer_classifier(labels=["bad", "good"])
        with pytest.raises(ValueError, match=r"adapters for the labels \['negative', 'positive'\]"):
            model.load_adapter(folder)

    def test_no_adapters_to_write(self, model, tmp_path):
        with pytest.raises(ValueError, match="has no adapters: call enable_lora"):
            model.save_adapter(tmp_path / "adapter")
        assert not list(tmp_path.iterdir())

    def test_no_adapters_to_read(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match="has no adapter_config.json: name a folder"):
            model.load_adapter(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            # Matrices of half a terabyte.
            (
                {"r": 10**10},
                r"lora_A.weight has shape \(1, 16\), the config asks for \(10000000000,",
            ),
            ({"r": "1"}, "has r '1', which must be of the type int"),
            ({"temperature": "1"}, "has temperature '1', which must be of the type float"),
        ],
    )
    def test_another_config(self, model, folder, change, message):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        (folder / HASHES).unlink()
        with pytest.raises(ValueError, match=message):
            model.load_adapter(folder)

    def test_a_changed_file(self, model, folder):
        with (folder / "adapter_config.json").open("a") as file:
            file.write("\n")
        with pytest.raises(
            ValueError, match="adapter_config.json has changed since the folder was"
        ):
            model.load_adapter(folder)

    def test_a_truncated_file(self, model, folder):
        file = folder / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:-9])
        (folder / HASHES).unlink()
        with pytest.raises(ValueError, match="is truncated or not a safetensors file"):
            model.load_adapter(folder)
