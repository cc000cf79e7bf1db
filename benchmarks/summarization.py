"""Synopses of Debian packages, written by a summarizer that starts from MiniLM, judged by ROUGE.

    python benchmarks/summarization.py

A Debian package has a long description, and a line in which its maintainer says the same in a few
words: real pairs, tens of thousands of them. On a Debian 12, apt-get fetches and verifies the lists
that the system's sources name, into a folder of their own. A description has the licence of its
package: they are read to measure with, and nothing of them is kept.

One binary package speaks for its source package, as all of those describe themselves in nearly the
same words. Of texts that open with the same words, and of equal synopses, one is kept, names and
numbers apart: the others are boilerplate. So the held-out pairs are of other source packages, in
other words.

ROUGE of the model, greedy and with four beams, stands beside what takes no training: the first
sentence, the most central one, the first words, and the first words behind "NAME is a". So many
words, as score best on the training pairs. The synopsis of the most similar training text tells how
far remembering goes.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from keras_bert_scratch import BeamSearch, BertSummarizer, adamw
from keras_bert_scratch.checkpoints.registry import CACHE
from keras_bert_scratch.evaluation.summarization import central_sentences, lead, rouge
from keras_bert_scratch.files import new_folder

# Hashes for the figures in the README; a point release of Debian changes them.
LISTS = {
    "binary-amd64_Packages": "515e692f2c4121c6fcec444ef100cc18f79a991910615f3a88c8b7becfc94d2f",
    "i18n_Translation-en": "62f59c3cdca9786e4f7adf9002f9f5729a684adcb4667e58e448dec9b5a46c7f",
}
HELD_OUT, VALIDATION = 1000, 500


class Pair(NamedTuple):
    """The long description and the synopsis of a package."""

    source: str
    text: str
    synopsis: str


def fetch_lists() -> list[str]:
    """Returns the lists of packages and of descriptions; tells which they are."""
    folder = CACHE / "debian-12"
    if not folder.exists():
        with new_folder(folder) as temporary:
            (temporary / "partial").mkdir()
            options = {
                "Dir::State::lists": temporary,
                "Dir::Cache": temporary,
                "Acquire::Languages": "en",
                "Acquire::GzipIndexes": "false",
            }
            settings = [f"--option={name}={value}" for name, value in options.items()]
            subprocess.run(["apt-get", "update", *settings], check=True, stdout=sys.stderr)
    contents = []
    for name, sha256 in LISTS.items():
        path = next(folder.glob(f"*_bookworm_main_{name}"))
        contents.append(path.read_text("utf-8"))
        found = hashlib.sha256(contents[-1].encode()).hexdigest()
        print(f"{path.name}: {found}" + ("" if found == sha256 else ", not that of the README"))
    return contents


def stanzas(content: str) -> Iterator[dict[str, str]]:
    """Yields the fields of the stanzas of a list (Debian Policy, 5.1)."""
    for stanza in content.split("\n\n"):
        if stanza.strip():
            yield dict(re.findall(r"^(\S+?): *(.*(?:\n .*)*)", stanza, re.MULTILINE))


def words_but(name: str, text: str) -> str:
    """Returns the words of a text in lower case, without numbers and the words of a name."""
    name_words = set(re.findall(r"[^\W\d_]+", name.lower()))
    return " ".join(w for w in re.findall(r"[^\W\d_]+", text.lower()) if w not in name_words)


def read_pairs(packages: str, translations: str) -> list[Pair]:
    """Returns one pair a source package, without boilerplate, in the order of their names."""
    descriptions = {
        (fields["Package"], fields["Description-md5"]): fields["Description-en"]
        for fields in stanzas(translations)
    }
    by_source: dict[str, list[tuple[str, str]]] = {}
    for fields in stanzas(packages):
        name = fields["Package"]
        description = descriptions.get((name, fields["Description-md5"]))
        if description:
            source = fields.get("Source", name).split()[0]  # a version may follow
            by_source.setdefault(source, []).append((name, description))
    pairs, openings, synopses = [], {""}, {""}
    for source, described in sorted(by_source.items()):
        # That of the shortest name is the thing itself, rather than its documentation.
        name, description = min(described, key=lambda pair: (len(pair[0]), pair))
        synopsis, _, rest = description.partition("\n")
        text = " ".join(re.sub(r"^ \.$", "", rest, flags=re.MULTILINE).split())
        opening = " ".join(words_but(name, text).split()[:12])
        essence = words_but(name, synopsis)
        if opening in openings or essence in synopses:
            continue
        openings.add(opening)
        synopses.add(essence)
        pairs.append(Pair(source, text, synopsis))
    return pairs


def split(pairs: list[Pair]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Returns the pairs to train on, to watch the training with, and held out."""
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = [pairs[i] for i in order]
    watched = HELD_OUT + VALIDATION
    return shuffled[watched:], shuffled[HELD_OUT:watched], shuffled[:HELD_OUT]


