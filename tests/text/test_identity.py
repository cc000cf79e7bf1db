"""The same ids and offsets as Hugging Face `tokenizers`, in Python, all graphs and their exports.

What is compared, and how much of it, is printed at the end of the run.
"""

import itertools
import json
import random
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, normalizers, pre_tokenizers

from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine, Tokens
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

EVERY_SWITCH = [
    {"lowercase": lowercase, "strip_accents": strip_accents, "tokenize_chinese_chars": chinese}
    for lowercase, strip_accents, chinese in itertools.product(
        (True, False), (True, False, None), (True, False)
    )
]
MAIN_SWITCHES = {"uncased": {"lowercase": True}, "cased": {"lowercase": False}}

# Those for which the engine without strings is tried, whose tables take seconds.
WITHOUT_STRINGS = [
    {"lowercase": True, "strip_accents": True, "tokenize_chinese_chars": True},
    {"lowercase": False, "strip_accents": False, "tokenize_chinese_chars": False},
]

# Those of uncased and of cased checkpoints.
OF_CHECKPOINTS = [
    {"lowercase": lowercase, "strip_accents": lowercase, "tokenize_chinese_chars": True}
    for lowercase in (True, False)
]

# All code points that Unicode 17.0 assigns, and the gaps between them, without surrogates.
ASSIGNED = [
    *range(0xD800),
    *range(0xE000, 0x33480),
    *range(0xE0000, 0xE01F0),
    *range(0xF0000, 0x110000),
]

# One token in so many is omitted, so that words fall apart or become [UNK].
LEFT_OUT = 13

HARD_TEXTS = [
    "",
    " ",
    "a",
    "\u00a0\u2028\u3000",
    # Words of 99, 100 and 101 characters, before and after normalization.
    *("x" * length for length in (99, 100, 101, 400)),
    *("é" * length for length in (99, 100, 101)),
    *("e\u0301" * length for length in (50, 51, 100, 101)),
    *("\u00df" * 100 + end for end in ("", "x", "\u0301", "\u200d", " x", ".")),
    *("\u1e9b\u0323" * length for length in (50, 51, 100, 101)),
    "\U0001f600" * 101,
    "a" * 100 + "\u4e2d" + "b" * 101,
    "x\0" * 101,
    # Emoji: ZWJ sequences, skin tones, flags, variation selectors, keycaps, tags.
    "👩‍👩‍👧‍👦 family",
    "x👩🏽‍🚀y 🏳️‍🌈 🇩🇪🇰🇷 ❤️ 1️⃣ 🏴\U000e0067\U000e0062\U000e007f",
    # Combining marks in any order, kept and dropped, of all kinds of classes.
    *map("".join, itertools.permutations("q\u0323\u0307\u0301")),
    *("o" + "".join(marks) for marks in itertools.permutations("\u0328\u0315\u0345\u3099")),
    *("\u0915" + "".join(m) + "\u0915" for m in itertools.permutations("\u094d\u093c\u0301")),
    "\u302e\u302f\u302a\u1100\u302f\u302e",
    "\U0001d15e\U0001d15f\U0001d160 \U0001d157\U0001d16e\U0001d165",
    "\u0f73\u0f75\u0f81 \u0f71\u0f72 \u0f72\u0f71",
    "\u0344\u0340\u0343\u0374\u037e\u0387",
    "\ufb1d\ufb2a\ufb4b \u05e9\u05bc\u05c1 \u05e9\u05c1\u05bc",
    "a\u200b\u0301\u0323b \u0301leading \u0301",
    "a\u0301\ufffd\u0323b a\u0301\0\u0323b",
    # Hangul: syllables, conjoining and compatibility letters.
    "각 각 ㄱㅏㄱ 각 ᄀᄀ",
    # Case: Turkish, Greek final sigma, titles, ligatures, letters with several lower-case ones.
    "İstanbul Iı ΣΑΣ ǅ ﬁ ﬀ ŉ ẞ K Å \u1fbc \u1f88 Ⓐ Ꭰ ꭰ \U00010400",
    # Deleted, or kept: U+FFFD, NUL, soft hyphen, ZWSP, BOM, bidi controls, C1, private use.
    "a\ufffdb \0 a\0b \u00ad soft\u00adhyphen zero\u200bwidth \ufeffbom",
    "\u202aleft\u202e thgir\u202c \u2066x\u2069 \u061c \u200e\u200f",
    "\x01\x07\x08\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\x9f",
    "tab\tnew\nline\rreturn\r\n\x85nel\u2029para\u1680ogham\u205fmath",
    "\ue000\uf8ff \U000f0000 \U0010fff0[MASK]\U0010fff0 \U0010fffd",
    # Punctuation of all kinds, full-width forms, currency and mathematics.
    "`~!@#$%^&*()_+-={}|[]\\:\";'<>?,./ ＡＢＣ，。！？（）％ ｟｠ ‐‑‒–—― ¡¿ §¶ ¢£€₩ ∀∃≠",
    "don't o'clock ''x'' ##x # ### a##b",
    # CJK: extensions, compatibility forms, and what only looks like CJK.
    "㐀鿿𠀀𪛖丽豈 〇々〆ヶ ひらがなカタカナｶﾞ 、。「」 ㈱㍿ ⼀⺀",
    # Special tokens are text.
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "x[MASK]y [mask] [MASK][MASK] [[MASK]] [MA\u00adSK] [M\u0301ASK] [MASK\u0301]",
    "[SEP\0] [SEP]\u0301 \u0301[SEP] [ SEP ] [CLS",
]

