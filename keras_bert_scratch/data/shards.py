"""Examples for pretraining as files: written one shard at a time, read as batches.

A folder holds one TFRecord file for each file of text, a JSON file beside it that describes its
origin, and index.json, which is written last: a folder with an index is complete.

Axes: B batch, S sequence, P predictions.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.documents import Lines, check_lines, read_documents
from keras_bert_scratch.data.masking import TokenMasker
from keras_bert_scratch.data.readers import existing_file
from keras_bert_scratch.data.sentence_pairs import (
    Example,
    TokenizedDocuments,
    full_sentences,
    sentence_pairs,
    tokenize_documents,
    whole_documents,
)
from keras_bert_scratch.files import new_file, read_json
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

INDEX = "index.json"
# Number of files read together, and of examples shuffled together: both mix the shards.
_INTERLEAVED = 16
_SHUFFLED_TOGETHER = 1 << 16
# [CLS], [SEP], [SEP], and one token for each segment.
_SHORTEST = 5
# Longer than any sentence.
_NO_LIMIT = 1 << 31
# Number of examples masked by one call when shards are written with their masks.
_MASKED_TOGETHER = 1024


@dataclasses.dataclass(frozen=True)
class ShardSettings:
    """How text becomes examples.

    Args:
        sequence_length: S; shorter examples are padded when they are read.
        next_sentence: Whether examples are pairs for next-sentence prediction, or full sentences.
        repeats: Number of passes over the text, each with other cuts and pairs.
        seed: Seed of all random choices.
        static_masking: Share of the tokens to hide in the files; None hides tokens in training,
            others in each epoch.
        whole_words: See `TokenMasker`; used with `static_masking`.
        text_column: Column of the documents, in files with columns.
        lines: Meaning of line breaks within documents, see `read_documents`.
        teacher_dim: W, the size of a teacher's vectors, of which each document has one. Each
            document is then an example of its own; those that are too long are left out.

    Raises:
        ValueError: If a number is too small, `lines` is unknown, or a teacher's vectors are to be
            learned from pairs.
    """

    sequence_length: int = 128
    next_sentence: bool = True
    repeats: int = 1
    seed: int = 0
    static_masking: float | None = None
    whole_words: bool = True
    text_column: str = "text"
    lines: Lines = "auto"
    teacher_dim: int | None = None

    def __post_init__(self) -> None:
        if self.teacher_dim and self.next_sentence:
            raise ValueError(
                "a teacher's vector is of one document, an example for next_sentence of two: set "
                "next_sentence to false."
            )
        for name, least in (("sequence_length", _SHORTEST), ("repeats", 1), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
        check_lines(self.lines)


def write_shard(
    source: str | Path,
    shard: int,
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    settings: ShardSettings,
    vectors: np.ndarray | None = None,
) -> dict[str, Any]:
    """Writes the examples of one file of text, unless they are already there.

    Args:
        source: The file of text.
        shard: The number of the shard.
        folder: Folder of the shards.
        tokenizer: Tokenizer with the vocabulary of the model.
        settings: How text becomes examples.
        vectors: With `teacher_dim`, a teacher's vector of each document. *Shape:* (n, W).

    Returns:
        The shard's entry in the index.

    Raises:
        ValueError: If there is too little text for an example, the folder holds the shard of
            another text, vocabulary, settings or vectors, or a teacher's vector is of a document
            without tokens.
    """
    if (vectors is None) != (settings.teacher_dim is None):
        raise ValueError(
            f"teacher_dim is {settings.teacher_dim}, and there are "
            f"{'no' if vectors is None else 'some'} vectors of a teacher: give both, or none."
        )
    source, folder = Path(source), Path(folder)
    file = folder / f"examples-{shard:05d}.tfrecord"
    wanted = {
        "file": file.name,
        "source": source.name,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        **_recipe(tokenizer, settings),
    }
    if vectors is not None:
        wanted["vectors_sha256"] = hashlib.sha256(vectors.astype("float16").tobytes()).hexdigest()
    note = file.with_suffix(".json")
    if note.exists():
        entry = read_json(note)
        if differing := [name for name in wanted if entry.get(name) != wanted[name]]:
            raise ValueError(
                f"{file} was made with another {', '.join(differing)}: remove the folder {folder}, "
                "or name another."
            )
        return entry
    # A whole document is not cut.
    longest_sentence = settings.sequence_length // 2 - 1 if vectors is None else _NO_LIMIT
    documents = tokenize_documents(
        read_documents(source, settings.text_column, lines=settings.lines),
        tokenizer,
        longest_sentence,
    )
    _check_enough(documents, source, settings)
    counts = _counts(documents, settings)
    if vectors is not None:
        if vectors.shape != (len(documents), settings.teacher_dim):
            raise ValueError(
                f"{source} has {len(documents)} documents with tokens, and a teacher's vectors of "
                f"shape {vectors.shape}: give one of {settings.teacher_dim} numbers for each, and "
                f"remove the {counts['empty_documents']} documents without tokens."
            )
        logger.info(
            "%s: %d documents, of which those of more than %d tokens are left out.",
            *(source, len(documents), settings.sequence_length - 2),
        )
    else:
        logger.log(
            logging.WARNING
            if counts["cut_sentences"] or counts["empty_documents"]
            else logging.INFO,
            "%(source)s: %(documents)d documents; %(cut_sentences)d sentences of more than "
            "%(longest)d tokens are cut into pieces, %(empty_documents)d documents without tokens "
            "left out, %(only_second_parts)d of one sentence used as second parts only.",
            {"source": source, "longest": longest_sentence, **counts},
        )
    count = 0
    with new_file(file) as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for repeat in range(settings.repeats):
                for record in _records(
                    documents, shard, repeat, tokenizer.vocabulary, settings, vectors
                ):
                    writer.write(record)
                    count += 1
        if not count:
            raise ValueError(
                f"No document of {source} has {settings.sequence_length - 2} tokens or fewer: cut "
                "them into shorter ones, or make the sequences longer."
            )
        size = temporary.stat().st_size
    entry = {**wanted, **counts, "examples": count, "bytes": size}
    _write_json(note, entry)
    return entry


def write_shards(
    sources: Sequence[str | Path],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    settings: ShardSettings,
    *,
    num_processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
    vectors: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Turns files of text into a folder of shards; goes on where it stopped.

    Args:
        sources: Files of text, sorted by name; each becomes one shard.
        folder: Folder of the shards. Shards that are already there are kept.
        tokenizer: Tokenizer with the vocabulary of the model.
        settings: How text becomes examples.
        num_processes: Number of files that are processed in parallel.
        progress: Called with the number of finished shards, and the number of all shards.
        vectors: With `teacher_dim`, a teacher's vectors for each of `sorted_sources`.

    Returns:
        The index.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If there are no files, or `write_shard` refuses one.

    Example:
        >>> write_shards(["corpus.txt"], "shards", tokenizer, ShardSettings())["examples"]
        812
    """
    paths = sorted_sources(sources)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (path, shard, folder, tokenizer, settings, vectors[shard] if vectors else None)
        for shard, path in enumerate(paths)
    ]
    entries: list[dict[str, Any]] = []
    for entry in _in_processes(jobs, num_processes):
        entries.append(entry)
        if progress:
            progress(len(entries), len(jobs))
    return write_index(entries, folder, tokenizer, settings)


