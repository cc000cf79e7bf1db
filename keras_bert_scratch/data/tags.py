"""Words and their tags: reading, checking, aligning with tokens, and back to spans of the text.

Axes: S tokens of a text without [CLS] and [SEP], W words, C classes.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.data.readers import LINE_END, read_decoded
from keras_bert_scratch.data.windows import token_windows
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import check_sequence_length, check_window_stride
from keras_bert_scratch.text.vocabulary import CONTINUATION

OUTSIDE = "O"
# The label of tokens that do not count: all that begin no word of BERT.
IGNORED = -1
# White space that holds together what stands on its sides.
_NO_BREAK_SPACES = "\u00a0\u202f"
# An error names the places of this many faults, and counts the rest.
_FAULTS_NAMED = 5
# Between documents in files of the CoNLL kind.
_DOCUMENT = "-DOCSTART-"
_NUMBER = re.compile(r"\d+([-.]\d+)?")
_FIRST_NUMBER = re.compile(r"[01](-\d+)?")
# The letters before types: begin, inside or middle, end or last, single or unit or whole.
_LETTERS = dict(zip("BIMELSUW", "BIIEESSS", strict=True))
_PREFIXED = re.compile(rf"([{''.join(_LETTERS)}])(?:[-_](.+))?$")
# The type of tags that are a letter alone; seqeval's.
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
def read_conll(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    word_column: int = 0,
    tag_column: int = -1,
    scheme: str | None = None,
) -> TaggedTexts:
    r"""Reads a file of the CoNLL kind: a word and its tag a line, a blank line after a sentence.

    The columns of a line are separated by tabs or, if it has none, by spaces; all lines have the
    same number of them. Lines of `-DOCSTART-` are skipped, and so are comments: lines that begin
    with `#` where a sentence may begin, if they are not as wide as the others or have no tag where
    the others have theirs. A name that ends in .gz is unpacked.

    Tags may say in any way where spans begin, see `spans_of`. IOB1, which writes B- only between
    neighbours of one type, becomes BIO: the two have the same tags, with other meanings.

    Args:
        path: The file.
        encoding: Of the characters, by any name that Python knows, such as `"latin-1"`.
        word_column: Which column holds the words, from 0, or from -1 backwards.
        tag_column: Which column holds the tags, counted alike.
        scheme: Turn the tags into these, see `convert_tags`; by default they stay what they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not in that encoding, holds no sentence, a line has no word or no
            tag or another number of columns, the words are mere numbers of lines, or tags break
            their scheme; the message names the line.

    Example:
        >>> _ = Path("a.conll").write_text("Jane\tB-person\nAusten\tI-person\nwrote\tO\n")
        >>> read_conll("a.conll")
        TaggedTexts(words=[['Jane', 'Austen', 'wrote']], tags=[['B-person', 'I-person', 'O']])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
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
                "as many on each, with tabs between them if words hold spaces."
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


_Line = tuple[int, list[str]]


def _sentences(path: Path, content: str) -> list[list[_Line]]:
    """Returns the sentences of a file as lines: the number and the cells of each."""
    lines = [
        (number, line, _line_cells(line))
        for number, line in enumerate(LINE_END.split(content), start=1)
    ]
    # What lines of words look like, to tell them from comments.
    plain = [
        (line, cells)
        for _, line, cells in lines
        if cells and not line.startswith("#") and cells[0] != _DOCUMENT
    ]
    shapes = {("\t" in line, len(cells)) for line, cells in plain}
    tags = {cells[-1] for _, cells in plain} | {"#"}
    sentences: list[list[_Line]] = []
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
                f"{path}, line {number}: {cells[0]!r} stands alone; write a word and its tag, with "
                "a tab between them."
            )
        if not is_open:
            sentences.append([])
            is_open = True
        sentences[-1].append((number, cells))
    return sentences


def _line_cells(line: str) -> list[str]:
    # Not split(): it also splits at characters that may stand inside a word.
    if "\t" in (line := line.rstrip(" \t")):
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.split(" ") if cell]


# === Schemes ===
def _has_prefixes(labels: set[str]) -> bool:
    """Whether tags say by a letter where spans begin, go on or end."""
    labels = labels - {OUTSIDE}
    typed = {label for label in labels if len(label) > 1 and _PREFIXED.match(label)}
    return (
        any(label[0] in "BI" for label in typed)
        or (bool(labels) and labels == typed)
        # Parts of speech may be single letters, too.
        or ("B" in labels and labels <= set(_LETTERS))
    )


