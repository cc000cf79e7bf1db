import json
import logging
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import BertClassifier, BertSentenceEncoder
from keras_bert_scratch.checkpoints.huggingface import HuggingFaceCheckpoint
from keras_bert_scratch.files import HASHES

LABELS = ["negative", "positive"]


@pytest.fixture
def model(tiny_classifier):
    return tiny_classifier()


def compiled(model, **kwargs):
    model.compile(keras.optimizers.Adam(3e-3), **kwargs)
    return model


class TestConstruction:
    def test_logits_are_the_head_on_the_pooled_output(self, model, reviews):
        inputs = next(iter(model.batches(reviews[0]).dataset()))[0]
        pooled = model.encoder(inputs)["pooled_output"]
        kernel, bias = model.head.logits.get_weights()
        np.testing.assert_allclose(model(inputs), pooled.numpy() @ kernel + bias, atol=1e-6)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (["same", "same"], "Classes need different names, 'same' occurs twice"),
            ([], "at least two different names, or one for a score, received none"),
        ],
    )
    def test_labels_must_be_different_names(self, model, labels, message):
        with pytest.raises(ValueError, match=message):
            BertClassifier(model.encoder, labels)


class TestFit:
    def test_other_lengths_do_not_trace_again(self, model, monkeypatch):
        calls = []
        call = BertClassifier.call
        monkeypatch.setattr(
            BertClassifier, "call", lambda *args, **kwargs: calls.append(1) or call(*args, **kwargs)
        )
        longer = ["good " * n for n in range(1, 9)]
        compiled(model).fit(["good film", "bad film"], LABELS, batch_size=1, verbose=0)
        assert len(calls) == 1
        calls.clear()
        model.fit(longer, LABELS * 4, batch_size=3, verbose=0)
        assert not calls
        # Keras traces `predict` for its first shape, then for any B, then for any S.
        model.predict(longer[:5], batch_size=2, verbose=0)
        assert len(calls) <= 3
        calls.clear()
        model.predict(longer, batch_size=3, verbose=0)
        assert not calls

    def test_learns_and_reports_accuracy_precision_recall_f1(self, model, reviews):
        texts, labels = reviews
        compiled(model).fit(texts, labels, epochs=12, batch_size=8, verbose=0)
        figures = model.evaluate(texts, labels, return_dict=True, verbose=0)
        assert {"accuracy", "precision", "recall", "f1"} <= set(figures)
        assert figures["accuracy"] > 0.95
        assert figures["f1"] > 0.95
        assert model.classify(["good good"])[0].keys() == {"negative", "positive"}
        assert next(iter(model.classify(["a good good film"])[0])) == "positive"

    def test_unbatched_dataset_of_strings(self, model):
        dataset = tf.data.Dataset.from_tensor_slices((["a", "b"], [0, 1]))
        with pytest.raises(ValueError, match=r"must be batched .* call \.batch\(32\)"):
            compiled(model).fit(dataset)

    def test_pairs(self, model, reviews):
        texts, labels = reviews
        pairs = (texts, texts[::-1])
        compiled(model).fit(pairs, labels, epochs=1, verbose=0, validation_split=0.25)
        both = model.predict(pairs, verbose=0)
        assert both.shape == (len(texts), 2)
        assert np.abs(both - model.predict(texts, verbose=0)).max() > 1e-6
        dataset = tf.data.Dataset.from_tensor_slices((pairs, model.encode_labels(labels)))
        model.fit(dataset.batch(8), verbose=0)

    def test_multi_label(self, tiny_classifier):
        model = tiny_classifier(labels=["funny", "sad", "long"], multi_label=True)
        texts = ["good film", "bad film", "a very good film", "film"] * 4
        labels = [["funny"], ["sad", "long"], ["funny", "long"], []] * 4
        compiled(model).fit(texts, labels, epochs=40, batch_size=8, verbose=0)
        probabilities = model.probabilities(texts[:4])
        np.testing.assert_array_equal(
            probabilities > 0.5, [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]]
        )
        figures = model.evaluate(texts, labels, verbose=0, return_dict=True)
        assert figures["accuracy"] == figures["precision"] == figures["recall"] == 1.0
        assert figures["f1"] == pytest.approx(1.0)

    def test_validation_split_is_stratified(self, model, reviews, monkeypatch):
        texts, labels = reviews
        seen = {}

        def spy(*args, **kwargs):
            (_, seen["held_out"]) = next(iter(kwargs["validation_data"].unbatch().batch(1000)))
            return keras.callbacks.History()

        monkeypatch.setattr(keras.Model, "fit", spy)
        texts, labels = texts + ["a film"] * 30, labels + ["negative"] * 30
        share = labels.count("positive") / len(labels)
        compiled(model).fit(texts, labels, validation_split=0.2, verbose=0)
        assert np.mean(seen["held_out"]) == pytest.approx(share, abs=1 / len(seen["held_out"]))

    def test_class_weight_and_sample_weight_say_the_same(self, tiny_classifier, reviews):
        texts, labels = reviews
        losses = []
        for kwargs in (
            {"class_weight": {0: 1.0, 1: 3.0}},
            {"sample_weight": [3.0 if label == "positive" else 1.0 for label in labels]},
            {},
        ):
            model = compiled(tiny_classifier())
            losses.append(model.fit(texts, labels, epochs=1, verbose=0, **kwargs).history["loss"])
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        assert losses[0] != losses[2]

    def test_keras_callbacks_work(self, model, reviews, tmp_path):
        texts, labels = reviews
        best = tmp_path / "best.weights.h5"
        history = compiled(model).fit(
            texts,
            labels,
            validation_data=(texts, labels),
            epochs=50,
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=10.0),
                keras.callbacks.ModelCheckpoint(best, save_weights_only=True),
            ],
        )
        assert len(history.epoch) == 2
        assert best.exists()


