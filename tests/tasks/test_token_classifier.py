import json
import logging

import datasets
import keras
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.data.tags import IGNORED
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier
from keras_bert_scratch.text.preprocessing import StripHtml
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary

LABELS = ["O", "B-person", "I-person"]
NAMES = ["ann", "bob", "cid", "dora"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NAMES, *"saw met and the . cat".split()]
TOKENS += ["##s", "lee", "##e", "-", "'"]


def make(labels=LABELS, *, dropout=0.1, **kwargs):
    keras.utils.set_random_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=24,
        initializer_range=0.2,
        dropout=dropout,
        attention_dropout=dropout,
    )
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))
    return BertTokenClassifier(BertEncoder(config), labels, tokenizer, **kwargs)


@pytest.fixture
def model():
    return make()


@pytest.fixture(scope="module")
def sentences():
    """48 small sentences; a person is a name, and a "lee" that follows one."""
    words, tags = [], []
    for first in NAMES:
        for second in (*NAMES, "cats"):
            words.append([first, "lee", "met", "the", second, "."])
            tags.append(["B-person", "I-person", "O", "O", "B-person", "O"])
            words.append(["the", "cats", "saw", second])
            tags.append(["O", "O", "O", "B-person"])
            if second == "cats":
                tags[-1][-1] = tags[-2][-2] = "O"
    return words, tags


