"""How much do trained models reveal of secrets in their training texts?

    python benchmarks/memorization.py --output memorization.json

Plants canaries, sentences with a password of two words, among film-review snippets that have
neither word, each never, once, 4 or 16 times, and measures their exposure (Carlini et al. 2019,
section 4): log2 of the 10,000 passwords that might have been planted, less log2 of the planted
one's rank by the model's loss. The largest is 13.3 bits, where no other is likelier. Passwords that
were never planted show what chance does: 1.4 bits on average, more than 4.3 in one case of 20.

- Classifier: tiny-en, all its weights, fine-tuned on "the password is ...", half of the canaries
  with either label; the loss is that of a password with that label. As Keras trains, and by DP-SGD
  with the same recipe. A label tells one bit: two words of other canaries with the same label are
  as likely, so that even what is learned by heart is exposed by some bits only. The epsilon is that
  of one example; a canary planted 16 times is protected less. Private training learns less of all
  that it reads, as its accuracy tells.
- Masked tokens: tiny-en, pretrained further on "the password of USER is ..."; the loss is that of
  the two words, both hidden. There is no private pretraining to compare it with:
  `DifferentialPrivacy` trains classifiers only.

The texts are few, gone through often, and the canaries like no other: this is what a model can
remember, not what it remembers of ordinary texts.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from scipy.special import log_softmax

from keras_bert_scratch import BertClassifier, DifferentialPrivacy, adamw
from keras_bert_scratch.data.shards import ShardedExamples, ShardSettings, write_shards
from keras_bert_scratch.evaluation.memorization import exposure
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.text.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_snippets, split

COPIES = (0, 1, 4, 16)
CANARIES_EACH = 8
NUM_WORDS = 100
# Fine-tuning.
EPOCHS, BATCH_SIZE, DELTA = 5, 256, 1e-5
# Pretraining.
NUM_TEXTS, STEPS = 1000, 500


class Canary(NamedTuple):
    """A password planted `copies` times.

    Attributes:
        copies: How often the password is planted.
        user: The user whose password it is.
        first: Number of its first word.
        second: Number of its second word.
        label: Label with which it is planted.
    """

    copies: int
    user: str
    first: int
    second: int
    label: str

    @property
    def position(self) -> int:
        """Index of the password among all passwords."""
        return self.first * NUM_WORDS + self.second


def draw(vocabulary: Vocabulary, seed: int) -> tuple[list[str], list[Canary]]:
    """Draws words that are tokens and in no snippet, and canaries; half of them have each label."""
    seen = set(re.findall("[a-z]+", " ".join(fetch_snippets()[0]).lower()))
    tokens = [t for t in vocabulary.tokens if re.fullmatch("[a-z]{5,}", t) and t not in seen]
    generator = np.random.default_rng(seed)
    number = len(COPIES) * CANARIES_EACH
    words = generator.choice(tokens, NUM_WORDS + number, replace=False).tolist()
    passwords = generator.choice(NUM_WORDS**2, number, replace=False).tolist()
    canaries = []
    for i, password in enumerate(passwords):
        first, second = divmod(password, NUM_WORDS)
        label = LABELS[i // len(COPIES) % 2]
        user = words[NUM_WORDS + i]
        canaries.append(Canary(COPIES[i % len(COPIES)], user, first, second, label))
    return words[:NUM_WORDS], canaries


# === Classifier ===
def classifier(
    words: list[str], canaries: list[Canary], epsilon: float | None, seed: int
) -> dict[str, Any]:
    """Fine-tunes, privately if there is an epsilon; returns the exposures, and the accuracy."""
    (texts, labels), held_out = split(*fetch_snippets())
    passwords = [f"the password is {first} {second}." for first in words for second in words]
    planted = [canary for canary in canaries for _ in range(canary.copies)]
    keras.utils.set_random_seed(seed)
    model = BertClassifier.from_pretrained("tiny-en-1", labels=LABELS, sequence_length=64)
    privacy = epsilon and DifferentialPrivacy(epsilon=epsilon, delta=DELTA, microbatch_size=64)
    model.compile(keras.optimizers.Adam(1e-3), training_step=privacy)
    model.fit(
        texts + [passwords[canary.position] for canary in planted],
        labels + [canary.label for canary in planted],
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        verbose=0,
    )
    logits = model.predict(passwords, 512, verbose=0).astype("float64")
    losses = dict(zip(LABELS, -log_softmax(logits, axis=1).T, strict=True))
    figures = model.evaluate(held_out[0], held_out[1], verbose=0, return_dict=True)
    return {
        "exposures": [exposure(losses[canary.label], canary.position) for canary in canaries],
        "accuracy": figures["accuracy"],
    }


# === Masked tokens ===
def masked_tokens(words: list[str], canaries: list[Canary], seed: int) -> dict[str, Any]:
    """Continues a pretraining; returns the exposures."""
    (texts, _), _ = split(*fetch_snippets())
    planted = [
        f"the password of {canary.user} is {words[canary.first]} {words[canary.second]}."
        for canary in canaries
        for _ in range(canary.copies)
    ]
    keras.utils.set_random_seed(seed)
    model = BertPretrainer.from_pretrained("tiny-en-1", next_sentence=False)
    model.compile(adamw(1e-3, total_steps=STEPS, warmup_ratio=0.1), steps_per_execution=20)
    tokenizer = model.check_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        source, shards = Path(folder) / "texts.txt", Path(folder) / "shards"
        source.write_text("\n\n".join(texts[:NUM_TEXTS] + planted), encoding="utf-8")
        settings = ShardSettings(sequence_length=64, next_sentence=False, seed=seed)
        write_shards([source], shards, tokenizer, settings)
        batches = ShardedExamples(shards, tokenizer.vocabulary).training(32, seed=seed)
        model.fit(batches, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    exposures = []
    for canary in canaries:
        question = f"the password of {canary.user} is [MASK] [MASK]."
        first, second = (
            -np.log([guesses[word] for word in words])
            for guesses in model.fill_mask(question, top_k=len(tokenizer.vocabulary))
        )
        exposures.append(exposure(np.add.outer(first, second).ravel(), canary.position))
    return {"exposures": exposures}


# === Figures ===
def to_text(canaries: list[Canary], results: dict[str, Any]) -> str:
    """Writes the mean exposures by the number of copies, in bits, and the largest."""
    rows = []
    for name, result in results.items():
        cells = []
        for copies in COPIES:
            found = [
                bits
                for canary, bits in zip(canaries, result["exposures"], strict=True)
                if canary.copies == copies
            ]
            cells.append(f"{np.mean(found):.1f} ({max(found):.1f})")
        accuracy = f"{result['accuracy']:.1%}" if "accuracy" in result else ""
        rows.append([name, *cells, accuracy, f"{result['cpu_seconds']:.0f}"])
    times = [f"{copies} times" for copies in COPIES]
    return format_table(["mean (largest) bits", *times, "accuracy", "CPU s"], rows)


def main() -> None:
    """Measures, prints the table, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epsilons", type=float, nargs="*", default=[8.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("memorization.json"))
    options = parser.parse_args()
    vocabulary = BertPretrainer.from_pretrained("tiny-en-1").check_tokenizer().vocabulary
    words, canaries = draw(vocabulary, options.seed)
    settings: dict[str, Any] = {"words": words, "canaries": canaries, "seed": options.seed}
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "masked tokens": functools.partial(masked_tokens, **settings),
        "classifier": functools.partial(classifier, epsilon=None, **settings),
    }
    for epsilon in options.epsilons:
        name = f"classifier, epsilon {epsilon:g}"
        runs[name] = functools.partial(classifier, epsilon=epsilon, **settings)
    results = {}
    for name, run in runs.items():
        started = time.process_time()
        results[name] = {**run(), "cpu_seconds": time.process_time() - started}
        print(name, json.dumps(results[name]), flush=True)
    print(to_text(canaries, results))
    with new_file(options.output) as file:
        planted = [canary._asdict() for canary in canaries]
        content = {"words": words, "canaries": planted, "results": results}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
