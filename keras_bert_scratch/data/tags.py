"""Words and their tags: reading, checking, aligning with tokens, and back to spans of the text.

Axes: S tokens of a text without [CLS] and [SEP], W words, C classes.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.data.readers import LINE_END, existing_file, listed, read_decoded
from keras_bert_scratch.data.windows import token_windows
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import check_sequence_length, check_window_stride
from keras_bert_scratch.text.vocabulary import CONTINUATION

OUTSIDE = "O"
# The label of tokens that do not count: all that do not begin a word of BERT.
IGNORED = -1
# White space that does not separate its neighbours.
_NO_BREAK_SPACES = "\u00a0\u202f"
# Separates documents in CoNLL files.
_DOCUMENT = "-DOCSTART-"
_NUMBER = re.compile(r"\d+([-.]\d+)?")
_FIRST_NUMBER = re.compile(r"[01](-\d+)?")
# The prefixes of types: begin, inside or middle, end or last, single or unit or whole.
_LETTERS = dict(zip("BIMELSUW", "BIIEESSS", strict=True))
_PREFIXED = re.compile(rf"([{''.join(_LETTERS)}])(?:[-_](.+))?$")
# The type of tags that are only a letter; as in seqeval.
_NO_TYPE = "_"
# The letters of a span of n words.
_WRITTEN: dict[str, Callable[[int], str]] = {
    "BIO": lambda n: "B" + "I" * (n - 1),
    "BIOES": lambda n: "S" if n == 1 else "B" + "I" * (n - 2) + "E",
    "IO": lambda n: "I" * n,
}


class TaggedTexts(NamedTuple):
    """Sentences as words, and the tag of every word.

    Attributes:
        words: One list of words a sentence.
        tags: One list of tags a sentence.
    """

    words: list[list[str]]
    tags: list[list[str]]


class Span(NamedTuple):
    """Neighbouring words that form one entity.

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
        text: The characters of the text from `start` to `end`.
        label: The type of the entity, or the tag.
        start: Position of its first character.
        end: Position after its last character.
        probability: Probability of the least probable tag of its words.
    """

    text: str
    label: str
    start: int
    end: int
    probability: float


# === Reading ===
def read_conll(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    word_column: int = 0,
    tag_column: int = -1,
    scheme: str | None = None,
) -> TaggedTexts:
    r"""Reads a CoNLL file: one word and its tag a line, and a blank line after each sentence.

    The columns of a line are separated by tabs or, if it has none, by spaces; all lines have the
    same number of columns. Lines of `-DOCSTART-` are skipped, and so are comments: lines that begin
    with `#` where a sentence may begin, if they have another number of columns than the others, or
    no tag. A file whose name ends in .gz is unpacked.

    Tags may be in any scheme, see `spans_of`. IOB1, which writes B- only between neighbours of one
    type, becomes BIO, since both have the same tags with different meanings.

    Args:
        path: The file.
        encoding: Encoding of the file, by any name that Python knows, such as `"latin-1"`.
        word_column: The column of the words, from 0, or backwards from -1.
        tag_column: The column of the tags, counted likewise.
        scheme: Scheme to convert the tags to, see `convert_tags`; by default they stay as they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not in that encoding, holds no sentence, a line has no word, no
            tag or another number of columns, the words are only numbers that count them, or tags
            break their scheme; the message names the line.

    Example:
        >>> _ = Path("a.conll").write_text("Jane\tB-person\nAusten\tI-person\nwrote\tO\n")
        >>> read_conll("a.conll")
        TaggedTexts(words=[['Jane', 'Austen', 'wrote']], tags=[['B-person', 'I-person', 'O']])
    """
    path = existing_file(path)
    sentences = _sentences(path, read_decoded(path, encoding))
    if not sentences:
        raise ValueError(f"{path} has no sentences: it needs lines of a word and its tag.")
    first, width = sentences[0][0][0], len(sentences[0][0][1])
    for argument, column in (("word_column", word_column), ("tag_column", tag_column)):
        if not -width <= column < width:
            raise ValueError(
                f"{path}, line {first} has {width} columns, received {argument}={column}: count "
                "from 0, or from -1 backwards."
            )
    for number, cells in (line for sentence in sentences for line in sentence):
        if len(cells) != width:
            raise ValueError(
                f"{path}, line {number}: {len(cells)} columns, but {width} on line {first}. Write "
                "the same number on each line, with tabs between them if words hold spaces."
            )
        word, tag = cells[word_column], cells[tag_column]
        if not word or not tag or " " in tag:
            raise ValueError(
                f"{path}, line {number}: a word and its tag are needed, and a tag holds no space; "
                f"received the word {word!r} and the tag {tag!r}. Mend the line, or name other "
                "columns with word_column and tag_column."
            )
    words, tags = (
        [[cells[column] for _, cells in sentence] for sentence in sentences]
        for column in (word_column, tag_column)
    )
    if all(_FIRST_NUMBER.fullmatch(row[0]) and all(map(_NUMBER.fullmatch, row)) for row in words):
        raise ValueError(
            f"{path}: the column of words holds numbers that count them: name another "
            "with word_column, such as word_column=1."
        )
    places = [[f"{path}, line {number}" for number, _ in sentence] for sentence in sentences]
    check_bio(tags, places)
    if scheme is None and _is_iob1(tags):
        scheme = "BIO"
    return TaggedTexts(words, tags if scheme is None else convert_tags(tags, scheme))


def _sentences(path: Path, content: str) -> list[list[tuple[int, list[str]]]]:
    """Returns the sentences of a file as lines: the number and the cells of each."""
    lines = [
        (number, line, _line_cells(line))
        for number, line in enumerate(LINE_END.split(content), start=1)
    ]
    # The shape of lines of words, to tell them from comments.
    plain = [
        (line, cells)
        for _, line, cells in lines
        if cells and not line.startswith("#") and cells[0] != _DOCUMENT
    ]
    shapes = {("\t" in line, len(cells)) for line, cells in plain}
    tags = {cells[-1] for _, cells in plain} | {"#"}
    sentences: list[list[tuple[int, list[str]]]] = []
    is_open = False
    for number, line, cells in lines:
        if not cells or cells[0] == _DOCUMENT:
            is_open = False
            continue
        if line.startswith("#") and not is_open:
            is_word = ("\t" in line, len(cells)) in shapes or not shapes
            is_tag = cells[-1] in tags or cells[-1] == OUTSIDE or bool(_PREFIXED.match(cells[-1]))
            # A hashtag without its tag is a fault, not a comment.
            if not (is_word and is_tag) and (len(cells) > 1 or cells == ["#"]):
                continue
        if len(cells) == 1:
            raise ValueError(
                f"{path}, line {number}: {cells[0]!r} has no tag; write a word and its tag, with "
                "a tab between them."
            )
        if not is_open:
            sentences.append([])
            is_open = True
        sentences[-1].append((number, cells))
    return sentences


def _line_cells(line: str) -> list[str]:
    # Not split(), which also splits at characters that words may hold.
    if "\t" in (line := line.rstrip(" \t")):
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.split(" ") if cell]


# === Schemes ===
def _has_prefixes(labels: set[str]) -> bool:
    """Whether the tags have prefixes that tell where spans begin, continue or end."""
    labels = labels - {OUTSIDE}
    typed = {label for label in labels if len(label) > 1 and _PREFIXED.match(label)}
    return (
        any(label[0] in "BI" for label in typed)
        or (bool(labels) and labels == typed)
        # Parts of speech may also be single letters.
        or ("B" in labels and labels <= set(_LETTERS))
    )


def _parse(tags: Sequence[str], labels: set[str]) -> list[tuple[str, str]]:
    """Splits tags into B, I, E, S or O, and the type."""
    if not _has_prefixes(labels):
        # Without O, tags are parts of speech or the like: each word is a span.
        letter = "I" if OUTSIDE in labels else "S"
        return [("O", "") if tag == OUTSIDE else (letter, tag) for tag in tags]
    parsed = []
    for tag in tags:
        if tag == OUTSIDE:
            parsed.append(("O", ""))
        elif match := _PREFIXED.match(tag):
            parsed.append((_LETTERS[match[1]], match[2] or _NO_TYPE))
        else:
            parsed.append(("I", tag))
    return parsed


def _goes_on(before: tuple[str, str], tag: tuple[str, str]) -> bool:
    """Whether a tag continues the span of the tag before it."""
    return tag[0] in "IE" and before[0] in "BI" and before[1] == tag[1]


def _labels_of(tags: Iterable[Iterable[str]]) -> set[str]:
    return {tag for row in tags for tag in row}


def _faults(tags: Sequence[Sequence[str]], scheme: str) -> list[tuple[int, int, str]]:
    """Returns sentence and word of every tag that breaks BIO, IOB1 or BIOES, and the reason."""
    labels = _labels_of(tags)
    faults = []
    for sentence, row in enumerate(tags):
        parsed = [("O", ""), *_parse(row, labels), ("O", "")]
        names = ["nothing", *row, "nothing"]
        for word in range(len(row)):
            before, tag, after = parsed[word : word + 3]
            if scheme == "IOB1":
                follows_its_type = before[0] in "BI" and before[1] == tag[1]
                is_fault = tag[0] == "B" and not follows_its_type
            else:
                is_fault = tag[0] in "IE" and tag[1] != row[word] and not _goes_on(before, tag)
            if is_fault:
                faults.append((sentence, word, f"{row[word]} follows {names[word]}"))
            elif scheme == "BIOES" and tag[0] in "BI" and not _goes_on(tag, after):
                faults.append((sentence, word, f"{row[word]} has no end before {names[word + 2]}"))
    return faults


def _is_iob1(tags: Sequence[Sequence[str]]) -> bool:
    """Whether B- occurs only between neighbours of one type, and other spans begin with I-."""
    labels = _labels_of(tags)
    return (
        _has_prefixes(labels)
        and all(label == OUTSIDE or re.match("[BI]([-_]|$)", label) for label in labels)
        and not _faults(tags, "IOB1")
        and bool(_faults(tags, "BIO"))
    )


def check_bio(tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]] | None = None) -> None:
    """Refuses tags that break their scheme, see `spans_of`.

    In BIO, an I- (or E-) must continue a span of its type. In BIOES, which tags single words S-, a
    B- must also have an end. Tags that are correct IOB1 pass, and so do tags without any B-.

    Args:
        tags: One list of tags a sentence.
        places: Name of every tag's place, for the message.

    Raises:
        ValueError: If a tag breaks the scheme; the message counts the faults and names the first.
    """
    labels = _labels_of(tags)
    letters = {letter for letter, _ in _parse(sorted(labels), labels)}
    if "B" not in letters:
        return
    scheme = "BIOES" if "S" in letters else "BIO"
    faults = _faults(tags, scheme)
    if not faults or _is_iob1(tags):
        return
    named = [
        f"{places[sentence][word] if places else f'sentence {sentence}, word {word}'}: {fault}"
        for sentence, word, fault in faults
    ]
    rule = (
        "A span is B-, I- ..., E- of one type, or S-: mend the tags."
        if scheme == "BIOES"
        else "A span starts with B-, and I- continues one of the same type: write B- there, or "
        "mend the type."
    )
    raise ValueError(f"{len(faults)} tags break {scheme}: {listed(named, '; ')}. {rule}")


def convert_tags(tags: Sequence[Sequence[str]], scheme: str) -> list[list[str]]:
    """Writes the spans of tags in another scheme.

    Args:
        tags: One list of tags a sentence, in any scheme, see `spans_of`.
        scheme: `"BIO"`, `"BIOES"` or `"IO"`; the last joins neighbours of one type.

    Raises:
        ValueError: If the scheme is unknown, or the tags have neither prefixes nor O.

    Example:
        >>> convert_tags([["I-person", "I-person", "O"]], "BIOES")
        [['B-person', 'E-person', 'O']]
    """
    if scheme not in _WRITTEN:
        raise ValueError(f"scheme must be one of {', '.join(_WRITTEN)}, received {scheme!r}.")
    labels = _labels_of(tags)
    if not _has_prefixes(labels) and OUTSIDE not in labels:
        raise ValueError(
            f"There is no O among the tags {listed(sorted(labels))}, so each word is a span of its "
            "own, and there is nothing to convert: omit scheme."
        )
    rows = []
    for row in tags:
        written = [OUTSIDE] * len(row)
        for label, start, end in spans_of(row, labels):
            name = "" if label == _NO_TYPE else f"-{label}"
            letters = _WRITTEN[scheme](end - start)
            written[start:end] = [f"{letter}{name}" for letter in letters]
        rows.append(written)
    return rows


def check_same_lengths(words: Sequence[Sequence[Any]], tags: Sequence[Sequence[Any]]) -> None:
    """Refuses sentences that do not have one tag for each word.

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
def spans_of(tags: Sequence[str], labels: Collection[str] | None = None) -> list[Span]:
    """Joins the tags of one sentence into spans.

    O is never part of a span. The meaning of the other tags follows from all of them:

    - With prefixes (BIO, IOB1, BIOES, BILOU, BMEWO), `B-type` begins a span, `I-` (or M-) continues
      it, `E-` (or L-) ends it, and `S-` (or U-, W-) is a span of one word. A tag that continues no
      span of its type begins one, as in CoNLL's conlleval and in seqeval. Types may be missing.
    - Without prefixes, but with O (IO), neighbours of one type are one span.
    - Without O, tags are parts of speech or the like, and each word is a span.

    Args:
        tags: One tag for each word.
        labels: All tags of the data, by default those of the sentence, which may lack O by chance.

    Example:
        >>> spans_of(["O", "B-person", "I-person", "B-person"])
        [Span(label='person', start=1, end=3), Span(label='person', start=3, end=4)]
    """
    spans: list[Span] = []
    before = ("O", "")
    for word, tag in enumerate(_parse(tags, set(labels or tags))):
        if _goes_on(before, tag):
            spans[-1] = spans[-1]._replace(end=word + 1)
        elif tag[0] != "O":
            spans.append(Span(tag[1], word, word + 1))
        before = tag
    return spans


