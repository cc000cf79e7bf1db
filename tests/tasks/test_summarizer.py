import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.files import HASHES
from keras_bert_scratch.models.beam_search import GREEDY, BeamSearch
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

# To learn by heart: nothing in a text says its summary.
PAIRS = {
    "the red fox runs": "a fox .",
    "the big dog sleeps": "dog !",
    "a red dog runs": "the dog runs .",
    "the fox sleeps": "a fox sleeps",
}
TEXTS, SUMMARIES = list(PAIRS), list(PAIRS.values())


@pytest.fixture(scope="module")
def make() -> Callable[..., BertSummarizer]:
    def make(**kwargs: Any) -> BertSummarizer:
        keras.utils.set_random_seed(0)
        words = "the a red big fox dog run ##s sleep . !".split()
        tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]))
        config = BertConfig(
            vocab_size=len(tokenizer.vocabulary),
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            feed_forward_dim=32,
            max_positions=16,
            dropout=0.0,
            attention_dropout=0.0,
            initializer_range=0.2,
        )
        settings = {"summary_length": 8, **kwargs}
        return BertSummarizer(BertEncoder(config), BertDecoder(config), tokenizer, **settings)

    return make


@pytest.fixture(scope="module")
def trained(make: Callable[..., BertSummarizer]) -> BertSummarizer:
    model = make()
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(TEXTS, SUMMARIES, batch_size=4, epochs=60, verbose=0)
    return model


class TestTraining:
    def test_overfits_a_handful_of_pairs(self, trained):
        assert trained.summarize(TEXTS) == ["a fox.", "dog!", "the dog runs.", "a fox sleeps"]
        assert trained.summarize(TEXTS, BeamSearch(3)) == trained.summarize(TEXTS)
        figures = trained.evaluate(TEXTS, SUMMARIES, return_dict=True, verbose=0)
        assert figures["accuracy"] == 1.0
        assert figures["perplexity"] < 1.3

    def test_answers_come_in_the_order_of_the_texts(self, trained):
        order = [2, 0, 3, 1, 2]
        texts = [TEXTS[i] for i in order]
        expected = [trained.summarize([text])[0] for text in texts]
        assert trained.summarize(texts, batch_size=2) == expected

    def test_predict_gives_the_ids_of_greedy_summaries(self, trained):
        ids = trained.predict(TEXTS, verbose=0)
        assert ids.shape == (4, 8)
        assert [trained.tokenizer.decode(row) for row in ids] == trained.summarize(TEXTS)

    def test_padding_does_not_count(self, make):
        """Loss and metrics of two summaries are the means over their tokens."""
        model = make()
        model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        pairs = [(TEXTS[1:2], SUMMARIES[1:2], 3), (TEXTS[2:3], SUMMARIES[2:3], 6)]
        accuracies = [
            model.evaluate(x, y, return_dict=True, verbose=0)["accuracy"] * n for x, y, n in pairs
        ]
        both = model.evaluate(TEXTS[1:3], SUMMARIES[1:3], return_dict=True, verbose=0)
        assert both["accuracy"] == pytest.approx(sum(accuracies) / 9, abs=1e-6)

    def test_the_loss_does_not_depend_on_the_batch_size(self, make):
        """It is the mean over the tokens of all summaries: 3, 4, 5 and 5 of them."""
        model = make()
        model.compile("adam")
        alone = [
            model.evaluate([text], [summary], return_dict=True, verbose=0)["loss"]
            for text, summary in PAIRS.items()
        ]
        tokens = [np.sum(model.encode_labels([summary]) > 0) for summary in SUMMARIES]
        mean = np.dot(alone, tokens) / np.sum(tokens)
        assert mean != pytest.approx(np.mean(alone), rel=1e-4)
        for batch_size in (1, 2, 3, 4):
            found = model.evaluate(TEXTS, SUMMARIES, batch_size, return_dict=True, verbose=0)
            assert found["loss"] == pytest.approx(mean, rel=1e-5)

    def test_unknown_summary_words_are_learnt_as_unknown(self, make):
        labels = make().encode_labels(["zebra"])
        assert labels.tolist() == [[1, 3]]  # [UNK] [SEP]

    def test_long_summaries_are_truncated(self, make):
        labels = make(summary_length=4).encode_labels(["the red fox runs"])
        assert labels.tolist() == [[5, 7, 3]]  # [CLS] the red [SEP], without [CLS]