class TestFit:
    def test_learns_spans(self, model, sentences, caplog):
        words, tags = sentences
        model.compile(keras.optimizers.Adam(1e-2))
        before = model.evaluate(words, tags)["f1"]
        with caplog.at_level(logging.WARNING):
            history = model.fit(
                words, tags, epochs=15, batch_size=8, verbose=0, validation_data=(words, tags)
            )
        # Keras would warn of the pooler, which has no gradient here.
        assert "Gradients do not exist" not in caplog.text
        assert not model.encoder.pooler.trainable_weights
        figures = model.evaluate(words, tags)
        assert set(figures) == {"accuracy", "precision", "recall", "f1"}
        assert figures["f1"] > max(0.95, before)
        assert history.history["val_accuracy"][-1] == pytest.approx(figures["accuracy"])
        spans = model.find_spans(["Ann Lee met the Bob."])[0]
        assert [(span.text, span.label, span.start, span.end) for span in spans] == [
            ("Ann Lee", "person", 0, 7),
            ("Bob", "person", 16, 19),
        ]
        assert all(0.5 < span.probability <= 1 for span in spans)
        assert model.tag([["ann", "lee", "met"]]) == [["B-person", "I-person", "O"]]

    def test_the_loss_is_the_mean_over_words(self, model):
        words, tags = [["ann", "saw", "cats"], ["bob"]], [["B-person", "O", "O"], ["B-person"]]
        model.compile("sgd", run_eagerly=True)
        probabilities = model.probabilities(words)
        dataset = model.dataset(model.batches(words, tags))
        exact = model.evaluate(dataset, return_dict=True, verbose=0)["loss"]
        picked = [probabilities[0][0, 1], *probabilities[0][1:, 0], probabilities[1][0, 1]]
        assert exact == pytest.approx(-np.mean(np.log(picked)), rel=1e-5)

    @pytest.mark.parametrize("labels", [LABELS, ["O", "person"]])
    def test_a_word_of_several_parts_is_found_whole_in_strings(self, labels):
        model = make(labels)
        names = ["ann-bob", "o'lee", "c.d.", "cid's", "[dora]", "-cat"]
        words = [[first, "saw", name, "."] for name in names for first in ("the", "and", "met")]
        tags = [["O", "O", labels[1], "O"]] * len(words)
        model.compile(keras.optimizers.Adam(2e-2))
        model.fit(words, tags, epochs=25, batch_size=6, verbose=0)
        for name in names:
            given, string = model.find_spans([["the", "saw", name, "."], f"The saw {name}."])
            assert [span.text for span in given if span.label == "person"] == [name]
            (span,) = (span for span in string if span.label == "person")
            assert (span.text, span.start) == (name, 8)

    def test_class_and_sample_weights(self, model):
        words = [["ann", "saw", "cats"], ["bob"], ["o-lee", "met"]]
        tags = [["B-person", "O", "O"], ["B-person"], ["B-person", "O"]]
        model.compile("sgd", run_eagerly=True)
        first = [0 if tag == "O" else 1 for row in tags for tag in row]
        losses = [-np.log(row) for rows in model.probabilities(words) for row in rows]
        losses = [row[tag] for row, tag in zip(losses, first, strict=True)]
        # The parts of "o-lee" after its first are I-person, and weigh as their word does.
        inner = [-np.log(row[2]) for row in model.probabilities(["o-lee met"])[0][1:3]]
        of_words = [[1.0, 2.0, 0.0], [3.0], [0.5, 1.0]]
        cases = [
            ({"class_weight": {"B-person": 5}}, [5, 1, 1, 5, 5, 1], 5),
            ({"class_weight": {1: 5.0, 2: 100.0}}, [5, 1, 1, 5, 5, 1], 5),
            ({"sample_weight": [1, 0, 2.5]}, [1, 1, 1, 0, 2.5, 2.5], 2.5),
            ({"sample_weight": of_words}, [1, 2, 0, 3, 0.5, 1], 0.5),
            (
                {"sample_weight": of_words, "class_weight": {"O": 0.5}},
                [1, 1, 0, 3, 0.5, 0.5],
                0.5,
            ),
        ]
        for weights, expected, of_inner in cases:
            # Divided by the number of labels, whatever they weigh.
            mean = (np.dot(expected, losses) + of_inner * sum(inner)) / (len(losses) + 2)
            dataset = model.dataset(model.batches(words, tags, **weights))
            exact = model.evaluate(dataset, return_dict=True, verbose=0)["loss"]
            assert exact == pytest.approx(mean, rel=1e-5)

    def test_weights_in_fit_and_on_batches(self, sentences):
        words, tags = sentences
        model = make(dropout=0.0)
        model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        settings = {"verbose": 0, "batch_size": len(words)}

        def fit(**weights):
            data = (words, tags, *weights.values()) if "sample_weight" in weights else (words, tags)
            history = model.fit(words, tags, validation_data=data, **settings, **weights).history
            return history["loss"][0], history["val_loss"][0]

        def on_batch(**weights):
            return model.train_on_batch(words, tags, return_dict=True, **weights)["loss"]

        plain = on_batch()
        assert fit() == pytest.approx((plain, plain), rel=1e-5)
        halves = {"sample_weight": [0.5] * len(words)}
        assert fit(**halves) == pytest.approx((plain / 2, plain / 2), rel=1e-5)
        assert on_batch(**halves) == pytest.approx(plain / 2, rel=1e-5)
        found = model.test_on_batch(words, tags, return_dict=True, **halves)
        assert found["loss"] == pytest.approx(plain / 2, rel=1e-5)
        # Validation knows no weights of classes, as in Keras.
        halves = {"class_weight": dict.fromkeys(LABELS, 0.5)}
        assert fit(**halves) == pytest.approx((plain / 2, plain), rel=1e-5)
        assert on_batch(**halves) == pytest.approx(plain / 2, rel=1e-5)
        logits = model.predict_on_batch(words)
        for ours, theirs in zip(logits, model.predict(words), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_batches_label_first_tokens(self, model):
        inputs, labels = next(iter(model.dataset(model.batches([["cats", "ann"]], [[0, 1]]))))
        assert inputs["token_ids"].shape == labels.shape == (1, 5)
        assert labels.numpy()[0].tolist() == [IGNORED, 0, IGNORED, 1, IGNORED]

    def test_ready_inputs(self, model):
        model.compile("sgd", run_eagerly=True)
        ids = np.array([[2, 5, 3]], "int32")
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
        model.fit(inputs, np.array([[-1, 1, -1]]), verbose=0)
        assert model.predict(inputs, verbose=0).shape == (1, 3, 3)


class TestLongTexts:
    def test_every_word_is_tagged_and_far_windows_do_not_matter(self):
        model = make(sequence_length=8, window_stride=3)
        words = (["ann", "saw", "the", "cats", "and", "bob"] * 5)[:29]
        probabilities = model.probabilities([words])[0]
        assert probabilities.shape == (29, 3)
        np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)
        # The first word is the first window's, which ends after few words.
        alone = model.probabilities([words[:4]])[0]
        assert np.abs(alone[0] - model.probabilities([words[:3]])[0][0]).max() > 1e-6
        changed = model.probabilities([[*words[:-1], "met"]])[0]
        np.testing.assert_allclose(changed[:20], probabilities[:20], atol=1e-6)
        assert np.abs(changed[-1] - probabilities[-1]).max() > 1e-4

    def test_batching_does_not_matter(self):
        model = make(sequence_length=8)
        texts = ["ann saw the cats and bob . " * n for n in (3, 0, 1, 4)] + [["ann", "lee"]]
        together = model.probabilities(texts, batch_size=3)
        for text, rows in zip(texts, together, strict=True):
            np.testing.assert_allclose(model.probabilities([text])[0], rows, atol=1e-6)


