"""Engines: built once, compared with Keras, asked without TensorFlow."""

import json
import sys

import numpy as np
import pytest

from keras_bert_scratch import BertSentenceEncoder
from keras_bert_scratch.serving import engines
from keras_bert_scratch.serving.engines import Agreement, Engine
from keras_bert_scratch.serving.readers.base import batches_of_similar_lengths, num_cores

# Texts of several lengths, longer ones first, last and in between.
TEXTS = [
    " ".join(["good", "bad", "film"][n % 3] for _ in range(1 + n * 7 % 19)) for n in range(130)
]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "ENGINE_CACHE", tmp_path_factory.mktemp("engines"))
        yield engines.ENGINE_CACHE


@pytest.fixture(scope="module")
def model(tiny_classifier):
    """A classifier whose head tells texts apart."""
    model = tiny_classifier(temperature=1.7)
    rng = np.random.default_rng(0)
    model.head.set_weights([3 * rng.normal(size=w.shape) for w in model.head.get_weights()])
    return model


@pytest.fixture
def builds(monkeypatch):
    """The paths of the files that are built in a test."""
    written, write = [], engines._write
    monkeypatch.setattr(engines, "_write", lambda *given: written.append(given[1]) or write(*given))
    return written


class TestAnswers:
    @pytest.mark.parametrize(("name", "tolerance"), [("litert", 1e-4), ("litert-int8", 0.3)])
    def test_are_those_of_keras_in_the_order_of_the_texts(self, model, name, tolerance):
        wanted = model.predict(TEXTS, verbose=0)
        assert np.ptp(wanted, axis=0).max() > 1  # an order that is lost would show
        found = model.predict(TEXTS, engine=name, verbose=0)
        np.testing.assert_allclose(found, wanted, atol=tolerance)
        probabilities = model.probabilities(TEXTS, engine=name)
        np.testing.assert_allclose(probabilities, model.probabilities(TEXTS), atol=tolerance)

    def test_of_pairs(self, model):
        pairs = TEXTS[:9], TEXTS[9:18]
        found = model.probabilities(pairs, engine="litert")
        np.testing.assert_allclose(found, model.probabilities(pairs), atol=1e-5)

    def test_classify_and_evaluate(self, model):
        model.compile()
        labels = [model.labels[n % 2] for n in range(len(TEXTS))]
        wanted = model.evaluate(TEXTS, labels, verbose=0, return_dict=True)
        found = model.evaluate(TEXTS, labels, verbose=0, return_dict=True, engine="litert")
        assert found == pytest.approx(wanted, abs=1e-4)
        both = (
            model.evaluate(TEXTS, labels, verbose=0, **given)
            for given in ({}, {"engine": "litert"})
        )
        assert next(both) == pytest.approx(next(both), abs=1e-4)
        first, second = model.classify(TEXTS[:1], engine="litert"), model.classify(TEXTS[:1])
        assert first[0] == pytest.approx(second[0], abs=1e-5)
        assert list(first[0]) == list(second[0])

    def test_of_no_texts(self, model):
        assert model.probabilities([], engine="litert").shape == (0, 2)

    def test_embeddings_of_texts_and_of_pairs(self, model):
        encoder = BertSentenceEncoder(model.encoder, model.tokenizer)
        wanted = encoder.encode(TEXTS, verbose=0)
        found = encoder.encode(TEXTS, verbose=0, engine="litert")
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        pairs = TEXTS[:5], TEXTS[5:10]
        both = encoder.predict(pairs, verbose=0, engine="litert")
        np.testing.assert_allclose(both, encoder.predict(pairs, verbose=0), atol=1e-5)

    def test_of_a_model_in_mixed_precision(self, tiny_classifier):
        model = tiny_classifier(dtype="mixed_bfloat16", temperature=1.4)
        exact = tiny_classifier(temperature=1.4)
        exact.set_weights(model.get_weights())
        found = model.probabilities(TEXTS[:5], engine="litert")
        np.testing.assert_allclose(found, exact.probabilities(TEXTS[:5]), atol=1e-5)

    def test_auto_says_what_it_chose(self, model, capsys):
        found = model.probabilities(TEXTS, engine="auto")
        np.testing.assert_allclose(found, model.probabilities(TEXTS), atol=0.2)
        assert "engine: litert-int8 (texts a second: keras " in capsys.readouterr().err