def sorted_sources(sources: Sequence[str | Path]) -> list[Path]:
    """Returns the files of text in the order of their shards: by name.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If there are none.
    """
    paths = sorted(map(existing_file, sources), key=lambda path: (path.name, str(path)))
    if not paths:
        raise ValueError("There are no files of text: name at least one.")
    return paths


def write_index(
    entries: Sequence[dict[str, Any]],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    settings: ShardSettings,
) -> dict[str, Any]:
    """Writes the index of a complete folder from what `write_shard` returned, and returns it."""
    shards = [
        {name: entry[name] for name in ("file", "source", "source_sha256", "examples", "bytes")}
        for entry in sorted(entries, key=lambda entry: entry["file"])
    ]
    index = {
        **_recipe(tokenizer, settings),
        "examples": sum(shard["examples"] for shard in shards),
        "shards": shards,
    }
    _write_json(Path(folder) / INDEX, index)
    return index


class ShardedExamples:
    """A checked folder of shards to train on.

    Args:
        folder: Folder written by `write_shards`.
        vocabulary: Vocabulary of the model.

    Raises:
        FileNotFoundError: If the folder has no index, or a shard is missing.
        ValueError: If the index is damaged, the shards were made with another vocabulary, or one is
            truncated.

    Example:
        >>> shards = ShardedExamples("shards", vocabulary)
        >>> inputs, labels, weights = next(iter(shards.training(batch_size=32, seed=0)))
    """

    def __init__(self, folder: str | Path, vocabulary: Vocabulary) -> None:
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.exists():
            raise FileNotFoundError(
                f"{self.folder} has no {INDEX}: it is not a folder of shards, or writing it was "
                "stopped; make the shards again, those that are complete are kept."
            )
        self.index: dict[str, Any] = read_json(index)
        self.vocabulary = vocabulary
        try:
            settings = ShardSettings(**self.index["settings"])
            if self.index["vocabulary_sha256"] != _vocabulary_hash(vocabulary):
                raise ValueError(
                    f"The shards in {folder} were made with another vocabulary than this one of "
                    f"{len(vocabulary)} tokens: use the original one, or make the shards again."
                )
            shards = self.index["shards"]
            # A shard is a file of this folder, whatever path the index gives it.
            self.files = [str(self.folder / Path(shard["file"]).name) for shard in shards]
            for file, shard in zip(self.files, shards, strict=True):
                _check_complete(Path(file), shard)
            self._length = operator.index(sum(shard["examples"] for shard in shards))
            if not 0 < self._length <= sum(shard["bytes"] for shard in shards):
                raise TypeError(f"{self._length} examples are not as many as its files can hold")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{index} is damaged ({error!r}): make the shards again.") from error
        self.sequence_length = settings.sequence_length
        self.next_sentence = settings.next_sentence
        self.teacher_dim = settings.teacher_dim

    def __len__(self) -> int:
        """Number of examples."""
        return self._length

    def training(
        self,
        batch_size: int,
        *,
        seed: int,
        start: int = 0,
        masking_rate: float = 0.15,
        whole_words: bool = True,
        replaced_tokens: bool = False,
    ) -> tf.data.Dataset:
        """Returns endless batches, in an order that is a pure function of (seed, epoch).

        The masks are a pure function of the batch, the seed and the batch's number.

        Args:
            batch_size: B.
            seed: Seed of the order and of the masks.
            start: Number of the first batch; those before it are skipped.
            masking_rate: Share of the tokens to hide, if the shards are not masked; with 0 nothing
                is hidden, and there are no labels of tokens.
            whole_words: See `TokenMasker`.
            replaced_tokens: Whether the true tokens are labels, too, for a generator's guesses.

        Returns:
            A dataset of `(inputs, labels, sample_weight)`: `inputs` holds `token_ids`,
            `segment_ids` and `padding_mask`, *shape:* (B, S), and `masked_positions`, *shape:*
            (B, P); the others hold `masked_language_model`, *shape:* (B, P), `next_sentence`,
            *shape:* (B,), and `teacher_vector`, *shape:* (B, W), as far as the shards have them,
            and `replaced_tokens`, *shape:* (B, S).
        """
        first_epoch, skipped = divmod(start * batch_size, len(self))
        records = (
            tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
            .flat_map(lambda epoch: self._epoch(seed, epoch))
            .skip(skipped)
        )
        batches = records.batch(batch_size, drop_remainder=True).enumerate(start)
        return self._examples(batches, seed, masking_rate, whole_words, replaced_tokens)

    def evaluation(
        self,
        batch_size: int,
        *,
        seed: int,
        masking_rate: float = 0.15,
        whole_words: bool = True,
        replaced_tokens: bool = False,
    ) -> tf.data.Dataset:
        """Returns every example once, always with the same masks; see `training`."""
        batches = tf.data.TFRecordDataset(self.files).batch(batch_size).enumerate()
        return self._examples(batches, seed, masking_rate, whole_words, replaced_tokens).apply(
            tf.data.experimental.assert_cardinality(-(-len(self) // batch_size))
        )

    def _epoch(self, seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
        """Returns all records: shards in random order, interleaved, and shuffled in blocks."""
        files = tf.gather(self.files, _permutation(len(self.files), [seed, epoch, 0]))
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset, cycle_length=_INTERLEAVED
        )
        blocks = records.batch(_SHUFFLED_TOGETHER).enumerate(1)
        return blocks.flat_map(
            lambda block, records: tf.data.Dataset.from_tensor_slices(
                tf.gather(records, _permutation(tf.size(records), [seed, epoch, block]))
            )
        )

    def _examples(
        self,
        batches: tf.data.Dataset,
        seed: int,
        masking_rate: float,
        whole_words: bool,
        replaced_tokens: bool,
    ) -> tf.data.Dataset:
        is_static = self.index["settings"]["static_masking"] is not None
        masker = None
        if masking_rate and not is_static:
            masker = TokenMasker(self.vocabulary, self.sequence_length, masking_rate, whole_words)
        features = {**_FEATURES, **(_TEACHER_FEATURES if self.teacher_dim else {})}

        def parse(number: tf.Tensor, records: tf.Tensor) -> tuple[dict[str, tf.Tensor], ...]:
            columns = tf.io.parse_example(records, features)
            shape = (None, self.sequence_length)
            ragged = tf.cast(columns["token_ids"], tf.int32)
            token_ids = ragged.to_tensor(self.vocabulary.pad_id, shape=shape)
            position = tf.range(self.sequence_length)[None, :]
            lengths = tf.cast(ragged.row_lengths(), tf.int32)[:, None]
            padding_mask = tf.cast(position < lengths, tf.int32)
            in_second = position >= tf.cast(columns["first_length"], tf.int32)[:, None]
            if is_static:
                slots = (None, self.index["max_predictions"])
                masked = {
                    "token_ids": token_ids,
                    **{
                        name: tf.cast(columns[name], tf.int32).to_tensor(0, shape=slots)
                        for name in ("masked_positions", "masked_ids")
                    },
                    "masked_weights": tf.sequence_mask(
                        columns["masked_ids"].row_lengths(), slots[1], tf.float32
                    ),
                }
            elif masker is not None:
                masked = masker(token_ids, _seed([seed, number, 0]))
            else:
                masked = {"token_ids": token_ids}
            inputs = {
                "token_ids": masked["token_ids"],
                "segment_ids": tf.cast(in_second, tf.int32) * padding_mask,
                "padding_mask": padding_mask,
            }
            labels, weights = {}, {}
            if "masked_ids" in masked:
                inputs["masked_positions"] = masked["masked_positions"]
                labels["masked_language_model"] = masked["masked_ids"]
                weights["masked_language_model"] = masked["masked_weights"]
            if replaced_tokens:
                labels["replaced_tokens"] = token_ids
                weights["replaced_tokens"] = tf.cast(padding_mask, tf.float32)
            if self.next_sentence:
                labels["next_sentence"] = tf.cast(columns["next_sentence_label"], tf.int32)
                weights["next_sentence"] = tf.ones_like(labels["next_sentence"], tf.float32)
            if self.teacher_dim:
                vectors = tf.io.decode_raw(columns["teacher_vector"], tf.float16)
                vectors = tf.reshape(tf.cast(vectors, tf.float32), (-1, self.teacher_dim))
                labels["teacher_vector"] = vectors
                weights["teacher_vector"] = tf.ones_like(vectors[:, 0])
            return inputs, labels, weights

        return batches.map(parse, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _vocabulary_hash(vocabulary: Vocabulary) -> str:
    return hashlib.sha256("\n".join(vocabulary.tokens).encode()).hexdigest()


_FEATURES = {
    "token_ids": tf.io.RaggedFeature(tf.int64),
    "first_length": tf.io.FixedLenFeature((), tf.int64),
    "next_sentence_label": tf.io.FixedLenFeature((), tf.int64),
    "masked_positions": tf.io.RaggedFeature(tf.int64),
    "masked_ids": tf.io.RaggedFeature(tf.int64),
}
# float16, as its bytes.
_TEACHER_FEATURES = {"teacher_vector": tf.io.FixedLenFeature((), tf.string)}


def _recipe(tokenizer: WordPieceTokenizer, settings: ShardSettings) -> dict[str, Any]:
    """Returns what all shards of a folder share."""
    recipe: dict[str, Any] = {
        "vocabulary_sha256": _vocabulary_hash(tokenizer.vocabulary),
        # Lower-casing and everything else that changes the ids of a text.
        "tokenizer_sha256": hashlib.sha256(
            json.dumps(tokenizer.get_config(), sort_keys=True).encode()
        ).hexdigest(),
        "settings": dataclasses.asdict(settings),
    }
    if settings.teacher_dim is None:
        # Shards of before there were teachers stay valid.
        del recipe["settings"]["teacher_dim"]
    if settings.static_masking is not None:
        recipe["max_predictions"] = _masker(tokenizer.vocabulary, settings).max_predictions
    return recipe


def _masker(vocabulary: Vocabulary, settings: ShardSettings) -> TokenMasker:
    assert settings.static_masking is not None
    return TokenMasker(
        vocabulary, settings.sequence_length, settings.static_masking, settings.whole_words
    )


def _counts(documents: TokenizedDocuments, settings: ShardSettings) -> dict[str, int]:
    """Returns counts of documents and sentences, for the log and the shard's entry."""
    is_single = np.diff(documents.document_starts) == 1
    return {
        "documents": len(documents),
        "cut_sentences": documents.num_cut,
        "empty_documents": documents.num_empty,
        "only_second_parts": int(is_single.sum()) if settings.next_sentence else 0,
    }


def _check_enough(documents: TokenizedDocuments, source: Path, settings: ShardSettings) -> None:
    sentences = np.diff(documents.document_starts)
    if not len(documents):
        raise ValueError(f"{source} holds no text: remove it, or check its encoding.")
    if settings.next_sentence and (len(documents) < 2 or sentences.max() < 2):
        raise ValueError(
            f"{source} has {len(documents)} documents of at most {sentences.max()} sentences: "
            "pairs need two documents, one of them of two sentences. Separate the documents by "
            "blank lines, join files, or set next_sentence to false."
        )


def _check_complete(file: Path, shard: dict[str, Any]) -> None:
    if not os.path.isfile(file):  # Path.is_file fails on names that are too long.
        raise FileNotFoundError(f"The shard {file} is missing: make the shards again.")
    size = file.stat().st_size
    if size == shard["bytes"]:
        return
    good = 0
    with contextlib.suppress(tf.errors.DataLossError):
        for _ in tf.data.TFRecordDataset(str(file)):
            good += 1
    raise ValueError(
        f"The shard {file} has {size} bytes of {shard['bytes']}; its first {good} of "
        f"{shard['examples']} examples are good. Remove it and its .json, and make the shards "
        "again."
    )


def _log_from(level: int) -> None:
    """Sets up the log of a spawned process."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("keras_bert_scratch").setLevel(level)


def _in_processes(jobs: Sequence[tuple[Any, ...]], num_processes: int) -> Iterator[dict[str, Any]]:
    if num_processes == 1 or len(jobs) == 1:
        yield from (write_shard(*job) for job in jobs)
        return
    # Spawned: a fork would copy the threads of TensorFlow, which then hang.
    with concurrent.futures.ProcessPoolExecutor(
        min(num_processes, len(jobs)),
        multiprocessing.get_context("spawn"),
        initializer=_log_from,
        initargs=(logger.getEffectiveLevel(),),
    ) as pool:
        futures = [pool.submit(write_shard, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _records(
    documents: TokenizedDocuments,
    shard: int,
    repeat: int,
    vocabulary: Vocabulary,
    settings: ShardSettings,
    vectors: np.ndarray | None,
) -> Iterator[bytes]:
    """Makes the examples of a shard and serializes them; a pure function of the arguments."""
    generator = np.random.default_rng((settings.seed, shard, repeat))
    shape = {
        "sequence_length": settings.sequence_length,
        "cls_id": vocabulary.cls_id,
        "sep_id": vocabulary.sep_id,
    }
    if vectors is not None:
        made = list(whole_documents(documents, vectors, **shape))
    else:
        make = sentence_pairs if settings.next_sentence else full_sentences
        made = list(make(documents, **shape, generator=generator))
    examples = [made[i] for i in generator.permutation(len(made))]
    if settings.static_masking is None:
        yield from (_serialize(example) for example in examples)
        return
    masker = _masker(vocabulary, settings)
    for start in range(0, len(examples), _MASKED_TOGETHER):
        together = examples[start : start + _MASKED_TOGETHER]
        padded = np.full((len(together), settings.sequence_length), vocabulary.pad_id, "int32")
        for row, example in zip(padded, together, strict=True):
            row[: len(example.token_ids)] = example.token_ids
        masked = masker(padded, _seed([settings.seed, shard, repeat, start]))
        columns = {name: tensor.numpy() for name, tensor in masked.items()}
        for number, example in enumerate(together):
            used = int(columns["masked_weights"][number].sum())
            yield _serialize(
                example._replace(token_ids=columns["token_ids"][number, : len(example.token_ids)]),
                masked_positions=columns["masked_positions"][number, :used],
                masked_ids=columns["masked_ids"][number, :used],
            )


def _serialize(example: Example, **masked: np.ndarray) -> bytes:
    columns = {
        "token_ids": example.token_ids,
        "first_length": [example.first_length],
        "next_sentence_label": [example.next_sentence_label],
        **masked,
    }
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in columns.items()
    }
    if example.teacher_vector is not None:
        content = example.teacher_vector.astype("float16").tobytes()
        features["teacher_vector"] = tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[content])
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True
    )


def _seed(numbers: Sequence[Any]) -> tf.Tensor:
    """Folds numbers into one seed for TensorFlow's stateless generators. *Shape:* (2,)."""
    seed = tf.constant([0, 0], tf.int64)
    for number in numbers:
        seed = tf.random.fold_in(seed, tf.cast(number, tf.int64), alg="philox")
    return seed


def _permutation(size: Any, numbers: Sequence[Any]) -> tf.Tensor:
    """Returns a permutation that is a pure function of the numbers. *Shape:* (size,)."""
    draws = tf.random.stateless_uniform([size], _seed(numbers), None, None, tf.int64, alg="philox")
    return tf.argsort(draws, stable=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
