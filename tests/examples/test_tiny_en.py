"""tiny-en's corpus: what it takes from texts, and what it leaves out."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/tiny_en"))
from corpus import LENGTHS, passages, texts_of, without_shared


def test_texts_of_the_evaluation_sets_are_left_out() -> None:
    evaluated = ["A film like this one comes along only once in ten years.", "Dull."]
    shared = "critics said: a FILM, like this one comes along -- only too rarely"
    # Seven of the words in a row, and the text that is too short to be told from others.
    kept = ["a film like this one comes along too rarely", "Dull.", "Something else."]
    assert without_shared([shared, *kept], evaluated) == kept
    assert without_shared(["One two.", "one, two", "three"], []) == ["One two.", "three"]


def test_documents_become_texts_of_whole_sentences() -> None:
    sentences = [f"Word {'and word ' * (n % 7)}ends here." for n in range(60)]
    texts = list(texts_of([" ".join(sentences)], np.random.default_rng(0)))
    assert all(text.startswith("Word") for text in texts)
    assert all(text in " ".join(sentences) for text in texts)
    # Only what would be too long ends within a sentence.
    assert all(t.endswith("ends here.") for t in texts if len(t.split()) < max(LENGTHS))
    assert len({len(text.split()) for text in texts}) > 5
    (long,) = texts_of(["word " * 500], np.random.default_rng(0))
    assert len(long.split()) == max(LENGTHS)


def test_passages_have_the_name_of_their_field() -> None:
    fields = {"People": {"Languages": {"text": "French <b>(official)</b>"}}}
    assert list(passages(fields)) == ["Languages: French (official)"]