class TestColumns:
    WORDS = (["ann", "saw", "cats"], [], ["bob"])
    TAGS = (["B-person", "O", "O"], [], ["B-person"])
    IDS = ([1, 0, 0], [], [1])

    def columns(self):
        words, tags, ids = (list(map(list, rows)) for rows in (self.WORDS, self.TAGS, self.IDS))
        ragged = np.empty(3, object)
        ragged[:] = [np.array(row) for row in words]
        features = datasets.Features(
            {
                "words": datasets.List(datasets.Value("string")),
                # Its ids are of another order than the model's.
                "tags": datasets.List(datasets.ClassLabel(names=["B-person", "I-person", "O"])),
            }
        )
        hub = datasets.Dataset.from_dict({"words": words, "tags": tags}, features=features)
        return [
            (self.WORDS, self.TAGS),
            (words, [np.array(row, float) for row in ids]),
            (ragged, ids),
            (pandas.Series(words, index=[5, 3, 1]), pandas.Series(ids, index=[1, 2, 3])),
            (pandas.Series(list(ragged)), pandas.Series([np.array(row) for row in ids])),
            (polars.Series(words, dtype=polars.List(polars.String)), polars.Series(tags)),
            (pyarrow.array(words, pyarrow.list_(pyarrow.string())), pyarrow.array(ids)),
            (tf.ragged.constant(words), tf.ragged.constant(ids)),
            (hub["words"], hub["tags"]),
            (
                hub.to_pandas()["words"],
                [[{0: "B-person", 2: "O"}[i] for i in r] for r in hub["tags"]],
            ),
        ]

    def test_every_container_gives_the_same_batch(self, model):
        expected = model.batches([list(row) for row in self.WORDS], self.IDS)
        for words, tags in self.columns():
            weights = pandas.Series([1.0, 2.0, 0.5], index=[2, 0, 1])
            found = model.batches(words, tags, weights)
            np.testing.assert_array_equal(found.token_ids, expected.token_ids)
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert found.sample_weight.max(axis=1).tolist() == [1.0, 0.0, 0.5]
            assert [len(row) for row in model.tag(words)] == [3, 0, 1]

    def test_arrays_of_one_word_a_text(self, model):
        words, tags = np.array([["ann"], ["o-lee"]]), np.array([[1], [0]])
        assert model.batches(words, tags).labels.tolist() == [
            [IGNORED, 1, IGNORED, IGNORED, IGNORED],
            [IGNORED, 0, 0, 0, IGNORED],
        ]
        assert len(model.tag(words)[1]) == 1

    def test_strings_and_words_together(self, model):
        assert [len(row) for row in model.tag(["o-lee", ["o-lee"], b"ann", [b"ann"]])] == [
            3,
            1,
            1,
            1,
        ]

    def test_words_without_tokens_are_outside(self, model):
        model = make(["B-person", "I-person", "O"])
        words = ["", "ann", "\u200b", "\x00", "", "lee"]
        (logits,) = model.predict([words])
        (alone,) = model.predict([["ann", "lee"]])
        np.testing.assert_allclose(logits[[1, 5]], alone, atol=1e-6)
        tags = model.tag([words])[0]
        assert [tags[n] for n in (0, 2, 3, 4)] == ["O"] * 4
        assert model.probabilities([words])[0][0].tolist() == pytest.approx([0, 0, 1])
        assert model.tag([["", "\u200b"]]) == [["O", "O"]]
        labels = model.batches([words], [["O", 0, "O", "O", "O", 0]]).labels
        assert labels.tolist() == [[IGNORED, 0, 0, IGNORED]]

    def test_nothing(self, model):
        assert model.tag([]) == model.predict([]) == model.find_spans([]) == []
        assert model.tag([[], ""]) == [[], []]


