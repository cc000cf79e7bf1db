"""Tokens that are found in a text as they stand, before it is split into words.

Source: `AddedVocabulary` of Hugging Face `tokenizers`, which is the reference. Tokens that are not
`normalized` are looked for in the raw text, then the others, normalized, in what lies between them
and is normalized. At a position the longest token is found; those found do not overlap.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from keras_bert_scratch.text.normalization import BertNormalizer

# What the reference takes for white space around a token.
_SPACES = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)


class AddedToken(NamedTuple):
    """A token of the vocabulary that is found in a text as it stands.

    Attributes:
        content: The token.
        special: Whether `decode` may leave it out.
        normalized: Whether it is looked for in the normalized text, or in the raw one.
        lstrip: Whether its offsets cover white space before it.
        rstrip: Whether its offsets cover white space after it.
        is_piece: Whether words may be split into it, as into the tokens that were not added.

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
    """Finds some tokens in texts.

    Args:
        tokens: What is looked for, and the tokens.
        as_text: Of what is looked for, that which stays text where it is found. It still hides
            other tokens which it overlaps, as in the reference's `encode_special_tokens`.
    """

    def __init__(self, tokens: Mapping[str, AddedToken], as_text: Iterable[str] = ()) -> None:
        # The first alternative that fits is taken, so the longest come first.
        self.contents = sorted(tokens, key=lambda content: (-len(content), content))
        self.as_text = [content for content in self.contents if content in set(as_text)]
        self.tokens = tokens
        self._pattern = re.compile("|".join(map(re.escape, self.contents)))

    def split(self, text: str) -> Iterator[tuple[int, int, AddedToken | None]]:
        """Cuts a text at the tokens.

        Args:
            text: The text.

        Yields:
            Start, end and token of every part, or None for a part of text, which is not empty.
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


def check_added_tokens(
    tokens: Iterable[AddedToken | Mapping[str, Any]], vocabulary: Any, normalizer: BertNormalizer
) -> tuple[AddedToken, ...]:
    """Turns what a tokenizer is given into added tokens.

    Raises:
        ValueError: If one is not in the vocabulary, comes twice, or nothing is left of it by the
            normalization in which it is looked for.
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
                "found everywhere: remove it, or make it one with normalized=False."
            )
        other = seen.setdefault((sought, token.normalized), token)
        if other is not token:
            raise ValueError(
                f"The added tokens {other.content!r} and {token.content!r} are found in the same "
                "texts: remove one."
            )
    return made