def _parse(tags: Sequence[str], labels: set[str]) -> list[tuple[str, str]]:
    """Splits tags into B, I, E, S or O, and the type."""
    if not _has_prefixes(labels):
        # Without O, each word has a tag of its own, such as its part of speech.
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
    """Returns sentence and word of every tag that breaks BIO, IOB1 or BIOES, and how it does."""
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
    """Whether B- stands only between neighbours of one type, so that other spans begin with I-."""
    labels = _labels_of(tags)
    return (
        _has_prefixes(labels)
        and all(label == OUTSIDE or re.match("[BI]([-_]|$)", label) for label in labels)
        and not _faults(tags, "IOB1")
        and bool(_faults(tags, "BIO"))
    )


def check_bio(tags: Sequence[Sequence[str]], places: Sequence[Sequence[str]] | None = None) -> None:
    """Refuses tags that break their scheme, see `spans_of`.

    BIO: an I- (or E-) continues a span of its type. BIOES, which tags single words S-: so does it,
    and a B- has an end. Tags that are right as IOB1 pass, and so do tags of which none is a B-.

    Args:
        tags: One list of tags a sentence.
        places: What to call every tag's place in the message.

    Raises:
        ValueError: If a tag breaks the scheme; the message counts all and names the first places.
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
        for sentence, word, fault in faults[:_FAULTS_NAMED]
    ]
    rule = (
        "A span is B-, I- ..., E- of one type, or S-: mend the tags."
        if scheme == "BIOES"
        else "A span starts with B-, and I- continues one of the same type: write B- there, or "
        "mend the type."
    )
    raise ValueError(
        f"{len(faults)} tags break {scheme}: {'; '.join(named)}"
        f"{'; …' * (len(faults) > _FAULTS_NAMED)}. {rule}"
    )


def convert_tags(tags: Sequence[Sequence[str]], scheme: str) -> list[list[str]]:
    """Writes the spans of tags in another scheme.

    Args:
        tags: One list of tags a sentence, in any scheme, see `spans_of`.
        scheme: `"BIO"`, `"BIOES"` or `"IO"`; the last joins neighbours of one type.

    Raises:
        ValueError: If the scheme is another, or the tags are one a word, without O.

    Example:
        >>> convert_tags([["I-person", "I-person", "O"]], "BIOES")
        [['B-person', 'E-person', 'O']]
    """
    if scheme not in _WRITTEN:
        raise ValueError(f"scheme must be one of {', '.join(_WRITTEN)}, received {scheme!r}.")
    labels = _labels_of(tags)
    if not _has_prefixes(labels) and OUTSIDE not in labels:
        raise ValueError(
            f"There is no O among the tags {', '.join(sorted(labels)[:_FAULTS_NAMED])}, so each "
            "word has one of its own, and there are no spans to convert: leave scheme away."
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
def spans_of(tags: Sequence[str], labels: Collection[str] | None = None) -> list[Span]:
    """Joins the tags of one sentence to spans.

    O is never part of a span. What other tags mean is seen from all of them:

    - `B-type` begins a span, `I-` (or M-) goes on, `E-` (or L-) goes on to its end, and `S-` (or
      U-, W-) is a span of one word: BIO, IOB1, BIOES, BILOU, BMEWO. A tag that continues no span
      of its type begins one, as in CoNLL's conlleval and in seqeval. Types may be missing.
    - Types without letters, and O among them: IO. Neighbours of one type are one span.
    - Without O, tags are parts of speech or the like: each word is a span.

    Args:
        tags: One a word.
        labels: All tags that there are, by default those of the sentence; a sentence without O
            may be one of many that have it.

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
    """Returns the tag with which each tag goes on inside its word: `B-type` with `I-type`.

    Tags without letters, see `spans_of`, go on as themselves, and so do those for which there is
    no other.

    Args:
        labels: The C tags.

    Returns:
        Their ids. *Shape:* (C,), int32.

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
        # By its last character: an added token may take in the spaces before it.
        last = np.array([offsets[part][1] - 1 for part in parts], int)
        word_of_part = np.searchsorted(starts, last, side="right") - 1
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
