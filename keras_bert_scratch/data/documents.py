"""Files of raw text -> documents -> sentences."""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from keras_bert_scratch.data.readers import existing_file, read_examples

logger = logging.getLogger(__name__)

# The meaning of a line break within a document: the end of a sentence, or white space.
Lines = Literal["auto", "sentences", "wrapped"]

# Marks that also occur within numbers and names, and end a sentence only before white space.
_LATIN = ".!?…‼‽⁇⁈⁉"
# Marks that only end sentences, in the scripts that are written today: Unicode's property
# Sentence_Terminal, and Tibetan's shad.
_OTHERS = "。！？｡．؟۔؞।॥։።፧፨။។៕᠃།༎߹܀܁܂᱾᱿꯫"
_CLOSING = r"""["'”’»)\]」』）》】]"""
# The end of a sentence, with closing quotation marks and brackets.
_END = re.compile(
    rf"(?P<latin>[{_LATIN}]+{_CLOSING}*\s+)|[{_OTHERS}][{_LATIN}{_OTHERS}]*{_CLOSING}*\s*"
)
_END_OF_LINE = re.compile(rf"[{_LATIN}{_OTHERS}](?:\s*{_CLOSING})*$")
# A full stop after one of these, or after an initial, does not end a sentence.
_ABBREVIATIONS = (
    r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|Rev|Capt|Col|Gen|Lt|Vol|Fig|vs|cf|viz|e\.g|i\.e)\.\s+$"
)
_ABBREVIATION = re.compile(_ABBREVIATIONS)
_LOWERCASE_ABBREVIATION = re.compile(_ABBREVIATIONS, re.IGNORECASE)
_LONGEST_ABBREVIATION = 8

# A break between two lines of one paragraph.
_WRAP = re.compile(r"(?<=\S)[^\S\n]*\n[^\S\n]*(?=\S)")
# `detect_lines` looks at this many lines.
_LINES_READ = 10_000
# Scripts without white space have no first word: at most this many characters count as one.
_LONGEST_WORD = 12


def read_documents(
    path: str | Path, text_column: str = "text", *, lines: Lines = "auto"
) -> Iterator[str]:
    r"""Reads the documents of a file.

    Args:
        path: A .txt file in UTF-8, in which blank lines separate documents; or a file that
            `read_examples` reads, in which each row is a document.
        text_column: Column, or JSON key, of the documents, in formats with columns.
        lines: "sentences" if every line break ends a sentence; "wrapped" if breaks may be within
            sentences; "auto" to use what `detect_lines` finds, which is logged.

    Yields:
        The documents, none of them empty. A line break in them ends a sentence: the breaks of
        wrapped lines are replaced by spaces.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `lines` is none of the three, the file is not UTF-8, or `read_examples`
            refuses it.

    Example:
        >>> _ = Path("two.txt").write_text("A sentence.\nIts next.\n\nAnother document.\n")
        >>> list(read_documents("two.txt"))
        ['A sentence.\nIts next.', 'Another document.']
    """
    check_lines(lines)
    path = Path(path)
    documents: Iterable[str]
    if path.suffix.lower() == ".txt":
        documents, sample = _documents_of_text(path), _documents_of_text(path)
    else:
        documents = read_examples(path, text_column=text_column, label_column=None).texts
        sample = iter(documents)
    if lines == "auto":
        lines = detect_lines(sample, str(path))
    for document in documents:
        yield _WRAP.sub(" ", document) if lines == "wrapped" else document


def check_lines(lines: str) -> None:
    """Raises a ValueError if `lines` is not one of `Lines`."""
    if lines not in get_args(Lines):
        raise ValueError(f"lines must be one of {', '.join(get_args(Lines))}; received {lines!r}.")


def _documents_of_text(path: Path) -> Iterator[str]:
    lines: list[str] = []
    number = 0
    with existing_file(path).open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):  # noqa: B007
                if text := line.strip():
                    lines.append(text)
                elif lines:
                    yield "\n".join(lines)
                    lines = []
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 ({error.reason} soon after line {number}): convert it."
            ) from None
    if lines:
        yield "\n".join(lines)


