"""How good summaries are: ROUGE, and two baselines that take sentences from the text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.extras import installation
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.preprocessing import nltk_sentences


class RougeReport(NamedTuple):
    """Mean F-measures over n summaries (Lin 2004, "ROUGE").

    Attributes:
        rouge1: F-measure of the common words.
        rouge2: F-measure of the common pairs of words.
        rougeL: F-measure of the longest common subsequence.
        num_summaries: n.
    """

    rouge1: float
    rouge2: float
    rougeL: float  # noqa: N815 - its name everywhere
    num_summaries: int

    def to_text(self) -> str:
        """Returns one line, in percent."""
        return (
            f"ROUGE-1 {self.rouge1:.1%}  ROUGE-2 {self.rouge2:.1%}  ROUGE-L {self.rougeL:.1%}  "
            f"({self.num_summaries} summaries)"
        )


def rouge(summaries: Sequence[str], references: Sequence[str]) -> RougeReport:
    """Compares summaries with those that people wrote, using the package rouge-score.

    Its tokenizer finds words of Latin letters and digits, which are stemmed.

    Args:
        summaries: n summaries, which may be empty.
        references: n summaries to compare with.

    Raises:
        ImportError: If rouge-score is not installed.
        ValueError: If there is not one reference for each summary, or one without words.

    Example:
        >>> rouge(["the cat sat"], ["the cat ran"])  # two of three words, one of two pairs
        RougeReport(rouge1=0.667, rouge2=0.5, rougeL=0.667, num_summaries=1)
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ImportError(
            "ROUGE is computed by rouge-score, which is not installed: "
            f"{installation('summarization')}."
        ) from error
    if len(summaries) != len(references):
        raise ValueError(
            f"There are {len(summaries)} summaries but {len(references)} references: the one at "
            f"position {min(len(summaries), len(references))} stands alone."
        )
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores: list[Any] = []
    for position, (summary, reference) in enumerate(zip(summaries, references, strict=True)):
        # Compared with itself, only a text without words has an F-measure of 0.
        if not scorer.score(reference, reference)["rouge1"].fmeasure:
            raise ValueError(
                f"ROUGE finds no word of Latin letters or digits in the reference at position "
                f"{position}, {reference!r}: remove it, or judge such summaries otherwise."
            )
        scores.append(scorer.score(reference, summary))

    def mean(name: str) -> float:
        return float(np.mean([score[name].fmeasure for score in scores]))

    return RougeReport(mean("rouge1"), mean("rouge2"), mean("rougeL"), len(scores))


def lead(texts: Sequence[str], num_sentences: int = 3) -> list[str]:
    """Takes the first sentences of each text: "lead-k", hard to beat on news.

    Args:
        texts: Strings.
        num_sentences: k.

    Example:
        >>> lead(["One. Two. Three."], num_sentences=2)
        ['One. Two.']
    """
    texts, _ = text_columns(texts)
    return [" ".join(nltk_sentences(text)[:num_sentences]) for text in texts]


def central_sentences(texts: Sequence[str], num_sentences: int = 3) -> list[str]:
    """Takes the sentences of each text that are most like all of it, in their order.

    Sentences and the whole text are TF-IDF vectors with the document frequencies of `texts`; the
    highest cosines win (Radev et al. 2004, "Centroid-based summarization", section 3).

    Args:
        texts: Several strings: words that all have in common count little.
        num_sentences: Number of sentences in each summary.

    Example:
        >>> central_sentences(["Hi. Cats eat mice and cats sleep. Bye.", "Hi. Bye."], 1)[0]
        'Cats eat mice and cats sleep.'
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, _ = text_columns(texts)
    # Every run of letters or digits is a word: the default pattern skips those of one letter, and
    # fails if there are no others.
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|\S")
    documents = vectorizer.fit_transform(texts)
    summaries = []
    for document, text in zip(documents, texts, strict=True):
        sentences = nltk_sentences(text)
        if not sentences:
            summaries.append("")
            continue
        # The rows have length 1: products are cosines.
        cosines = (vectorizer.transform(sentences) @ document.T).toarray()[:, 0]
        best = np.sort(np.argsort(-cosines, kind="stable")[:num_sentences])
        summaries.append(" ".join(sentences[i] for i in best))
    return summaries
