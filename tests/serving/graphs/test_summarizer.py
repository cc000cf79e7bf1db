"""Exports of a small summarizer with the options of `summarize`."""

import keras
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.beam_search import BeamSearch
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.readers.summarizer import load_summarizer
from keras_bert_scratch.tasks.summarizer import BertSummarizer
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
    model.export(
        folder / "beams.tflite", format="litert", sampler=BeamSearch(2), no_repeat_ngram_size=2
    )
    model.export(folder / "choice", **CHOICE)
    model.export(folder / "choice.tflite", format="litert", sampler=BeamSearch(2), **CHOICE)
    return folder


def test_beams_and_ngrams_in_a_file(model, exported):
    expected = model.summarize(TEXTS, BeamSearch(2), no_repeat_ngram_size=2)
    assert expected != model.summarize(TEXTS)
    assert len(set(expected)) > 2
    assert expected[2] == expected[4] == ""
    assert load_summarizer(exported / "beams.tflite").summarize(TEXTS) == expected


def test_least_length_and_forbidden_words(model, exported):
    greedy = model.summarize(TEXTS, **CHOICE)
    assert greedy != model.summarize(TEXTS)
    assert load_summarizer(exported / "choice").summarize(TEXTS) == greedy
    beams = model.summarize(TEXTS, BeamSearch(2), **CHOICE)
    assert load_summarizer(exported / "choice.tflite").summarize(TEXTS) == beams
