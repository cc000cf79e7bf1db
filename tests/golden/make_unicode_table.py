"""Writes keras_bert_scratch/text/unicode_table.npz from the reference tokenizer.

BERT's normalization and pre-tokenization act on one code point at a time, except for the canonical
order of combining marks. This script asks Hugging Face `tokenizers`, which is the reference, what
it does with each of the 1,112,064 code points, and stores the answers. Nothing is taken from
Python's own `unicodedata`, whose version of Unicode is another one.

Run it again when the reference changes (a test compares all code points with the installed one):

    python tests/golden/make_unicode_table.py
"""

import importlib.metadata
from pathlib import Path

import numpy as np
from tokenizers import normalizers, pre_tokenizers

OUTPUT = Path(__file__).parents[2] / "keras_bert_scratch" / "text" / "unicode_table.npz"

# Bits of `flags`; keras_bert_scratch/text/normalization.py reads them.
DELETED, SPACE, PUNCTUATION, CJK, ACCENT = 1, 2, 4, 8, 16

# The first lower-case mapping or decomposition that each version of Unicode introduced.
NEWEST_LOWER_CASE = {
    "13.0": 0xA7C7,
    "14.0": 0x2C2F,
    "15.1": 0xA7C0,
    "16.0": 0x10D50,
    "17.0": 0xA7CE,
}
NEWEST_DECOMPOSITION = {"5.2": 0x1109A, "7.0": 0x114BB, "13.0": 0x11938, "16.0": 0x105C9}
# Newer first punctuation and accents of each version: the reference's categories are an old table.
NEWEST_CATEGORY = {"7.0": 0x2E3C, "8.0": 0x1DA87, "9.0": 0x2E43, "10.0": 0x2E45, "11.0": 0x2E4A}

# One combining mark of every canonical combining class that occurs, in ascending order: what they
# are exchanged with tells a mark's class.
MARK_OF_CLASS = {
    1: 0x334, 7: 0x93C, 8: 0x3099, 9: 0x94D, 10: 0x5B0, 11: 0x5B1, 12: 0x5B2,
    13: 0x5B3, 14: 0x5B4, 15: 0x5B5, 16: 0x5B6, 17: 0x5B7, 18: 0x5B8, 19: 0x5B9, 20: 0x5BB,
    21: 0x5BC, 22: 0x5BD, 23: 0x5BF, 24: 0x5C1, 25: 0x5C2, 26: 0xFB1E, 27: 0x64B, 28: 0x64C,
    29: 0x64D, 30: 0x64E, 31: 0x64F, 32: 0x650, 33: 0x651, 34: 0x652, 35: 0x670, 36: 0x711,
    84: 0xC55, 91: 0xC56, 103: 0xE38, 107: 0xE48, 118: 0xEB8, 122: 0xEC8, 129: 0xF71, 130: 0xF72,
    132: 0xF74, 202: 0x321, 214: 0x1DCE, 216: 0x31B, 218: 0x302A, 220: 0x316, 222: 0x59A,
    224: 0x302E, 226: 0x1D16D, 228: 0x302B, 230: 0x301, 232: 0x315, 233: 0x35C, 234: 0x35D,
    240: 0x345,
}  # fmt: skip


def step(**switches: bool) -> normalizers.BertNormalizer:
    """Returns BERT's normalizer with all steps off but those named."""
    off = {"clean_text": False, "handle_chinese_chars": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, "strip_accents": False, **switches})


def between_letters(normalizer: normalizers.Normalizer, character: str) -> str:
    """Normalizes a character between two letters and returns what has become of it."""
    return normalizer.normalize_str(f"a{character}b")[1:-1]


def combining_class(character: str) -> int:
    """Returns the canonical combining class that the reference's NFD works with."""
    nfd = normalizers.NFD()

    def goes_before(first: str, second: str) -> bool:
        exchanged = nfd.normalize_str(f"a{second}{first}") == f"a{first}{second}"
        return exchanged and first != second

    # The two extreme classes first: nearly every character has none.
    if not goes_before(character, "\u0345") and not goes_before("\u0334", character):
        return 0
    below = [value for value, mark in MARK_OF_CLASS.items() if goes_before(chr(mark), character)]
    above = [value for value, mark in MARK_OF_CLASS.items() if goes_before(character, chr(mark))]
    between = [value for value in MARK_OF_CLASS if value not in below and value not in above]
    if len(between) != 1:
        raise SystemExit(f"U+{ord(character):04X} fits no one combining class: check the marks.")
    return between[0]