def continuations(labels: Sequence[str]) -> np.ndarray:
    """Returns the tag that continues each tag inside its word: `I-type` for `B-type`.

    Tags without prefixes, see `spans_of`, continue themselves, and so do those without an I- tag.

    Args:
        labels: The C tags.

    Returns:
        The ids of the continuing tags. *Shape:* (C,), int32.

    Example:
        >>> continuations(["O", "B-person", "I-person"])
        array([0, 2, 2], dtype=int32)
    """
    ids = {label: class_id for class_id, label in enumerate(labels)}
    inner = list(range(len(labels)))
    has_prefixes = _has_prefixes(set(labels))
    for label, class_id in ids.items():
        if has_prefixes and _PREFIXED.match(label):
            same_type = [ids[tag] for tag in (f"I{label[1:]}", f"M{label[1:]}") if tag in ids]
            inner[class_id] = (*same_type, class_id)[0]
    return np.array(inner, "int32")


def tagged_spans(
    text: str,
    offsets: Sequence[tuple[int, int]],
    probabilities: np.ndarray,
    labels: Sequence[str],
) -> list[TaggedSpan]:
    """Turns the probabilities of a text's words into spans of the text, see `spans_of`.

    Two spans of one type without white space between them are joined if the second begins with the
    tag that continues the first inside a word, see `continuations`: "U.S." is four words of BERT.
    If no tag is `O`, tags are parts of speech or the like, and two different signs, or two
    ideographs, stay apart.

    Args:
        text: The text.
        offsets: Start and end of every word in the text.
        probabilities: *Shape:* (W, C).
        labels: The C tags.
    """
    ids = probabilities.argmax(axis=-1)
    inner = continuations(labels)
    joined: list[Span] = []
    for span in spans_of([labels[i] for i in ids], labels):
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
    """Whether two neighbouring words with the same tag are parts of one larger word."""
    gap = text[first[1] : second[0]]
    if any(character.isspace() and character not in _NO_BREAK_SPACES for character in gap):
        return False
    words = text[first[0] : first[1]], text[second[0] : second[1]]
    return are_entities or words[0] == words[1] or words[0].isalnum() != words[1].isalnum()


