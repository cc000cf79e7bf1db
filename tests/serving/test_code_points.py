"""Files that take code points: truncation, long texts, names, runtimes, and what is refused."""

import itertools
import json
import zipfile

import numpy as np
import onnx
import pytest

from keras_bert_scratch import BertClassifier, BertQuestionAnswerer, WordPieceTokenizer
from keras_bert_scratch.data.tags import tokenize_words
from keras_bert_scratch.serving import (
    load_answerer,
    load_embedder,
    load_predictor,
    load_tagger,
)
from keras_bert_scratch.serving.packed import encode_code_points
from keras_bert_scratch.serving.readers.base import LiteRTRunner
from keras_bert_scratch.text.preprocessing import StripHtml

LITERT = {"format": "litert", "inputs": "code_points"}


@pytest.fixture
def exported(models, exports):
    return models("classifier"), exports("classifier", "code_points.tflite")


def test_ten_lines_without_this_package(exported):
    from ai_edge_litert.interpreter import Interpreter

    model, path = exported
    with zipfile.ZipFile(path) as file:
        labels = file.read("labels.txt").decode().splitlines()
    classify = Interpreter(str(path)).get_signature_runner()
    size = classify.get_input_details()["code_points"]["shape"][1]
    assert size == 8 * 32
    for text in ("A good FILM!", "\u00fcber 电影 \U0001f600", ""):
        code_points = np.zeros((1, size), np.int32)
        code_points[0, : len(text)] = [ord(character) for character in text]
        probabilities = classify(code_points=code_points)["probabilities"][0]
        np.testing.assert_allclose(probabilities, model.probabilities([text])[0], atol=1e-5)
    assert labels == model.labels


def test_outputs_have_a_fixed_shape(exported):
    # Which browsers' and C's interfaces need.
    details = LiteRTRunner(exported[1]).get_output_details()
    assert details["probabilities"]["shape_signature"].tolist() == [1, 2]


def test_delegates_change_nothing(exported):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    row = encode_code_points("a very good film, caf\u00e9!", 256)
    plain, delegated = (
        Interpreter(str(exported[1]), experimental_op_resolver_type=kind).get_signature_runner()(
            code_points=row
        )["probabilities"]
        for kind in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO)
    )
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(plain, delegated, atol=1e-6)


