"""Adapters apart from their encoder, in the library `peft`."""

import numpy as np
import peft
import pytest
import torch
import transformers

from keras_bert_scratch import enable_lora


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")
def test_the_same_logits(two_layer_classifier, tmp_path):
    ours = two_layer_classifier()
    ours.save_pretrained(tmp_path / "base")
    enable_lora(ours.encoder, 3)
    generator = np.random.default_rng(0)
    for weight in ours.trainable_weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))
    ours.save_adapter(tmp_path / "adapter")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    ids = np.array([[2, 6, 7, 8, 3], [2, 9, 10, 11, 3]])
    with torch.no_grad():
        before = base.eval()(torch.tensor(ids)).logits.numpy()
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
        expected = theirs(torch.tensor(ids)).logits.numpy()
    logits = ours({"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1})
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.abs(expected - before).max() > 0.1