NOT_UTF8 = [
    b"\xff",
    b"a\xffb \xfe",
    b"cut \xe4\xb8",
    b"cut\xe4\xb8 after",
    b"\x80\xbf stray",
    b"overlong \xc0\x80 \xc1\xbf \xe0\x80\xaf \xf0\x80\x80\x80",
    b"surrogates \xed\xa0\x80 \xed\xbf\xbfx \xed\xa0\xbd\xed\xb8\x80",
    b"beyond \xf4\x90\x80\x80 \xf5\x80\x80\x80 \xf8\x88\x80\x80\x80 \xfc\x84\x80\x80\x80\x80",
    b"\xe4\xb8\xad\xe4\xb8x\xe4\xb8\xad",
    b"\xf0\x9f\x98 \xf0\x9f \xf0 \xc3",
    b"a\xcc\xffb\xcc\x81\xff\xcc\xa3",
]

# Random texts are drawn from three of these ranges each.
POOLS: list[Sequence[int]] = [
    range(0x20, 0x7F),
    range(0x61, 0x7B),
    range(0x20),
    range(0x7F, 0x250),
    range(0x250, 0x370),
    range(0x370, 0x530),
    range(0x590, 0x780),
    range(0x900, 0xE00),
    range(0xE00, 0x1100),
    range(0x1100, 0x1200),
    range(0x1E00, 0x2000),
    range(0x2000, 0x2070),
    range(0x2070, 0x2C00),
    range(0x3000, 0x3100),
    range(0x4E00, 0xA000),
    range(0xAC00, 0xD7A4),
    range(0xE000, 0xF900),
    range(0xF900, 0xFB50),
    range(0xFB50, 0xFE00),
    range(0xFE00, 0x10000),
    range(0x1D100, 0x1D200),
    range(0x1F000, 0x1FA00),
    range(0x10000, 0x110000),
    [c for c in range(0x110000) if unicodedata.combining(chr(c))],
    [c for c in range(0x110000) if unicodedata.decomposition(chr(c))],
    [ord(" ")],
]

# An answer: ids, and for Python offsets.
Answers = list[tuple[list[int], list[tuple[int, int]]]]


def random_texts(number: int, seed: int) -> list[str]:
    rng = random.Random(seed)

    def draw() -> str:
        pools = rng.sample(POOLS, 3)
        drawn = (rng.choice(rng.choice(pools)) for _ in range(rng.randrange(1, 40)))
        return "".join(chr(c) for c in drawn if not 0xD800 <= c < 0xE000)

    return [draw() for _ in range(number)]