def test_surrogates_and_numbers_that_are_no_code_points_are_deleted(exported):
    model, path = exported
    wanted = model.probabilities(["a good film"])
    np.testing.assert_allclose(
        load_predictor(path).probabilities(["a\ud800 good \udfff film"]), wanted, atol=1e-5
    )
    row = encode_code_points("a good film??", 256)
    row[0, 11:13] = -7, 2**31 - 1
    found = LiteRTRunner(path)(code_points=row)["probabilities"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_truncation(tiny_classifier, tmp_path):
    model = tiny_classifier(truncation="head_tail")
    path = tmp_path / "x.tflite"
    model.export(path, **LITERT)
    reader = load_predictor(path)
    texts = ["good " * 20 + "bad film " * 12, "a " * 31, "film " * 30, "awful"]
    np.testing.assert_allclose(reader.probabilities(texts), model.probabilities(texts), atol=1e-5)
    with pytest.raises(ValueError, match=r"takes 256 code points, .* 'good good .* read 500: sho"):
        reader.probabilities(["good", "good " * 100])


@pytest.fixture(scope="module")
def short(tiny_classifier, tmp_path_factory):
    """A model, and the reader of its file that takes 80 code points."""
    path = tmp_path_factory.mktemp("short") / "x.tflite"
    model = tiny_classifier()
    model.export(path, num_code_points=80, **LITERT)
    return model, load_predictor(path)


class TestLongTexts:
    def test_what_is_not_read_may_be_longer(self, short):
        model, reader = short
        # 30 tokens in 30 characters; a word that is cut where its last token ends.
        for text in ("," * 500, "film" + "s" * 60 + ",", ",, " * 15 + "film" + "s" * 60):
            found = reader.probabilities([text])
            np.testing.assert_allclose(found, model.probabilities([text]), atol=1e-5)

    def test_what_is_read_may_not(self, short):
        _, reader = short
        for text in ("good " * 16 + "good", " " * 90 + "good", "x" * 101):
            with pytest.raises(ValueError, match=f"takes 80 code points, .* read {len(text)}"):
                reader.probabilities(["good", text])


def test_spans_of_a_tagger(models, exports):
    model, reader = models("tagger"), load_tagger(exports("tagger", "long.tflite"))
    texts = ["\U0001f600 A good\u0301\0 film, caf\u00e9s! ", "", " ", "bad film " * 30, "x" * 101]
    found, wanted = reader.find_spans(texts), model.find_spans(texts)
    assert sum(map(len, wanted)) > 3
    for text in texts:
        wanted_offsets = tokenize_words(model.tokenizer, text).offsets
        assert [*map(tuple, reader._words(text)[1].tolist())] == wanted_offsets
    for ours, theirs in zip(found, wanted, strict=True):
        assert [span[:4] for span in ours] == [span[:4] for span in theirs]


def test_answers(models, tmp_path):
    encoder, tokenizer = models("answerer").encoder, models("answerer").tokenizer
    lengths = {"sequence_length": 16, "max_question_length": 6, "max_answer_length": 3}
    model = BertQuestionAnswerer(encoder, tokenizer, no_answer_threshold=0.0, **lengths)
    model.export(tmp_path / "x.tflite", **LITERT)
    reader = load_answerer(tmp_path / "x.tflite")
    questions = ["the film?", "good good good good very bad", "", "a"]
    contexts = [
        "\U0001f600 A good\u0301\0 film, caf\u00e9s! the movie",
        "the very good film , a bad movie, really awful über film, films , the a good , ! great",
        "",
        "film",
    ]
    histories = [(), (("a film", "good"),), (("bad movie over there", "awful"), ("a", "b"))]
    texts = set()
    for question, context, history in itertools.product(questions[:2], contexts, histories):
        found = reader.answer(question, context, history)
        wanted = model.answer(question, context, history)
        assert found[:3] == wanted[:3]
        np.testing.assert_allclose(found[3:], wanted[3:], atol=1e-5)
        texts.add(found.text)
    assert len(texts) > 2
    pairs = [*zip(*itertools.product(questions, contexts), strict=True)]
    columns = tuple(list(column) for column in pairs)
    np.testing.assert_allclose(
        reader.probabilities(columns), model.probabilities(columns), atol=1e-5
    )


class TestOnnx:
    def test_names_and_operations(self, exports):
        model = onnx.load(exports("classifier", "code_points.onnx"))
        (code_points,), (output,) = model.graph.input, model.graph.output
        shape = code_points.type.tensor_type.shape.dim
        assert (code_points.name, output.name) == ("code_points", "probabilities")
        assert (shape[0].dim_value, shape[1].dim_param) == (1, "code_points")
        assert {node.domain for node in model.graph.node} == {""}
        assert not {"Loop", "If", "Scan"} & {node.op_type for node in model.graph.node}

    def test_any_length(self, models, exports):
        reader = load_predictor(exports("classifier", "code_points.onnx"))
        texts = ["", " " * 2000 + "good", "x" * 3000, "bad film " * 500]
        np.testing.assert_allclose(
            reader.probabilities(texts), models("classifier").probabilities(texts), atol=1e-5
        )


@pytest.mark.parametrize("name", ["pairs.tflite", "pairs.onnx"])
def test_pairs(models, exports, name):
    model, reader = models("classifier"), load_predictor(exports("classifier", name))
    # Texts of 0 to 60 tokens, of which 29 are read: all the ways to share them.
    texts = ["", "film", "a good film " * 5, "caf\u00e9 \u7535\u5f71", "bad " * 28, "bad " * 60]
    pairs = tuple(map(list, zip(*itertools.product(texts, texts), strict=True)))
    found = reader.probabilities(pairs)
    np.testing.assert_allclose(found, model.probabilities(pairs), atol=1e-5)
    with pytest.raises(ValueError, match="takes a pair, not one text: export without pairs=True"):
        reader.probabilities(["a"])
    if name == "pairs.tflite":
        with pytest.raises(ValueError, match="takes 256 code points, .* read 257"):
            reader.probabilities((["a"], ["a" * 257]))


def test_settings_are_packed(exported):
    with zipfile.ZipFile(exported[1]) as file:
        settings = json.loads(file.read("tokenizer_config.json"))
    assert (settings["inputs"], settings["num_code_points"]) == ("code_points", 256)


def test_readers_refuse_pairs_and_ids(exports):
    for name in ("code_points.tflite", "code_points.onnx"):
        reader = load_predictor(exports("classifier", name))
        with pytest.raises(ValueError, match="takes one text, not a pair"):
            reader.probabilities((["a"], ["b"]))
        with pytest.raises(ValueError, match="takes code points, not ids: export with inputs="):
            reader.probabilities_of_ids({})
        assert reader.probabilities([]).shape == (0, 2)
    embedder = load_embedder(exports("sentence_encoder", "code_points.tflite"))
    assert embedder.encode([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "words"}, "inputs must be 'ids' or 'code_points' in .* 'words'"),
        ({"static_length": 8}, "inputs='code_points' has a dynamic length and no 'full_int8'"),
        ({"precision": "full_int8"}, "code_points' has a dynamic length and no 'full_int8'"),
        ({"num_code_points": 0}, "num_code_points must be a positive whole number, received 0"),
        ({"num_code_points": 8, "inputs": "ids"}, "num_code_points=8 is for inputs='code_points'"),
    ],
)  # fmt: skip
def test_options_that_are_refused(tiny_classifier, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny_classifier().export(tmp_path / "x.tflite", **{**LITERT, **options})
    assert list(tmp_path.iterdir()) == []


def test_models_and_tasks_that_are_refused(tiny_classifier, models, tmp_path):
    with pytest.raises(ValueError, match="one row of a text, .* truncation='windows': use inputs="):
        tiny_classifier(truncation="windows").export(tmp_path / "x.tflite", **LITERT)
    with pytest.raises(
        ValueError, match="inputs must be 'ids' in a file of a summarizer, received"
    ):
        models("summarizer").export(tmp_path / "x.tflite", **LITERT)
    with pytest.raises(ValueError, match="inputs must be 'ids' or 'code_points' in .* 'text'"):
        tiny_classifier().export(tmp_path / "x.onnx", format="onnx", inputs="text")
    model = tiny_classifier()
    for name, value in (("preprocessing", [StripHtml()]), ("errors", "strict")):
        tokenizer = WordPieceTokenizer(model.tokenizer.vocabulary, **{name: value})
        other = BertClassifier(model.encoder, model.labels, tokenizer)
        with pytest.raises(ValueError, match=f"needs a tokenizer with {name}=.* inputs='ids'"):
            other.export(tmp_path / "x.tflite", **LITERT)
    tail = tiny_classifier(truncation="tail")
    for refused, options in ((tail, LITERT), (model, {"format": "litert"})):
        with pytest.raises(ValueError, match="pairs=True is for inputs='code_points' and a model"):
            refused.export(tmp_path / "x.tflite", pairs=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_code_points_of_a_text():
    row = encode_code_points("a\U0001f600\ud800", 5)
    assert (row.tolist(), row.dtype) == ([[97, 0x1F600, 0xD800, 0, 0]], np.int32)
    assert encode_code_points("").shape == (1, 0)
