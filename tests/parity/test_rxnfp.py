"""Trained heads of others, live against transformers: fetches a package.

rxnfp (MIT) has three BERTs for chemical reactions in files of before safetensors: bare, with the
heads of pretraining, and with 50 classes that have no names.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from keras_bert_scratch import BertClassifier, BertPretrainer
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.checkpoints.registry import fetch_package

pytestmark = pytest.mark.slow

PACKAGE = ("rxnfp==0.1.0", "c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf")
RNG = np.random.default_rng(0)
# Random ids, so that every row of the embeddings has its turn.
INPUTS = {
    "token_ids": RNG.integers(591, size=(16, 60), dtype="int32"),
    "segment_ids": np.zeros((16, 60), "int32"),
    "padding_mask": (np.arange(60) < RNG.integers(1, 61, size=(16, 1))).astype("int32"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rxnfp")
    with zipfile.ZipFile(fetch_package(*PACKAGE)) as package:
        package.extractall(folder)
    return folder / "rxnfp" / "models" / "transformers"


@pytest.fixture
def theirs(as_torch):
    def run(kind: str, folder: Path):
        # In float64: the logits reach 12, where float32 is itself off by 1e-5 on some processors.
        model = getattr(transformers, kind).from_pretrained(folder).eval().double()
        with torch.no_grad():
            return model(**as_torch(INPUTS))

    return run


def test_fifty_classes_without_names(models: Path, theirs) -> None:
    folder = models / "bert_ft_10k_25s"
    ours = BertClassifier.from_pretrained(folder, dtype="float64")
    assert ours.labels == [f"LABEL_{n}" for n in range(50)]
    expected = theirs("BertForSequenceClassification", folder).logits.numpy()
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(ours.predict(INPUTS, verbose=0), expected, atol=1e-10)
    # The same head under names of its classes.
    names = [f"class {n}" for n in range(50)]
    named = BertClassifier.from_pretrained(folder, labels=names, dtype="float64")
    np.testing.assert_allclose(named.predict(INPUTS, verbose=0), expected, atol=1e-10)


def test_heads_of_pretraining(models: Path, theirs) -> None:
    folder = models / "bert_pretrained"
    positions = np.tile(np.arange(60, dtype="int32"), (16, 1))
    ours = BertPretrainer.from_pretrained(folder)({**INPUTS, "masked_positions": positions})
    expected = theirs("BertForPreTraining", folder)
    is_token = INPUTS["padding_mask"][..., None]
    np.testing.assert_allclose(
        ours["masked_language_model"] * is_token,
        expected.prediction_logits.numpy() * is_token,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        ours["next_sentence"], expected.seq_relationship_logits.numpy(), atol=1e-5
    )


def test_bare_encoder(models: Path, theirs) -> None:
    found = load_encoder(models / "bert_ft")(INPUTS)["pooled_output"]
    expected = theirs("BertModel", models / "bert_ft").pooler_output.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
