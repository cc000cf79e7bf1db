"""Raw text -> words: BERT's normalization and pre-tokenization, one code point at a time.

Source: Devlin et al. 2018, the `BasicTokenizer` of google-research/bert, in the reading of Hugging
Face `tokenizers` (BertNormalizer, BertPreTokenizer), which is the reference: clean the text, put
spaces around CJK characters, strip accents (NFD, then drop the non-spacing marks), lower-case,
split at white space and around punctuation. `unicode_table.npz` holds the reference's answer for
every code point; tests/golden/make_unicode_table.py writes it.

Nearly all of this acts on one code point at a time. The exception is the canonical order of
combining marks: NFD sorts the few that remain.

MediaPipe's on-device tokenizer has simpler rules of its own, see `MediaPipeNormalizer`.
"""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np

Normalization = Literal["bert", "mediapipe"]

NUM_CODE_POINTS = 0x110000
# Bits of a code point's flags in unicode_table.npz.
DELETED_FLAG, _SPACE, _PUNCTUATION, _CJK, _ACCENT = 1, 2, 4, 8, 16
# Kinds of code points in mediapipe_table.npz, other than 0 for parts of words.
_MEDIAPIPE_SPACE, _MEDIAPIPE_ALONE = 1, 2


class UnicodeTable(NamedTuple):
    """What each step of the reference does with every code point.

    Attributes:
        reference: Package and version of the reference.
        unicode_version: Versions of Unicode that the reference's steps follow.
        flags: One uint8 per code point: deleted, space, punctuation, CJK, accent.
        combining_class: Canonical combining class of every code point that has one.
        decomposition: Code point -> its NFD without accents.
        lower_case: Code point -> its lower case, if that differs.
    """

    reference: str
    unicode_version: str
    flags: np.ndarray
    combining_class: dict[int, int]
    decomposition: dict[int, str]
    lower_case: dict[int, str]


@functools.cache
def unicode_table() -> UnicodeTable:
    """Reads the table, once; it takes some milliseconds."""
    arrays = _read_arrays("unicode_table.npz")
    classes = zip(arrays["class_from"].tolist(), arrays["combining_class"].tolist(), strict=True)
    return UnicodeTable(
        reference=str(arrays["reference"]),
        unicode_version=", ".join(arrays["unicode_version"].tolist()),
        flags=_read_ranges(arrays, "flags"),
        combining_class=dict(classes),
        decomposition=_read_mapping(arrays, "decomposition"),
        lower_case=_read_mapping(arrays, "lower_case"),
    )


@functools.cache
def mediapipe_kinds() -> np.ndarray:
    """Returns what MediaPipe does with every code point.

    0: part of a word, 1: separates words, 2: a word of its own.
    tests/golden/make_mediapipe_table.py writes the table. *Shape:* (NUM_CODE_POINTS,), uint8
    """
    return _read_ranges(_read_arrays("mediapipe_table.npz"), "kinds")


def _read_arrays(name: str) -> dict[str, np.ndarray]:
    file = resources.files(__package__).joinpath(name)
    with file.open("rb") as stream, np.load(stream) as arrays:
        return dict(arrays)


