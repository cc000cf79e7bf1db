import re

import pytest

from keras_bert_scratch.evaluation.slices import evaluate_slices, length_groups

SCORES = [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_each_group_on_its_own():
    slices = evaluate_slices(["web", "mail", "web", "mail"], [0, 1, 1, 1], SCORES, ["no", "yes"])
    assert list(slices.reports) == ["mail", "web"]
    mail, web = slices.reports.values()
    assert (web.num_examples, web.accuracy, mail.accuracy) == (2, 0.5, 1.0)
    assert slices.to_dict()["web"]["accuracy"] == 0.5
    header, second, first = slices.to_text().splitlines()
    assert header.split() == "examples accuracy 95 % interval macro F1".split()
    # All of web's answers are "no", one of them right: F1 is 2/3 and 0.
    assert first.split() == ["web", "2", "0.5000", "0.0000", "to", "1.0000", "0.3333"]
    assert second.split()[:3] == ["mail", "2", "1.0000"]


def test_numbers_stand_in_their_order():
    slices = evaluate_slices(["10 to 12", "9", "1 to 9", "x"], [0, 1, 1, 1], SCORES, ["no", "yes"])
    assert list(slices.reports) == ["1 to 9", "9", "10 to 12", "x"]


def test_several_labels():
    slices = evaluate_slices(
        ["a", "b"], [[1, 0], [1, 1]], [[0.9, 0.1], [0.9, 0.1]], ["x", "y"], multi_label=True
    )
    assert [report.accuracy for report in slices.reports.values()] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (["a"], ValueError, "There are 1 groups for 4 scores and 4 labels: give one of each"),
        ([["a"]] * 4, TypeError, "Groups are strings, received ['a']: choose a column of single"),
    ],
)
def test_refusals(groups, error, message):
    with pytest.raises(error, match=re.escape(message)):
        evaluate_slices(groups, [0, 1, 1, 1], SCORES, ["no", "yes"])


# === By length ===
def test_quarters():
    texts = [" ".join(["w"] * length) for length in (8, 1, 7, 2, 6, 3, 5, 4)]
    assert length_groups(texts) == [
        "7 to 8 words", "1 to 2 words", "7 to 8 words", "1 to 2 words",
        "5 to 6 words", "3 to 4 words", "5 to 6 words", "3 to 4 words",
    ]  # fmt: skip


def test_equal_lengths_are_one_group():
    assert length_groups(["a b", "c d", "e f"]) == ["2 words"] * 3


def test_many_texts_of_a_length_make_fewer_groups():
    assert length_groups(["a"] * 9 + ["b c d"]) == ["1 words"] * 9 + ["3 words"]


def test_pairs_count_both_texts():
    assert length_groups((["a b"], ["c"])) == ["3 words"]
