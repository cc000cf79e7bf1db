import json
import logging

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, WordPieceTokenizer, adamw
from keras_bert_scratch.checkpoints.huggingface import HuggingFaceCheckpoint
from keras_bert_scratch.files import HASHES
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

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
            (["same", "same"], "Classes need different names, 'same' comes twice"),
            ([], "at least two different names, or one for a score, received none"),
        ],
    )
    def test_labels_must_be_different_names(self, model, labels, message):
        with pytest.raises(ValueError, match=message):
            BertClassifier(model.encoder, labels)

    def test_sequence_longer_than_the_positions(self, model):
        with pytest.raises(ValueError, match="at most the encoder's max_positions, received 33"):
            BertClassifier(model.encoder, LABELS, sequence_length=33)

    def test_vocabulary_larger_than_the_embedding(self, model):
        size = len(model.tokenizer.vocabulary)
        other = BertEncoder(BertConfig.preset("tiny", vocab_size=size - 1))
        message = f"vocabulary has {size} tokens, the encoder's embedding {size - 1}"
        with pytest.raises(ValueError, match=message):
            BertClassifier(other, LABELS, model.tokenizer)

    def test_get_config_round_trip(self, model):
        again = BertClassifier.from_config(json.loads(json.dumps(model.get_config())))
        assert again.get_config() == model.get_config()

    def test_keras_file_round_trip_is_equal_bits_and_stays_compiled(self, model, reviews, tmp_path):
        texts, labels = reviews
        model.compile(adamw(1e-3, total_steps=10))
        model.fit(texts, labels, epochs=1, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            again.predict(texts, verbose=0), model.predict(texts, verbose=0)
        )
        assert again.evaluate(texts, labels, verbose=0) == model.evaluate(texts, labels, verbose=0)
        again.fit(texts, labels, epochs=1, verbose=0)

    def test_without_a_tokenizer_texts_are_refused(self, model):
        bare = BertClassifier(model.encoder, LABELS)
        with pytest.raises(ValueError, match="has no tokenizer, so it cannot take texts"):
            bare.predict(["good film"])
        with pytest.raises(ValueError, match="has no tokenizer: pass tokenizer="):
            bare.export("nowhere")


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

    @pytest.mark.parametrize(
        "form", [list, np.array, pd.Series, tf.constant], ids=["list", "numpy", "pandas", "tensor"]
    )
    def test_every_form_of_texts_gives_the_same(self, tiny_classifier, reviews, form):
        texts, labels = reviews
        losses = []
        for x, y in ((texts, labels), (form(texts), [LABELS.index(label) for label in labels])):
            model = compiled(tiny_classifier())
            losses.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
        assert losses[0] == losses[1]

    def test_dataset_of_strings_and_ready_inputs(self, model, reviews):
        texts, labels = reviews
        ids = model.encode_labels(labels)
        dataset = tf.data.Dataset.from_tensor_slices((texts, ids)).batch(8)
        compiled(model).fit(dataset, epochs=1, verbose=0, validation_data=dataset)
        by_dataset = model.evaluate(dataset, verbose=0, return_dict=True)
        by_texts = model.evaluate(texts, labels, verbose=0, return_dict=True)
        assert by_dataset["accuracy"] == by_texts["accuracy"]
        inputs = tokenizer_graph(model.tokenizer, "fast")(tf.constant(texts), sequence_length=16)
        np.testing.assert_allclose(
            model.predict(inputs, verbose=0), model.predict(texts, verbose=0), atol=1e-6
        )
        np.testing.assert_allclose(
            model.predict(dataset.map(lambda x, y: x), verbose=0),
            model.predict(texts, verbose=0),
            atol=1e-6,
        )

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

        monkeypatch.setattr(keras.Model, "fit", spy)
        texts, labels = texts + ["a film"] * 30, labels + ["negative"] * 30
        share = labels.count("positive") / len(labels)
        compiled(model).fit(texts, labels, validation_split=0.2, verbose=0)
        assert np.mean(seen["held_out"]) == pytest.approx(share, abs=1 / len(seen["held_out"]))

    def test_seeds_repeat_a_run(self, tiny_classifier, reviews):
        histories, weights = [], []
        for seed in (1, 1, 2):
            model = compiled(tiny_classifier())
            keras.utils.set_random_seed(seed)
            histories.append(model.fit(*reviews, epochs=2, verbose=0).history)
            weights.append(model.get_weights())
        assert histories[0] == histories[1] != histories[2]
        for one, other in zip(weights[0], weights[1], strict=True):
            np.testing.assert_array_equal(one, other)

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


class TestBadInput:
    def test_one_class_only(self, model):
        with pytest.raises(ValueError, match="All 2 training examples have the label 'positive'"):
            compiled(model).fit(["good", "film"], ["positive", "positive"])

    def test_unknown_label(self, model):
        with pytest.raises(
            ValueError, match="Unknown label 'neutral' at position 0: the model's labels are neg"
        ):
            compiled(model).evaluate(["good"], ["neutral"])

    def test_empty_text(self, model):
        with pytest.raises(ValueError, match="1 of 3 examples have an empty text, the first at po"):
            compiled(model).fit(["good", " \n", "bad"], [0, 1, 0])

    def test_a_text_that_is_none(self, model):
        with pytest.raises(TypeError, match=r"received None \(NoneType\) at position 1"):
            compiled(model).fit(["good", None], [0, 1])

    def test_unequal_lengths(self, model):
        with pytest.raises(ValueError, match="There are 2 texts but 3 labels"):
            compiled(model).fit(["good", "bad"], [0, 1, 0])

    def test_a_bare_string(self, model):
        with pytest.raises(TypeError, match=r"Texts come in a list, .* wrap it in"):
            model.classify("good")


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
    def test_round_trip_is_equal_bits(self, model, reviews, tmp_path):
        model.save_pretrained(tmp_path / "model")
        again = BertClassifier.from_pretrained(tmp_path / "model")
        assert again.labels == LABELS
        assert again.sequence_length == model.sequence_length
        np.testing.assert_array_equal(
            again.predict(reviews[0], verbose=0), model.predict(reviews[0], verbose=0)
        )

    def test_multi_label_comes_back(self, tiny_classifier, tmp_path):
        tiny_classifier(multi_label=True).save_pretrained(tmp_path / "model")
        assert BertClassifier.from_pretrained(tmp_path / "model").multi_label

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

    def test_a_full_folder_is_left_alone(self, model, tmp_path):
        (tmp_path / "note.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="exists and is not empty"):
            model.save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


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


def test_tokenizer_is_of_the_public_class(model):
    assert isinstance(model.tokenizer, WordPieceTokenizer)
