"""Shards: written once and the same, read in an order that can be repeated, checked first."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.data.shards import (
    INDEX,
    ShardedExamples,
    ShardSettings,
    write_shard,
    write_shards,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS = [f"{a}{b}" for a in "bcdfghjklm" for b in ("a", "e", "ing", "o")]
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *WORDS, "."]))
SETTINGS = ShardSettings(sequence_length=32, repeats=2, seed=3)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of a dozen documents."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("texts")

    def sentence() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(2, 12))) + "."

    for name in "abc":
        documents = (" ".join(sentence() for _ in range(rng.integers(2, 9))) for _ in range(12))
        # Capitals, which end sentences, become small letters in the tokenizer.
        text = "\n\n".join(
            ". ".join(part.capitalize() for part in d.split(". ")) for d in documents
        )
        (folder / f"{name}.txt").write_text(text)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def folder(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(texts, folder, TOKENIZER, SETTINGS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def batches(dataset: tf.data.Dataset, count: int) -> list:
    return [tf.nest.map_structure(lambda t: t.numpy(), batch) for batch in dataset.take(count)]


def assert_same(left: list, right: list) -> None:
    assert len(left) == len(right)
    tf.nest.map_structure(np.testing.assert_array_equal, left, right)


@pytest.mark.slow
def test_the_same_bytes_however_they_are_made(
    texts: list[Path], folder: Path, tmp_path: Path
) -> None:
    """In other processes, in another order, and after a stop."""
    assert write_shards(texts[::-1], tmp_path, TOKENIZER, SETTINGS, num_processes=2) == json.loads(
        (folder / "index.json").read_text()
    )
    assert contents(tmp_path) == contents(folder)

    (tmp_path / "index.json").unlink()
    (tmp_path / "examples-00001.json").unlink()
    (tmp_path / ".examples-00001.77.tfrecord").write_bytes(b"half")  # what a kill leaves
    kept = (tmp_path / "examples-00000.tfrecord").stat().st_mtime_ns
    done = []
    write_shards(texts, tmp_path, TOKENIZER, SETTINGS, progress=lambda *counts: done.append(counts))
    (tmp_path / ".examples-00001.77.tfrecord").unlink()
    assert contents(tmp_path) == contents(folder)
    assert (tmp_path / "examples-00000.tfrecord").stat().st_mtime_ns == kept
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_seed_shard_and_repeat_change_the_examples(texts: list[Path], tmp_path: Path) -> None:
    def record(shard: int, **changes: int) -> bytes:
        settings = ShardSettings(**{"sequence_length": 32, **changes})
        folder = tmp_path / f"{shard}{changes}"
        folder.mkdir()
        write_shard(texts[0], shard, folder, TOKENIZER, settings)
        return (folder / f"examples-{shard:05d}.tfrecord").read_bytes()

    once = record(0)
    assert record(1) != once
    assert record(0, seed=1) != once
    twice = record(0, repeats=2)
    assert twice.startswith(once)
    assert twice[len(once) :] != once


def test_a_batch_is_what_the_model_takes(folder: Path) -> None:
    examples = ShardedExamples(folder, TOKENIZER.vocabulary)
    inputs, labels, weights = batches(examples.training(8, seed=1), 1)[0]
    assert {name: array.shape for name, array in inputs.items()} == {
        "token_ids": (8, 32),
        "segment_ids": (8, 32),
        "padding_mask": (8, 32),
        "masked_positions": (8, 7),  # 15 % of 32, and room for a word
    }
    assert labels["masked_language_model"].shape == (8, 7)
    assert labels["next_sentence"].shape == weights["next_sentence"].shape == (8,)
    assert weights["masked_language_model"].shape == (8, 7)
    for row in range(8):
        ids = inputs["token_ids"][row].copy()
        used = weights["masked_language_model"][row] == 1
        ids[inputs["masked_positions"][row, used]] = labels["masked_language_model"][row, used]
        length = inputs["padding_mask"][row].sum()
        first_sep, second_sep = np.flatnonzero(ids == 3)
        assert ids[0] == 2
        assert second_sep == length - 1
        assert not ids[length:].any()
        expected = (np.arange(32) > first_sep) & (np.arange(32) < length)
        np.testing.assert_array_equal(inputs["segment_ids"][row], expected)


def keys(batch: tuple) -> list[bytes]:
    """Names the examples of a batch by what they are before they are masked."""
    inputs, labels, weights = batch
    ids = inputs["token_ids"].copy()
    row, slot = np.nonzero(weights["masked_language_model"])
    ids[row, inputs["masked_positions"][row, slot]] = labels["masked_language_model"][row, slot]
    return [example.tobytes() for example in ids]


def test_every_example_once_an_epoch_in_an_order_of_its_own(folder: Path) -> None:
    examples = ShardedExamples(folder, TOKENIZER.vocabulary)
    size = len(examples)
    assert size > 100
    names = [
        key for batch in batches(examples.training(1, seed=5), 2 * size) for key in keys(batch)
    ]
    in_files = [
        key for batch in batches(examples.evaluation(16, seed=0), -1) for key in keys(batch)
    ]
    assert sorted(names[:size]) == sorted(names[size:]) == sorted(in_files)
    assert names[:size] != names[size:]
    assert names[:size] != in_files


def test_the_order_and_the_masks_follow_from_seed_and_position(folder: Path) -> None:
    examples = ShardedExamples(folder, TOKENIZER.vocabulary)
    whole = batches(examples.training(10, seed=1), 60)  # several epochs
    assert len(examples) < 200
    tf.random.set_seed(99)
    for start in (0, 7, 41):
        assert_same(whole[start:], batches(examples.training(10, seed=1, start=start), 60 - start))
    other = batches(examples.training(10, seed=2), 1)
    assert keys(other[0]) != keys(whole[0])
    # Dynamic masking: in another epoch other tokens of the same example are hidden.
    seen: dict[bytes, set[bytes]] = {}
    for batch in whole:
        for key, row in zip(keys(batch), batch[0]["token_ids"], strict=True):
            seen.setdefault(key, set()).add(row.tobytes())
    assert np.mean([len(variants) > 1 for variants in seen.values()]) > 0.9


def test_evaluation_is_always_the_same(folder: Path) -> None:
    examples = ShardedExamples(folder, TOKENIZER.vocabulary)
    dataset = examples.evaluation(16, seed=4)
    assert len(dataset) == -(-len(examples) // 16)
    first = batches(dataset, -1)
    assert_same(first, batches(dataset, -1))
    assert sum(len(labels["next_sentence"]) for _, labels, _ in first) == len(examples)


def test_static_masks_are_the_same_in_every_epoch(texts: list[Path], tmp_path: Path) -> None:
    settings = ShardSettings(sequence_length=32, static_masking=0.2)
    write_shards(texts[:1], tmp_path, TOKENIZER, settings)
    examples = ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    one, other = (batches(examples.training(1, seed=s), len(examples)) for s in (1, 2))
    rows = [
        sorted(
            batch[0]["token_ids"].tobytes() + batch[0]["masked_positions"].tobytes() for batch in b
        )
        for b in (one, other)
    ]
    assert rows[0] == rows[1]
    used = sum(batch[2]["masked_language_model"].sum() for batch in one)
    ordinary = sum(np.sum(np.frombuffer(key, "int32") >= 5) for b in one for key in keys(b))
    assert abs(used / ordinary - 0.2) < 0.03


def test_full_sentences_have_one_segment_and_no_second_head(
    texts: list[Path], tmp_path: Path
) -> None:
    write_shards(
        texts[:1], tmp_path, TOKENIZER, ShardSettings(sequence_length=32, next_sentence=False)
    )
    examples = ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    inputs, labels, weights = batches(examples.training(4, seed=0), 1)[0]
    assert not inputs["segment_ids"].any()
    assert set(labels) == set(weights) == {"masked_language_model"}


HEADS = {"masked_language_model", "teacher_vector"}
TEACHER = ShardSettings(sequence_length=8, next_sentence=False, teacher_dim=2)


def test_each_document_has_its_vector_of_a_teacher(tmp_path: Path) -> None:
    # The second document has 7 tokens, and 6 fit.
    documents = ["ba. be.", "ba be bo ba be bo.", "bo", "be ba bo bo ba."]
    source = tmp_path / "a.txt"
    source.write_text("\n\n".join(documents))
    vectors = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], "float32")
    write_shards([source], tmp_path / "s", TOKENIZER, TEACHER, vectors=[vectors])
    examples = ShardedExamples(tmp_path / "s", TOKENIZER.vocabulary)
    assert len(examples) == 3
    for rate, heads in ((0.0, {"teacher_vector"}), (0.2, HEADS)):
        ((inputs, labels, weights),) = batches(examples.evaluation(3, seed=0, masking_rate=rate), 1)
        assert set(labels) == set(weights) == heads
        assert ("masked_positions" in inputs) == (rate > 0)
        if not rate:
            texts = [
                TOKENIZER.decode(ids[ids != 0], skip_special_tokens=True)
                for ids in inputs["token_ids"]
            ]
            found = dict(zip(texts, labels["teacher_vector"].tolist(), strict=True))
            assert found == {"ba. be.": [1, 2], "bo": [5, 6], "be ba bo bo ba.": [7, 8]}


def test_what_a_teacher_cannot_be_asked(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("ba\n\n\u200b\n\nbe", encoding="utf-8")
    for vectors, message in (
        (None, "teacher_dim is 2, and there are no vectors of a teacher: give both"),
        (np.zeros((3, 2)), r"2 documents with tokens.* shape \(3, 2\): .* remove the 1 documents"),
    ):
        with pytest.raises(ValueError, match=message):
            write_shard(source, 0, tmp_path / "s", TOKENIZER, TEACHER, vectors)
    source.write_text("ba be bo ba be bo ba be")
    with pytest.raises(ValueError, match=r"No document of .* has 6 tokens or fewer: cut them"):
        write_shard(source, 0, tmp_path, TOKENIZER, TEACHER, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="set next_sentence to false"):
        ShardSettings(teacher_dim=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad.txt holds no text: remove it"),
        ("\n \n", r"bad.txt holds no text: remove it"),
        ("One sentence.", "bad.txt has 1 documents of at most 1 sentences: pairs need two"),
        ("Ba. Be.", "bad.txt has 1 documents of at most 2 sentences: pairs need two"),
        ("Ba.\n\nBe.", "bad.txt has 2 documents of at most 1 sentences: pairs need two"),
    ],
)
def test_too_little_text(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        write_shards([file], tmp_path / "shards", TOKENIZER, SETTINGS)
    assert list((tmp_path / "shards").iterdir()) == []


def test_no_index_until_all_shards_stand(texts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="empty.txt holds no text"):
        write_shards([texts[0], tmp_path / "empty.txt"], tmp_path / "s", TOKENIZER, SETTINGS)
    names = {path.name for path in (tmp_path / "s").iterdir()}
    assert names == {"examples-00000.tfrecord", "examples-00000.json"}


def test_what_is_cut_or_left_out_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # In a sequence of 16 tokens, a sentence has at most 7.
    documents = [f"{'ba ' * 8}\nbo\nbe bo", "\u200b", "ba", f"{'be ' * 7}\n{'bo ' * 15}"]
    source = tmp_path / "a.txt"
    source.write_text("\n\n".join(documents), encoding="utf-8")
    entry = write_shard(source, 0, tmp_path, TOKENIZER, ShardSettings(sequence_length=16))
    counts = {"documents": 3, "cut_sentences": 2, "empty_documents": 1, "only_second_parts": 1}
    assert {name: entry[name] for name in counts} == counts
    assert (
        "a.txt: 3 documents; 2 sentences of more than 7 tokens are cut into pieces, 1 documents "
        "without tokens left out, 1 of one sentence used as second parts only."
    ) in caplog.text


def test_bad_settings_and_sources(texts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sequence_length must be an integer of at least 5, got 4"):
        ShardSettings(sequence_length=4)
    with pytest.raises(ValueError, match="lines must be one of auto, sentences, wrapped; rec"):
        ShardSettings(lines="words")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="There are no files of text: name at least one"):
        write_shards([], tmp_path, TOKENIZER, SETTINGS)
    with pytest.raises(FileNotFoundError, match="There is no file .*gone.txt"):
        write_shards([*texts, tmp_path / "gone.txt"], tmp_path, TOKENIZER, SETTINGS)


def test_shards_of_another_recipe_are_not_mixed(
    texts: list[Path], folder: Path, tmp_path: Path
) -> None:
    write_shards(texts, tmp_path, TOKENIZER, SETTINGS)
    before = contents(tmp_path)
    other = ShardSettings(sequence_length=16)
    with pytest.raises(ValueError, match="examples-00000.tfrecord was made with another settings"):
        write_shards(texts, tmp_path, TOKENIZER, other)
    with pytest.raises(ValueError, match="made with another source, source_sha256: remove"):
        write_shard(texts[1], 0, tmp_path, TOKENIZER, SETTINGS)
    assert contents(tmp_path) == before


def test_another_vocabulary_is_refused(folder: Path) -> None:
    other = Vocabulary([*SPECIAL_TOKENS, *WORDS[::-1], "."])
    with pytest.raises(ValueError, match="made with another vocabulary than this one of 46 tokens"):
        ShardedExamples(folder, other)


def test_damaged_folders(texts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no index.json: it is not a folder of shards"):
        ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    index = write_shards(texts, tmp_path, TOKENIZER, SETTINGS)
    for changes in (
        {"settings": None},
        {"settings": {"unknown": 1}},
        {"shards": [{}]},
        {"shards": 3},
        {"shards": []},
        {"shards": [{**index["shards"][0], "examples": "3"}]},
        {"shards": [{**index["shards"][0], "examples": 10**9}]},
    ):
        (tmp_path / INDEX).write_text(json.dumps({**index, **changes}))
        with pytest.raises(ValueError, match=r"index.json is damaged \(.*make the shards again"):
            ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    for name in ("../other", "x" * 5000, "a\0b"):
        shard = {**index["shards"][0], "file": name}
        (tmp_path / INDEX).write_text(json.dumps({**index, "shards": [shard]}))
        with pytest.raises(FileNotFoundError, match=r"The shard .* is missing"):
            ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(ValueError, match="index.json is not JSON"):
        ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    (tmp_path / INDEX).write_text(json.dumps(index))
    file = tmp_path / "examples-00001.tfrecord"
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    # A record is framed by 16 bytes; cut within the eleventh.
    content = file.read_bytes()
    file.write_bytes(content[: sum(len(record) + 16 for record in records[:10]) + 20])
    total = index["shards"][1]["examples"]
    message = (
        rf"examples-00001.tfrecord has \d+ bytes of {len(content)}; its first 10 of {total} "
        "examples are good. Remove it"
    )
    with pytest.raises(ValueError, match=message):
        ShardedExamples(tmp_path, TOKENIZER.vocabulary)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="examples-00001.tfrecord is missing"):
        ShardedExamples(tmp_path, TOKENIZER.vocabulary)
