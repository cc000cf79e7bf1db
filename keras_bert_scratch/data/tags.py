"""Words and their tags: reading, checking, aligning with tokens, and back to spans of the text.

Axes: S tokens of a text without [CLS] and [SEP], W words, C classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.data.windows import token_windows
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer, check_sequence_length
from keras_bert_scratch.text.truncation import check_window_stride
from keras_bert_scratch.text.vocabulary import CONTINUATION

OUTSIDE = "O"
# The label of tokens that do not count: all that begin no word of BERT.
IGNORED = -1
# White space that holds together what stands on its sides.
_NO_BREAK_SPACES = "\u00a0\u202f"
# An error names the places of this many faults, and counts the rest.
_FAULTS_NAMED = 5


class TaggedTexts(NamedTuple):
    """Sentences as words, and the tag of every word.

    Attributes:
        words: One list of words a sentence.
        tags: One list of tags a sentence.
    """

    words: list[list[str]]
    tags: list[list[str]]


class Span(NamedTuple):
    """Words that belong together.

    Attributes:
        label: The type of the entity, or the tag.
        start: Position of the first word.
        end: Position after the last word.
    """

    label: str
    start: int
    end: int


class TaggedSpan(NamedTuple):
    """A span of a text that a model found.

    Attributes:
        text: Exactly what stands in the text from `start` to `end`.
        label: The type of the entity, or the tag.
        start: Position of its first character.
        end: Position after its last character.
        probability: Of the least probable tag of its words.
    """

    text: str
    label: str
    start: int
    end: int
    probability: float


# === Reading ===
def read_conll(path: str | Path) -> TaggedTexts:
    r"""Reads a file of the CoNLL kind: a word and its tag a line, a blank line after a sentence.

    Of several columns, separated by tabs or spaces, the first is the word and the last the tag.
    Lines of `-DOCSTART-` are skipped.

    Args:
        path: The file, UTF-8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not UTF-8, holds no sentence, a line has no tag, or tags break
            BIO; the message names the line.

    Example:
        >>> _ = Path("a.conll").write_text("Jane\tB-person\nAusten\tI-person\nwrote\tO\n")
        >>> read_conll("a.conll")
        TaggedTexts(words=[['Jane', 'Austen', 'wrote']], tags=[['B-person', 'I-person', 'O']])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): save it as UTF-8.") from None
    words: list[list[str]] = []
    tags: list[list[str]] = []
    lines: list[list[int]] = []
    is_open = False
    for number, line in enumerate(content.split("\n"), start=1):
        # Not split(): it also splits at characters that may stand inside a word.
        cells = line.strip(" \t\r").replace("\t", " ").split(" ")
        cells = [cell for cell in cells if cell]
        if not cells or cells[0] == "-DOCSTART-":
            is_open = False
            continue
        if len(cells) == 1:
            raise ValueError(
                f"{path}, line {number}: {cells[0]!r} stands alone; write a word and its tag, with "
                "a tab between them."
            )
        if not is_open:
            words.append([])
            tags.append([])
            lines.append([])
            is_open = True
        words[-1].append(cells[0])
        tags[-1].append(cells[-1])
        lines[-1].append(number)
    if not words:
        raise ValueError(f"{path} has no sentences: it needs lines of a word and its tag.")
    check_bio(tags, [[f"{path}, line {number}" for number in row] for row in lines])
    return TaggedTexts(words, tags)


# === Checks ===
def is_bio(labels: Sequence[str]) -> bool:
    """Whether tags say where spans begin: all are O, B-type or I-type."""
    return all(label == OUTSIDE or label[:2] in ("B-", "I-") for label in labels)


def check_bio(tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]] | None = None) -> None:
    """Refuses tags that break BIO: an I-type that does not continue a span of its type.

    Tags of other kinds, such as parts of speech, pass.

    Args:
        tags: One list of tags a sentence.
        places: What to call every tag's place in the message.

    Raises:
        ValueError: If a tag breaks BIO; the message counts all and names the first places.
    """
    if not is_bio(sorted({tag for row in tags for tag in row})):
        return
    faults = []
    for sentence, row in enumerate(tags):
        for word, (before, tag) in enumerate(zip([OUTSIDE, *row], row, strict=False)):
            if tag.startswith("I-") and before[1:] != tag[1:]:
                place = places[sentence][word] if places else f"sentence {sentence}, word {word}"
                faults.append(f"{place}: {tag} follows {before if word else 'nothing'}")
    if faults:
        raise ValueError(
            f"{len(faults)} tags break BIO: {'; '.join(faults[:_FAULTS_NAMED])}"
            f"{'; …' * (len(faults) > _FAULTS_NAMED)}. A span starts with B-, and I- continues one "
            "of the same type: write B- there, or mend the type."
        )


