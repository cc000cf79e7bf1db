"""The tasks on an encoder whose architecture is ModernBERT's."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.adapting import enable_lora, keep_layers, merge_lora
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.readers.classifier import load_predictor
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier

TEXTS = ["a good film", "the very really bad movie , a very awful film . the awful movie", "awful"]
# Layers are global and local; the last has no need for all keys.
MODERN = {"architecture": "modernbert", "num_layers": 3, "local_window": 4}


@pytest.fixture
def model(tiny_classifier: Callable[..., BertClassifier]) -> BertClassifier:
    return tiny_classifier(changes=MODERN)


def test_learns(model: BertClassifier, reviews: tuple[list[str], list[str]]) -> None:
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(*reviews, epochs=12, batch_size=8, verbose=0)
    assert model.evaluate(*reviews, return_dict=True, verbose=0)["accuracy"] > 0.95


def test_low_rank_adapters(model: BertClassifier, tmp_path: Path) -> None:
    enable_lora(model.encoder, 2)
    start = model.predict(TEXTS, verbose=0)
    for weight in model.encoder.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=0))
    # Of every block: query, key and value at once, output, and both of the feed-forward network.
    assert len(model.encoder.trainable_weights) == 2 * 4 * 3
    adapted = model.predict(TEXTS, verbose=0)
    assert np.abs(adapted - start).max() > 0.01
    model.save_adapter(tmp_path / "adapter")
    fields = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (fields["r"], fields["target_modules"]) == (2, ["Wi", "Wo", "Wqkv"])
    merge_lora(model.encoder)
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), adapted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "export_format", "options"),
    [
        ("saved_model", "tf_saved_model", {}),
        ("model.tflite", "litert", {}),
        ("int8.tflite", "litert", {"precision": "int8"}),
        ("model.onnx", "onnx", {}),
    ],
)
def test_exports(
    model: BertClassifier, name: str, export_format: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model.export(tmp_path / name, format=export_format, **options)
    found = load_predictor(tmp_path / name).probabilities(TEXTS)
    atol = 0.1 if options else 1e-5
    np.testing.assert_allclose(found, model.probabilities(TEXTS), rtol=0, atol=atol)


def test_masked_language_model(model: BertClassifier, tmp_path: Path) -> None:
    pretrainer = BertPretrainer(model.encoder, model.tokenizer, next_sentence=False)
    pretrainer.save_pretrained(tmp_path / "model")
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    assert fields["architectures"] == ["ModernBertForMaskedLM"]
    loaded = BertPretrainer.from_pretrained(tmp_path / "model")
    text = "a [MASK] film"
    assert loaded.fill_mask(text) == pretrainer.fill_mask(text)
    # The head for masked tokens is what a classifier's pooler starts from.
    classifier = BertClassifier.from_pretrained(tmp_path / "model", labels=["a", "b"])
    pooler, head = classifier.encoder.pooler, pretrainer.masked_language_model
    np.testing.assert_array_equal(pooler.dense.kernel, head.dense.kernel)
    np.testing.assert_array_equal(pooler.norm.gamma, head.norm.gamma)


# === What there is not ===
def test_a_tokenizer_of_another_kind(model: BertClassifier, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    for name in ("vocab.txt", "hashes.json"):
        (tmp_path / "model" / name).unlink()
    (tmp_path / "model" / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    message = (
        "the tokenizer.json is of the model type 'BPE', only 'WordPiece' is BERT's: use a "
        "checkpoint with a WordPiece tokenizer, or load_encoder, which takes ready ids."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        BertClassifier.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("make", "architecture"),
    [
        (lambda e, t: BertPretrainer(e, t), "BertForPreTraining"),
        (lambda e, t: BertTokenClassifier(e, ["O", "B-X"], t), "BertForTokenClassification"),
    ],
    ids=["next sentence", "tags"],
)
def test_tasks_that_transformers_builds_otherwise(
    model: BertClassifier, make: Callable[..., Any], architecture: str, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="transformers builds a BertForTokenClassification otherw"):
        BertTokenClassifier.from_pretrained(tmp_path / "encoder", labels=["O", "B-X"])
    task = make(model.encoder, model.tokenizer)
    message = f"transformers has no ModernBERT that is built as {architecture} (it has BertModel,"
    with pytest.raises(ValueError, match=re.escape(message)):
        task.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_decoders(model: BertClassifier, tmp_path: Path) -> None:
    config = model.encoder.config
    with pytest.raises(
        ValueError, match="BertDecoder is BERT's with all heads, received architecture 'mod"
    ):
        BertDecoder(config)
    decoder = BertDecoder(
        BertConfig(
            vocab_size=config.vocab_size,
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            feed_forward_dim=16,
            max_positions=16,
        )
    )
    summarizer = BertSummarizer(model.encoder, decoder, model.tokenizer, summary_length=4)
    assert len(summarizer.summarize(TEXTS)) == 3
    with pytest.raises(ValueError, match="of two BERTs cannot have an encoder of architecture 'mo"):
        summarizer.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_fewer_layers(model: BertClassifier) -> None:
    with pytest.raises(ValueError, match="Blocks of architecture 'modernbert' are global, local,"):
        keep_layers(model.encoder, [0, 1])


def test_trained_from_scratch_by_position_alone() -> None:
    """Rotary positions tell order: the same tokens in two orders are two classes."""
    keras.utils.set_random_seed(0)
    encoder = BertEncoder(
        BertConfig(
            vocab_size=6,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            feed_forward_dim=16,
            max_positions=8,
            dropout=0.0,
            attention_dropout=0.0,
            architecture="modernbert",
            local_window=2,
        )
    )
    model = BertClassifier(encoder, ["rising", "falling"])
    ids = np.array([[2, 4, 5, 3], [2, 5, 4, 3]] * 8, "int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    labels = np.array([0, 1] * 8)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    model.fit(inputs, labels, epochs=10, verbose=0)
    assert (model.predict(inputs, verbose=0).argmax(1) == labels).all()