def _read_ranges(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    starts = [*arrays[f"{name}_from"].tolist(), NUM_CODE_POINTS]
    return np.repeat(arrays[name], np.diff(np.array(starts)))


def _read_mapping(arrays: dict[str, np.ndarray], name: str) -> dict[int, str]:
    text = "".join(map(chr, arrays[f"{name}_to"].tolist()))
    ends = np.cumsum(arrays[f"{name}_length"], dtype=np.int64).tolist()
    keys = arrays[f"{name}_from"].tolist()
    return {key: text[i:j] for key, i, j in zip(keys, [0, *ends], ends, strict=False)}


class Word(NamedTuple):
    """A word of the normalized text.

    Attributes:
        text: Its normalized characters.
        origins: For each character, the position in the raw text of its source.
    """

    text: str
    origins: list[int]


class Normalizer(abc.ABC):
    """Rules that act on one code point at a time, except for the order of combining marks."""

    # Unit of a word's length, as `tf.strings.length` names it: characters or bytes.
    length_unit: Literal["UTF8_CHAR", "BYTE"]
    # Combining marks that may change places, and characters that decompose into them.
    sources_of_marks: frozenset[str] = frozenset()

    @abc.abstractmethod
    def replace(self, code_point: int) -> str:
        """Returns what a code point becomes, with spaces around it if it is a word of its own."""

    @abc.abstractmethod
    def changed_code_points(self) -> list[int]:
        """Returns the code points that may change; all others stay."""

    @functools.cached_property
    def _replacements(self) -> "_Replacements":
        return _Replacements(self.replace)

    def word_length(self, word: str) -> int:
        """Returns a word's length in the rules' unit."""
        return len(word) if self.length_unit == "UTF8_CHAR" else len(word.encode())

    def words(self, text: str) -> Iterator[Word]:
        """Normalizes a text and yields its words."""
        return _at_spaces(_replace(self._characters(text), self._replacements))

    def _characters(self, text: str) -> Iterable[tuple[str, int]]:
        """Pairs the characters to be normalized with their positions."""
        return zip(text, range(len(text)), strict=True)


@dataclasses.dataclass(frozen=True)
class BertNormalizer(Normalizer):
    """BERT's normalization and pre-tokenization. Lone surrogates are dropped, like U+FFFD.

    Args:
        lowercase: Lower-case every character.
        strip_accents: Decompose (NFD) and drop non-spacing marks.
        tokenize_chinese_chars: Make every CJK character a word.

    Example:
        >>> [word.text for word in BertNormalizer(True, True, True).words("Él dijo: 你好")]
        ['el', 'dijo', ':', '你', '好']
    """

    lowercase: bool
    strip_accents: bool
    tokenize_chinese_chars: bool
    length_unit = "UTF8_CHAR"

    def replace(self, code_point: int) -> str:
        """See `Normalizer`."""
        return "".join(map(_split_off, self.normalize(code_point)))

    def normalize(self, code_point: int) -> str:
        """Returns what a code point becomes before punctuation is split off."""
        table = unicode_table()
        flags = table.flags[code_point]
        if flags & DELETED_FLAG:
            return ""
        if flags & _SPACE:
            return " "
        characters = chr(code_point)
        if self.strip_accents:
            if flags & _ACCENT:
                return ""
            characters = table.decomposition.get(code_point, characters)
        if self.lowercase:
            characters = "".join(table.lower_case.get(ord(c), c) for c in characters)
        is_alone = flags & _CJK and self.tokenize_chinese_chars
        return f" {characters} " if is_alone else characters

    @functools.cached_property
    def _normalizations(self) -> "_Replacements":
        return _Replacements(self.normalize)

    def normalized(self, text: str) -> Word:
        """Normalizes a text without splitting it; `split` does the rest of `words`."""
        return _replace(self._characters(text), self._normalizations)

    def split(self, normalized: Word) -> Iterator[Word]:
        """Yields the words of a normalized text, or of a part of it."""
        return _at_spaces(_replace(zip(*normalized, strict=True), _SPLIT))

    def changed_code_points(self) -> list[int]:
        """See `Normalizer`."""
        table = unicode_table()
        changes = DELETED_FLAG | _SPACE | _PUNCTUATION | _CJK | _ACCENT
        changed = set(np.flatnonzero(table.flags & changes).tolist())
        return sorted(changed.union(table.decomposition, table.lower_case))

    @functools.cached_property
    def sources_of_marks(self) -> frozenset[str]:  # type: ignore[override]
        """See `Normalizer`: marks that `strip_accents` keeps are sorted."""
        if not self.strip_accents:
            return frozenset()
        table = unicode_table()
        marks = {chr(c) for c in table.combining_class if not table.flags[c] & _ACCENT}
        return frozenset(
            marks | {chr(c) for c, to in table.decomposition.items() if marks & set(to)}
        )

    def _characters(self, text: str) -> Iterable[tuple[str, int]]:
        """Pairs characters with their positions; combining marks are in canonical order.

        As in the reference, marks that change places take the origins of their new places.
        """
        if self.sources_of_marks.isdisjoint(text):
            return super()._characters(text)
        table = unicode_table()
        kept = [i for i, c in enumerate(text) if not table.flags[ord(c)] & DELETED_FLAG]
        ordered: list[tuple[int, str, bool]] = []
        run: list[tuple[int, str, bool]] = []  # Combining class, character, opens a new origin.
        for position in kept:
            source = text[position]
            has_marks = source in self.sources_of_marks
            parts = table.decomposition.get(ord(source), source) if has_marks else source
            for index, part in enumerate(parts):
                combining_class = table.combining_class.get(ord(part), 0)
                if combining_class == 0:
                    ordered += sorted(run, key=itemgetter(0))
                    run = []
                run.append((combining_class, part, index == 0))
        ordered += sorted(run, key=itemgetter(0))
        origins = itertools.accumulate(is_new for _, _, is_new in ordered)
        return [
            (part, kept[origin - 1]) for (_, part, _), origin in zip(ordered, origins, strict=True)
        ]


def _split_off(character: str) -> str:
    """Puts spaces around punctuation, and turns any white space into a space."""
    flags = unicode_table().flags[ord(character)]
    if flags & _SPACE:
        return " "
    return f" {character} " if flags & _PUNCTUATION else character


@dataclasses.dataclass(frozen=True)
class MediaPipeNormalizer(Normalizer):
    """The rules of MediaPipe's on-device BERT tokenizer.

    It lower-cases ASCII letters only, keeps accents and control characters, splits at ASCII white
    space only and around punctuation and CJK characters, counts a word's bytes, and ends a text at
    U+0000 (mediapipe/tasks/cc/text/tokenizers/bert_tokenizer.h).

    Example:
        >>> [word.text for word in MediaPipeNormalizer().words("Él DIJO: 你")]
        ['Él', 'dijo', ':', '你']
    """

    length_unit = "BYTE"

    def replace(self, code_point: int) -> str:
        """See `Normalizer`."""
        character = chr(code_point)
        kind = mediapipe_kinds()[code_point]
        if kind == _MEDIAPIPE_SPACE:
            return " "
        if kind == _MEDIAPIPE_ALONE:
            return f" {character} "
        if character == "\v":
            # Part of a word here, and in no token; TensorFlow would split at a vertical tab.
            return "\x01"
        if 0xD800 <= code_point < 0xE000:
            return "\ufffd"
        return character.lower() if character.isascii() else character

    def changed_code_points(self) -> list[int]:
        """See `Normalizer`."""
        return np.union1d(np.flatnonzero(mediapipe_kinds()), np.arange(128)).tolist()

    def _characters(self, text: str) -> Iterable[tuple[str, int]]:
        return super()._characters(text.partition("\0")[0])


class _Replacements(dict[str, str]):
    """Remembers what characters become."""

    def __init__(self, replace: Callable[[int], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, character: str) -> str:
        self[character] = self._replace(ord(character))
        return self[character]


_SPLIT = _Replacements(lambda code_point: _split_off(chr(code_point)))


def _replace(characters: Iterable[tuple[str, int]], replacements: _Replacements) -> Word:
    """Replaces characters, which come with their positions in the raw text."""
    text: list[str] = []
    origins: list[int] = []
    for character, position in characters:
        new = replacements[character]
        text.append(new)
        if len(new) == 1:  # nearly all; a list for each would double the time
            origins.append(position)
        else:
            origins.extend([position] * len(new))
    return Word("".join(text), origins)


def _at_spaces(text: Word) -> Iterator[Word]:
    """Cuts a text at its spaces."""
    start = 0
    for part in text.text.split(" "):
        end = start + len(part)
        if part:
            yield Word(part, text.origins[start:end])
        start = end + 1
