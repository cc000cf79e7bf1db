"""Sentence encoders, live against sentence-transformers: folders go both ways."""

from pathlib import Path

import numpy as np
import pytest
import sentence_transformers

from keras_bert_scratch import BertSentenceEncoder
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint

TEXTS = [
    "a really good film",
    "",
    "An Über-café, naïve & déjà vu! " * 12,
    "这部电影太棒了，值得再看。",
    "one word after another " * 100,
]


def theirs(folder: Path) -> np.ndarray:
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return model.encode(TEXTS, batch_size=2)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False], ids=["normalized", "plain"])
def test_a_saved_encoder_answers_alike_there(two_layer_classifier, tmp_path, pooling, normalize):
    tiny = two_layer_classifier()
    model = BertSentenceEncoder(
        tiny.encoder, tiny.tokenizer, pooling=pooling, normalize=normalize, sequence_length=20
    )
    model.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(
        model.encode(TEXTS, verbose=0), theirs(tmp_path / "saved"), atol=1e-5
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_saved_there_answers_alike_here(two_layer_classifier, tmp_path, pooling):
    two_layer_classifier().save_pretrained(tmp_path / "start")
    modules = [sentence_transformers.models.Transformer(str(tmp_path / "start"), max_seq_length=20)]
    modules.append(sentence_transformers.models.Pooling(16, pooling_mode=pooling))
    modules.append(sentence_transformers.models.Normalize())
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(
        str(tmp_path / "theirs")
    )
    ours = BertSentenceEncoder.from_pretrained(tmp_path / "theirs")
    assert (ours.pooling, ours.normalize) == (pooling, True)
    assert ours.sequence_length == 20
    np.testing.assert_allclose(
        ours.encode(TEXTS, verbose=0), theirs(tmp_path / "theirs"), atol=1e-5
    )


@pytest.mark.slow
def test_minilm():
    folder = find_checkpoint("minilm")
    ours = BertSentenceEncoder.from_pretrained(folder)
    assert (ours.pooling, ours.normalize, ours.sequence_length) == ("mean", True, 256)
    np.testing.assert_allclose(ours.encode(TEXTS, verbose=0), theirs(folder), atol=1e-5)
