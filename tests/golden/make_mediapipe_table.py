"""Writes keras_bert_scratch/text/mediapipe_table.npz and tests/golden/mediapipe_ids.jsonl.

The first holds what MediaPipe's on-device BERT tokenizer does with every code point; the second
what it makes of whole texts, for the tests. Run it in MediaPipe's environment (mediapipe_echo.py):

    python tests/golden/make_mediapipe_table.py
"""

import importlib.metadata
import json
import random
from pathlib import Path

import numpy as np
from mediapipe_echo import Echo

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "keras_bert_scratch" / "text" / "mediapipe_table.npz"
IDS = HERE / "mediapipe_ids.jsonl"
WORD, SPACE, ALONE = 0, 1, 2
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
AT_ONCE = 120


def kinds(echo: Echo, code_points: list[int]) -> list[int]:
    """Returns whether each code point stays in its word, separates words, or is a word alone."""
    ids = echo.ids(" ".join(f"a{chr(code_point)}b" for code_point in code_points))
    unknown, a, b = 1, 5, 6
    found = []
    while ids:
        for kind, pattern in ((WORD, [unknown]), (SPACE, [a, b]), (ALONE, [a, unknown, b])):
            if ids[: len(pattern)] == pattern:
                found.append(kind)
                ids = ids[len(pattern) :]
                break
        else:
            raise SystemExit(f"not foreseen: {ids[:3]}")
    if len(found) != len(code_points):
        raise SystemExit(f"{len(found)} answers for {len(code_points)} code points")
    return found


def write_table() -> np.ndarray:
    """Asks about every code point but U+0000, which ends a text, and the surrogates."""
    echo = Echo([*SPECIAL, "a", "b"])
    table = np.full(0x110000, WORD, np.uint8)
    code_points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(code_points), AT_ONCE):
        some = code_points[start : start + AT_ONCE]
        table[some] = kinds(echo, some)
    starts = np.flatnonzero(np.diff(table, prepend=np.uint8(255)))
    np.savez_compressed(
        TABLE,
        reference=np.array(f"mediapipe {importlib.metadata.version('mediapipe')}"),
        kinds_from=starts.astype(np.uint32),
        kinds=table[starts],
    )
    print(f"{TABLE.name}: {TABLE.stat().st_size} bytes, {len(starts)} ranges")
    return table


def write_ids(table: np.ndarray) -> None:
    """Asks about texts of characters of every sort, words around 100 bytes, and sentences."""
    generator = random.Random(0)
    letters = (
        "aAbBzZéÉßİıſKÅñдДяЯßΣσςاب하नमस्ते한글café\u0301\u0308\u200d\u00ad\ufeff\ufffd\x85\x7f\x1c\t"
    )
    kept = [chr(c) for c in np.flatnonzero(table == ALONE)]
    pool = list(dict.fromkeys(letters)) + kept[:40] + generator.sample(kept, 40)
    tokens = SPECIAL + [f"{prefix}{c}" for c in pool if c.strip() for prefix in ("", "##")]
    tokens += ["caf", "##fe", "straße", "##ße", "中国", "a" * 30, "##" + "b" * 30, "##éé"]
    texts = ["".join(generator.choices([*pool, " ", "a"], k=30)) for _ in range(300)]
    texts += [unit * n for unit in "aé中𝒳" for n in (24, 25, 26, 33, 34, 49, 50, 51, 99, 100, 101)]
    texts += [
        "", " ", "[MASK] [SEP]", "Straße CAFÉ cafe\u0301", "a\x0bb a\x0cb", "end\x00gone",
        "a\u2028b",
        "I'm OK -- really!", "中国 中国人", "x\u00a0y\u3000z", "👩‍👩‍👧 ok", "ﬁne ½ Ⅳ ™",
    ]  # fmt: skip
    echo = Echo(tokens)
    reference = f"mediapipe {importlib.metadata.version('mediapipe')}"
    rows = [{"text": text, "ids": echo.ids(text)} for text in texts]
    lines = [{"reference": reference, "tokens": tokens}, *rows]
    IDS.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    print(f"{IDS.name}: {len(rows)} texts")


if __name__ == "__main__":
    write_ids(write_table())