@pytest.mark.parametrize(
    ("texts", "labels", "error", "message"),
    [
        (["a", "b"], ["positive"] * 2, ValueError, "All 2 training examples have the label 'posi"),
        (["a"], ["neutral"], ValueError, "Unknown label 'neutral' at position 0: the model's lab"),
        (["good", " \n", "bad"], [0, 1, 0], ValueError, "1 of 3 examples have an empty text, the"),
        (["good", None], [0, 1], TypeError, r"received None \(NoneType\) at position 1"),
        (["good", "bad"], [0, 1, 0], ValueError, "There are 2 texts but 3 labels"),
        ("good", ["positive"], TypeError, r"Texts come in a list, .* wrap it in"),
    ],
)
def test_bad_input(model, texts, labels, error, message):
    with pytest.raises(error, match=message):
        compiled(model).fit(texts, labels)


class TestPredict:
    def test_order_is_that_of_the_texts(self, model):
        texts = ["a very good good good film", "bad", "film good", "a", "very bad film"] * 9
        together = model.predict(texts, batch_size=4, verbose=0)
        alone = np.concatenate([model.predict([text], verbose=0) for text in texts[:5]])
        np.testing.assert_allclose(together, np.tile(alone, (9, 1)), atol=1e-6)

    def test_probabilities_are_the_softmax_of_the_logits(self, model):
        logits = model.predict(["a good film"], verbose=0)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(model.probabilities(["a good film"]), expected, atol=1e-6)

    def test_empty_and_long_texts_are_answered(self, model):
        assert model.predict(["", "good " * 500], verbose=0).shape == (2, 2)