class TestBuilding:
    def test_once_for_the_same_model_and_again_after_a_change(self, tiny_classifier, builds):
        model, same = tiny_classifier(name="one"), tiny_classifier(name="two")
        same.set_weights(model.get_weights())
        for each in (model, model, same):
            each.probabilities(TEXTS, engine="litert")
        assert len(builds) == 1
        kernel, bias = model.head.get_weights()
        model.head.set_weights([kernel[:, ::-1], bias])  # the same values elsewhere
        wanted = model.probabilities(TEXTS)
        np.testing.assert_allclose(model.probabilities(TEXTS, engine="litert"), wanted, atol=1e-5)
        assert len(set(builds)) == 2

    def test_the_key_follows_from_all_that_answers_depend_on(self, tiny_classifier):
        settings = [{}, {"temperature": 2.5}, {"sequence_length": 9}, {"labels": ["no", "yes"]}]
        settings += [{"truncation": "tail"}, {"multi_label": True}]
        one = tiny_classifier()
        models = [one, *(tiny_classifier(**each) for each in settings[1:])]
        for model in models[1:]:
            model.set_weights(one.get_weights())
        assert len({model.engine_key() for model in models}) == len(settings)
        first = one.engine_key()
        assert one.engine_key() == first
        embeddings = one.encoder.embeddings.weights[0]
        embeddings.assign(np.asarray(embeddings)[::-1])
        assert one.engine_key() != first

    def test_few_texts_tell_little(self, tiny_classifier, builds, cache):
        model = tiny_classifier(temperature=1.1)
        path = cache / model.engine_key() / "litert.json"
        for number, compared in ((3, 3), (2, 3), (130, 130), (3, 130)):
            model.probabilities(TEXTS[:number], engine="litert")
            assert json.loads(path.read_text())["compared"] == compared
        assert len(builds) <= 1

    @pytest.mark.slow
    def test_a_damaged_file_is_built_again(self, tiny_classifier, builds, cache):
        model = tiny_classifier(temperature=1.1)
        model.probabilities(TEXTS, engine="litert")
        builds.clear()
        path = cache / model.engine_key() / "litert.tflite"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        model.probabilities(TEXTS, engine="litert")
        assert builds == [path]

    @pytest.mark.slow
    def test_the_cache_stays_small(self, tiny_classifier, monkeypatch, cache):
        monkeypatch.setattr(engines, "_MOST_CACHED", 1)
        for temperature in (1.3, 1.4):
            tiny_classifier(temperature=temperature).probabilities(TEXTS[:2], engine="litert")
        assert len(list(cache.rglob("*.tflite"))) == 1


class TestDisagreement:
    @pytest.fixture
    def wrong(self, tiny_classifier, monkeypatch):
        """A model whose file is that of other weights."""
        model = tiny_classifier(temperature=1.5)
        rng = np.random.default_rng(1)
        model.head.set_weights([3 * rng.normal(size=w.shape) for w in model.head.get_weights()])
        write = engines._write

        def write_another(signature, path, precision):
            weights = model.head.get_weights()
            model.head.set_weights([-weight for weight in weights])
            write(signature, path, precision)
            model.head.set_weights(weights)

        monkeypatch.setattr(engines, "_write", write_another)
        return model

    def test_is_accepted_if_asked_for_and_refused_otherwise(self, wrong, cache):
        found = wrong.probabilities(TEXTS, engine=Engine("litert", least_agreement=0))
        np.testing.assert_allclose(found, 1 - wrong.probabilities(TEXTS), atol=0.2)
        message = (
            r"'litert' gives the label of Keras to 0.0% of 130 texts, fewer than "
            r"least_agreement=99.0%; others get, for example, 'good', 'bad .*', 'film .*'\. Use "
            r"'keras', or a lower least_agreement"
        )
        with pytest.raises(ValueError, match=message):
            wrong.probabilities(TEXTS, engine="litert")
        assert not (cache / wrong.engine_key() / "litert.tflite").exists()

    @pytest.mark.parametrize(
        ("compared", "equal", "least", "suffices"),
        [
            (100, 99, 0.99, True),
            (100, 98, 0.99, False),
            (3, 2, 0.99, True),
            (3, 1, 0.99, False),
            (1000, 990, 0.99, True),
            (1000, 989, 0.99, False),
            (100, 99, 1.0, False),
            (10, 8, 0.8, True),
        ],
    )
    def test_one_text_may_always_differ(self, compared, equal, least, suffices):
        assert Agreement(compared, equal, 0.1).suffices(least) is suffices

    def test_of_scores_and_of_several_labels(self, tiny_classifier):
        score = tiny_classifier(labels=["stars"])
        same, gap = score.same_answers(np.array([[4.0], [1.0]]), np.array([[4.1], [1.5]]))
        assert same.tolist() == [True, False]
        assert gap == pytest.approx(0.5)
        several = tiny_classifier(multi_label=True)
        wanted, found = np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[2.0, -2.0], [1.0, -0.1]])
        assert several.same_answers(wanted, found)[0].tolist() == [True, False]


