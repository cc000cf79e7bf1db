import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import (
    BertConfig,
    BertEncoder,
    BertSentenceEncoder,
    CosineSimilarityLoss,
    InBatchContrastiveLoss,
)
from keras_bert_scratch.files import HASHES
from keras_bert_scratch.tasks.sentence_encoder import TextIndex

TEXTS = ["a good film", "", "the very awful movie , really", "bad bad bad"]


@pytest.fixture
def make(tiny_classifier):
    """Returns a function that makes the same small sentence encoder with random weights."""

    tokenizer = tiny_classifier().tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer.vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=32,
        initializer_range=0.2,
    )

    def make(**kwargs):
        keras.utils.set_random_seed(0)
        return BertSentenceEncoder(BertEncoder(config), tokenizer, **kwargs)

    return make


@pytest.fixture
def model(make):
    return make()


class TestEmbeddings:
    def test_each_text_alone_gives_the_same(self, make):
        model = make(normalize=False)
        # Unpadded, one by one, and the mean by numpy.
        expected = []
        for text in TEXTS:
            encoding = model.tokenizer.encode(text, sequence_length=32)
            ids = np.array([encoding.token_ids])
            inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
            states = model.encoder(inputs)["sequence_output"].numpy()[0]
            expected.append(states.mean(axis=0))
        np.testing.assert_allclose(model.encode(TEXTS, verbose=0), expected, atol=1e-5)

    def test_normalized_ones_have_length_1(self, make):
        found, plain = (
            make(normalize=normalize).encode(TEXTS, verbose=0) for normalize in (True, False)
        )
        np.testing.assert_allclose(
            found, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6
        )
        assert found.dtype == np.float32

    def test_cls_is_the_first_state(self, make):
        model = make(pooling="cls", normalize=False)
        inputs = next(iter(model.batches(TEXTS).dataset()))[0]
        states = model.encoder(inputs)["sequence_output"]
        np.testing.assert_array_equal(model(inputs), states[:, 0])

    def test_pairs_are_two_sequences(self, model):
        both = model.predict((TEXTS, TEXTS[::-1]), batch_size=2, verbose=0)
        alone = model.encode(TEXTS, verbose=0)
        np.testing.assert_allclose(both, np.stack([alone, alone[::-1]], axis=1), atol=1e-6)

    def test_similarity_is_the_cosine_of_every_two(self, make):
        model = make(normalize=False)
        one, other = (model.encode(texts, verbose=0) for texts in (TEXTS, TEXTS[:2]))
        lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)
        np.testing.assert_allclose(
            model.similarity(TEXTS, TEXTS[:2]), one @ other.T / lengths, atol=1e-6
        )

    def test_progress_is_shown_on_request(self, model, capsys):
        model.encode(TEXTS, batch_size=2, verbose=0)
        assert capsys.readouterr().out == ""
        model.encode(TEXTS, batch_size=2, verbose=2)
        assert "2/2" in capsys.readouterr().out

    def test_index(self, model):
        index = TextIndex(model, TEXTS)
        (best, second), *_ = index.search(["bad bad bad", "good"], count=2)
        assert best == ("bad bad bad", pytest.approx(1.0, abs=1e-6))
        similarities = model.similarity(["bad bad bad"], TEXTS)[0]
        assert second == (
            TEXTS[np.argsort(-similarities)[1]],
            pytest.approx(np.sort(similarities)[-2], abs=1e-6),
        )
        assert len(index.search(["good"], count=10)[0]) == len(TEXTS)


class TestFit:
    def test_contrastive_brings_pairs_together(self, model, reviews):
        # What belongs together: the two nouns in the same review.
        films = [text for text in reviews[0] if "film" in text]
        pairs = (films, [text.replace("film", "movie") for text in films])

        def hits():
            similarities = model.similarity(*pairs)
            return np.mean(similarities.argmax(axis=1) == np.arange(len(films)))

        before = hits()
        model.compile(keras.optimizers.Adam(3e-3), loss=InBatchContrastiveLoss())
        history = model.fit(pairs, batch_size=12, epochs=15, validation_data=(pairs,), verbose=0)
        assert history.history["loss"][-1] < history.history["loss"][0] / 2
        assert history.history["val_loss"][-1] < history.history["val_loss"][0]
        assert hits() > max(before, 0.9)

    def test_cosine_learns_given_similarities(self, model):
        pairs = (["good film", "good film", "bad film"] * 4, ["great", "awful", "awful"] * 4)
        model.compile(keras.optimizers.Adam(3e-3), loss=CosineSimilarityLoss())
        model.fit(pairs, [1.0, -1.0, 1.0] * 4, batch_size=6, epochs=30, verbose=0)
        found = np.diag(model.similarity(pairs[0][:3], pairs[1][:3]))
        np.testing.assert_allclose(found, [1, -1, 1], atol=0.3)

    def test_the_same_text_twice_has_two_drop_outs(self, model):
        # What unsupervised SimCSE learns from.
        inputs = model.batches((TEXTS, TEXTS)).batch(np.arange(4))[0]
        first, second = np.moveaxis(model(inputs, training=True), 1, 0)
        assert (np.abs(first - second).max(axis=1) > 1e-3).all()
        first, second = np.moveaxis(model(inputs, training=False), 1, 0)
        np.testing.assert_array_equal(first, second)

    def test_validation_split_and_datasets(self, model, reviews):
        texts = reviews[0]
        model.compile("adam", loss=CosineSimilarityLoss())
        similarities = np.linspace(-1, 1, len(texts))
        history = model.fit(
            (texts, texts[::-1]), similarities, validation_split=0.25, epochs=1, verbose=0
        )
        assert np.isfinite(history.history["val_loss"][0])
        dataset = tf.data.Dataset.from_tensor_slices(
            ((texts, texts[::-1]), similarities[:, None])
        ).batch(16)
        by_dataset = model.evaluate(dataset, verbose=0)
        by_texts = model.evaluate((texts, texts[::-1]), similarities, verbose=0)
        assert by_dataset == pytest.approx(by_texts, rel=1e-4)

    def test_the_pooler_is_left_alone(self, model):
        trainable = {variable.path for variable in model.trainable_variables}
        assert not any("pooler" in path for path in trainable)
        assert any("block_0" in path for path in trainable)


