"""Files of raw text -> documents -> sentences."""

import re
from collections.abc import Iterator
from pathlib import Path

from keras_bert_scratch.data.readers import read_examples

# An end of a sentence, with the quotation marks and brackets that it closes.
_END = re.compile(r"""[.!?…]+["'”’»)\]]*\s+|[。！？]+[”’」』）]*\s*""")
# A full stop after one of these, or after an initial, ends no sentence.
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|Rev|Capt|Col|Gen|Lt|Vol|Fig|vs|cf|viz|e\.g|i\.e)\.\s+$"
)
_LONGEST_ABBREVIATION = 8


def read_documents(path: str | Path, text_column: str = "text") -> Iterator[str]:
    r"""Reads the documents of a file.

    Args:
        path: A .txt file in UTF-8, in which blank lines separate documents; or a file that
            `read_examples` reads, in which each row is a document.
        text_column: Column, or JSON key, of the documents, in the formats with columns.

    Yields:
        The documents, none of them empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not UTF-8, or `read_examples` refuses it.

    Example:
        >>> _ = Path("two.txt").write_text("A sentence.\nIts next.\n\nAnother document.\n")
        >>> list(read_documents("two.txt"))
        ['A sentence.\nIts next.', 'Another document.']
    """
    path = Path(path)
    if path.suffix.lower() != ".txt":
        yield from read_examples(path, text_column=text_column, label_column=None).texts
        return
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
    lines: list[str] = []
    number = 0
    with path.open(encoding="utf-8-sig") as file:
        try:
            for line in file:
                number += 1
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


def split_sentences(document: str) -> list[str]:
    r"""Splits a text after the punctuation that ends sentences.

    Args:
        document: Any text; line breaks in it are white space.

    Example:
        >>> split_sentences("Mr. Bennet was silent. “Do you\nknow?” cried she. He did not.")
        ['Mr. Bennet was silent.', '“Do you\nknow?” cried she.', 'He did not.']
    """
    sentences = []
    start = 0
    for end in _END.finditer(document):
        before = document[max(start, end.start() - _LONGEST_ABBREVIATION) : end.end()]
        # "etc. and so on": a small letter goes on with the sentence.
        goes_on = document[end.end() : end.end() + 1].islower()
        if not goes_on and not _ABBREVIATION.search(before):
            sentences.append(document[start : end.end()].rstrip())
            start = end.end()
    if rest := document[start:].rstrip():
        sentences.append(rest)
    return sentences
