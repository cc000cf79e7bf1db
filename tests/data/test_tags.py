"""Words, tags and tokens, worked out by hand."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bert_scratch.data.tags import (
    IGNORED,
    Span,
    TaggedSpan,
    WordRows,
    check_bio,
    check_same_lengths,
    continuations,
    convert_tags,
    read_conll,
    spans_of,
    tagged_spans,
    tokenize_words,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENS = [*SPECIAL_TOKENS, "film", "##s", "a", "@", "!", "b", "c", "d", "e", "f"]
S, A, FILM, PLURAL, AT, BANG, CLS, SEP = (
    TOKENS.index(token) for token in ("##s", "a", "film", "##s", "@", "!", "[CLS]", "[SEP]")
)


# Type, number of words, and words until the next.
SPANS = st.lists(st.tuples(st.sampled_from("xy"), st.integers(1, 4), st.integers(0, 2)), max_size=6)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(Vocabulary(TOKENS))


class TestReading:
    def read(self, tmp_path, content, **arguments):
        path = tmp_path / "a.conll"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_conll(path, **arguments)

    def refused(self, tmp_path, content, **arguments):
        with pytest.raises(ValueError, match=r"a\.conll|scheme") as error:
            self.read(tmp_path, content, **arguments)
        return str(error.value).replace(f"{tmp_path}/", "")

    def test_words_tags_and_sentences(self, tmp_path):
        texts = self.read(
            tmp_path,
            b"\xef\xbb\xbf-DOCSTART- O\n\nJane\tNNP\tB-person\r\nAusten NNP I-person\n"
            b"\t\n\n\nNew\xc2\xa0York\tX\tO",
        )
        assert texts.words == [["Jane", "Austen"], ["New\u00a0York"]]
        assert texts.tags == [["B-person", "I-person"], ["O"]]

    def test_broken_bio_names_the_lines(self, tmp_path):
        content = "a\tI-x\nb\tB-y\nc\tI-z\n\nd\tO\ne\tI-x\n"
        assert self.refused(tmp_path, content).startswith(
            "3 tags break BIO: a.conll, line 1: I-x follows nothing; a.conll, line 3: I-z follows "
            "B-y; a.conll, line 6: I-x follows O. A span starts with B-"
        )

    def test_iob1_of_conll_2003_becomes_bio(self, tmp_path):
        texts = self.read(
            tmp_path,
            "-DOCSTART- -X- -X- O\n\nWest NNP I-NP I-MISC\nIndian NNP I-NP I-MISC\nall NN I-NP O\n"
            "\nBonn NNP I-NP I-LOC\nBonn NNP I-NP B-LOC\nKohl NNP I-NP I-PER\n",
        )
        assert texts.words == [["West", "Indian", "all"], ["Bonn", "Bonn", "Kohl"]]
        assert texts.tags == [["B-MISC", "I-MISC", "O"], ["B-LOC", "B-LOC", "B-PER"]]

    def test_comments_before_sentences(self, tmp_path):
        texts = self.read(
            tmp_path,
            "# id 5239 domain=en\n#\nthe _ _ O\nfilm _ _ B-x\n\n# id 5240 domain=en\n# _ _ O\n"
            "#films _ _ B-x\n# _ _ I-x\n\n#end document\n",
        )
        assert texts.words == [["the", "film"], ["#", "#films", "#"]]
        assert texts.tags == [["O", "B-x"], ["O", "B-x", "I-x"]]

    def test_germeval_counts_its_words(self, tmp_path):
        content = "#\tn-tv.de [2005-02-26]\n1\tIn\tO\tO\n2\tBad Ems\tB-LOC\tO\n\n1\tso\tO\tO\n"
        assert self.refused(tmp_path, content) == (
            "a.conll: the column of words holds numbers that count them: name another with "
            "word_column, such as word_column=1."
        )
        texts = self.read(tmp_path, content, word_column=1, tag_column=2)
        assert texts.words == [["In", "Bad Ems"], ["so"]]
        assert texts.tags == [["O", "B-LOC"], ["O"]]

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_line_endings_blanks_and_trailing_tabs(self, tmp_path, newline):
        lines = ["a b\tB-x\t", " \t ", "", "c\tO"]
        texts = self.read(tmp_path, newline.join(lines))
        assert texts == ([["a b"], ["c"]], [["B-x"], ["O"]])

    def test_encoding_and_gzip(self, tmp_path):
        texts = self.read(tmp_path, "Málaga B-LOC\n".encode("latin-1"), encoding="latin-1")
        assert texts.words == [["Málaga"]]
        with gzip.open(tmp_path / "a.conll.gz", "wb") as file:
            file.write(b"a\tB-x\n")
        assert read_conll(tmp_path / "a.conll.gz").words == [["a"]]

    @pytest.mark.parametrize(
        ("content", "arguments", "message"),
        [
            (
                "a\tO\n\nJane\n",
                {},
                "a.conll, line 3: 'Jane' has no tag; write a word and its tag",
            ),
            ("a O\n#film\n", {}, "a.conll, line 2: '#film' has no tag"),
            ("\n#film\n", {}, "a.conll, line 2: '#film' has no tag"),
            ("\n\n", {}, "a.conll has no sentences"),
            (b"\xe9\tO\n", {}, "a.conll is not UTF-8: byte 0xe9 on line 1"),
            ("a\tO\n", {"word_column": 2}, "a.conll, line 1 has 2 columns, received word_column=2"),
            ("a\tO\n", {"scheme": "IOB"}, "scheme must be one of BIO, BIOES, IO, received 'IOB'"),
            (
                "a\tO\nNew York O\n",
                {},
                "a.conll, line 2: 3 columns, but 2 on line 1. Write the same number",
            ),
            ("a\tX\tO\n\tX\tO\n", {}, "a.conll, line 2: a word and its tag are needed, "),
            (
                "a\tX O\n",
                {},
                "a.conll, line 1: a word and its tag are needed, and a tag holds no sp",
            ),
        ],
    )
    def test_refusals(self, tmp_path, content, arguments, message):
        assert self.refused(tmp_path, content, **arguments).startswith(message)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            read_conll(tmp_path / "none.conll")

    def test_scheme(self, tmp_path):
        content = "a\tB-x\nb\tE-x\nc\tS-x\n\nd\tS-x\n"
        assert self.read(tmp_path, content).tags == [["B-x", "E-x", "S-x"], ["S-x"]]
        assert self.read(tmp_path, content, scheme="BIO").tags == [["B-x", "I-x", "B-x"], ["B-x"]]


class TestChecks:
    def test_bio_names_sentence_and_word(self):
        with pytest.raises(ValueError, match="1 tags break BIO: sentence 1, word 2: I-x follows O"):
            check_bio([["B-x", "I-x"], ["O", "O", "I-x"]])

    def test_only_the_first_places_are_named(self):
        with pytest.raises(ValueError, match=r"7 tags .*word 0: .*sentence 4, .*; …\. A span"):
            check_bio([["I-x", "O", "B-x"]] * 7)

    def test_good_bio_and_other_tags_pass(self):
        check_bio([["B-x", "I-x", "B-x", "I-x", "O"], []])
        check_bio([["NOUN", "I-x"]])

    def test_iob1_bioes_and_io_are_known(self):
        check_bio([["I-x", "B-x", "O", "I-x"], ["I-y", "I-x"]])
        check_bio([["B-x", "I-x", "E-x", "S-x", "S-y", "O"]])
        check_bio([["B-x", "M-x", "L-x", "U-x"]])
        check_bio([["x", "x", "O", "y"]])

    def test_broken_bioes(self):
        message = (
            "3 tags break BIOES: sentence 0, word 1: B-x has no end before S-x; sentence 0, "
            "word 3: E-x follows S-x; sentence 1, word 0: I-y follows nothing. A span is B-, "
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            check_bio([["O", "B-x", "S-x", "E-x"], ["I-y"]])

    def test_unequal_lengths(self):
        with pytest.raises(ValueError, match="There are 2 sentences but 1 lists of tags"):
            check_same_lengths([["a"], ["b"]], [["O"]])
        with pytest.raises(ValueError, match="Sentence 1 has 2 words but 1 tags"):
            check_same_lengths([["a"], ["b", "c"]], [["O"], ["O"]])


class TestSpans:
    def test_neighbours_and_types(self):
        tags = ["B-x", "I-x", "B-x", "O", "B-y", "I-y", "B-x"]
        assert spans_of(tags) == [
            Span("x", 0, 2),
            Span("x", 2, 3),
            Span("y", 4, 6),
            Span("x", 6, 7),
        ]

    def test_a_stray_i_begins_a_span(self):
        assert spans_of(["I-x", "I-x", "I-y"]) == [Span("x", 0, 2), Span("y", 2, 3)]

    def test_other_tags_are_spans_of_a_word(self):
        assert spans_of(["NOUN", "VERB"]) == [Span("NOUN", 0, 1), Span("VERB", 1, 2)]

    @pytest.mark.parametrize("letters", ["BIES", "BILU", "BMEW", "BMES"])
    def test_bioes_by_all_its_letters(self, letters):
        begin, inside, end, single = letters
        tags = [f"{begin}-x", f"{inside}-x", f"{end}-x", "O", f"{single}-x", f"{single}-x"]
        expected = [Span("x", 0, 3), Span("x", 4, 5), Span("x", 5, 6)]
        assert spans_of(tags) == expected
        # The same without types.
        assert [span[1:] for span in spans_of([tag[0] for tag in tags])] == [
            span[1:] for span in expected
        ]

    def test_types_without_letters_are_joined_where_there_is_an_o(self):
        labels = ["O", "x", "y"]
        assert spans_of(["x", "x", "O", "y", "x"]) == [
            Span("x", 0, 2),
            Span("y", 3, 4),
            Span("x", 4, 5),
        ]
        assert spans_of(["x", "x"], labels) == [Span("x", 0, 2)]
        assert spans_of(["x", "x"]) == [Span("x", 0, 1), Span("x", 1, 2)]

    def test_letters_of_other_senses(self):
        # Parts of speech of tweets; and a type that looks like one of BIOES among others.
        assert spans_of(["S", "L", "L"]) == [Span("S", 0, 1), Span("L", 1, 2), Span("L", 2, 3)]
        assert spans_of(["O", "S-Bahn", "S-Bahn", "tram"]) == [
            Span("S-Bahn", 1, 3),
            Span("tram", 3, 4),
        ]
        # A label beside BIO, such as X of older checkpoints.
        assert spans_of(["O", "B-x", "I-x", "X", "X"]) == [Span("x", 1, 3), Span("X", 3, 5)]

    @settings(max_examples=50, deadline=None)
    @given(spans=SPANS, scheme=st.sampled_from(["BIO", "BIOES"]))
    def test_every_scheme_gives_its_spans_back(self, spans, scheme):
        """Valid tags of every scheme, read by us and by seqeval, in its strict mode, too."""
        seqeval = pytest.importorskip("seqeval.scheme", reason="seqeval is not installed")
        bio, expected = ["O"], []
        for label, length, gap in spans:
            expected.append(Span(label, len(bio), len(bio) + length))
            bio += [f"B-{label}", *[f"I-{label}"] * (length - 1), *["O"] * gap]
        (tags,) = convert_tags([bio], scheme)
        assert spans_of(tags) == spans_of(bio) == expected
        theirs = getattr(seqeval, {"BIO": "IOB2", "BIOES": "IOBES"}[scheme])
        found = seqeval.Entities([tags], theirs).entities[0]
        assert [(entity.tag, entity.start, entity.end) for entity in found] == expected
        check_bio([tags])
        assert convert_tags([tags], "BIO") == [bio]
        # IOB1 marks a beginning only beside a neighbour of its type.
        iob1 = [
            f"I{tag[1:]}" if tag[0] == "B" and before[1:] != tag[1:] else tag
            for before, tag in zip(["O", *bio], bio, strict=False)
        ]
        check_bio([iob1])
        assert spans_of(iob1) == expected
        assert convert_tags([iob1], "BIO") == [bio]

    def test_conversion_to_io_joins_neighbours(self):
        assert convert_tags([["B-x", "B-x", "O"]], "IO") == [["I-x", "I-x", "O"]]
        assert convert_tags([["B", "I", "O", "B"]], "BIOES") == [["B", "E", "O", "S"]]
        with pytest.raises(ValueError, match="There is no O among the tags NOUN, VERB, so each"):
            convert_tags([["NOUN", "VERB"]], "BIO")

    def test_a_text_of_io_without_an_o(self):
        probabilities = np.array([[0.1, 0.9], [0.2, 0.8]])
        spans = tagged_spans("Jane Austen", [(0, 4), (5, 11)], probabilities, ["O", "x"])
        assert [span.text for span in spans] == ["Jane Austen"]

    def test_spans_of_the_text(self):
        labels = ["O", "B-x", "I-x"]
        probabilities = np.array([[0.1, 0.8, 0.1], [0.2, 0.1, 0.7], [0.9, 0.1, 0.0]])
        spans = tagged_spans("Jane  Austen.", [(0, 4), (6, 12), (12, 13)], probabilities, labels)
        assert spans == [TaggedSpan("Jane  Austen", "x", 0, 12, 0.7)]

    def test_parts_of_a_word_are_one_span(self):
        def found(text, tags, labels):
            words = tokenize_words(WordPieceTokenizer(Vocabulary(TOKENS)), text)
            rows = np.eye(len(labels))[[labels.index(tag) for tag in tags]]
            return [span.text for span in tagged_spans(text, words.offsets, rows, labels)]

        # By the second word's I-.
        assert found("a-b c", ["B-x", "I-x", "I-x", "B-x"], ["B-x", "I-x"]) == ["a-b", "c"]
        # Two of a type that stand side by side begin with B- each.
        assert found("a-b", ["B-x", "B-x", "B-x"], ["B-x", "I-x"]) == ["a", "-", "b"]
        # There is no I-: a word goes on as itself.
        assert found("a-b c", ["B-x"] * 4, ["B-x", "O"]) == ["a-b", "c"]
        assert found("a\u00a0b\u200bc d", ["B-x"] * 3, ["B-x", "O"]) == ["a\u00a0b\u200bc", "d"]
        # Parts of speech: different signs are words of their own, the same are not.
        assert found("a.b.)", ["X"] * 5, ["X", "Y"]) == ["a.b.", ")"]
        assert found("a...", ["X", "Y", "Y", "Y"], ["X", "Y"]) == ["a", "..."]
        assert found("电影", ["X", "X"], ["X", "Y"]) == ["电", "影"]

    def test_how_tags_go_on(self):
        labels = ["O", "B-x", "I-x", "B-y", "S-x", "E-x", "NOUN", "X-ray"]
        assert continuations(labels).tolist() == [0, 2, 2, 3, 2, 2, 6, 7]
        assert continuations(["B_x", "M_x", "E_x", "W_x", "O"]).tolist() == [1, 1, 1, 1, 4]
        assert continuations(["B", "I", "O"]).tolist() == [1, 1, 2]
        # These are parts of speech.
        assert continuations(["S", "I", "X"]).tolist() == [0, 1, 2]


class TestTokens:
    def test_given_words(self, tokenizer):
        words = tokenize_words(tokenizer, ["a", "films!", "\u200b", "@a"])
        assert words.text == "a films! \u200b @a"
        assert words.offsets == [(0, 1), (2, 8), (9, 10), (11, 13)]
        assert words.token_ids == [A, FILM, PLURAL, BANG, AT, A]
        # The second word has two parts, and the tokenizer drops the third.
        assert words.parts.tolist() == [0, 1, 3, 4, 5]
        assert words.word_of_part.tolist() == [0, 1, 1, 3, 3]

    def test_empty_words_keep_their_place(self, tokenizer):
        words = tokenize_words(tokenizer, ["", "a", "", "", "b", ""])
        assert words.offsets == [(0, 0), (1, 2), (3, 3), (4, 4), (5, 6), (7, 7)]
        assert words.word_of_part.tolist() == [1, 4]

    def test_words_of_a_string(self, tokenizer):
        words = tokenize_words(tokenizer, " Films!\u200b  @ä unknown")
        assert words.offsets == [(1, 6), (6, 7), (10, 11), (11, 12), (13, 20)]
        assert [words.text[start:end] for start, end in words.offsets] == [
            "Films",
            "!",
            "@",
            "ä",
            "unknown",
        ]
        assert words.parts.tolist() == [0, 2, 3, 4, 5]
        assert words.word_of_part.tolist() == [0, 1, 2, 3, 4]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.text("aF.'-@ \u00a0\u200b\u0301电é"), max_size=5))
    def test_given_words_are_trained_on_as_strings_are_read(self, tokenizer, given):
        words = tokenize_words(tokenizer, given)
        string = tokenize_words(tokenizer, words.text)
        assert string.token_ids == words.token_ids
        assert string.parts.tolist() == words.parts.tolist()
        for (start, end), word in zip(string.offsets, words.word_of_part, strict=True):
            assert words.offsets[word][0] <= start < end <= words.offsets[word][1]

    def test_nothing(self, tokenizer):
        for text in ("", []):
            words = tokenize_words(tokenizer, text)
            assert (words.offsets, words.token_ids) == ([], [])
            assert words.parts.tolist() == words.word_of_part.tolist() == []


class TestRows:
    def test_labels_and_weights_stand_at_the_parts_of_words(self, tokenizer):
        rows = WordRows(tokenizer, ["a", "films!", "\u200b", "a"], sequence_length=8)
        assert rows.token_ids == [[CLS, A, FILM, PLURAL, BANG, A, SEP]]
        inner = np.array([0, 1, 4, 3, 4])
        labels = rows.labels(np.array([1, 2, 0, 3]), inner)
        assert labels[0].tolist() == [IGNORED, 1, 2, IGNORED, 4, 3, IGNORED]
        assert labels[0].dtype == np.int32
        weights = rows.weights(np.array([1.0, 2.0, 9.0, 0.5]))
        assert weights[0].tolist() == [0, 1, 2, 0, 2, 0.5, 0]
        assert weights[0].dtype == np.float32

    def test_windows_label_every_word_once_and_answer_for_it(self, tokenizer):
        # Six tokens, four a window, stride 2: windows abcd, cdef; c is the first's, d the second's.
        rows = WordRows(tokenizer, list("abcdef"), sequence_length=6, window_stride=2)
        assert [len(row) for row in rows.token_ids] == [6, 6]
        labels = rows.labels(np.arange(10, 16), np.arange(16))
        assert [row.tolist() for row in labels] == [
            [IGNORED, 10, 11, 12, IGNORED, IGNORED],
            [IGNORED, IGNORED, 13, 14, 15, IGNORED],
        ]
        values = [np.arange(100, 106)[:, None], np.arange(200, 206)[:, None]]
        assert rows.of_words(values)[:, 0].tolist() == [101, 102, 103, 202, 203, 204]

    def test_words_without_tokens(self, tokenizer):
        rows = WordRows(tokenizer, ["\u200b", "a"], sequence_length=6)
        assert rows.of_words([np.full((3, 2), 7.0)]).tolist() == [[0, 0], [7, 7]]
        found = rows.of_words([np.full((3, 2), 7.0)], np.array([1.0, 2.0]))
        assert found.tolist() == [[1, 2], [7, 7]]
        nothing = WordRows(tokenizer, "", sequence_length=6)
        assert nothing.token_ids == [[CLS, SEP]]
        assert nothing.of_words([np.ones((2, 2))]).shape == (0, 2)