class TestRefusals:
    def test_columns(self, model, sentences):
        words, tags = [["ann", "saw"], ["bob"]], [["B-person", "O"], ["B-person"]]
        with pytest.raises(TypeError, match="received a table of 2: select one"):
            model.tag(pandas.DataFrame({"words": words, "tags": tags}))
        with pytest.raises(TypeError, match="received nan .float. at position 1"):
            model.tag([["ann"], float("nan")])
        dataset = tf.data.Dataset.from_tensor_slices(["ann saw"]).batch(1)
        with pytest.raises(ValueError, match="held in memory, not a dataset of strings"):
            model.predict(dataset)

    def test_weights(self, model):
        words, tags = [["ann", "saw"], ["bob"]], [["B-person", "O"], ["B-person"]]
        cases = [
            ({"class_weight": {"B-place": 2}}, "Unknown label 'B-place'"),
            ({"class_weight": {3: 2.0}}, "Unknown label 3"),
            ({"class_weight": {"O": float("nan")}}, "from 0 up, received nan for 'O'"),
            ({"sample_weight": [1.0]}, "2 examples but 1 sample_weight"),
            ({"sample_weight": [[1.0, 1.0]]}, "2 texts but 1 sample_weight"),
            ({"sample_weight": [[1.0, 1.0], [1.0, 2.0]]}, "1 words of the text at position 1: "),
            ({"sample_weight": [[1.0, 1.0], 1.0]}, "1 words of the text at position 1: "),
            ({"sample_weight": [[1.0, 1.0], None]}, "1 words of the text at position 1: "),
            (
                {"sample_weight": [-1.0, 1.0]},
                "from 0 up, received -1.0 for sample_weight at position 0",
            ),
        ]
        for weights, message in cases:
            with pytest.raises(ValueError, match=message):
                model.batches(words, tags, **weights)
        with pytest.raises(ValueError, match="Weights are for training: give tags"):
            model.batches(words, sample_weight=[1.0, 1.0])
        model.compile("sgd")
        with pytest.raises(ValueError, match="sample_weight cannot act on examples"):
            model.evaluate(words, tags, sample_weight=[1.0, 2.0])
        inputs, labels = model.batches(words, tags).batch(np.array([0, 1]))
        for train in (model.fit, model.train_on_batch):
            with pytest.raises(ValueError, match="class_weight is for examples; with ready inputs"):
                train(inputs, labels, class_weight={0: 2.0})

    def test_labels(self):
        with pytest.raises(ValueError, match="'O' occurs twice"):
            make(labels=["O", "O"])
        with pytest.raises(ValueError, match="at least two different names"):
            make(labels=["O"])

    @pytest.mark.parametrize(
        ("words", "tags", "error", "message"),
        [
            ([["ann"], ["bob", "saw"]], [["O"], ["O"]], ValueError, "Sentence 1 has 2 words but 1"),
            (
                [["ann"], ["ann", "lee"]],
                [["B-person"], ["O", "I-person"]],
                ValueError,
                "1 tags break BIO: sentence 1, word 1: I-person foll",
            ),
            (["ann", "lee"], [["O"], ["B-place"]], ValueError, "1: Unknown label 'B-place'"),
            ([], [], ValueError, "There are no texts"),
            (["ann", 3], [[0], [0]], TypeError, "received 3 .int. at position 1"),
            ([["ann", None]], [[0, 0]], TypeError, "received None .NoneType. as word 1 of the"),
            (["ann"], ["O"], TypeError, "one for each word, received 'O' .* position 0"),
            (["ann", "bob"], [["O"]], ValueError, "There are 2 sentences but 1 lists of tags"),
            (["ann"], [[[1.0, 0.0, 0.0]]], ValueError, "0: a word has one tag, received .1.0, 0"),
        ],
    )
    def test_texts_and_tags(self, model, words, tags, error, message):
        with pytest.raises(error, match=message):
            model.batches(words, tags)

    def test_sizes_and_tokenizer(self, model):
        with pytest.raises(ValueError, match="window_stride must be from 1 to 6"):
            make(sequence_length=8, window_stride=7)
        strips = WordPieceTokenizer(Vocabulary(TOKENS), preprocessing=[StripHtml()])
        with pytest.raises(ValueError, match="Answers are spans of the text, and"):
            BertTokenClassifier(model.encoder, LABELS, strips)

    def test_validation_split(self, model, sentences):
        model.compile(keras.optimizers.Adam(1e-3))
        with pytest.raises(ValueError, match="learns labels, received y=None: pass them as y"):
            model.fit(sentences[0])
        with pytest.raises(ValueError, match="learns labels, received y=None"):
            model.fit(*sentences, validation_data=(sentences[0],))
        with pytest.raises(ValueError, match="split the documents, and pass validation_data="):
            model.fit(*sentences, validation_split=0.1)


class TestSaving:
    def test_names_of_the_tags_are_in_the_config(self, tmp_path):
        make().save_pretrained(tmp_path / "saved")
        config = json.loads((tmp_path / "saved/config.json").read_text())
        assert config["id2label"] == {"0": "O", "1": "B-person", "2": "I-person"}

    def test_other_labels_make_a_new_head(self, tmp_path, caplog):
        make().save_pretrained(tmp_path / "saved")
        with caplog.at_level(logging.WARNING):
            model = BertTokenClassifier.from_pretrained(tmp_path / "saved", ["O", "B-x"])
        assert "Newly initialized, to be trained: the head" in caplog.text
        assert model.predict(["ann"])[0].shape == (1, 2)

    def test_a_classifier_of_texts_is_no_tagger(self, tiny_classifier, tmp_path):
        tiny_classifier().save_pretrained(tmp_path / "texts")
        with pytest.raises(ValueError, match="has no head for tags: pass labels="):
            BertTokenClassifier.from_pretrained(tmp_path / "texts")
        model = BertTokenClassifier.from_pretrained(tmp_path / "texts", ["O", "B-x"])
        assert len(model.tag(["good film"])[0]) == 2
