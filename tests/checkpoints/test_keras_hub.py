import re

import keras_nlp
import numpy as np
import pytest

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder
from keras_bert_scratch.checkpoints import keras_hub, registry
from keras_bert_scratch.checkpoints.huggingface import load_encoder

SIZES = {
    "vocabulary_size": 11,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 6,
    "intermediate_dim": 10,
    "dropout": 0.2,
    "max_sequence_length": 13,
    "num_segments": 2,
}
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "Film", "##s", "!", "."]
RNG = np.random.default_rng(0)
INPUTS = {
    "token_ids": RNG.integers(11, size=(5, 7), dtype="int32"),
    "segment_ids": RNG.integers(2, size=(5, 7), dtype="int32"),
    "padding_mask": (np.arange(7) < RNG.integers(1, 8, size=(5, 1))).astype("int32"),
}


@pytest.fixture
def backbone():
    """A backbone whose weights are all different from their initial values."""
    backbone = keras_nlp.models.BertBackbone(**SIZES)
    for variable in backbone.weights:
        if "seed_generator" not in variable.path:
            variable.assign(RNG.normal(size=variable.shape, scale=0.3))
    return backbone


@pytest.fixture
def preset(backbone, tmp_path, monkeypatch):
    """A preset that KerasHub has "fetched"; counts how often."""
    fetched = []

    def from_preset(name):
        fetched.append(name)
        return backbone

    models = keras_nlp.models
    monkeypatch.setattr(registry, "CACHE", tmp_path)
    monkeypatch.setattr(models.BertBackbone, "from_preset", from_preset)
    monkeypatch.setattr(
        models.BertTokenizer, "from_preset", lambda _: models.BertTokenizer(TOKENS, lowercase=False)
    )
    return fetched


def assert_alike(ours: BertEncoder, backbone) -> None:
    found, expected = ours(INPUTS), backbone(INPUTS)
    is_token = INPUTS["padding_mask"][..., None]
    for name in ("sequence_output", "pooled_output"):
        mask = is_token if name == "sequence_output" else 1
        np.testing.assert_allclose(found[name] * mask, expected[name] * mask, atol=1e-5)


def test_a_preset_becomes_an_encoder(preset, backbone):
    ours = load_encoder("keras-hub:bert_tiny_en_uncased")
    assert ours.config.dropout == ours.config.attention_dropout == 0.2
    assert_alike(ours, backbone)
    load_encoder("keras-hub:bert_tiny_en_uncased")
    assert preset == ["bert_tiny_en_uncased"]


def test_whoever_reads_the_config_reads_the_weights(backbone, tmp_path):
    keras_hub.write_backbone(tmp_path, backbone)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_preset_brings_its_tokenizer(preset):
    model = BertClassifier.from_pretrained("keras-hub:bert_base_en", ["a", "b"])
    assert model.tokenizer.encode("Films").token_ids == [2, 7, 8, 3]


def test_an_unknown_preset(preset):
    message = "KerasHub has no BERT preset 'gpt2': name one of bert_tiny_en_uncased, "
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_encoder("keras-hub:gpt2")


def test_a_preset_that_cannot_be_fetched(preset, tmp_path, monkeypatch):
    def from_preset(name):
        raise ConnectionError("no route")

    monkeypatch.setattr(keras_nlp.models.BertBackbone, "from_preset", from_preset)
    with pytest.raises(FileNotFoundError, match=r"could not fetch .* \(Connection.*: no route\)"):
        load_encoder("keras-hub:bert_base_zh")
    assert not any(tmp_path.iterdir())


def test_an_encoder_becomes_a_backbone():
    encoder = BertEncoder(
        BertConfig(11, 2, 3, 6, 10, max_positions=13, activation="gelu_tanh", dropout=0.1)
    )
    for weight in encoder.weights:
        if "seed_generator" not in weight.path:
            weight.assign(RNG.normal(size=weight.shape, scale=0.3))
    assert_alike(encoder, keras_hub.to_keras_hub(encoder))


def test_what_keras_hub_does_not_have_is_refused():
    encoder = BertEncoder(BertConfig(11, 1, 3, 6, 10, attention_dropout=0.0))
    message = (
        "KerasHub's BertBackbone has activation='gelu_tanh', attention_dropout=0.1, and this "
        "encoder activation='gelu', attention_dropout=0.0"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        keras_hub.to_keras_hub(encoder)