def check_same_lengths(words: Sequence[Sequence[Any]], tags: Sequence[Sequence[Any]]) -> None:
    """Refuses sentences that do not have one tag a word.

    Raises:
        ValueError: If the numbers differ; the message names the sentence.
    """
    if len(words) != len(tags):
        raise ValueError(
            f"There are {len(words)} sentences but {len(tags)} lists of tags: give one for each."
        )
    for sentence, (row, of_row) in enumerate(zip(words, tags, strict=True)):
        if len(row) != len(of_row):
            raise ValueError(
                f"Sentence {sentence} has {len(row)} words but {len(of_row)} tags: give one for "
                "each."
            )


# === Tags and spans ===
def spans_of(tags: Sequence[str]) -> list[Span]:
    """Joins the tags of one sentence to spans.

    With BIO, a span goes from a B- to the last I- of its type; an I- that continues none begins
    one, as in the evaluation of CoNLL (conlleval). Tags of other kinds are spans of a word each.

    Args:
        tags: One a word.

    Example:
        >>> spans_of(["O", "B-person", "I-person", "B-person"])
        [Span(label='person', start=1, end=3), Span(label='person', start=3, end=4)]
    """
    if not is_bio(tags):
        return [Span(tag, word, word + 1) for word, tag in enumerate(tags)]
    spans: list[Span] = []
    before = OUTSIDE
    for word, tag in enumerate(tags):
        if tag.startswith("I-") and before[1:] == tag[1:]:
            spans[-1] = spans[-1]._replace(end=word + 1)
        elif tag != OUTSIDE:
            spans.append(Span(tag[2:], word, word + 1))
        before = tag
    return spans


def continuations(labels: Sequence[str]) -> np.ndarray:
    """Returns the tag with which each tag goes on inside its word: of B-type and S-type, I-type.

    Tags without a prefix, and those whose I-type is missing, go on as themselves.

    Args:
        labels: The C tags.

    Returns:
        Their ids. *Shape:* (C,), int32.

    Example:
        >>> continuations(["O", "B-person", "I-person"])
        array([0, 2, 2], dtype=int32)
    """
    ids = {label: class_id for class_id, label in enumerate(labels)}
    inner = [f"I-{label[2:]}" if label[1:2] == "-" else label for label in labels]
    return np.array([ids.get(tag, class_id) for class_id, tag in enumerate(inner)], "int32")


def tagged_spans(
    text: str,
    offsets: Sequence[tuple[int, int]],
    probabilities: np.ndarray,
    labels: Sequence[str],
) -> list[TaggedSpan]:
    """Turns the probabilities of a text's words into spans of the text, see `spans_of`.

    Spans of one type without white space between them are one where the second begins with the
    tag with which the first goes on inside a word, see `continuations`: "U.S." is four words of a
    string. If no tag is `O`, they name parts of speech and the like, and two different signs, or
    two ideographs, stay apart.

    Args:
        text: The text.
        offsets: Start and end of every word in it.
        probabilities: *Shape:* (W, C).
        labels: The C tags.
    """
    ids = probabilities.argmax(axis=-1)
    inner = continuations(labels)
    joined: list[Span] = []
    for span in spans_of([labels[i] for i in ids]):
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.label, last.end) == (span.label, span.start)
            and ids[span.start] == inner[ids[last.end - 1]]
            and _touch(text, offsets[last.end - 1], offsets[span.start], OUTSIDE in labels)
        ):
            joined[-1] = last._replace(end=span.end)
        else:
            joined.append(span)
    spans = []
    for label, first, end in joined:
        start, stop = int(offsets[first][0]), int(offsets[end - 1][1])
        least = float(probabilities[first:end].max(axis=-1).min())
        spans.append(TaggedSpan(text[start:stop], label, start, stop, least))
    return spans


def _touch(text: str, first: Sequence[int], second: Sequence[int], are_entities: bool) -> bool:
    """Whether two neighbouring words of a text are parts of a larger one, given the same tag."""
    gap = text[first[1] : second[0]]
    if any(character.isspace() and character not in _NO_BREAK_SPACES for character in gap):
        return False
    words = text[first[0] : first[1]], text[second[0] : second[1]]
    return are_entities or words[0] == words[1] or words[0].isalnum() != words[1].isalnum()


# === Words and tokens ===
class Words(NamedTuple):
    """The words of one text, and its tokens.

    Attributes:
        text: The text; for words that were given, these with a space between them.
        offsets: Start and end of every word in the text, in characters.
        token_ids: The text's tokens, without [CLS] and [SEP].
        parts: The positions of the tokens that begin a word of BERT: a run of letters and digits,
            a sign of punctuation, or an ideograph. *Shape:* (P,), int.
        word_of_part: The word that each of them is in. A string has the words of BERT; a given
            word may consist of several, or of none if the tokenizer drops all of its characters.
            *Shape:* (P,), int.
    """

    text: str
    offsets: list[tuple[int, int]]
    token_ids: list[int]
    parts: np.ndarray
    word_of_part: np.ndarray


