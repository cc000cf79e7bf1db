import re

import numpy as np
import pytest

from keras_bert_scratch.evaluation.label_noise import find_label_suspects


def test_by_hand():
    # Mean probability of the own class: no (0.9 + 0.6 + 0.3) / 3 = 0.6, yes (0.8 + 0.3) / 2 = 0.55.
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.7, 0.3]]
    found = find_label_suspects([0, 0, 0, 1, 1], probabilities, ["no", "yes"], list("abcde"))
    # c reaches the threshold of yes, e that of no; both fall short of their own.
    assert [(s.position, s.given, s.likelier, s.text) for s in found.suspects] == [
        (2, "no", "yes", "c"),
        (4, "yes", "no", "e"),
    ]
    assert [s.probability for s in found.suspects] == [0.3, 0.3]


def test_a_wrong_answer_below_the_threshold_is_not_suspect():
    # Thresholds 0.95 and 0.7: the last example is answered wrongly, but not with confidence.
    probabilities = [[0.95, 0.05], [0.05, 0.95], [0.55, 0.45]]
    found = find_label_suspects([0, 1, 1], probabilities, ["no", "yes"], list("abc"))
    assert found.suspects == []


def test_classes_without_examples():
    found = find_label_suspects([0, 0], [[0.4, 0.6], [0.6, 0.4]], ["no", "yes"], list("ab"))
    assert found.suspects == []


def test_planted_noise_is_found():
    # A model that is right about 90 % of the classes, and labels of which a twentieth are flipped.
    generator = np.random.default_rng(0)
    classes = generator.integers(2, size=1000)
    sure = np.clip(generator.normal(0.85, 0.2, 1000), 0, 1)
    positive = np.where(classes == 1, sure, 1 - sure)
    labels = np.where(np.arange(1000) < 50, 1 - classes, classes)
    found = find_label_suspects(
        labels, np.stack([1 - positive, positive], 1), ["no", "yes"], [""] * 1000
    )
    positions = {suspect.position for suspect in found.suspects}
    planted = len(positions & set(range(50)))
    # By chance a twentieth of what is named would be.
    assert planted > 25
    assert planted / len(positions) > 0.4


def test_text_and_json():
    found = find_label_suspects(
        [0, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.95, 0.05]], ["no", "yes"], ["a", "b", "a  film"]
    )
    assert found.to_text().splitlines() == [
        "1 of 3 labels are suspect",
        "text    given  likelier  probability of given",
        "a film    yes        no                0.0500",
    ]
    (suspect,) = found.to_dict()["suspects"]
    assert suspect["position"] == 2


def test_shapes():
    message = "received 2 labels, 1 texts and probabilities of shape (2, 2) for 2 classes."
    with pytest.raises(ValueError, match=re.escape(message)):
        find_label_suspects([0, 1], np.eye(2), ["no", "yes"], ["a"])