class TestRefusals:
    @pytest.mark.parametrize(
        ("engine", "error", "message"),
        [
            (
                "onnx",
                ValueError,
                "engine must be one of keras, litert-int8, litert, auto; received",
            ),
            (8, TypeError, "engine must be a name or an Engine, received 8"),
        ],
    )
    def test_unknown_engines(self, model, engine, error, message):
        with pytest.raises(error, match=message):
            model.probabilities(TEXTS, engine=engine)
        with pytest.raises(ValueError, match="a share from 0 to 1, received 99"):
            Engine("litert", 99)

    def test_ready_inputs_and_steps(self, model):
        ids = np.ones((2, 5), "int32")
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": ids}
        with pytest.raises(
            ValueError, match=r"'litert' answers for texts held in memory, received"
        ):
            model.predict(inputs, engine="litert")
        with pytest.raises(ValueError, match="steps cannot act on examples"):
            model.predict(TEXTS, steps=3, engine="litert")

    def test_windows(self, tiny_classifier):
        model = tiny_classifier(truncation="windows")
        with pytest.raises(ValueError, match="has truncation='windows', several rows a text"):
            model.probabilities(TEXTS, engine="litert")

    def test_weights_that_a_file_cannot_hold(self, tiny_classifier, monkeypatch):
        model = tiny_classifier(temperature=1.6)
        monkeypatch.setattr(engines, "_LARGEST_MODEL", 4 * model.count_params())
        with pytest.raises(ValueError, match="GB of weights, and a LiteRT engine holds less than"):
            model.probabilities(TEXTS, engine="litert")

    def test_tasks_without_engines(self, models):
        with pytest.raises(ValueError, match="BertTokenClassifier has no engine 'litert'"):
            models("tagger").predict(["a film"], engine="litert")
        with pytest.raises(ValueError, match="BertSummarizer has no engine 'litert'"):
            models("summarizer").predict(["a film"], engine="litert")

    def test_without_litert(self, tiny_classifier, monkeypatch):
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"needs ai_edge_litert.*extra \"litert\""):
            tiny_classifier(temperature=1.8).probabilities(TEXTS, engine="litert")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "films"
    model.save_pretrained(folder)
    agreement = engines.keep(model, folder, Engine("litert-int8"), TEXTS)
    assert agreement.compared == 130
    return folder


class TestKeptBesideACheckpoint:
    def test_answers_without_tensorflow(self, folder, model, without_tensorflow):
        code = (
            "import json\n"
            "from keras_bert_scratch.serving.engines import kept\n"
            f"reader, _ = kept({str(folder)!r})\n"
            "print(json.dumps(reader.probabilities(['good film', 'bad']).tolist()))"
        )
        printed = without_tensorflow(code)
        wanted = model.probabilities(["good film", "bad"])
        np.testing.assert_allclose(json.loads(printed), wanted, atol=0.2)

    def test_is_of_these_files_alone(self, folder, tmp_path):
        assert engines.kept(folder) is not None
        assert engines.kept(folder, "litert") is None
        config = folder / "config.json"
        content = config.read_text()
        config.write_text(content.replace("1.7", "1.9"))
        assert engines.kept(folder) is None
        config.write_text(content)
        assert engines.kept(folder) is not None
        assert engines.kept(tmp_path) is None


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_answers_alike(exports, threads):
    from keras_bert_scratch.serving import load_predictor

    one, several = (
        load_predictor(exports("classifier", "float32.tflite"), n) for n in (1, threads)
    )
    wanted = np.concatenate([one.probabilities([text]) for text in TEXTS])
    np.testing.assert_allclose(several.probabilities(TEXTS, 8), wanted, atol=1e-6)


def test_batches_are_of_similar_lengths_and_bounded():
    lengths = [3, 500, 4, 500, 3, 480]
    batches = batches_of_similar_lengths(lengths, 4)
    assert [batch.tolist() for batch in batches] == [[1, 3, 5, 2], [0, 4]]
    long = batches_of_similar_lengths([512] * 20, 32)
    assert [len(batch) for batch in long] == [8, 8, 4]
    assert np.concatenate(long).tolist() == list(range(20))


def test_all_cores_are_used(exports):
    reader = engines._reader(exports("classifier", "float32.tflite"), "classifier", "hash")
    assert reader._num_threads == num_cores() >= 1
