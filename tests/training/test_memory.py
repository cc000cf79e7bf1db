import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any

import keras
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks import example_model
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary
from keras_bert_scratch.training import memory
from keras_bert_scratch.training.privacy import DifferentialPrivacy

CONFIG = BertConfig(
    vocab_size=7, num_layers=2, num_heads=1, hidden_dim=2, feed_forward_dim=3, max_positions=10
)


# A text of 10 tokens has 8 x 20 + 3 x 30 + 3 x 100 = 550 values in each of two blocks. ModernBERT's
# has 12 x 20 + 6 x 30 = 420, and scores: 2 x 100 in a global layer, 2 x 60 in the two local ones,
# which see 3 blocks of 2 keys. One rematerialized block is held, and 20 values of each other.
@pytest.mark.parametrize(
    ("changes", "values", "rematerialized"),
    [
        ({}, 2 * 550, 2 * 20 + 550),
        (
            {"num_layers": 3, "architecture": "modernbert", "local_window": 4},
            3 * 420 + 200 + 2 * 120,
            3 * 20 + 620,
        ),
    ],
    ids=["bert", "modernbert"],
)
def test_bytes_by_hand(changes: dict[str, Any], values: int, rematerialized: int) -> None:
    for rematerialize, held in ((False, values), (True, rematerialized)):
        for dtype, width in (("float32", 4), ("mixed_bfloat16", 2)):
            config = dataclasses.replace(CONFIG, **changes)
            encoder = BertEncoder(config, rematerialize=rematerialize, dtype=dtype)
            fixed = 4 * encoder.count_params() + 16 * 5
            assert memory.training_bytes(encoder, 5, 3, 10) == fixed + 3 * held * width


# What steps took in float32 (peaks that benchmarks/memory.py printed, less 0.75 GB for TensorFlow).
@pytest.mark.parametrize(
    ("architecture", "preset", "measured"),
    [
        ("bert", "base", [(4, 512, False, 5.59), (2, 512, False, 3.94), (16, 512, True, 4.21)]),
        ("bert", "medium", [(32, 128, False, 3.00)]),
        (
            "modernbert",
            "mini",
            [(64, 128, False, 1.74), (16, 512, False, 1.85), (4, 2048, False, 2.28)]
            + [(1, 4096, False, 1.81)],
        ),
        ("modernbert", "medium", [(8, 512, False, 4.67)]),
    ],
)
def test_near_what_was_measured(architecture: Any, preset: str, measured: list[Any]) -> None:
    config = BertConfig.preset(preset, architecture=architecture)
    with keras.StatelessScope():  # from shapes alone
        encoder = BertEncoder(config)
        for batch_size, length, encoder.rematerialize, gigabytes in measured:
            found = memory.training_bytes(encoder, encoder.count_params(), batch_size, length)
            share = 0.15 if architecture == "bert" else 0.2
            assert found / 1e9 == pytest.approx(gigabytes, rel=share)


@pytest.fixture
def model() -> BertClassifier:
    vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])
    encoder = BertEncoder(CONFIG, dtype="mixed_bfloat16")
    model = BertClassifier(encoder, ["x", "y"], WordPieceTokenizer(vocabulary))
    model.compile("sgd")
    return model


def test_a_batch_that_cannot_fit(model: BertClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 4000)
    before = model.get_weights()
    message = "A training step on 2 texts of 4 tokens needs about 0.0 GB, and this machine has 0.0"
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(["a b", "a"], ["x", "y"], batch_size=500)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_private_batches_are_held_in_parts(
    model: BertClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def stop(encoder: BertEncoder, num_trainable: int, rows: int, length: int) -> None:
        held.append(rows)
        raise InterruptedError

    monkeypatch.setattr(example_model, "check_training_fits", stop)
    for step in (None, DifferentialPrivacy(noise_multiplier=1.0, delta=0.1, microbatch_size=2)):
        model.compile("sgd", training_step=step)
        with pytest.raises(InterruptedError):
            model.fit(["a b"] * 4, ["x", "y"] * 2, batch_size=4)
    assert held == [4, 2]


def test_a_container_may_have_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUP_LIMIT", limit)
    whole = memory.machine_bytes()
    for text, expected in (("max\n", whole), ("12345\n", 12345)):
        limit.write_text(text)
        assert memory.machine_bytes() == expected


@pytest.mark.parametrize("flags", ["fpu avx2", "fpu avx512_bf16 vaes"])
def test_bfloat16_is_warned_of_where_it_is_emulated(
    model: BertClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(memory, "_CPU_INFO", info)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(["a b", "a"], ["x", "y"], verbose=0)
    emulated = [w for w in caught if "no bfloat16 products" in str(w.message)]
    assert len(emulated) == (flags == "fpu avx2")
