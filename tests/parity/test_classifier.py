"""A saved classifier, tokenizer and all, in transformers."""

import numpy as np
import pytest
import torch
import transformers

TEXTS = ["a really good film", "the very awful movies, über 电影", ""]


@pytest.mark.parametrize("pairs", [None, ["great", "bad film", "the"]], ids=["texts", "pairs"])
def test_the_same_logits_from_raw_text(two_layer_classifier, tmp_path, pairs, load_there):
    ours = two_layer_classifier(["bad", "good", "neither"])
    ours.save_pretrained(tmp_path / "saved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    theirs = load_there("AutoModelForSequenceClassification", tmp_path / "saved")
    assert theirs.config.id2label == {0: "bad", 1: "good", 2: "neither"}
    with torch.no_grad():
        encoded = tokenizer(TEXTS, pairs, padding=True, return_tensors="pt")
        expected = theirs(**encoded).logits.numpy()
    logits = ours.predict(TEXTS if pairs is None else (TEXTS, pairs), verbose=0)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_head_on_pooled_states_is_not_taken_for_another(two_layer_classifier, tmp_path, caplog):
    ours = two_layer_classifier(["bad", "good"], pooling="mean")
    ours.save_pretrained(tmp_path / "saved")
    assert "transformers has no head that reads the mean of the states" in caplog.text
    _, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert set(loading["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    encoder = transformers.AutoModel.from_pretrained(tmp_path / "saved").eval()
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = encoder(**encoded).last_hidden_state
    mask = encoded["attention_mask"][:, :, None]
    means = ((states * mask).sum(1) / mask.sum(1)).numpy()
    kernel, bias = ours.head.logits.get_weights()
    np.testing.assert_allclose(ours.predict(TEXTS, verbose=0), means @ kernel + bias, atol=1e-5)


def test_columns_and_tables_of_datasets(two_layer_classifier):
    import datasets

    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    table = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1]}, features=features)
    table = table.select([2, 0])  # whose rows keep their old places in the file
    model = two_layer_classifier(["bad", "good"])
    examples = model.examples(table["text"], table["label"])
    assert examples.texts == [TEXTS[2], TEXTS[0]]
    assert examples.targets.tolist() == [1, 1]
    assert model.examples(table.select_columns("text")).texts == examples.texts


def test_without_some_heads(two_layer_classifier, tmp_path):
    model = two_layer_classifier(["bad", "good", "neither"])
    model.save_pretrained(tmp_path / "all")
    smaller = model.with_heads([[1], [0]])
    smaller.save_pretrained(tmp_path / "some")
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        load(tmp_path / "some")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "all")
    theirs = load(tmp_path / "all").eval()
    with torch.no_grad():
        # A head says nothing if its columns of the output are 0. Heads are 8 wide.
        for layer, columns in zip(theirs.bert.encoder.layer, (slice(8), slice(8, 16)), strict=True):
            layer.attention.output.dense.weight[:, columns] = 0
        expected = theirs(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(smaller.predict(TEXTS, verbose=0), expected, atol=1e-5)
    assert np.abs(expected - model.predict(TEXTS, verbose=0)).max() > 0.01