def detect_lines(documents: Iterable[str], name: str = "The text") -> Lines:
    r"""Tells whether line breaks in documents end sentences, or come from wrapping.

    The answer follows from the lines that another line follows. Such a line is full if the first
    word of the next would not have fit into the width that 90 % of all lines keep to; it is
    continued if the next begins with a small letter. Lines are wrapped if the mean of these two
    shares exceeds one half, fewer than half of the lines end like a sentence, and sentences end
    elsewhere: within lines, or where a paragraph ends. In texts without capitals, only the share of
    full lines counts, and sentences must end within lines. So lines without any punctuation are
    sentences.

    Args:
        documents: The texts; their first 10,000 lines are read.
        name: Name of the text, for the log.

    Returns:
        "sentences" or "wrapped". The reasons are logged, as a warning if the decision is close.

    Example:
        >>> detect_lines(["the cat sat on the mat\nit was happy\nit went home"])
        'sentences'
        >>> detect_lines(["The cat sat on\nthe mat. It was\nhappy."])
        'wrapped'
    """
    lines = (line.strip() for document in documents for line in [*document.split("\n"), ""])
    sample = list(itertools.islice(lines, _LINES_READ))
    breaks = [(line, following) for line, following in itertools.pairwise(sample) if line]
    followed = [(line, following) for line, following in breaks if following]
    if not followed:
        return "sentences"
    width = np.percentile([len(line) for line, _ in breaks], 90, method="higher")
    first_words = [min(len(following.split()[0]), _LONGEST_WORD) for _, following in followed]
    full = np.mean(
        [
            len(line) + 1 + word > width
            for (line, _), word in zip(followed, first_words, strict=True)
        ]
    )
    has_capitals = any(line != line.lower() for line in sample)
    continued = np.mean([following[0].islower() for _, following in followed])
    wrapped = (full + continued) / 2 if has_capitals else full
    ended = np.mean([bool(_END_OF_LINE.search(line)) for line, _ in followed])
    can_be_wrapped = ended < 0.5 and any(
        len(split_sentences(line)) > 1
        or (has_capitals and not following and _END_OF_LINE.search(line))
        for line, following in breaks
    )
    found: Lines = "wrapped" if can_be_wrapped and wrapped > 0.5 else "sentences"
    logger.log(
        logging.WARNING if can_be_wrapped and 0.35 < wrapped < 0.65 else logging.INFO,
        "%s: line breaks are taken for %s: %.0f %% of the lines are full, %.0f %% are continued by "
        'a small letter, %.0f %% end a sentence. Pass lines="sentences" or "wrapped" to decide.',
        name,
        "the ends of sentences" if found == "sentences" else "spaces of wrapped text",
        100 * full,
        100 * continued,
        100 * ended,
    )
    return found


def split_sentences(document: str) -> list[str]:
    r"""Splits a text at its line breaks, and after the punctuation that ends sentences.

    A full stop before a small letter does not end a sentence, unless the text has no capitals.

    Args:
        document: Any text whose lines are not wrapped; see `read_documents`.

    Example:
        >>> split_sentences("Mr. Bennet was silent. “Do you know?” cried she.\nHe did not")
        ['Mr. Bennet was silent.', '“Do you know?” cried she.', 'He did not']
    """
    has_capitals = document != document.lower()
    return [
        sentence for line in document.split("\n") for sentence in _sentences(line, has_capitals)
    ]


def _sentences(line: str, has_capitals: bool) -> Iterator[str]:
    """Splits a line after the punctuation that ends sentences."""
    abbreviation = _ABBREVIATION if has_capitals else _LOWERCASE_ABBREVIATION
    line = line.strip()
    start = 0
    for end in _END.finditer(line):
        if end["latin"]:
            before = line[max(start, end.start() - _LONGEST_ABBREVIATION) : end.end()]
            # "etc. and so on": a small letter continues the sentence.
            is_continued = has_capitals and line[end.end() : end.end() + 1].islower()
            if is_continued or abbreviation.search(before):
                continue
        yield line[start : end.end()].rstrip()
        start = end.end()
    if rest := line[start:]:
        yield rest