def tokenize_words(tokenizer: WordPieceTokenizer, text: str | Sequence[str]) -> Words:
    """Finds the words of a text and their tokens.

    Args:
        tokenizer: The tokenizer.
        text: A text, whose words are those of BERT (runs of letters and digits, and single signs
            of punctuation), or the words themselves.

    Example:
        >>> tokenize_words(tokenizer, "Films!").offsets
        [(0, 5), (5, 6)]
        >>> tokenize_words(tokenizer, ["Films!"]).offsets
        [(0, 6)]
    """
    joined = text if isinstance(text, str) else " ".join(text)
    encoding = tokenizer.encode(joined)
    tokens, offsets = encoding.tokens[1:-1], encoding.offsets[1:-1]
    parts = [n for n, token in enumerate(tokens) if not token.startswith(CONTINUATION)]
    if isinstance(text, str):
        following = [*parts[1:], len(tokens)]
        words = [
            (offsets[first][0], offsets[after - 1][1])
            for first, after in zip(parts, following, strict=False)
        ]
        word_of_part = np.arange(len(parts))
    else:
        lengths = np.array([len(word) for word in text], int)
        starts = np.cumsum(lengths + 1) - lengths - 1
        words = [(int(s), int(s + n)) for s, n in zip(starts, lengths, strict=True)]
        part_starts = np.array([offsets[part][0] for part in parts], int)
        word_of_part = np.searchsorted(starts, part_starts, side="right") - 1
    return Words(joined, words, encoding.token_ids[1:-1], np.array(parts, int), word_of_part)


class WordRows:
    """The words of one text as rows of a model: windows that slide over its tokens.

    Args:
        tokenizer: The tokenizer.
        text: A text, or its words, see `tokenize_words`.
        sequence_length: Tokens of a row, [CLS] and [SEP] included; the last may have fewer.
        window_stride: Tokens from the start of a row to the start of the next, by default half of
            those that a row has.

    Attributes:
        words: The text's words.
        token_ids: The ids of every row, [CLS] and [SEP] included.
    """

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        text: str | Sequence[str],
        *,
        sequence_length: int,
        window_stride: int | None = None,
    ) -> None:
        self.words = tokenize_words(tokenizer, text)
        room = check_sequence_length(sequence_length, 1)
        stride = check_window_stride(window_stride, room)
        tokens = self.words.token_ids
        self._starts, owner = token_windows(len(tokens), room, stride)
        cls, sep = tokenizer.vocabulary.cls_id, tokenizer.vocabulary.sep_id
        self.token_ids = [[cls, *tokens[start : start + room], sep] for start in self._starts]
        self._rows = owner[self.words.parts]
        self._columns = 1 + self.words.parts - np.array(self._starts)[self._rows]
        word = self.words.word_of_part
        self._opens_word = np.diff(word, prepend=-1) > 0

    def labels(self, label_ids: np.ndarray, inner: np.ndarray) -> list[np.ndarray]:
        """Puts the label of every word at its parts, each in one of the rows.

        Every word that the model meets in a string is so one that it was trained on.

        Args:
            label_ids: *Shape:* (W,).
            inner: With which label each goes on inside a word, see `continuations`. *Shape:* (C,).

        Returns:
            For every row one label a token, `IGNORED` at all that begin no part. *Shape:* (S,),
            int32.
        """
        of_parts = label_ids[self.words.word_of_part]
        return self._spread(np.where(self._opens_word, of_parts, inner[of_parts]), IGNORED, "int32")

    def weights(self, of_words: np.ndarray) -> list[np.ndarray]:
        """Puts the weight of every word at its parts, see `labels`.

        Args:
            of_words: *Shape:* (W,).

        Returns:
            For every row one weight a token. *Shape:* (S,), float32.
        """
        return self._spread(of_words[self.words.word_of_part], 0.0, "float32")

    def _spread(self, of_parts: np.ndarray, other: float, dtype: str) -> list[np.ndarray]:
        rows = [np.full(len(row), other, dtype) for row in self.token_ids]
        for row, column, value in zip(self._rows, self._columns, of_parts, strict=True):
            rows[row][column] = value
        return rows

    def of_words(self, rows: Sequence[np.ndarray], without_tokens: Any = 0.0) -> np.ndarray:
        """Picks the values of the words' first tokens.

        Args:
            rows: Values of every row. *Shape:* (S or more, C) each.
            without_tokens: The values of words without tokens. *Shape:* (C,) or ().

        Returns:
            *Shape:* (W, C).
        """
        values = np.empty((len(self.words.offsets), rows[0].shape[-1]), rows[0].dtype)
        values[:] = without_tokens
        for part in np.flatnonzero(self._opens_word):
            value = rows[self._rows[part]][self._columns[part]]
            values[self.words.word_of_part[part]] = value
        return values
