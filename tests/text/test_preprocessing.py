"""Each step by hand, the same in Python and TensorFlow, and saved with tokenizers and models."""

import dataclasses
import itertools
import json
import random
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import BertClassifier, Vocabulary, WordPieceTokenizer
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import load_predictor
from keras_bert_scratch.text import preprocessing
from keras_bert_scratch.text.graphs.tokenizer_graph import replace_expressions, tokenizer_graph
from keras_bert_scratch.text.preprocessing import (
    AddPrompt,
    RegexStep,
    RemoveStopWords,
    RepairUnicode,
    ReplaceNumbers,
    ReplaceUrls,
    ReplaceUsers,
    StripHtml,
    nltk_sentences,
    step_from_config,
    stop_words,
)

GREEK_AND_MORE = ["ὁ", "τοῖς", "σας", "für", "over", "don't", "kiss", "i", "straße", "a"]
REGEX_STEPS = [
    StripHtml(),
    ReplaceUrls(),
    ReplaceUsers("some\\1one"),
    ReplaceNumbers(),
    RemoveStopWords(),
    RemoveStopWords(GREEK_AND_MORE),
]
STEPS = [*REGEX_STEPS, RepairUnicode("NFKC")]


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        (StripHtml(), "<p class='a'>Good<br/>film</p>", " Good film "),
        (StripHtml(), "a < b, 3<5, <3 and c > d", "a < b, 3<5, <3 and c > d"),
        (StripHtml(), "a<!-- <b> -- > -->b<!DOCTYPE html>c<?xml v?>d", "a b c d"),
        (StripHtml(), "a<SCRIPT src=x>if (1<2) f()</Script >b<style>p{}</style>c", "a b c"),
        (StripHtml(), "<scripted>stays</scripted>", " stays "),
        (StripHtml(), "a<!-- never\nclosed <b>", "a "),
        (StripHtml(), "a<script>never\nclosed", "a "),
        (StripHtml(), "&lt;b&gt;&nbsp;&quot;&apos;&#39;&#x27;", "<b> \"'''"),
        (StripHtml(), "&amp;lt; &uuml;", "&lt; &uuml;"),
        (ReplaceUrls(), "see (HTTPS://a.b/c_(d)?e=f#g).", "see ( url )."),
        (ReplaceUrls("link"), "看www.a.cn很好, awww.nice http://", "看 link 很好, awww.nice http://"),
        (ReplaceUrls(), '<a href="http://a.b">', '<a href=" url ">'),
        (ReplaceUsers(), "@ann_1: bob@site.org @ 1, @@eve", " user : bob@site.org @ 1, @ user "),
        (ReplaceNumbers(), "1,234.50, 2. B2B ٣", " number ,  number . B number B ٣"),
        (ReplaceNumbers("\\0"), "7", " \\0 "),
        (RemoveStopWords(["the", "of"]), "The Lord OF the soft of-the-then", " Lord   soft --then"),
        (RemoveStopWords(["don't", "s"]), "DON'T s 's don’t it's", "  '  it's"),
        # Both small sigmas have one capital; ü is not u.
        (RemoveStopWords(["σας", "für"]), "ΣΑΣ σας Σας σασ FÜR fürs fur", "     fürs fur"),
        (RepairUnicode(), "cafe\u0301 ﬁ", "café ﬁ"),
        (RepairUnicode("NFKC"), "ﬁｌｍ", "film"),
    ],
)  # fmt: skip
def test_by_hand(step, text, expected):
    assert step(text) == expected


