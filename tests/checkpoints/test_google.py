"""Google's format, on files that TensorFlow writes. Live against transformers in tests/parity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.google import GoogleCheckpoint, open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import HuggingFaceCheckpoint, config_fields
from keras_bert_scratch.checkpoints.name_map import (
    NEXT_SENTENCE,
    encoder_weights,
    masked_language_model_weights,
    pooler_weights,
)
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(25))]))
CONFIG = BertConfig(
    vocab_size=30,
    num_layers=1,
    num_heads=2,
    hidden_dim=8,
    feed_forward_dim=12,
    max_positions=16,
)
BERT_CONFIG = config_fields(CONFIG)
ROWS = (
    *encoder_weights(CONFIG),
    *pooler_weights(CONFIG),
    *masked_language_model_weights(CONFIG),
    *NEXT_SENTENCE,
)


def write(folder: Path, arrays: dict[str, Any]) -> None:
    """Writes arrays by their names, as TensorFlow 1's Saver does."""
    compat = tf.compat.v1
    with tf.Graph().as_default(), compat.Session() as session:
        for name, array in arrays.items():
            compat.get_variable(name, initializer=array)
        session.run(compat.global_variables_initializer())
        compat.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    (folder / "bert_config.json").write_text(json.dumps(BERT_CONFIG))
    TOKENIZER.vocabulary.to_file(folder / "vocab.txt")


@pytest.fixture
def model() -> BertPretrainer:
    return BertPretrainer(BertEncoder(CONFIG), TOKENIZER)


def all_arrays(model: BertPretrainer) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {row: at(model, row.ours).shape for row in ROWS}
    return {
        row.google: rng.normal(size=shape[:: -1 if row.google_transpose else 1]).astype("float32")
        for row, shape in shapes.items()
    }


def test_names_and_places(model: BertPretrainer, tmp_path: Path) -> None:
    arrays = all_arrays(model)
    extra = {"bert/pooler/dense/bias/adam_v": np.zeros(8, "float32"), "global_step": np.int64(3)}
    write(tmp_path, {**arrays, **extra})
    loaded = BertPretrainer.from_pretrained(tmp_path)
    assert loaded.encoder.config == model.encoder.config
    for row in ROWS:
        array = arrays[row.google].T if row.google_transpose else arrays[row.google]
        np.testing.assert_array_equal(at(loaded, row.ours), array, err_msg=row.google)
    assert len(ROWS) == len(loaded.weights)


def test_open_checkpoint_knows_the_format(model: BertPretrainer, tmp_path: Path) -> None:
    google, huggingface = tmp_path / "google", tmp_path / "huggingface"
    google.mkdir()
    write(google, all_arrays(model))
    model.save_pretrained(huggingface)
    assert isinstance(open_checkpoint(google), GoogleCheckpoint)
    assert isinstance(open_checkpoint(huggingface), HuggingFaceCheckpoint)


def test_what_does_not_fit_is_named(model: BertPretrainer, tmp_path: Path) -> None:
    arrays = all_arrays(model)
    del arrays["bert/embeddings/LayerNorm/beta"]
    arrays["bert/pooler/dense/bias"] = np.zeros(9, "float32")
    write(tmp_path, arrays)
    message = (
        "missing: bert/embeddings/LayerNorm/beta; bert/pooler/dense/bias has shape "
        r"\(9,\), the config asks for \(8,\)"
    )
    with pytest.raises(ValueError, match=message):
        BertPretrainer.from_pretrained(tmp_path)


def test_files_that_are_missing_or_damaged(model: BertPretrainer, tmp_path: Path) -> None:
    write(tmp_path, all_arrays(model))
    index = tmp_path / "bert_model.ckpt.index"
    content = index.read_bytes()
    index.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"bert_model.ckpt cannot be read \(.*fetch it again"):
        BertPretrainer.from_pretrained(tmp_path)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"has 0 files \*.ckpt\*.index, expected one"):
        BertPretrainer.from_pretrained(tmp_path)


def test_damaged_data(model: BertPretrainer, tmp_path: Path) -> None:
    write(tmp_path, all_arrays(model))
    data = tmp_path / "bert_model.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    with pytest.raises(ValueError, match=r"bert_model.ckpt cannot be read \(.*Checksum does not"):
        BertPretrainer.from_pretrained(tmp_path)
    data.write_bytes(content[:-100])
    message = (
        rf"index names weights of {len(content)} bytes, its data files have {len(content) - 100}"
    )
    with pytest.raises(ValueError, match=message):
        BertPretrainer.from_pretrained(tmp_path)
    # Another file makes up for the bytes.
    data.write_bytes(b"")
    (tmp_path / "bert_model.ckpt.data-00001-of-00002").write_bytes(bytes(len(content)))
    with pytest.raises(ValueError, match=r"bert_model.ckpt cannot be read \(.*fetch it again"):
        BertPretrainer.from_pretrained(tmp_path)


def test_a_config_of_other_sizes(model: BertPretrainer, tmp_path: Path) -> None:
    write(tmp_path, all_arrays(model))
    (tmp_path / "bert_config.json").write_text(json.dumps({**BERT_CONFIG, "vocab_size": 10**12}))
    message = r"word_embeddings has shape \(30, 8\), the config asks for \(1000000000000, 8\)"
    with pytest.raises(ValueError, match=message):
        GoogleCheckpoint(tmp_path)
