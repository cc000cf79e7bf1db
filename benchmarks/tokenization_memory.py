"""Peak memory of tokenizing a large file through `tf.data`, and of training a vocabulary from it.

    python benchmarks/tokenization_memory.py --megabytes 100 300

Each figure is the largest resident set of a separate process (on Linux).
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def tokenize(path: Path, vocabulary_path: Path, engine: str) -> None:
    """Tokenizes the lines of a file."""
    import tensorflow as tf

    from keras_bert_scratch import Vocabulary, WordPieceTokenizer, tokenizer_graph

    tokenizer = WordPieceTokenizer(Vocabulary.from_file(vocabulary_path))
    graph = tokenizer_graph(tokenizer, engine)  # type: ignore[arg-type]
    dataset = tf.data.TextLineDataset(str(path)).batch(512)
    dataset = dataset.map(lambda texts: graph(texts, sequence_length=512), tf.data.AUTOTUNE)
    for _ in dataset.prefetch(tf.data.AUTOTUNE):
        pass


def train(path: Path) -> None:
    """Trains a vocabulary from a file."""
    from keras_bert_scratch.text.vocabulary import train_vocabulary

    train_vocabulary([path], 30_000)


def write_corpus(path: Path, megabytes: int) -> None:
    """Writes the news repeatedly, with new words in between, as in a larger corpus."""
    from tokenization import english

    lines, _ = english()
    with path.open("w", encoding="utf-8") as file:
        for number, line in enumerate(itertools.cycle(lines)):
            if file.tell() >= megabytes * 1e6:
                return
            # One new word in ten lines: about 300,000 in a gigabyte.
            file.write(f"{line} {f'new{number:x}' if number % 10 == 0 else ''}\n")


def peak_mebibytes() -> float:
    """Returns the largest resident set of this process; getrusage would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--process", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        work, corpus, vocabulary = options.process
        started = time.perf_counter()
        if work == "train":
            train(Path(corpus))
        else:
            tokenize(Path(corpus), Path(vocabulary), work)
        seconds = time.perf_counter() - started
        size = Path(corpus).stat().st_size / 1e6
        print(f"{work:>6} {size:8.0f} MB {peak_mebibytes():8.0f} MiB {seconds:8.1f} s", flush=True)
        return
    from tokenization import english

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        english()[1].to_file(vocabulary)
        for megabytes, work in itertools.product(options.megabytes, ("fast", "core", "train")):
            corpus = Path(folder) / f"{megabytes}.txt"
            if not corpus.exists():
                write_corpus(corpus, megabytes)
            command = [sys.executable, __file__, "--process", work, str(corpus), str(vocabulary)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