def fuzz(count: int, seed: int) -> list[str]:
    """Random strings of what the steps search, among all kinds of characters."""
    rng = random.Random(seed)
    parts = [
        *"<>!/?&;@#._-'’\"\\ \t\n\r\x0b\x0c\x00\x1c\x85\xa0\u200b\u200d\u2028\ufeff\ufffd\ufdd0",
        *("<!--", "-->", "<b", "</script", "<ScRipt>", "<style ", "</STYLE>", "<ſcript>", "&amp;"),
        *("&lt;", "&GT;", "&nbsp", "&#39;", "http://", "HTTPS://", "www.", "wWw.", "a.b/c?d=1"),
        *("@user", "b@c", "@a", "@1", "12", "3.4", "5,", "٣", "the", "The", "tHE", "AND", "don't"),
        *("Kiss", "for", "für", "FÜR", "σας", "ΣΑΣ", "Σας", "KISS", "ßtraße", "ı", "İ", "电影"),
    ]  # fmt: skip
    texts = []
    for _ in range(count):
        pieces = rng.choices(parts, k=rng.randrange(30))
        pieces += [chr(rng.choice(RANGES[rng.randrange(3)])) for _ in range(rng.randrange(6))]
        rng.shuffle(pieces)
        texts.append("".join(pieces))
    return texts


# ASCII; the two- and three-byte code points without surrogates; all others.
RANGES = [range(0x80), [*range(0x80, 0xD800), *range(0xE000, 0x10000)], range(0x10000, 0x110000)]


class TestPythonAndGraphAgree:
    @pytest.mark.parametrize("step", REGEX_STEPS, ids=lambda step: type(step).__name__)
    def test_on_random_strings(self, step):
        texts = fuzz(3000, seed=1)
        expected = [step(text) for text in texts]
        assert sum(map(str.__ne__, texts, expected)) > 500
        assert replace_expressions(step, tf.constant(texts)).numpy().tolist() == [
            t.encode() for t in expected
        ]

    def test_on_code_points_around_a_stop_word(self):
        step = RemoveStopWords(["as"])
        # The step has no rule for higher code points.
        points = [chr(c) for c in range(0x11000) if not 0xD800 <= c < 0xE000]
        # Beside the word, and in place of its letters.
        for texts in (
            [f"as{c}as" for c in points],
            [f"x {c}s" for c in points[:0x3000]],
            [f"x a{c}" for c in points[:0x3000]],
        ):
            expected = [step(text) for text in texts]
            assert replace_expressions(step, tf.constant(texts)).numpy().tolist() == [
                t.encode() for t in expected
            ]

    @pytest.mark.parametrize("errors", ["replace", "strict"])
    @pytest.mark.parametrize("normalization", ["bert", "mediapipe"])
    def test_ids_through_the_tokenizer(self, normalization, errors):
        tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] url user number < > & film".split()
        letters = [*"abcdefghijklmnopqrstuvwxyz!?@/.1234567890-;'"]
        tokenizer = WordPieceTokenizer(
            Vocabulary([*tokens, *letters, *(f"##{letter}" for letter in letters)]),
            preprocessing=STEPS[:-2],
            normalization=normalization,
            errors=errors,
        )
        texts: list = fuzz(300, seed=2)
        if errors == "replace":
            texts += [b"<b\xff>film</b\xf0\x9f>", b"http://a\xffb", b"\xe2\x82the\xc3 12\xff34"]
        expected = [tokenizer.encode(text).token_ids for text in texts]
        for engine in ("fast", "core"):
            ids, _ = tokenizer_graph(tokenizer, engine).ragged(
                tf.constant(texts), sequence_length=10_000
            )
            assert ids.to_list() == expected

    def test_offsets_are_those_of_the_changed_text(self):
        vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film"])
        tokenizer = WordPieceTokenizer(vocabulary, preprocessing=[StripHtml()])
        assert tokenizer.encode("<b>film</b>").offsets[1] == (1, 5)


