"""Time and memory of an untrusted tokenizer for an untrusted text, by its length.

    python benchmarks/hostile_tokenizers.py

Settings are the worst that are not refused: the longest `max_word_length`, tokens of many lengths,
and steps that make texts as much longer as they may. Both should grow with the text, not faster.
Times are the processor's, in milliseconds; memory is the growth of the process.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_bert_scratch import Vocabulary, WordPieceTokenizer, tokenizer_graph
from keras_bert_scratch.text.preprocessing import ReplaceNumbers, ReplaceUsers, StripHtml
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS

LENGTHS = (1_000, 10_000, 100_000)
LONGEST = 10_000
# A word of one letter after the other, and prefixes of it, of 50 lengths.
RUNS = ["a" * n for n in range(1, 50)]
TOKENS = [*SPECIAL_TOKENS, *"1xy", *RUNS, *(f"##{run}" for run in (*RUNS, "b", "1", "x", "y"))]
STEPS = (StripHtml(), ReplaceUsers("x" * 20), ReplaceNumbers("y" * 20))
CASES: dict[str, tuple[dict, Callable[[int], str]]] = {
    "one word, too long": ({}, lambda n: "a" * n),
    "words, all tokens of one letter": (
        {"max_word_length": LONGEST},
        lambda n: " ".join(["ab" * (min(n, LONGEST) // 2)] * max(1, n // LONGEST)),
    ),
    "words without a token at their end": (
        {"max_word_length": LONGEST},
        lambda n: " ".join(["a" * (min(n, LONGEST) - 1) + "c"] * max(1, n // LONGEST)),
    ),
    "steps, 11 times as long": ({"preprocessing": STEPS}, lambda n: "1a" * (n // 2)),
}


def measure(case: str, engine: str) -> None:
    """Prints a line: the time and the memory for each length."""
    settings, make = CASES[case]
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS), **settings)

    def run(text: str) -> None:
        if engine == "python":
            tokenizer.encode(text)
        else:
            tokenizer_graph(tokenizer, engine)([text], sequence_length=512)  # type: ignore[arg-type]

    run("a film")
    columns = []
    for length in LENGTHS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        run(make(length))
        milliseconds = 1000 * (time.process_time() - started)
        megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        columns.append(f"{milliseconds:10.1f} ms {megabytes:6.1f} MB")
    print(f"{case:36}{engine:8}{''.join(columns)}", flush=True)


def main() -> None:
    """Runs every case in a process of its own, whose memory is not that of another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("engine", nargs="?", choices=("python", "fast", "core"))
    options = parser.parse_args()
    if options.case:
        measure(options.case, options.engine)
        return
    print(f"{'letters':44}" + "".join(f"{length:<24,}" for length in LENGTHS))
    for case in CASES:
        for engine in ("python", "fast", "core"):
            subprocess.run([sys.executable, __file__, case, engine], check=True)


if __name__ == "__main__":
    main()
