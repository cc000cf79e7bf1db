import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.beam_search import BeamSearch
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving import summarizing
from keras_bert_scratch.serving.summarizer import (
    LiteRTSummarizer,
    SavedModelSummarizer,
    load_summarizer,
)
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TEXTS = ["a really good film", "the film . très über", "", "good good good", " \n"]
CHOICE = {"min_length": 6, "forbidden_words": [",", "good the", "! !"]}


@pytest.fixture(scope="module")
def model() -> BertSummarizer:
    keras.utils.set_random_seed(0)
    words = "a the really good film , . ! ##s über".split()
    tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]))
    config = BertConfig(
        vocab_size=len(tokenizer.vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=32,
        initializer_range=0.4,
    )
    return BertSummarizer(BertEncoder(config), BertDecoder(config), tokenizer, summary_length=9)


@pytest.fixture(scope="module")
def exported(model: BertSummarizer, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("exports")
    model.export(folder / "greedy")
    model.export(folder / "greedy.tflite", format="litert")
    model.export(
        folder / "beams.tflite", format="litert", sampler=BeamSearch(2), no_repeat_ngram_size=2
    )
    model.export(folder / "choice", **CHOICE)
    model.export(folder / "choice.tflite", format="litert", sampler=BeamSearch(2), **CHOICE)
    return folder


@pytest.mark.parametrize("name", ["greedy", "greedy.tflite"])
def test_writes_what_the_model_writes(model, exported, name):
    expected = model.summarize(TEXTS)
    assert len(set(expected)) > 2
    assert expected[2] == expected[4] == ""
    assert load_summarizer(exported / name).summarize(TEXTS) == expected


def test_beams_and_ngrams_in_a_file(model, exported):
    expected = model.summarize(TEXTS, BeamSearch(2), no_repeat_ngram_size=2)
    assert expected != model.summarize(TEXTS)
    assert load_summarizer(exported / "beams.tflite").summarize(TEXTS) == expected


def test_least_length_and_forbidden_words(model, exported):
    greedy = model.summarize(TEXTS, **CHOICE)
    assert greedy != model.summarize(TEXTS)
    assert load_summarizer(exported / "choice").summarize(TEXTS) == greedy
    beams = model.summarize(TEXTS, BeamSearch(2), **CHOICE)
    assert load_summarizer(exported / "choice.tflite").summarize(TEXTS) == beams


def test_no_texts_no_summaries(exported):
    loaded = tf.saved_model.load(str(exported / "choice"))
    found = loaded.signatures["serving_default"](text=tf.constant([], tf.string))
    assert found["summary"].shape == (0,)
    for name in ("greedy", "greedy.tflite"):
        assert load_summarizer(exported / name).summarize([]) == []


def test_batches_of_a_saved_model(model, exported):
    found = SavedModelSummarizer(exported / "greedy").summarize(TEXTS, batch_size=3)
    assert found == model.summarize(TEXTS)


def test_core_operations_only(exported):
    loaded = tf.saved_model.load(str(exported / "greedy"))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    foreign = [name for name in operations if name.startswith("Xla") or ">" in name]
    assert foreign == []


def test_tokens_signature(model, exported):
    loaded = tf.saved_model.load(str(exported / "greedy"))
    inputs = tokenizer_graph(model.tokenizer)(tf.constant(TEXTS), sequence_length=32)
    found = loaded.signatures["tokens"](**inputs)["summary_ids"]
    np.testing.assert_array_equal(found, model.generate(inputs))
    too_large = {**inputs, "token_ids": inputs["token_ids"] + 99}
    with pytest.raises(tf.errors.InvalidArgumentError, match="token_ids must be from 0 to 14"):
        loaded.signatures["tokens"](**too_large)


def test_an_export_that_writes_otherwise_does_not_appear(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        summarizing, "ask", lambda path, texts, answer: (np.array(["wrong"] * len(texts)), {})
    )
    message = "For 'a film to remember' the export writes 'wrong' and the model '"
    with pytest.raises(RuntimeError, match=message):
        model.export(tmp_path / "broken")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_summarizer(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: name a SavedModel or a .tflite"):
        load_summarizer(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is not a SavedModel of a summarizer"):
        load_summarizer(tmp_path)
    (tmp_path / "a.tflite").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a LiteRT file of a summarizer"):
        LiteRTSummarizer(tmp_path / "a.tflite")


@pytest.mark.parametrize("name", ["greedy", "greedy.tflite"])
class TestManyCallers:
    def test_no_texts(self, exported, name):
        assert load_summarizer(exported / name).summarize([]) == []

    def test_threads(self, exported, from_threads, name):
        summarizer = load_summarizer(exported / name)
        for found, alone in from_threads(lambda text: summarizer.summarize([text]), TEXTS, 10):
            assert found == alone


def test_signatures_take_no_rows(exported):
    signatures = tf.saved_model.load(exported / "greedy").signatures
    assert signatures["serving_default"](text=tf.constant([], tf.string))["summary"].shape == (0,)
