"""Pairs and full sentences, made of documents whose tokens say where they come from."""

import numpy as np
import pytest

from keras_bert_scratch.data.sentence_pairs import (
    IS_NEXT,
    IS_RANDOM,
    Example,
    TokenizedDocuments,
    full_sentences,
    sentence_pairs,
    tokenize_documents,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

CLS, SEP = 2, 3
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *"abcdefgh", "##s", "."]))


def corpus(
    seed: int, num_documents: int = 200, longest_sentence: int = 30, longest_document: int = 20
) -> TokenizedDocuments:
    """Draws documents; every token is a number of its own, counted from 10."""
    rng = np.random.default_rng(seed)
    sentences = rng.integers(1, longest_document, num_documents)
    lengths = rng.integers(1, longest_sentence, sentences.sum())
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return TokenizedDocuments(
        np.arange(10, 10 + starts[-1], dtype="int32"),
        starts,
        np.concatenate([[0], np.cumsum(sentences)]),
    )


def pairs(documents: TokenizedDocuments, seed: int = 0, sequence_length: int = 64) -> list[Example]:
    generator = np.random.default_rng(seed)
    return list(
        sentence_pairs(
            documents,
            sequence_length=sequence_length,
            cls_id=CLS,
            sep_id=SEP,
            generator=generator,
        )
    )


def segments(example: Example) -> tuple[np.ndarray, np.ndarray]:
    ids, middle = example.token_ids, example.first_length
    assert ids[0] == CLS
    assert ids[middle - 1] == ids[-1] == SEP
    return ids[1 : middle - 1], ids[middle:-1]


def document_of(documents: TokenizedDocuments, token: int) -> int:
    sentence = np.searchsorted(documents.sentence_starts, token - 10, "right") - 1
    return int(np.searchsorted(documents.document_starts, sentence, "right") - 1)


def test_segments_are_runs_of_one_document_each() -> None:
    documents = corpus(0)
    for example in pairs(documents):
        first, second = segments(example)
        assert len(example.token_ids) <= 64
        for segment in (first, second):
            assert len(segment) >= 1
            assert (np.diff(segment) == 1).all()
            assert document_of(documents, segment[0]) == document_of(documents, segment[-1])
        same = document_of(documents, first[0]) == document_of(documents, second[0])
        # A positive pair never crosses the end of a document; a negative one always does.
        assert same == (example.next_sentence_label == IS_NEXT)
        if same:
            assert second[0] > first[-1]


def test_the_labels_are_balanced() -> None:
    """Also where sentences are as long as the examples, and runs hold two or three of them."""
    labels = [
        example.next_sentence_label
        for seed, length in ((1, 30), (2, 6), (3, 120))
        for example in pairs(corpus(seed, 1500, longest_sentence=length), seed)
    ]
    assert len(labels) > 10_000
    assert abs(np.mean(labels) - 0.5) < 3 * np.sqrt(0.25 / len(labels))
    assert {IS_NEXT, IS_RANDOM} == {0, 1} == set(labels)


def test_the_text_is_used() -> None:
    """Nearly all tokens of documents of at least two sentences are in an example."""
    documents = corpus(4, longest_sentence=15)
    seen = np.unique(np.concatenate([np.concatenate(segments(e)) for e in pairs(documents)]))
    assert len(seen) > 0.9 * len(documents.token_ids)


def test_most_examples_are_full_and_a_tenth_is_short() -> None:
    documents = corpus(5, 50, longest_sentence=12, longest_document=500)
    lengths = np.array([len(example.token_ids) for example in pairs(documents, 1)])
    assert lengths.max() == 64
    # A tenth aims at a length from 5 to 64, three quarters of which are below 50; some more are
    # short because the document that their second segment comes from ends.
    assert 0.06 < np.mean(lengths < 50) < 0.12
    assert np.mean(lengths > 60) > 0.85


def test_truncated_at_either_end_of_the_longer_segment() -> None:
    documents = TokenizedDocuments(
        np.arange(10, 10 + 244, dtype="int32"), np.array([0, 4, 204, 244]), np.array([0, 2, 3])
    )
    fronts = []
    for seed in range(40):
        for example in pairs(documents, seed, sequence_length=27):
            first, second = segments(example)
            if example.next_sentence_label == IS_NEXT and len(example.token_ids) == 27:
                assert (len(first), len(second)) == (4, 20)
                fronts.append(second[0] - 14)  # 180 tokens go, about half of them in front
    assert len(fronts) > 10
    assert 80 < np.mean(fronts) < 100
    assert len(set(fronts)) > 3


def test_a_pure_function_of_the_generator() -> None:
    documents = corpus(6)
    first, again, other = pairs(documents, 1), pairs(documents, 1), pairs(documents, 2)
    assert len(first) == len(again)
    assert all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(first, again, strict=True))
    assert [len(e.token_ids) for e in first] != [len(e.token_ids) for e in other]


def pack(documents: TokenizedDocuments, sequence_length: int) -> list[np.ndarray]:
    """Packs documents in their own order."""

    class InOrder:
        def permutation(self, size: int) -> np.ndarray:
            return np.arange(size)

    examples = full_sentences(
        documents,
        sequence_length=sequence_length,
        cls_id=CLS,
        sep_id=SEP,
        generator=InOrder(),  # type: ignore[arg-type]
    )
    return [example.token_ids for example in examples]


def test_full_sentences_by_hand() -> None:
    documents = TokenizedDocuments(
        np.arange(10, 22, dtype="int32"), np.array([0, 3, 5, 8, 12]), np.array([0, 2, 3, 4])
    )
    # Sentences 10-12 and 13-14 | 15-17 | 18-21, with a [SEP] between documents.
    assert [row.tolist() for row in pack(documents, 12)] == [
        [CLS, 10, 11, 12, 13, 14, SEP, 15, 16, 17, SEP],
        [CLS, 18, 19, 20, 21, SEP],
    ]
    # Ten tokens have room for two sentences of different documents, not for three.
    assert [row.tolist() for row in pack(documents, 10)] == [
        [CLS, 10, 11, 12, 13, 14, SEP],
        [CLS, 15, 16, 17, SEP, 18, 19, 20, 21, SEP],
    ]


def test_full_sentences_use_every_token_once() -> None:
    documents = corpus(7)
    rows = pack(documents, 40)
    tokens = np.concatenate(rows)
    np.testing.assert_array_equal(tokens[tokens >= 10], documents.token_ids)
    assert max(map(len, rows)) == 40
    for row in rows:
        assert row[0] == CLS
        assert row[-1] == SEP
        assert row[-2] != SEP


def test_tokenized_documents_by_hand() -> None:
    documents = tokenize_documents(["A bs. C.", "", "D e f g h a b"], TOKENIZER, 3)
    a, b, c, d, e, f, g, h = range(5, 13)
    s, stop = 13, 14
    expected = [a, b, s, stop, c, stop, d, e, f, g, h, a, b]
    assert documents.token_ids.tolist() == expected
    # "A bs." has four tokens, cut after three; the last sentence has seven.
    assert documents.sentence_starts.tolist() == [0, 3, 4, 6, 9, 12, 13]
    assert documents.document_starts.tolist() == [0, 3, 6]
    assert len(documents) == 2
    assert (documents.num_cut, documents.num_empty) == (2, 1)


@pytest.mark.parametrize("texts", [[], [""], ["", " "]])
def test_no_text_gives_no_documents(texts: list[str]) -> None:
    assert len(tokenize_documents(texts, TOKENIZER, 3)) == 0