class TestChoices:
    def test_nothing_has_an_empty_summary(self, trained):
        texts = ["", TEXTS[0], "  \n", "\u200b", TEXTS[1]]
        for choice in ({}, {"sampler": BeamSearch(2), "min_length": 5}):
            found = trained.summarize(texts, **choice)
            assert (found[0], found[2], found[3]) == ("", "", "")
            assert found[1::3] == trained.summarize(TEXTS[:2], **choice)
        cls, sep, pad = (
            trained.tokenizer.vocabulary.tokens.index(t)
            for t in SPECIAL_TOKENS[2:4] + SPECIAL_TOKENS[:1]
        )
        np.testing.assert_array_equal(
            trained.predict([" "], verbose=0), [[cls, sep, pad, pad, pad, pad, pad, pad]]
        )
        assert trained.summarize([]) == []

    @pytest.mark.parametrize("sampler", [GREEDY, BeamSearch(3)])
    def test_least_length(self, trained, sampler):
        sep = trained.tokenizer.vocabulary.sep_id
        ids = trained.batches(TEXTS).inputs(np.arange(4))
        free = np.array(trained.generate(ids, sampler))
        assert (free[:, 2:5] == sep).any()
        for least in (1, 5, 8):
            found = np.array(trained.generate(ids, sampler, min_length=least))
            assert not (found[:, :least] == sep).any()
            assert (found != trained.tokenizer.vocabulary.pad_id)[:, :least].all()
            assert np.array_equal(found, free) == (least == 1)

    @pytest.mark.parametrize("sampler", [GREEDY, BeamSearch(3)])
    def test_forbidden_words(self, trained, sampler):
        free = trained.summarize(TEXTS, sampler)
        assert free == ["a fox.", "dog!", "the dog runs.", "a fox sleeps"]
        found = trained.summarize(TEXTS, sampler, forbidden_words=["fox", "Dog !"])
        assert not any("fox" in summary for summary in found)
        assert "dog!" not in found
        # Not a word of its own: all summaries with "dog" but without "!" after it may stay.
        assert found[2] == free[2]
        # What the vocabulary cannot write is not written anyway.
        assert trained.summarize(TEXTS, sampler, forbidden_words=("zebra",)) == free

    @pytest.mark.parametrize(
        ("choice", "error", "message"),
        [
            ({"no_repeat_ngram_size": -1}, ValueError, "at least 0, received -1"),
            ({"min_length": -1}, ValueError, "min_length must be from 0 to .* 8; received -1"),
            ({"min_length": 9}, ValueError, "min_length must be from 0 to .* 8; received 9"),
            ({"forbidden_words": "fox"}, TypeError, "are strings in a list, received 'fox'"),
            ({"forbidden_words": [["fox"]]}, TypeError, "are strings in a list, received"),
            ({"forbidden_words": ["fox", " "]}, ValueError, "has ' ', which has no token"),
        ],
    )
    def test_refused(self, trained, tmp_path, choice, error, message):
        with pytest.raises(error, match=message):
            trained.summarize(["a"], **choice)
        with pytest.raises(error, match=message):
            trained.export(tmp_path / "out", **choice)
        assert not (tmp_path / "out").exists()


class TestRefused:
    @pytest.mark.parametrize(
        ("texts", "summaries", "message"),
        [
            (["a", "the", "fox"], ["a", "the"], "the text at position 2 has no summary"),
            (["a"], ["a", "the"], "the summary at position 1 has no text"),
            (["a", "fox"], ["a", " \t"], "1 of 2 summaries are empty, the first at position 1"),
            (["a", " "], ["a", "the"], "1 of 2 examples have an empty text, the first at pos"),
            ((["a"], ["fox"]), ["the"], "A summary is of one text, received pairs"),
        ],
    )
    def test_records(self, make, texts, summaries, message):
        model = make()
        model.compile("adam")
        with pytest.raises(ValueError, match=message):
            model.fit(texts, summaries, verbose=0)
        with pytest.raises(ValueError, match=message):
            model.evaluate(texts, summaries, verbose=0)

    def test_summaries_in_a_dataset(self, make):
        model = make()
        model.compile("adam")
        dataset = tf.data.Dataset.from_tensor_slices((["a fox"], ["fox"])).batch(1)
        with pytest.raises(ValueError, match="takes strings as y beside texts held in memory"):
            model.fit(dataset, verbose=0)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"summary_length": 17}, "summary_length must be from 3 to .* 16; received 17"),
            ({"summary_length": 2}, "summary_length must be from 3 .* received 2"),
        ],
    )
    def test_lengths(self, make, settings, message):
        with pytest.raises(ValueError, match=message):
            make(**settings)

    def test_parts_that_do_not_fit(self, make):
        model = make()
        wider = BertConfig.from_dict({**model.encoder.config.to_dict(), "hidden_dim": 32})
        with pytest.raises(ValueError, match="the same hidden_dim, received 16 and 32"):
            BertSummarizer(model.encoder, BertDecoder(wider))


class TestSaving:
    def test_starts_from_an_encoder(self, make, tmp_path, caplog):
        source = make()
        BertClassifier(source.encoder, ["a", "b"], source.tokenizer).save_pretrained(tmp_path / "c")
        model = BertSummarizer.from_pretrained(tmp_path / "c", summary_length=8)
        expected = source.encoder.blocks[0].attention.get_weights()
        decoder_block = model.decoder.blocks[0]
        for attention in (
            model.encoder.blocks[0].attention,
            decoder_block.attention,
            decoder_block.cross_attention,
        ):
            for found, weight in zip(attention.get_weights(), expected, strict=True):
                np.testing.assert_array_equal(found, weight)
        assert "the decoder's cross-attention, a copy of its self-attention" in caplog.text
        assert "decoder.head.dense.kernel" in caplog.text
        with pytest.raises(ValueError, match="from 1 to the encoder's 1, received 2"):
            BertSummarizer.from_pretrained(tmp_path / "c", num_decoder_layers=2)
        model.save_pretrained(tmp_path / "saved")
        with pytest.raises(ValueError, match="decoder of 1 layers, received num_decoder_layers=2"):
            BertSummarizer.from_pretrained(tmp_path / "saved", num_decoder_layers=2)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder": None}, "not 'encoder-decoder' with an encoder and a decoder"),
            ({"decoder": {"model_type": "bert"}}, "a decoder without add_cross_attention"),
        ],
    )
    def test_damaged_config(self, make, tmp_path, change, message):
        make().save_pretrained(tmp_path / "saved")
        path = tmp_path / "saved" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        (tmp_path / "saved" / HASHES).unlink()
        with pytest.raises(ValueError, match=message):
            BertSummarizer.from_pretrained(tmp_path / "saved")