def ragged(mapping: dict[int, str], name: str) -> dict[str, np.ndarray]:
    """Turns code point -> string into three arrays."""
    return {
        f"{name}_from": np.array(list(mapping), np.uint32),
        f"{name}_to": np.array(
            [ord(char) for text in mapping.values() for char in text], np.uint32
        ),
        f"{name}_length": np.array([len(text) for text in mapping.values()], np.uint8),
    }


def newest(answers: dict[str, bool]) -> str:
    """Returns the last version of Unicode whose probe the reference knows."""
    return [version for version, known in answers.items() if known][-1]


def main() -> None:
    """Asks the reference about every code point and writes the table."""
    clean = step(clean_text=True)
    cjk = step(handle_chinese_chars=True)
    strip = step(strip_accents=True)
    lower = step(lowercase=True)
    nfd = normalizers.NFD()
    split = pre_tokenizers.BertPreTokenizer()

    flags = np.zeros(0x110000, np.uint8)
    decomposition: dict[int, str] = {}
    lower_case: dict[int, str] = {}
    classes: dict[int, int] = {}
    for code_point in range(0x110000):
        if 0xD800 <= code_point < 0xE000:
            flags[code_point] = DELETED  # Lone surrogates stand for bytes that are no text.
            continue
        character = chr(code_point)
        cleaned = between_letters(clean, character)
        words = [word for word, _ in split.pre_tokenize_str(f"a{character}b")]
        if cleaned == "":
            flags[code_point] |= DELETED
        elif cleaned == " " or words == ["a", "b"]:
            flags[code_point] |= SPACE
        elif words == ["a", character, "b"]:
            flags[code_point] |= PUNCTUATION
        if cleaned not in ("", " ", character) or len(words) > 3:
            raise SystemExit(f"U+{code_point:04X} becomes {cleaned!r}, {words}: not foreseen.")
        if between_letters(cjk, character) == f" {character} ":
            flags[code_point] |= CJK
        stripped = between_letters(strip, character)
        if stripped == "":
            flags[code_point] |= ACCENT
        elif stripped != character:
            decomposition[code_point] = stripped
        if (lowered := between_letters(lower, character)) != character:
            lower_case[code_point] = lowered
        decomposed = nfd.normalize_str(character)
        if len(decomposed) == 1 and (value := combining_class(decomposed)):
            classes[code_point] = value

    # A dropped accent of class 0 still separates the marks before it from those after it.
    for code_point in np.flatnonzero(flags & ACCENT):
        parts = [classes.get(ord(part), 0) for part in nfd.normalize_str(chr(code_point))]
        if 0 not in parts:
            classes[int(code_point)] = parts[0]
    kept_classes = {c: v for c, v in classes.items() if not flags[c] & DELETED}

    starts = np.flatnonzero(np.diff(flags, prepend=np.uint8(255)))
    unicode_version = {
        "lower_case": newest({v: c in lower_case for v, c in NEWEST_LOWER_CASE.items()}),
        "decomposition": newest({v: c in decomposition for v, c in NEWEST_DECOMPOSITION.items()}),
        "category": newest(
            {v: bool(flags[c] & (PUNCTUATION | ACCENT)) for v, c in NEWEST_CATEGORY.items()}
        ),
    }
    np.savez_compressed(
        OUTPUT,
        reference=np.array(f"tokenizers {importlib.metadata.version('tokenizers')}"),
        unicode_version=np.array([f"{name} {v}" for name, v in unicode_version.items()]),
        flags_from=starts.astype(np.uint32),
        flags=flags[starts],
        class_from=np.array(list(kept_classes), np.uint32),
        combining_class=np.array(list(kept_classes.values()), np.uint8),
        **ragged(decomposition, "decomposition"),
        **ragged(lower_case, "lower_case"),
    )
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, {unicode_version}")
    for name, table in (
        ("ranges of flags", starts),
        ("decompositions", decomposition),
        ("lower-case mappings", lower_case),
        ("combining classes", kept_classes),
    ):
        print(f"  {len(table)} {name}")


if __name__ == "__main__":
    main()