def random_bytes(lines: Sequence[str], number: int, seed: int) -> list[bytes]:
    """Real lines with changed bytes, and random bytes."""
    rng = random.Random(seed)

    def damaged() -> bytes:
        raw = bytearray(rng.choice(lines).encode())
        for _ in range(rng.randrange(1, 8)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(raw)

    return [damaged() for _ in range(number // 2)] + [
        bytes(rng.choices(range(0x70, 0x100), k=rng.randrange(12))) for _ in range(number // 2)
    ]


def alone_and_between_letters(code_points: Iterable[int]) -> list[str]:
    """Texts of 64 code points each, which is faster than one code point a text."""
    parts = [f"{chr(c)} a{chr(c)}b" for c in code_points]
    return [" ".join(parts[i : i + 64]) for i in range(0, len(parts), 64)]


def characters_of(code_points: Iterable[int]) -> list[str]:
    """Tokens for all characters that may be part of a word: not private, not unassigned."""
    characters = [chr(c) for c in code_points if unicodedata.category(chr(c)) not in ("Cn", "Co")]
    return [*characters, *(f"##{character}" for character in characters)]


def pieces_of(texts: Iterable[str]) -> list[str]:
    """Returns tokens from which the words of texts, as the reference splits them, can be built."""
    split = pre_tokenizers.BertPreTokenizer()
    pieces: dict[str, None] = {}
    texts = list(texts)
    for lowercase, strip_accents in itertools.product((True, False), repeat=2):
        normalizer = normalizers.BertNormalizer(
            lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=False
        )
        for text in texts:
            for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text)):
                pieces.update(dict.fromkeys(word[:length] for length in (1, 2, 5)))
                places = itertools.product(range(len(word)), (1, 2, 4))
                pieces.update(dict.fromkeys(f"##{word[i : i + length]}" for i, length in places))
    return [piece for piece in pieces if zlib.crc32(piece.encode()) % LEFT_OUT]


def make_vocabulary(tokens: Iterable[str]) -> Vocabulary:
    # The last ones match no part of a word.
    return Vocabulary(list(dict.fromkeys([*SPECIAL_TOKENS, *tokens, "", "##", " ", "a b", "\0"])))


def python_answers(tokenizer: WordPieceTokenizer, texts: Iterable[str | bytes]) -> Answers:
    encodings = map(tokenizer.encode, texts)
    return [(e.token_ids[1:-1], e.offsets[1:-1]) for e in encodings]


def reference_answers(reference: Any, texts: Sequence[str | bytes]) -> Answers:
    decoded = [t.decode(errors="replace") if isinstance(t, bytes) else t for t in texts]
    encodings = reference.encode_batch(decoded, add_special_tokens=False)
    return [(e.ids, e.offsets) for e in encodings]


def graph_ids(
    tokenizer: WordPieceTokenizer, engine: str, texts: Sequence[str | bytes]
) -> list[list[int]]:
    import tensorflow as tf

    # Compiled, as inside `tf.data` and a SavedModel.
    signature = [tf.TensorSpec([None], tf.string)]
    tokenize = tf.function(tokenizer_graph(tokenizer, engine).tokenize, input_signature=signature)
    return tokenize(tf.constant([_encoded(text) for text in texts])).to_list()


def integer_answers(tokenizer: WordPieceTokenizer, texts: Sequence[str | bytes]) -> Answers:
    """Answers by the engine that takes code points, in batches of similar lengths."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None], tf.int32)]
    engine = tf.function(IntegerEngine(tokenizer, with_offsets=True), input_signature=signature)
    rows = [code_points_of(text) for text in texts]
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    answers: Answers = [([], [])] * len(rows)
    for start in range(0, len(order), 1000):
        batch = order[start : start + 1000]
        padded = np.zeros((len(batch), len(rows[batch[-1]])), np.int32)
        for line, number in zip(padded, batch, strict=True):
            line[: len(rows[number])] = rows[number]
        found = Tokens(*(column.numpy() for column in engine(padded)))
        splits = np.searchsorted(found.rows, np.arange(len(batch) + 1))
        for number, first, last in zip(batch, splits, splits[1:], strict=False):
            offsets = np.stack([found.starts, found.ends], 1)[first:last]
            answers[number] = found.token_ids[first:last].tolist(), [*map(tuple, offsets.tolist())]
    return answers


def code_points_of(text: str | bytes) -> list[int]:
    return [*map(ord, text.decode(errors="replace") if isinstance(text, bytes) else text)]


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def assert_equal(found: Sequence, expected: Answers, texts: Sequence) -> None:
    """Compares answers, or ids alone, and shows the first texts that differ."""
    assert len(found) == len(expected) == len(texts)
    is_ids = isinstance(found[0], list)
    wanted = [ids for ids, _ in expected] if is_ids else expected
    differing = [
        (text, ours, theirs)
        for text, ours, theirs in zip(texts, found, wanted, strict=True)
        if ours != theirs
    ]
    assert not differing, f"{len(differing)} of {len(texts)} differ: {differing[:3]}"


def check_everywhere(
    tokenizer: WordPieceTokenizer,
    texts: Sequence,
    expected: Answers,
    engines: Sequence[str] = ("fast", "core", "integer"),
) -> None:
    """Compares Python and all graphs with the reference."""
    assert_equal(python_answers(tokenizer, texts), expected, texts)
    for engine in engines:
        answers: Any = integer_answers if engine == "integer" else graph_ids
        arguments = (texts,) if engine == "integer" else (engine, texts)
        assert_equal(answers(tokenizer, *arguments), expected, texts)


@pytest.fixture(scope="session")
def texts(real_lines, counts) -> list[str | bytes]:
    lines = [line for _, line in real_lines]
    damaged = NOT_UTF8 + random_bytes(lines, 1000, seed=1)
    drawn = random_texts(1500, seed=0)
    counts["real lines in English, Chinese, Korean, Arabic, Hindi, German and code-mixed"] = len(
        lines
    )
    counts["hard cases"] = len(HARD_TEXTS)
    counts["random Unicode strings"] += len(drawn)
    counts["byte strings that are not UTF-8, or may not be"] = len(damaged)
    return [*lines, *HARD_TEXTS, *drawn, *damaged]


@pytest.fixture(scope="session")
def pieces(texts) -> list[str]:
    return pieces_of(text for text in texts if isinstance(text, str))


@pytest.mark.parametrize(
    "switches", EVERY_SWITCH, ids=lambda s: "-".join(str(value) for value in s.values())
)
def test_every_switch(switches, texts, pieces, reference, counts):
    vocabulary = make_vocabulary(pieces)
    tokenizer = WordPieceTokenizer(vocabulary, **switches)
    answers = reference_answers(reference(vocabulary.tokens, **switches), texts)
    # In a graph, None is the same as the True or False that it stands for.
    engines = () if switches["strip_accents"] is None else ("fast", "core")
    if switches in WITHOUT_STRINGS:
        engines = (*engines, "integer")
    check_everywhere(tokenizer, texts, answers, engines)
    # The texts contain [UNK], whole words and words in many pieces.
    ids = [token_id for ids, _ in answers for token_id in ids]
    assert 0.02 < ids.count(vocabulary.unk_id) / len(ids) < 0.5
    counts["combinations of lowercase, strip_accents and tokenize_chinese_chars"] += 1


@pytest.mark.parametrize("switches", MAIN_SWITCHES.values(), ids=MAIN_SWITCHES)
def test_special_tokens_in_a_text(switches, texts, pieces, reference):
    vocabulary = make_vocabulary(pieces)
    tokenizer = WordPieceTokenizer(vocabulary, allow_special_tokens=True, **switches)
    theirs = reference(vocabulary.tokens, **switches)
    theirs.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    rng = random.Random(2)
    strings = [text for text in texts if isinstance(text, str)]
    injected = strings + [
        "".join(rng.choice([*SPECIAL_TOKENS, text, text[: len(text) // 2], " "]) for _ in range(5))
        for text in strings
    ]
    answers = reference_answers(theirs, injected)
    engines = ("fast", "core", *(["integer"] if switches["lowercase"] else []))
    check_everywhere(tokenizer, injected, answers, engines)
    assert sum(vocabulary.mask_id in ids for ids, _ in answers) > 500


LOAD = """
import json, sys
sys.modules["keras"] = sys.modules["tensorflow_text"] = sys.modules["keras_bert_scratch"] = None
import numpy as np
import tensorflow as tf
folder, texts, output = sys.argv[1:]
with np.load(texts) as arrays:
    raw, ends = arrays["bytes"].tobytes(), arrays["ends"].tolist()
texts = [raw[start:end] for start, end in zip([0, *ends], ends)]
module = tf.saved_model.load(folder)
answer = module.signatures["serving_default"](tf.constant(texts))
np.savez(output, **{name: value.numpy() for name, value in answer.items()})
"""


def test_exported_saved_model(texts, pieces, reference, tmp_path, counts):
    import tensorflow as tf

    vocabulary = make_vocabulary(pieces)
    module = tf.Module()
    module.graph = tokenizer_graph(WordPieceTokenizer(vocabulary), "core")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(texts):
        ids = module.graph.tokenize(texts)
        return {"ids": ids.flat_values, "ends": ids.row_limits()}

    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": tokenize})
    encoded = [_encoded(text) for text in texts]
    np.savez(
        tmp_path / "texts.npz",
        bytes=np.frombuffer(b"".join(encoded), np.uint8),
        ends=np.cumsum([len(text) for text in encoded]),
    )
    arguments = [tmp_path / "model", tmp_path / "texts.npz", tmp_path / "answers.npz"]
    subprocess.run([sys.executable, "-c", LOAD, *map(str, arguments)], check=True)
    with np.load(tmp_path / "answers.npz") as answer:
        ids, ends = answer["ids"].tolist(), answer["ends"].tolist()
    found = [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert_equal(found, reference_answers(reference(vocabulary.tokens), texts), texts)
    counts["texts through a SavedModel loaded without Keras and tensorflow-text"] += len(found)


class TestExportedWithoutStrings:
    """The forms of other runtimes: one row of code points, filled up with zeros."""

    @pytest.fixture
    def tokenizer(self, pieces):
        return WordPieceTokenizer(make_vocabulary(pieces))

    @pytest.fixture
    def expected(self, tokenizer, texts, reference) -> Answers:
        return reference_answers(reference(tokenizer.vocabulary.tokens), texts)

    @staticmethod
    def answers(run: Any, texts: Sequence[str | bytes], size: int) -> Answers:
        def answer(text: str | bytes) -> tuple[list[int], list[tuple[int, int]]]:
            row = np.zeros((1, size), np.int32)
            code_points = code_points_of(text)
            row[0, : len(code_points)] = code_points
            ids, starts, ends = (np.array(column).tolist() for column in run(row))
            return ids, [*zip(starts, ends, strict=True)]

        return [answer(text) for text in texts]

    def test_litert(self, tokenizer, texts, expected, tmp_path, counts):
        import tensorflow as tf
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        from keras_bert_scratch.serving import litert
        from keras_bert_scratch.serving.graphs.signature import LiteGraph

        size = max(map(len, texts))
        engine = IntegerEngine(tokenizer, with_offsets=True)
        graph = LiteGraph(
            lambda code_points: engine(code_points)._asdict(),
            [tf.TensorSpec((1, size), tf.int32, name="code_points")],
            files={},
            expected=None,
        )
        path = tmp_path / "engine.tflite"
        path.write_bytes(litert.to_bytes(litert.convert(graph, "float32")))
        litert.check_operations(path)  # built-in ones alone
        for delegates in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
            interpreter = Interpreter(str(path), experimental_op_resolver_type=delegates)
            signature = interpreter.get_signature_runner()

            def run(row, signature=signature):
                found = signature(code_points=row)
                return found["token_ids"], found["starts"], found["ends"]

            assert_equal(self.answers(run, texts, size), expected, texts)
        counts["texts as code points in LiteRT, with and without XNNPACK"] += len(texts)

    def test_onnx(self, tokenizer, texts, expected, counts):
        import onnxruntime
        import tensorflow as tf
        import tf2onnx

        engine = IntegerEngine(tokenizer, with_offsets=True, unrolled=True)
        signature = [tf.TensorSpec((1, None), tf.int32, name="code_points")]
        function = tf.function(lambda code_points: engine(code_points)[:3])
        model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
        operations = {node.op_type for node in model.graph.node}
        assert not operations & {"Loop", "If", "Scan"}  # which OpenVINO takes in few forms only
        assert {node.domain for node in model.graph.node} == {""}
        session = onnxruntime.InferenceSession(model.SerializeToString())

        def run(row):
            return session.run(None, {"code_points": row})

        size = max(map(len, texts))
        assert_equal(self.answers(run, texts, size), expected, texts)
        counts["texts as code points in ONNX Runtime"] += len(texts)


def test_mediapipe(golden_folder, counts):
    header, *lines = (golden_folder / "mediapipe_ids.jsonl").read_text("utf-8").splitlines()
    tokens = json.loads(header)["tokens"]
    cases = [json.loads(line) for line in lines]
    texts, ids = [case["text"] for case in cases], [case["ids"] for case in cases]
    tokenizer = WordPieceTokenizer(Vocabulary(tokens), normalization="mediapipe")
    assert [found for found, _ in python_answers(tokenizer, texts)] == ids
    for engine in ("fast", "core"):
        assert graph_ids(tokenizer, engine, texts) == ids
    assert [found for found, _ in integer_answers(tokenizer, texts)] == ids
    counts["texts with MediaPipe's own ids"] += len(texts)


@pytest.mark.slow
class TestEverything:
    """All code points and many more strings; fewer for switches that no checkpoint has."""

    @pytest.mark.parametrize("switches", EVERY_SWITCH)
    def test_every_code_point(self, switches, reference, counts):
        every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
        # What a character becomes has a token, except in planes where there is none: a word of
        # these is unknown, and without the character, or split at it, known.
        characters = [chr(c) for c in every if c < 0x40000 or 0xE0000 <= c < 0xE1000]
        vocabulary = make_vocabulary([*characters, *(f"##{c}" for c in characters)])
        tokenizer = WordPieceTokenizer(vocabulary, **switches)
        engines = ("fast", "core", *(["integer"] if switches == WITHOUT_STRINGS[0] else []))
        if switches not in OF_CHECKPOINTS:
            every = ASSIGNED
        if switches["strip_accents"] is None:  # the same as lowercase
            engines = ()
        texts = alone_and_between_letters(every)
        theirs = reference(vocabulary.tokens, **switches)
        check_everywhere(tokenizer, texts, reference_answers(theirs, texts), engines)
        counts["code points in a combination of switches"] += len(every)

    @pytest.mark.parametrize("switches", EVERY_SWITCH)
    def test_random_texts(self, switches, reference, real_lines, counts):
        number = 20_000 if switches in OF_CHECKPOINTS else 5_000
        drawn = random_texts(number, seed=zlib.crc32(str(switches).encode()))
        damaged = random_bytes([line for _, line in real_lines], 5_000, seed=3)
        # Of part of them: the engines' tables take longer than the texts.
        vocabulary = make_vocabulary(pieces_of(drawn[:4000]))
        tokenizer = WordPieceTokenizer(vocabulary, **switches)
        every = [*drawn, *damaged]
        answers = reference_answers(reference(vocabulary.tokens, **switches), every)
        # In a graph, None is the same as the True or False that it stands for.
        is_none = switches["strip_accents"] is None
        check_everywhere(tokenizer, every, answers, *([()] if is_none else []))
        ids = [token_id for ids, _ in answers for token_id in ids]
        assert 0.02 < ids.count(vocabulary.unk_id) / len(ids) < 0.5
        counts["random Unicode strings"] += len(drawn)
        counts["damaged byte strings"] += len(damaged)

    def test_without_strings(self, reference, counts):
        drawn = random_texts(150_000, seed=4)
        vocabulary = make_vocabulary(pieces_of(drawn[:4000]))
        expected = reference_answers(reference(vocabulary.tokens), drawn)
        assert_equal(integer_answers(WordPieceTokenizer(vocabulary), drawn), expected, drawn)
        counts["random Unicode strings as code points"] += len(drawn)