def first_words(texts: list[str], number: int) -> list[str]:
    """Takes the first words of each text."""
    return [" ".join(text.split()[:number]) for text in texts]


def what_it_is(texts: list[str], number: int) -> list[str]:
    """Takes the first words behind "NAME is a", "This package provides the" and the like."""
    opening = r"^(?:\S+ ){1,5}?(?:is|are|provides|contains) (?:an? |the )?"
    return first_words([re.sub(opening, "", text) for text in texts], number)


def columns(pairs: list[Pair]) -> tuple[list[str], list[str]]:
    """Returns texts and synopses."""
    return [pair.text for pair in pairs], [pair.synopsis for pair in pairs]


def remembered(texts: list[str], synopses: list[str], new_texts: list[str]) -> list[str]:
    """Returns for each new text the synopsis of the most similar text."""
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    known = vectorizer.fit_transform(texts)
    cosines = vectorizer.transform(new_texts) @ known.T
    return [synopses[i] for i in np.asarray(cosines.argmax(axis=1)).ravel()]


def clocks() -> tuple[float, float]:
    """Returns the seconds on the wall and of this process' processors."""
    return time.perf_counter(), time.process_time()


def best_number(take: Callable[[list[str], int], list[str]], pairs: list[Pair]) -> int:
    """Returns the number of words with which a baseline has the highest ROUGE-L."""
    texts, synopses = columns(pairs)
    return max(range(5, 16), key=lambda number: rouge(take(texts, number), synopses).rougeL)


def main() -> None:
    """Trains, summarizes the held-out texts, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=int, help="pairs to train on (default: all but those held out)"
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--sequence-length", type=int, default=48)
    parser.add_argument("--decoder-layers", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--layer-decay", type=float, default=0.3)
    parser.add_argument("--dtype", default="mixed_bfloat16", help="or float32")
    options = parser.parse_args()

    train, watched, held_out = split(read_pairs(*fetch_lists()))
    train = train[: options.pairs]
    print(f"{len(train)} pairs to train on, {len(held_out)} held out", flush=True)

    keras.utils.set_random_seed(0)
    model = BertSummarizer.from_pretrained(
        "minilm",
        sequence_length=options.sequence_length,
        summary_length=20,
        num_decoder_layers=options.decoder_layers,
        dtype=options.dtype,
    )
    model.encoder.embeddings.trainable = False  # a third of the weights; updating them takes time
    steps = options.epochs * -(-len(train) // 32)
    # The decoder has much to learn. At its rate, the encoder would forget what it knows.
    rates = {"warmup_ratio": 0.1, "layer_decay": options.layer_decay}
    model.compile(adamw(options.learning_rate, total_steps=steps, **rates))
    started = clocks()
    model.fit(
        *columns(train),
        batch_size=32,
        epochs=options.epochs,
        validation_data=columns(watched),
        verbose=2,
    )
    minutes = [(now - then) / 60 for now, then in zip(clocks(), started, strict=True)]
    print("{:.1f} minutes of training, {:.1f} of a processor".format(*minutes), flush=True)

    texts, synopses = columns(held_out)
    beams = model.summarize(texts, BeamSearch(4), no_repeat_ngram_size=2)
    summaries = {
        "model, greedy": model.summarize(texts),
        "model, 4 beams": beams,
        "lead-1 sentence": lead(texts, 1),
        "central sentence": central_sentences(texts, 1),
    }
    for name, take in {"first words": first_words, "words behind 'is a'": what_it_is}.items():
        number = best_number(take, train[:VALIDATION])
        summaries[f"{number} {name}"] = take(texts, number)
    summaries["most similar's"] = remembered(*columns(train), texts)
    for name, found in summaries.items():
        print(f"{name:<24}{rouge(found, synopses).to_text()}")
    for pair, summary in list(zip(held_out, beams, strict=True))[:8]:
        print(f"\n{pair.source}: {pair.text[:300]}\n  {pair.synopsis!r}\n  {summary!r}")


if __name__ == "__main__":
    main()