class TestUnicodeRepair:
    def test_does_not_go_into_a_saved_model(self, tiny_classifier, tmp_path):
        steps = [RepairUnicode("NFKC"), StripHtml(), RemoveStopWords(["very"])]
        model = with_steps(tiny_classifier(), steps)
        texts, plain = ["<b>ｇｏｏｄ</b> ﬁlm", "ｖｅｒｙ ｂａｄ"], ["good film", "bad"]
        np.testing.assert_array_equal(
            model.predict(texts, verbose=0), model.predict(plain, verbose=0)
        )
        with pytest.raises(ValueError, match=r"RepairUnicode\(.*runs in Python only, .* LiteRT"):
            model.export(tmp_path / "saved_model")
        assert list(tmp_path.iterdir()) == []
        # LiteRT's predictor tokenizes in Python.
        model.export(tmp_path / "model.tflite", format="litert")
        served = load_predictor(tmp_path / "model.tflite").probabilities(texts)
        np.testing.assert_allclose(served, model.probabilities(plain), atol=1e-5)

    def test_mojibake_by_ftfy(self):
        pytest.importorskip("ftfy")
        assert RepairUnicode(mojibake=True)("cafÃ© &amp; “x”") == "café &amp; “x”"

    def test_mojibake_without_ftfy(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ftfy", None)
        with pytest.raises(ImportError, match='needs ftfy, .* pip install .*"preprocessing"'):
            RepairUnicode(mojibake=True)

    def test_unknown_form(self):
        with pytest.raises(ValueError, match="form must be 'NFC' or 'NFKC', received 'NFD'"):
            RepairUnicode("NFD")


@pytest.fixture
def no_nltk(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)


@pytest.fixture
def nltk_data(monkeypatch, tmp_path):
    """Returns the folder in which NLTK, installed without data, searches its data."""
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    # The corpus caches its folder.
    from nltk.corpus import WordListCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    fresh = LazyCorpusLoader("stopwords", WordListCorpusReader, r"(?!README|\.).*", encoding="utf8")
    monkeypatch.setattr(nltk.corpus, "stopwords", fresh)
    return tmp_path


class TestStopWords:
    def test_scikit_learns_list_without_nltk(self, no_nltk):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        assert stop_words() == sorted(ENGLISH_STOP_WORDS)

    def test_scikit_learns_list_without_nltks_data(self, nltk_data):
        assert len(stop_words()) == 318

    def test_nltks_list_if_its_data_is_there(self, nltk_data):
        folder = nltk_data / "corpora/stopwords"
        folder.mkdir(parents=True)
        (folder / "english").write_text("the\ndon't\nof course\n")
        (folder / "german").write_text("der\nüber\n", encoding="utf-8")
        assert stop_words() == ["don't", "the"]
        assert stop_words("german") == ["der", "über"]
        with pytest.raises(ValueError, match="no list of stop words for 'klingon'"):
            stop_words("klingon")

    def test_other_languages_without_nltk(self, no_nltk):
        with pytest.raises(ValueError, match="for 'german': scikit-learn has 'english' only; for"):
            stop_words("german")

    def test_the_list_is_saved_not_the_way_to_find_it(self, no_nltk, monkeypatch):
        config = json.loads(json.dumps(RemoveStopWords().get_config()))
        monkeypatch.setattr(preprocessing, "stop_words", pytest.fail)
        assert len(step_from_config(config).words) == 318

    @pytest.mark.parametrize("words", [[], ["of course"], ["the", "a!"], [""]])
    def test_what_is_no_word(self, words):
        with pytest.raises(ValueError, match="Stop words are one word each, .* received"):
            RemoveStopWords(words)

    def test_a_language_in_place_of_words(self):
        with pytest.raises(TypeError, match=r"received 'german': stop_words\('german'\) finds"):
            RemoveStopWords("german")


class TestSplitting:
    def test_sentences_by_the_simple_rule(self, no_nltk):
        text = 'It works. Is 3.5 "more?" Yes!\nLast line… 很好。“是的！”ok '
        assert nltk_sentences(text) == [
            "It works.", 'Is 3.5 "more?"', "Yes!", "Last line…", "很好。", "“是的！”", "ok",
        ]  # fmt: skip
        assert nltk_sentences(" \n ") == []

    def test_by_nltk_if_its_data_is_there(self, nltk_data):
        folder = nltk_data / "tokenizers/punkt_tab/english"
        folder.mkdir(parents=True)
        for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
            (folder / name).write_text("")
        (folder / "abbrev_types.txt").write_text("mr\n")
        # The simple rule would split after the abbreviation.
        assert nltk_sentences("Mr. Smith came. He left.") == ["Mr. Smith came.", "He left."]


def with_steps(model: BertClassifier, steps: list) -> BertClassifier:
    """Returns the same classifier with preprocessing."""
    tokenizer = WordPieceTokenizer(model.tokenizer.vocabulary, preprocessing=steps)
    again = BertClassifier(model.encoder, model.labels, tokenizer)
    again.head.set_weights(model.head.get_weights())
    return again


class TestSavedWithTheModel:
    @pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
    def test_config_is_json_and_makes_the_same_step(self, step):
        config = json.loads(json.dumps(step.get_config()))
        assert step_from_config(config) == step
        assert step_from_config(config).get_config() == config

    def test_tokenizer_by_config_and_by_folder(self, tmp_path):
        vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film"])
        tokenizer = WordPieceTokenizer(vocabulary, preprocessing=STEPS)
        config = json.loads(json.dumps(tokenizer.get_config()))
        assert WordPieceTokenizer.from_config(config).preprocessing == tuple(STEPS)
        tokenizer.save(tmp_path)
        # Other readers would skip the steps.
        assert not (tmp_path / "tokenizer.json").exists()
        assert WordPieceTokenizer.from_directory(tmp_path).preprocessing == tuple(STEPS)
        bare = WordPieceTokenizer.from_directory(tmp_path, preprocessing=())
        assert bare.preprocessing == ()

    def test_classifier_and_its_saved_model(self, tiny_classifier, tmp_path):
        import keras

        steps = [StripHtml(), ReplaceUrls("good"), RemoveStopWords(["very", "a", "the"])]
        plain = tiny_classifier()
        model = with_steps(plain, steps)
        texts = ["<p>The film</p>, a VERY http://x.y movie", "<i>very</i> bad", *PROBE_TEXTS]
        by_hand = ["film, good movie", "bad"]
        expected = model.probabilities(texts)
        np.testing.assert_allclose(expected[:2], plain.probabilities(by_hand), atol=1e-6)

        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again.probabilities(texts), expected)
        model.save_pretrained(tmp_path / "pretrained")
        again = BertClassifier.from_pretrained(tmp_path / "pretrained")
        np.testing.assert_array_equal(again.probabilities(texts), expected)
        other = BertClassifier.from_pretrained(tmp_path / "pretrained", preprocessing=steps[:1])
        assert other.tokenizer.preprocessing == tuple(steps[:1])

        model.export(tmp_path / "saved_model")
        served = load_predictor(tmp_path / "saved_model").probabilities(texts)
        np.testing.assert_allclose(served, expected, atol=1e-5)

    def test_unknown_step(self):
        with pytest.raises(ValueError, match="Unknown preprocessing step 'Stem': this version has"):
            step_from_config({"step": "Stem"})

    @pytest.mark.parametrize(
        "config",
        [
            {"step": "ReplaceUrls", "unknown": 1},
            {"step": "ReplaceUrls", "placeholder": 3},
            {"step": "RemoveStopWords", "words": 3},
            {"step": "RemoveStopWords", "words": [3]},
        ],
    )
    def test_settings_that_a_step_does_not_have(self, config):
        with pytest.raises(ValueError, match=f"The settings of {config['step']} are refused: "):
            step_from_config(config)

    def test_a_placeholder_has_a_largest_length(self):
        step_from_config({"step": "ReplaceUrls", "placeholder": "u" * 20})
        message = "placeholder must have at most 20 characters, received 21: 'uuu"
        with pytest.raises(ValueError, match=message):
            step_from_config({"step": "ReplaceUrls", "placeholder": "u" * 21})

    def test_stop_words_have_a_largest_size(self):
        letters = "abcdefghij"
        words = ["".join(word) for word in itertools.product(letters, repeat=5)]
        RemoveStopWords(words[:10_000])
        message = "at most 50000 characters together, received 50005 in 10001 words: keep the most"
        with pytest.raises(ValueError, match=message):
            RemoveStopWords(words[:10_001])

    @pytest.mark.parametrize(
        ("steps", "message"),
        [
            # Each step turns a number into eight: 8^6 times as many.
            (
                [ReplaceNumbers("1 1 1 1 1 1 1 1")] * 6,
                r"turn the placeholder of ReplaceNumbers\(placeholder='1 1 .*'\) into more than 50",
            ),
            (
                [ReplaceUsers("www.a.de " * 2), ReplaceUrls("1,a " * 5), ReplaceNumbers()],
                r"the placeholder of ReplaceUsers\(placeholder='www.*than 50 char",
            ),
            (
                [ReplaceUrls("7 7 7 7 7 7"), StripHtml(), ReplaceNumbers("x" * 9)],
                r"the placeholder of ReplaceUrls\(placeholder='7 7 7 7 7 7'\)",
            ),
            ([StripHtml()] * 17, "preprocessing takes at most 16 steps, received more: omit"),
        ],
    )
    def test_steps_that_make_texts_longer_and_longer(self, steps, message):
        with pytest.raises(ValueError, match=message):
            preprocessing.check_steps(steps)

    def test_placeholders_that_later_steps_replace_once(self):
        steps = [ReplaceUrls("@url1"), ReplaceUsers("@user2"), ReplaceNumbers()]
        assert preprocessing.check_steps(steps) == tuple(steps)

    def test_steps_without_end_are_not_waited_for(self):
        with pytest.raises(ValueError, match="at most 16 steps"):
            preprocessing.check_steps(itertools.repeat(StripHtml()))

    def test_what_the_steps_may_make_of_a_text_is_bounded(self):
        """The worst that check_steps accepts: one character becomes a placeholder of 20."""
        steps = preprocessing.check_steps([ReplaceUsers("x" * 20), ReplaceNumbers("y" * 20)])
        text = "1a" * 1000
        for step in steps:
            text = step(text)
        assert len(text) == 1000 * (20 + 2 + 1)

    @pytest.mark.parametrize("step", REGEX_STEPS, ids=lambda step: type(step).__name__)
    def test_time_is_linear_in_the_length(self, step):
        """For texts that never close what they open; quadratic time would be minutes."""
        for opened in (
            *("<!--", "<script", "<script ", "<script>", "<a", "www.", "http://", "http://("),
            *("@", "@a", "1,", "'", "a'", "&lt", "&#"),
        ):
            text = opened * (100_000 // len(opened))
            assert replace_expressions(step, tf.constant([text])).numpy()[0] == step(text).encode()

    def test_a_function_is_no_step(self):
        vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        with pytest.raises(TypeError, match="received <method 'lower' .* apply them to the texts"):
            WordPieceTokenizer(vocabulary, preprocessing=[str.lower])

    def test_steps_are_values(self):
        assert RemoveStopWords(["b", "a"]) == RemoveStopWords(("a", "b", "a"))
        assert len({*STEPS, *STEPS}) == len(STEPS)
        with pytest.raises(dataclasses.FrozenInstanceError):
            STEPS[1].placeholder = "x"

    def test_every_step_is_listed(self):
        listed = set(preprocessing._STEPS.values())
        assert {type(step) for step in STEPS} | {AddPrompt} == listed
        assert {step for step in listed if not issubclass(step, RegexStep)} == {RepairUnicode}
