"""Spans found and missed, worked out by hand, and against seqeval."""

import numpy as np
import pytest

from keras_bert_scratch.evaluation.tagging import TokenAccuracy, evaluate_tags


def test_by_hand():
    true = [["B-x", "I-x", "O", "B-y"], ["O", "B-x"]]
    predicted = [["B-x", "I-x", "O", "B-x"], ["B-x", "B-x"]]
    report = evaluate_tags(true, predicted)
    # 2 of 3 true spans are among the 4 found; 4 of 6 words are right.
    assert report.accuracy == pytest.approx(4 / 6)
    assert (report.precision, report.recall) == (2 / 4, 2 / 3)
    assert report.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert report.per_type == {
        "x": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 2},
        "y": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert report.to_dict()["per_type"]["x"]["support"] == 2
    last = report.to_text().splitlines()[-1].split()
    assert last == ["all", "0.5000", "0.6667", "0.5714", "3"]


def test_other_tags_are_compared_word_by_word():
    report = evaluate_tags([["NOUN", "DET"], ["DET"]], [["NOUN", "VERB"], ["DET"]])
    assert report.accuracy == report.f1 == pytest.approx(2 / 3)
    assert report.per_type["DET"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }


def test_o_is_no_entity_in_any_scheme():
    for true in (["x", "x"], ["B-x", "I-x"], ["B-x", "E-x"], ["I-x", "I-x"], ["B", "L"]):
        report = evaluate_tags([["O", *true]], [["O", "O", "O"]])
        assert (report.accuracy, report.f1) == (pytest.approx(1 / 3), 0.0)
        assert [figures["support"] for figures in report.per_type.values()] == [1]


def test_labels_say_what_the_tags_of_sentences_without_o_are():
    true, predicted = [["x", "x"], ["x"]], [["x", "y"], ["x"]]
    # Three words; or two entities, of which one is broken in two.
    assert evaluate_tags(true, predicted).recall == pytest.approx(2 / 3)
    report = evaluate_tags(true, predicted, labels=["O", "x", "y"])
    assert (report.precision, report.recall) == (pytest.approx(1 / 3), 1 / 2)


def test_refusals():
    with pytest.raises(ValueError, match="Sentence 0 has 1 words but 2 tags"):
        evaluate_tags([["O"]], [["O", "O"]])
    with pytest.raises(ValueError, match="There are no tags to compare"):
        evaluate_tags([[]], [[]])


def test_equal_to_seqeval_on_random_tags():
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    rng = np.random.default_rng(0)
    # Every tag may follow every other: broken BIO and BIOES are scored alike, too.
    bio = ["O", "B-x", "I-x", "B-y", "I-y", "B-a-b", "I-a-b"]
    bioes = [*bio, "E-x", "S-x", "E-y", "S-a-b"]
    for tags in [bio, bioes, ["O", "I-x", "E-x", "I-y"]] * 10:
        lengths = rng.integers(1, 12, size=20)
        true, predicted = (
            [[str(tag) for tag in rng.choice(tags, size=length)] for length in lengths]
            for _ in range(2)
        )
        report = evaluate_tags(true, predicted)
        assert report.accuracy == pytest.approx(seqeval.accuracy_score(true, predicted))
        theirs = seqeval.classification_report(true, predicted, output_dict=True)
        total = {"precision": report.precision, "recall": report.recall, "f1": report.f1}
        for label, figures in {**report.per_type, "micro avg": total}.items():
            assert figures["precision"] == pytest.approx(theirs[label]["precision"])
            assert figures["recall"] == pytest.approx(theirs[label]["recall"])
            assert figures["f1"] == pytest.approx(theirs[label]["f1-score"])
            assert figures.get("support", theirs[label]["support"]) == theirs[label]["support"]


def test_accuracy_of_tokens_with_a_label():
    metric = TokenAccuracy()
    logits = np.eye(3)[[[0, 1, 2], [2, 2, 2]]]
    metric.update_state(np.array([[0, -1, 1], [-1, -1, 2]]), logits)
    assert float(metric.result()) == pytest.approx(2 / 3)
