import json
import re
import unicodedata

import numpy as np
import pytest

from keras_bert_scratch.evaluation import stress
from keras_bert_scratch.evaluation.plots import plot_stress
from keras_bert_scratch.evaluation.report import write_report
from keras_bert_scratch.evaluation.stress import PERTURBATIONS, stress_test

TEXT = "Überraschend good, a film to remember. It's THE best!"
LABELS = ["negative", "positive"]


# === What all have in common ===
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_pure_and_seeded(name):
    perturb = PERTURBATIONS[name]
    assert perturb(TEXT, 3) == perturb(TEXT, 3)
    assert perturb("", 0).strip() in {"", *stress._PROMPTS}


@pytest.mark.parametrize(
    "name", ["typos", "keyboard noise", "invisible characters", "prompt-like insertions"]
)
def test_other_seeds_change_otherwise(name):
    assert len({PERTURBATIONS[name](TEXT, seed) for seed in range(10)}) > 1


@pytest.mark.parametrize(
    "name", ["typos", "keyboard noise", "accents added", "invisible characters"]
)
def test_one_word_in_five_of_four_letters_is_changed(name):
    # Ten words of four letters or more: two are changed, and nothing else.
    text = "some good film, that 12345 will be seen (with joy) when they know!"
    before, after = text.split(), PERTURBATIONS[name](text, 1).split()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 2
    assert all(len(re.findall(r"\w", a)) >= 4 and not a[0].isdigit() for a, _ in changed)


# === By hand ===
def test_typos_keep_the_ends():
    # Only the two letters in the middle of "film" can be swapped, the first of them dropped or
    # doubled.
    found = {PERTURBATIONS["typos"]("a film", seed) for seed in range(30)}
    assert found == {"a flim", "a flm", "a fiilm"}


def test_keyboard():
    # Around each key, by a look at a QWERTY keyboard.
    around = {"q": "wa", "a": "sqwz", "s": "adwezx", "l": "kop", "m": "njk", "p": "ol"}
    assert {key: set(stress._NEIGHBOURS[key]) for key in around} == {
        key: set(letters) for key, letters in around.items()
    }
    found = {PERTURBATIONS["keyboard noise"]("QQQQ", seed) for seed in range(40)}
    assert found == {"WQQQ", "AQQQ", "QWQQ", "QAQQ", "QQWQ", "QQAQ", "QQQW", "QQQA"}
    assert PERTURBATIONS["keyboard noise"]("üüüü", 0) == "üüüü"


def test_case():
    assert PERTURBATIONS["lower case"]("A Film É", 0) == "a film é"
    assert PERTURBATIONS["upper case"]("A film é", 0) == "A FILM É"


def test_accents():
    assert (
        PERTURBATIONS["accents stripped"]("Élan, naïve café, 電影", 0) == "Elan, naive cafe, 電影"
    )
    assert PERTURBATIONS["accents added"]("film", 0) == "fílm"
    assert PERTURBATIONS["accents added"]("Élan", 0) == "Élán"
    assert PERTURBATIONS["accents added"]("rhythm", 0) == "rhythm"


def test_invisible_characters_have_no_width():
    found = {PERTURBATIONS["invisible characters"]("film", seed) for seed in range(100)}
    assert len(found) == 3 * 5  # places times characters
    for text in found:
        (hidden,) = set(text) - set("film")
        assert unicodedata.category(hidden) == "Cf"
        assert text.replace(hidden, "") == "film"


def test_prompts_stand_before_or_after():
    found = {PERTURBATIONS["prompt-like insertions"]("a film", seed) for seed in range(100)}
    assert found == {f"a film {prompt}" for prompt in stress._PROMPTS} | {
        f"{prompt} a film" for prompt in stress._PROMPTS
    }


# === The report ===
def shouts_are_bad(texts):
    """A model that calls what is written in capitals negative."""
    negative = np.array([0.9 if text.isupper() else 0.2 for text in texts])
    return np.stack([negative, 1 - negative], axis=1)


@pytest.fixture
def report():
    texts, ids = ["a film", "A WRECK", "fine", "good"], [1, 0, 1, 0]
    chosen = {name: PERTURBATIONS[name] for name in ("upper case", "lower case")}
    return stress_test(shouts_are_bad, texts, ids, LABELS, perturbations=chosen)


def test_figures(report):
    assert (report.num_texts, report.accuracy) == (4, 0.75)
    upper, lower = report.stresses["upper case"], report.stresses["lower case"]
    # In capitals all are negative, which two are; in small letters none is.
    assert (upper.accuracy, upper.changed, len(upper.flips)) == (0.5, 0.75, 3)
    assert (lower.accuracy, lower.changed, len(lower.flips)) == (0.5, 0.25, 1)
    assert lower.flips == [("A WRECK", "a wreck", "negative", "negative", "positive")]


def test_text(report):
    lines = report.to_text().splitlines()
    assert lines[:4] == [
        "             accuracy   change  texts changed  answers changed",
        "as they are    0.7500",
        "upper case     0.5000  -0.2500          75.0%            75.0%",
        "lower case     0.5000  -0.2500          25.0%            25.0%",
    ]
    assert "lower case: negative -> positive (negative): a wreck" in lines


def test_files(report, tmp_path):
    from keras_bert_scratch.evaluation.classification import evaluate_classification

    figures = evaluate_classification([0, 1], np.eye(2), LABELS)
    write_report(tmp_path, figures, details={"stress": report})
    found = json.loads((tmp_path / "stress.json").read_text())
    assert found["stresses"]["lower case"]["flips"][0]["perturbed"] == "a wreck"
    assert (tmp_path / "stress.txt").read_text() == report.to_text()
    assert (tmp_path / "stress.png").read_bytes().startswith(b"\x89PNG")


def test_picture(report):
    axes = plot_stress(report).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(report.stresses)


def test_several_labels_and_pairs():
    def probabilities(texts):
        return np.array([[0.9, 0.9 * a.isupper()] for a, _ in zip(*texts, strict=True)])

    found = stress_test(
        probabilities,
        (["a"], ["b"]),
        [[1, 0]],
        ["x", "y"],
        multi_label=True,
        perturbations={"upper case": PERTURBATIONS["upper case"]},
    )
    assert (found.accuracy, found.stresses["upper case"].accuracy) == (1.0, 0.0)
    (flip,) = found.stresses["upper case"].flips
    assert flip == ("a b", "A B", "x", "x", "x, y")


def test_labels_missing():
    with pytest.raises(ValueError, match="There are 1 labels for 2 texts: give one for each"):
        stress_test(shouts_are_bad, ["a", "b"], [1], LABELS)