class TestPretrained:
    def test_other_labels_get_a_new_head_that_is_reported(self, model, tmp_path, caplog):
        model.save_pretrained(tmp_path / "model")
        with caplog.at_level(logging.WARNING):
            again = BertClassifier.from_pretrained(tmp_path / "model", labels=["a", "b", "c"])
        assert again.head.num_classes == 3
        assert "Newly initialized, to be trained: the head for a, b, c." in caplog.text

    def test_unnamed_labels_take_the_names_given(self, model, tmp_path):
        BertClassifier(model.encoder, ["LABEL_0", "LABEL_1"], model.tokenizer).save_pretrained(
            tmp_path / "model"
        )
        again = BertClassifier.from_pretrained(tmp_path / "model", labels=LABELS)
        head = HuggingFaceCheckpoint(tmp_path / "model")
        assert head.labels == ["LABEL_0", "LABEL_1"]
        assert again.labels == LABELS

    def test_labels_in_another_order_keep_their_classes(self, model, reviews, tmp_path):
        model.save_pretrained(tmp_path / "model")
        again = BertClassifier.from_pretrained(tmp_path / "model", labels=LABELS[::-1])
        np.testing.assert_allclose(
            again.probabilities(reviews[0]), model.probabilities(reviews[0])[:, ::-1], atol=1e-6
        )

    def test_labels_rename_the_classes_of_a_trained_head(self, model, reviews, tmp_path, caplog):
        model.save_pretrained(tmp_path / "model")
        again = BertClassifier.from_pretrained(tmp_path / "model", labels=["bad", "good"])
        assert "negative is called bad, positive is called good." in caplog.text
        np.testing.assert_array_equal(
            again.predict(reviews[0], verbose=0), model.predict(reviews[0], verbose=0)
        )

    def test_no_head_and_no_labels(self, model, tmp_path):
        model.save_pretrained(tmp_path / "model")
        config = json.loads((tmp_path / "model/config.json").read_text())
        config["architectures"] = ["BertForTokenClassification"]
        (tmp_path / "model/config.json").write_text(json.dumps(config))
        (tmp_path / "model" / HASHES).unlink()
        with pytest.raises(ValueError, match="has no classification head: pass labels="):
            BertClassifier.from_pretrained(tmp_path / "model")

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("temperature", "2", "has temperature '2', which must be of the type float"),
            ("sequence_length", [], r"has sequence_length \[\], which must be of the type int"),
            ("truncation", 1, "has truncation 1, which must be of the type str"),
            ("id2label", {"0": "a", "1": None}, "does not name the classes of its head"),
        ],
    )
    def test_settings_of_another_kind(self, model, tmp_path, field, value, message):
        model.save_pretrained(tmp_path / "model")
        path = tmp_path / "model" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
        (tmp_path / "model" / HASHES).unlink()
        with pytest.raises(ValueError, match=message):
            BertClassifier.from_pretrained(tmp_path / "model")

    def test_a_changed_file(self, model, tmp_path):
        model.save_pretrained(tmp_path / "model")
        with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x55")
        with pytest.raises(ValueError, match="model.safetensors has changed since the folder was"):
            BertClassifier.from_pretrained(tmp_path / "model")

    def test_vocabulary_that_is_not_the_checkpoints(self, model, tmp_path):
        model.save_pretrained(tmp_path / "model")
        (tmp_path / "model/tokenizer.json").unlink()
        (tmp_path / "model" / HASHES).unlink()
        with (tmp_path / "model/vocab.txt").open("a") as vocabulary:
            vocabulary.write("onemore\n")
        with pytest.raises(ValueError, match="use the vocabulary that the checkpoint was trained"):
            BertClassifier.from_pretrained(tmp_path / "model")


def test_lora_is_keras_own_and_merges_on_save(model, reviews, tmp_path):
    for block in model.encoder.blocks:
        block.attention.query.enable_lora(2)
    compiled(model).fit(*reviews, epochs=2, verbose=0)
    model.save_pretrained(tmp_path / "model")
    merged = BertClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_allclose(
        merged.predict(reviews[0], verbose=0), model.predict(reviews[0], verbose=0), atol=1e-5
    )


class TestTemperature:
    def test_calibrated_probabilities_are_those_of_divided_logits(self, tiny_classifier, reviews):
        texts, labels = reviews
        # Large random weights are sure of what they do not know.
        model = tiny_classifier(changes={"initializer_range": 0.5})
        found = model.calibrate(texts, labels)
        assert found.temperature == model.temperature > 1
        assert found.errors["after"] < found.errors["before"]
        logits = model.predict(texts, verbose=0)
        expected = keras.ops.softmax(logits / found.temperature)
        np.testing.assert_allclose(model.probabilities(texts), expected, atol=1e-6)

    def test_comes_along_with_the_head(self, model, tmp_path):
        model.temperature = 2.5
        model.save_pretrained(tmp_path / "model")
        assert BertClassifier.from_pretrained(tmp_path / "model").temperature == 2.5
        other = BertClassifier.from_pretrained(tmp_path / "model", labels=["a", "b", "c"])
        assert other.temperature == 1.0

    def test_is_above_zero(self, model):
        with pytest.raises(ValueError, match="temperature must be above 0, received 0"):
            BertClassifier(model.encoder, LABELS, temperature=0)


