"""Added tokens: tokens that are found in a text before it is split into words.

Source: `AddedVocabulary` of Hugging Face `tokenizers`, which is the reference. Tokens that are not
`normalized` are searched in the raw text. The parts between them are normalized, and the other
tokens, normalized too, are searched there. The longest token at a position wins; tokens that are
found do not overlap.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from keras_bert_scratch.text.normalization import BertNormalizer
from keras_bert_scratch.text.vocabulary import Vocabulary

# The white space around a token, as the reference has it.
_SPACES = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)


class AddedToken(NamedTuple):
    """A token of the vocabulary that is found in a text before it is split into words.

    Attributes:
        content: The token.
        special: Whether `decode` may skip it.
        normalized: Whether it is searched in the normalized text or in the raw one.
        lstrip: Whether its offsets include the white space before it.
        rstrip: Whether its offsets include the white space after it.
        is_piece: Whether words may also be split into it, as into any other token.

    Example:
        >>> AddedToken("<user>")
        AddedToken(content='<user>', special=False, normalized=True, lstrip=False, ...)
    """

    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    is_piece: bool = False


class Finder:
    """Finds tokens in texts.

    Args:
        tokens: The strings to search, and the token that each stands for.
        as_text: Contents of the tokens that stay text where they are found. They still hide other
            tokens that overlap with them, as in the reference's `encode_special_tokens`.
    """

    def __init__(self, tokens: Mapping[str, AddedToken], as_text: Collection[str] = ()) -> None:
        # An expression takes the first alternative that matches, so the longest come first.
        self.contents = sorted(tokens, key=lambda content: (-len(content), content))
        self.as_text = [sought for sought in self.contents if tokens[sought].content in as_text]
        self.tokens = tokens
        self._pattern = re.compile("|".join(map(re.escape, self.contents)))

    def split(self, text: str) -> Iterator[tuple[int, int, AddedToken | None]]:
        """Cuts a text at the tokens.

        Args:
            text: The text.

        Yields:
            Start, end and token of every part; the token is None for plain text. No part of plain
            text is empty.
        """
        done = 0
        for found in self._pattern.finditer(text) if self.contents else ():
            if found[0] in self.as_text:
                continue
            token = self.tokens[found[0]]
            start, end = found.span()
            while token.lstrip and start > done and text[start - 1] in _SPACES:
                start -= 1
            while token.rstrip and end < len(text) and text[end] in _SPACES:
                end += 1
            if done < start:
                yield done, start, None
            yield start, end, token
            done = end
        if done < len(text):
            yield done, len(text), None


def tokens_to_find(vocabulary: Vocabulary, added_tokens: Iterable[AddedToken]) -> list[AddedToken]:
    """Returns BERT's special tokens and the added tokens; the latter replace equal ones."""
    special = [AddedToken(token, True, False) for token in vocabulary.special_tokens]
    return [*{token.content: token for token in (*special, *added_tokens)}.values()]


def check_added_tokens(
    tokens: Iterable[AddedToken | Mapping[str, Any]],
    vocabulary: Vocabulary,
    normalizer: BertNormalizer,
) -> tuple[AddedToken, ...]:
    """Returns the `added_tokens` of a tokenizer as a tuple.

    Raises:
        ValueError: If a token is not in the vocabulary, is given twice, or is empty after the
            normalization of the texts in which it is searched.
    """
    made = tuple(
        token if isinstance(token, AddedToken) else AddedToken(**token) for token in tokens
    )
    seen: dict[tuple[str, bool], AddedToken] = {}
    for token in made:
        if token.content not in vocabulary:
            raise ValueError(
                f"The added token {token.content!r} is not in the vocabulary, which gives it its "
                "id: append it there."
            )
        sought = normalizer.normalized(token.content).text if token.normalized else token.content
        if not sought.strip():
            raise ValueError(
                f"The added token {token.content!r} is empty once it is normalized, and would be "
                "found everywhere: remove it, or set normalized=False."
            )
        other = seen.setdefault((sought, token.normalized), token)
        if other is not token:
            raise ValueError(
                f"The added tokens {other.content!r} and {token.content!r} are found in the same "
                "texts: remove one."
            )
    return made