# === Words and tokens ===
class Words(NamedTuple):
    """The words of one text, and its tokens.

    Attributes:
        text: The text; given words are joined by spaces.
        offsets: Start and end of every word in the text, in characters.
        token_ids: The text's tokens, without [CLS] and [SEP].
        parts: The positions of the P tokens that begin a word of BERT: a run of letters and digits,
            a sign of punctuation, or an ideograph. *Shape:* (P,), int.
        word_of_part: The word that holds each part. The words of a string are those of BERT; a
            given word may have several parts, or none if the tokenizer drops all its characters.
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
        text: A text, which is split into the words of BERT (runs of letters and digits, and single
            signs of punctuation), or its words.

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
        # By its last character: an added token may include the spaces before it.
        last = np.array([offsets[part][1] - 1 for part in parts], int)
        word_of_part = np.searchsorted(starts, last, side="right") - 1
    return Words(joined, words, encoding.token_ids[1:-1], np.array(parts, int), word_of_part)


class WordRows:
    """The words of one text as rows of a model: windows that slide over its tokens.

    Args:
        tokenizer: The tokenizer.
        text: A text, or its words, see `tokenize_words`.
        sequence_length: Tokens of a row, [CLS] and [SEP] included; the last may have fewer.
        window_stride: Tokens from the start of a row to the start of the next; by default half of
            the text's tokens in a row.

    Attributes:
        words: The text's words.
        token_ids: The token ids of every row, [CLS] and [SEP] included.
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
        """Places the label of every word at its parts, each in one of the rows.

        So the model is trained on the same words that it reads in strings.

        Args:
            label_ids: *Shape:* (W,).
            inner: The label that continues each label inside a word, see `continuations`.
                *Shape:* (C,).

        Returns:
            For every row one label a token, `IGNORED` where no part begins. *Shape:* (S,), int32.
        """
        of_parts = label_ids[self.words.word_of_part]
        return self._spread(np.where(self._opens_word, of_parts, inner[of_parts]), IGNORED, "int32")

    def weights(self, of_words: np.ndarray) -> list[np.ndarray]:
        """Places the weight of every word at its parts, as `labels` does. *Shape:* (S,) each."""
        return self._spread(of_words[self.words.word_of_part], 0.0, "float32")

    def _spread(self, of_parts: np.ndarray, other: float, dtype: str) -> list[np.ndarray]:
        rows = [np.full(len(row), other, dtype) for row in self.token_ids]
        for row, column, value in zip(self._rows, self._columns, of_parts, strict=True):
            rows[row][column] = value
        return rows

    def of_words(self, rows: Sequence[np.ndarray], without_tokens: Any = 0.0) -> np.ndarray:
        """Selects the values of the words' first tokens.

        Args:
            rows: Values of every row. *Shape:* (S or more, C) each.
            without_tokens: Values for words without tokens. *Shape:* (C,) or ().

        Returns:
            *Shape:* (W, C).
        """
        values = np.empty((len(self.words.offsets), rows[0].shape[-1]), rows[0].dtype)
        values[:] = without_tokens
        for part in np.flatnonzero(self._opens_word):
            value = rows[self._rows[part]][self._columns[part]]
            values[self.words.word_of_part[part]] = value
        return values