class TestWarnings:
    def test_each_is_said_once_a_fit(self, model, caplog):
        texts = [f"unheard words {n} " + "good " * n for n in range(40)]
        labels = [*LABELS * 19, "positive", "positive"]
        model.compile(keras.optimizers.Adam(0.0))
        with caplog.at_level(logging.WARNING):
            model.fit(texts, labels, validation_data=(texts, labels), epochs=2, verbose=0)
        starts = [
            "fit makes 4 updates",
            "15 % of the ",
            "About 30 % of 40 texts have more than the 32 tokens",
            "The accuracy on 40 held-out texts is ",
        ]
        assert [m[: len(s)] for m, s in zip(caplog.messages, starts, strict=True)] == starts

    def test_quiet_where_all_is_well(self, model, reviews, caplog):
        with caplog.at_level(logging.WARNING):
            compiled(model).fit(
                *reviews, validation_data=reviews, epochs=5, batch_size=4, verbose=0
            )
        assert caplog.text == ""

    def test_tensorboard_is_missed_before_the_first_epoch(self, model, reviews, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        with pytest.raises(ImportError, match="TensorBoard needs tensorboard, .* pip install"):
            compiled(model).fit(*reviews, callbacks=[keras.callbacks.TensorBoard("logs")])


@pytest.fixture(scope="module")
def folder(tiny_classifier, tmp_path_factory):
    """A sentence encoder's checkpoint."""
    source = tiny_classifier()
    folder = tmp_path_factory.mktemp("sentences") / "model"
    BertSentenceEncoder(source.encoder, source.tokenizer).save_pretrained(folder)
    return folder


class TestPooling:
    def test_the_head_reads_the_mean_of_the_states(self, tiny_classifier):
        model = tiny_classifier(pooling="mean")
        inputs = next(iter(model.batches(["good", "a very good film"]).dataset()))[0]
        states = model.encoder(inputs)["sequence_output"].numpy()
        # [CLS] good [SEP], and two tokens more in the other row.
        means = np.stack([states[0, :3].mean(axis=0), states[1, :6].mean(axis=0)])
        kernel, bias = model.head.logits.get_weights()
        np.testing.assert_allclose(model(inputs), means @ kernel + bias, atol=1e-6)

    def test_a_sentence_encoder_is_read_as_it_was_trained(self, folder, caplog):
        model = BertClassifier.from_pretrained(folder, LABELS)
        assert model.pooling == "mean"
        assert caplog.messages == [
            "Newly initialized, to be trained: the head for negative, positive. Until then, it "
            "compares texts with these names."
        ]
        assert BertClassifier.from_pretrained(folder, LABELS, pooling="pooler").pooling == "pooler"

    def test_a_saved_head_keeps_its_pooling(self, folder, tmp_path):
        model = BertClassifier.from_pretrained(folder, LABELS, pooling="cls")
        model.save_pretrained(tmp_path / "model")
        loaded = BertClassifier.from_pretrained(tmp_path / "model")
        assert loaded.pooling == "cls"
        np.testing.assert_array_equal(loaded.predict(["good"]), model.predict(["good"]))
        with pytest.raises(ValueError, match="trained with pooling='cls', received 'mean': omit"):
            BertClassifier.from_pretrained(tmp_path / "model", pooling="mean")
        other = BertClassifier.from_pretrained(tmp_path / "model", ["a", "b", "c"])
        assert other.pooling == "cls"

    def test_label_names_answer_by_similarity(self, folder):
        descriptions = {"bad": "bad awful film", "good": "good great movie"}
        model = BertClassifier.from_label_names(
            ["bad", "good", "very"], folder, descriptions=descriptions
        )
        encoder = BertSentenceEncoder.from_pretrained(folder)
        names = ["bad awful film", "good great movie", "This text is about very."]
        ours = model.predict(names, verbose=0)
        # Differences of cosines, whatever the length of a text's vector.
        cosines = encoder.similarity(names, names)
        lengths = (ours[:, :1] - ours[:, 1:]) / (cosines[:, :1] - cosines[:, 1:])
        np.testing.assert_allclose(lengths, np.repeat(lengths[:, :1], 2, axis=1), rtol=1e-3)
        assert model.predict(names, verbose=0).argmax(axis=1).tolist() == [0, 1, 2]

    def test_names_need_a_sentence_encoder(self, folder, tiny_classifier, tmp_path):
        with pytest.raises(ValueError, match="descriptions has 'bed', which is none of the labels"):
            BertClassifier.from_label_names(LABELS, folder, descriptions={"bed": "bad"})
        tiny_classifier().save_pretrained(tmp_path / "model")
        with pytest.raises(ValueError, match="sentence encoder.*with pooling='pooler': name anoth"):
            BertClassifier.from_label_names(["a", "b", "c"], tmp_path / "model")

    def test_training_starts_from_features_and_names(self, folder):
        """No step is made: what answers is the start."""
        model = BertClassifier.from_label_names(LABELS, folder)
        model.compile()
        texts = ["good film", "bad film", "great film", "awful film"] * 2
        names = ["negative", "positive"] * 4  # against the names' sense, if there is any
        examples = model.examples(texts, names)
        model.start_head(examples)
        assert model.predict(texts, verbose=0).argmax(axis=1).tolist() == [0, 1] * 4
        head = model.head.get_weights()
        model.start_head(model.examples(texts, names[::-1]))  # it is trained now
        np.testing.assert_array_equal(model.head.get_weights()[0], head[0])