GOOD, BAD = ["good", "bad"], ["film", "film"]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (GOOD, None, "learns from pairs of texts: give fit a tuple of two"),
        ((GOOD, BAD), [0.1, 0.2, 0.3], "There are 2 texts but 3 labels: give one"),
        ((GOOD, BAD), [0.1, 5], "from -1 to 1, received 5 at position 1: scale yours"),
        ((GOOD, BAD), [0.1, float("nan")], "Similarities are from -1 to 1, received"),
        ((GOOD, BAD), [float("inf"), 0.0], "Similarities are from -1 to 1, received"),
        ((GOOD, BAD), ["yes", "no"], "y is one number from -1 to 1 a pair, received <U"),
        ((GOOD, BAD), None, "CosineSimilarityLoss needs a similarity"),
    ],
)
def test_bad_input(model, x, y, message):
    model.compile("adam", loss=CosineSimilarityLoss())
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)


def test_unknown_pooling(model):
    with pytest.raises(ValueError, match="pooling must be one of 'mean', .*; received 'min'"):
        BertSentenceEncoder(model.encoder, pooling="min")


class TestPretrained:
    def test_modules_have_folders(self, model, tmp_path):
        model.save_pretrained(tmp_path / "saved")
        modules = json.loads((tmp_path / "saved" / "modules.json").read_text())
        assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Normalize"]
        assert all((tmp_path / "saved" / module["path"]).is_dir() for module in modules)
        assert BertSentenceEncoder.from_pretrained(tmp_path / "saved").normalize

    def test_a_plain_checkpoint_has_sentence_transformers_defaults(self, tiny_classifier, tmp_path):
        tiny_classifier().save_pretrained(tmp_path / "saved")
        model = BertSentenceEncoder.from_pretrained(tmp_path / "saved")
        assert (model.pooling, model.normalize, model.sequence_length) == ("mean", False, 32)

    def test_what_is_given_comes_first(self, model, tmp_path):
        model.save_pretrained(tmp_path / "saved")
        again = BertSentenceEncoder.from_pretrained(
            tmp_path / "saved", pooling="cls", normalize=False, sequence_length=5
        )
        assert (again.pooling, again.normalize, again.sequence_length) == ("cls", False, 5)

    def change(self, model, folder, name, document):
        model.save_pretrained(folder)
        (folder / name).write_text(json.dumps(document))
        (folder / HASHES).unlink()

    @pytest.mark.parametrize(
        ("fields", "found"),
        [
            ({"pooling_mode": "attention"}, "'attention'"),
            ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, "'mean', 'max'"),
        ],
    )
    def test_another_pooling(self, model, tmp_path, fields, found):
        self.change(model, tmp_path / "saved", "1_Pooling/config.json", fields)
        with pytest.raises(ValueError, match=f"has the pooling .*{found}.*; only one of mean, cls"):
            BertSentenceEncoder.from_pretrained(tmp_path / "saved")

    def test_the_newer_pooling_config(self, model, tmp_path):
        self.change(model, tmp_path / "saved", "1_Pooling/config.json", {"pooling_mode": "cls"})
        assert BertSentenceEncoder.from_pretrained(tmp_path / "saved").pooling == "cls"

    def test_other_modules(self, model, tmp_path):
        kinds = ["Transformer", "Pooling", "Dense"]
        modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
        self.change(model, tmp_path / "saved", "modules.json", modules)
        with pytest.raises(ValueError, match="lists Transformer, Pooling, Dense; only"):
            BertSentenceEncoder.from_pretrained(tmp_path / "saved")

    def test_damaged_modules(self, model, tmp_path):
        self.change(model, tmp_path / "saved", "modules.json", {"idx": 0})
        with pytest.raises(ValueError, match=r"modules\.json holds dict, not a list"):
            BertSentenceEncoder.from_pretrained(tmp_path / "saved")
        (tmp_path / "saved" / "modules.json").write_text("[[], 3]")
        with pytest.raises(ValueError, match=r"modules\.json is not a list of modules"):
            BertSentenceEncoder.from_pretrained(tmp_path / "saved")

    @pytest.mark.parametrize("path", ["../other", "/etc", "..", "a/../..", "", 3, None])
    def test_modules_elsewhere(self, model, tmp_path, path):
        modules = [{"type": kind, "path": path} for kind in ("Transformer", "Pooling")]
        self.change(model, tmp_path / "saved", "modules.json", modules)
        with pytest.raises(ValueError, match=f"has the path {path!r}, which is no folder in its"):
            BertSentenceEncoder.from_pretrained(tmp_path / "saved")
