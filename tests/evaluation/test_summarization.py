import sys

import pytest

from keras_bert_scratch.evaluation.summarization import central_sentences, lead, rouge


@pytest.mark.parametrize(
    ("summary", "reference", "figures"),
    [
        # Words: 2 of 3 and 2 of 3. Pairs: "the cat" of 2 and 2. Longest: "the cat".
        ("the cat sat", "the cat ran", (2 / 3, 1 / 2, 2 / 3)),
        # Precision 2/2, recall 2/4: F = 2 · 1 · 0.5 / 1.5. No pair. Longest: "police killed".
        ("police killed", "police have now killed", (2 / 3, 0, 2 / 3)),
        # All words, other order: longest is one or two of four words ("the gunman").
        ("the gunman kill police", "police kill the gunman", (1, 1 / 3, 1 / 2)),
        ("Films!", "the film", (2 / 3, 0, 2 / 3)),  # stemmed, lower-cased, without punctuation
        ("", "the film", (0, 0, 0)),
        ("something else", "the film", (0, 0, 0)),
    ],
)
def test_by_hand(summary, reference, figures):
    report = rouge([summary], [reference])
    assert report[:3] == pytest.approx(figures)


def test_means_and_text():
    report = rouge(["the cat sat", ""], ["the cat ran", "a dog"])
    assert report[:3] == pytest.approx((1 / 3, 1 / 4, 1 / 3))
    assert report.to_text() == "ROUGE-1 33.3%  ROUGE-2 25.0%  ROUGE-L 33.3%  (2 summaries)"


def test_refused():
    with pytest.raises(ValueError, match="2 summaries but 1 references: the one at position 1"):
        rouge(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no word of Latin .* at position 1, '电影'"):
        rouge(["a", "b"], ["a", "电影"])


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(ImportError, match='pip install .*the extra "summarization"'):
        rouge(["a"], ["a"])


def test_lead():
    assert lead(["One. Two! Three? Four.", "Only one", ""], 2) == ["One. Two!", "Only one", ""]


def test_central_sentences():
    texts = [
        "It rained. The cat chased the mouse. Then the mouse chased the cat. Good night.",
        "It rained. Good night.",
        "",
        "!",
    ]
    found = central_sentences(texts, 2)
    assert found[0] == "The cat chased the mouse. Then the mouse chased the cat."
    assert found[1] == "It rained. Good night."
    assert found[2:] == ["", "!"]
    assert central_sentences(texts, 1)[0] in texts[0]
