"""Documents -> token ids by sentence -> examples: pairs, full sentences, or whole documents.

The segments of an example are spans of documents, so all tokens are kept in one flat vector and
every step below works on positions in it.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.documents import split_sentences
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import truncated_lengths

# Share of the pairs that are shortened, since fine-tuning also reads short texts.
SHORT_SHARE = 0.1
# Labels of a pair, as in google-research/bert.
IS_NEXT, IS_RANDOM = 0, 1
# Sentences tokenized at a time: bounds the memory of one call of the graph.
_CHUNK = 4096


class TokenizedDocuments(NamedTuple):
    """All tokens of some documents.

    Attributes:
        token_ids: The tokens of all documents, concatenated, int32.
        sentence_starts: Start of each sentence in `token_ids`, and the end of the last.
        document_starts: Start of each document in `sentence_starts`, and the end of the last.
        num_cut: Number of long sentences that were cut into pieces.
        num_empty: Number of documents without tokens, which are left out.
    """

    token_ids: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray
    num_cut: int = 0
    num_empty: int = 0

    def __len__(self) -> int:
        return len(self.document_starts) - 1


class Example(NamedTuple):
    """An example for pretraining.

    Attributes:
        token_ids: [CLS] first [SEP] second [SEP], or [CLS] sentences [SEP]; int32.
        first_length: Tokens of segment 0, including the first [SEP]; the rest is segment 1.
        next_sentence_label: `IS_NEXT` if the second segment follows the first, or `IS_RANDOM`.
        teacher_vector: What a teacher made of the text, or None. *Shape:* (W,).
    """

    token_ids: np.ndarray
    first_length: int
    next_sentence_label: int
    teacher_vector: np.ndarray | None = None


def tokenize_documents(
    documents: Iterable[str], tokenizer: WordPieceTokenizer, longest_sentence: int
) -> TokenizedDocuments:
    """Splits documents into sentences, and sentences into tokens.

    Args:
        documents: The texts; those without tokens are left out.
        tokenizer: Turns sentences into ids.
        longest_sentence: Longer sentences, as in texts without punctuation, are cut into pieces of
            this many tokens.

    Example:
        >>> documents = ["A film. A star.", "So?"]
        >>> tokens = tokenize_documents(documents, tokenizer, longest_sentence=64)
        >>> tokens.sentence_starts, tokens.document_starts
        (array([0, 3, 6, 8]), array([0, 2, 3]))
    """
    graph = tokenizer_graph(tokenizer, "fast")
    token_ids, lengths = [np.zeros(0, "int32")], [np.zeros(0, "int64")]
    sentences_of: list[int] = []  # a document

    def sentences() -> Iterator[str]:
        for document in documents:
            parts = split_sentences(document)
            sentences_of.append(len(parts))
            yield from parts

    stream = sentences()
    while chunk := list(itertools.islice(stream, _CHUNK)):
        ids = graph.tokenize(tf.constant(chunk, tf.string))
        token_ids.append(ids.flat_values.numpy())
        lengths.append(ids.row_lengths().numpy())

    length = np.concatenate(lengths)
    # A sentence of n tokens is cut into pieces of `longest_sentence` tokens and a rest.
    pieces = -(-length // longest_sentence)
    piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(np.cumsum(length) - length, pieces) + piece * longest_sentence
    document_of = np.repeat(np.arange(len(sentences_of)), sentences_of)
    pieces_of = np.bincount(np.repeat(document_of, pieces), minlength=len(sentences_of))
    return TokenizedDocuments(
        np.concatenate(token_ids),
        sentence_starts=np.append(starts, length.sum()),
        document_starts=np.concatenate([[0], np.cumsum(pieces_of[pieces_of > 0])]),
        num_cut=int(np.sum(pieces > 1)),
        num_empty=int(np.sum(pieces_of == 0)),
    )


def sentence_pairs(
    documents: TokenizedDocuments,
    *,
    sequence_length: int,
    cls_id: int,
    sep_id: int,
    generator: np.random.Generator,
) -> Iterator[Example]:
    """Makes examples for next-sentence prediction (Devlin et al. 2018, section 3.1 and A.2).

    A run of sentences is cut in two. In half of the cases the second part is replaced by sentences
    of another document, and the next run starts after the first part. Every run has at least two
    sentences, so the labels are decided by a fair coin and balanced. Documents of one sentence are
    used as second parts only.

    Args:
        documents: At least two documents.
        sequence_length: Most tokens of an example. A share of 0.1 is made shorter.
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].
        generator: Draws the cuts, the labels, and the other documents.

    Yields:
        The examples, with the documents in random order.
    """
    token_ids, starts, documents_at = documents[:3]
    room = sequence_length - 3
    for document in generator.permutation(len(documents)).tolist():
        first, end = documents_at[document], documents_at[document + 1]
        while end - first >= 2:
            target = room
            if generator.random() < SHORT_SHARE:
                target = int(generator.integers(2, room + 1))
            last = _sentence_at(starts, starts[first] + target, first + 2, end)
            if end - last == 1:
                last = end  # The document's last sentence alone could not become a pair.
            middle = int(generator.integers(first + 1, last))
            second_first, second_last = middle, last
            label = IS_NEXT if generator.random() < 0.5 else IS_RANDOM
            if label == IS_RANDOM:
                other = int(generator.integers(len(documents) - 1))
                other += other >= document
                second_first = int(generator.integers(documents_at[other], documents_at[other + 1]))
                wanted = max(target - (starts[middle] - starts[first]), 1)
                second_last = _sentence_at(
                    starts,
                    starts[second_first] + wanted,
                    second_first + 1,
                    documents_at[other + 1],
                )
            yield _pair(
                token_ids[starts[first] : starts[middle]],
                token_ids[starts[second_first] : starts[second_last]],
                target,
                label,
                cls_id,
                sep_id,
                generator,
            )
            first = middle if label == IS_RANDOM else last


def full_sentences(
    documents: TokenizedDocuments,
    *,
    sequence_length: int,
    cls_id: int,
    sep_id: int,
    generator: np.random.Generator,
) -> Iterator[Example]:
    """Packs as many full sentences as fit into each example (Liu et al. 2019, section 4.2).

    Examples continue after the end of a document, with a [SEP] in between, in one segment. No
    sentence may be longer than `sequence_length` - 2. The generator draws the order of the
    documents; the arguments are those of `sentence_pairs`.
    """
    token_ids, starts, documents_at = documents[:3]
    cls, sep = np.array([cls_id], "int32"), np.array([sep_id], "int32")
    parts: list[np.ndarray] = [cls]
    room = sequence_length - 2

    def packed() -> Example:
        ids = np.concatenate([*parts, sep])
        return Example(ids, len(ids), IS_NEXT)

    for document in generator.permutation(len(documents)).tolist():
        first, end = documents_at[document], documents_at[document + 1]
        separators = [sep] if len(parts) > 1 else []
        while first < end:
            # The last sentence that ends within the room.
            limit = starts[first] + room - len(separators)
            last = min(int(np.searchsorted(starts, limit, "right")) - 1, end)
            if last <= first:
                yield packed()
                parts, room, separators = [cls], sequence_length - 2, []
                continue
            length = int(starts[last] - starts[first])
            parts += [*separators, token_ids[starts[first] : starts[last]]]
            room -= len(separators) + length
            first, separators = last, []
    if len(parts) > 1:
        yield packed()


def whole_documents(
    documents: TokenizedDocuments,
    vectors: np.ndarray,
    *,
    sequence_length: int,
    cls_id: int,
    sep_id: int,
) -> Iterator[Example]:
    """Makes one example of each document, with a teacher's vector of it.

    Longer documents are left out: the vector is of all of a text.

    Args:
        documents: The documents, none of which was without tokens.
        vectors: The teacher's vectors of them. *Shape:* (n, W).
        sequence_length: Most tokens of an example.
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].

    Yields:
        The examples, in the order of the documents.
    """
    ends = documents.sentence_starts[documents.document_starts]
    for start, end, vector in zip(ends[:-1], ends[1:], vectors, strict=True):
        if end - start <= sequence_length - 2:
            inner = documents.token_ids[start:end]
            ids = np.concatenate([[cls_id], inner, [sep_id]]).astype("int32")
            yield Example(ids, len(ids), IS_NEXT, vector)


def _sentence_at(starts: np.ndarray, position: int, lowest: int, highest: int) -> int:
    """Returns the first sentence that starts at a position or after it, within bounds."""
    return min(max(int(np.searchsorted(starts, position)), lowest), highest)


def _pair(
    first: np.ndarray,
    second: np.ndarray,
    target: int,
    label: int,
    cls_id: int,
    sep_id: int,
    generator: np.random.Generator,
) -> Example:
    """Joins two segments, of which the longer is truncated at both ends, at random."""
    parts = []
    lengths = truncated_lengths([len(first), len(second)], target)
    for part, length in zip((first, second), lengths, strict=True):
        surplus = len(part) - length
        front = int(generator.binomial(surplus, 0.5)) if surplus else 0
        parts.append(part[front : front + length])
    token_ids = np.empty(lengths[0] + lengths[1] + 3, "int32")
    token_ids[0] = cls_id
    token_ids[1 : 1 + lengths[0]] = parts[0]
    token_ids[1 + lengths[0]] = token_ids[-1] = sep_id
    token_ids[2 + lengths[0] : -1] = parts[1]
    return Example(token_ids, 2 + lengths[0], label)
