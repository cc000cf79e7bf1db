"""A saved classifier, tokenizer and all, in transformers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run `make parity`")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: run `make parity`"
)
pytestmark = pytest.mark.parity

TEXTS = ["a really good film", "the very awful movies, über 电影", ""]


@pytest.mark.parametrize("pairs", [None, ["great", "bad film", "the"]], ids=["texts", "pairs"])
def test_the_same_logits_from_raw_text(tiny_classifier, tmp_path, pairs):
    ours = tiny_classifier(["bad", "good", "neither"])
    ours.save_pretrained(tmp_path / "saved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    theirs, found = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == {0: "bad", 1: "good", 2: "neither"}
    with torch.no_grad():
        encoded = tokenizer(TEXTS, pairs, padding=True, return_tensors="pt")
        expected = theirs.eval()(**encoded).logits.numpy()
    logits = ours.predict(TEXTS if pairs is None else (TEXTS, pairs), verbose=0)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
