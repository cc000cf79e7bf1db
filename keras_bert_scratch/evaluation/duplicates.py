"""Texts that stand in a set twice, or in two sets that should share none."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.tables import format_table, shortened
from keras_bert_scratch.text.columns import joined_columns

# Number of pairs that a report shows, and length of their texts.
_PAIRS_SHOWN, _CHARACTERS_SHOWN = 5, 50


class Duplicate(NamedTuple):
    """A text, and the text most like it.

    Attributes:
        position: Position of the text.
        other_position: Position of the other.
        similarity: Cosine of the two, 1 if they differ in case and white space only.
        text: The text.
        other_text: The other.
    """

    position: int
    other_position: int
    similarity: float
    text: str
    other_text: str


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found.

    Attributes:
        num_texts: Number of texts that were compared.
        threshold: Least similarity of a pair.
        pairs: The pairs, the most similar first.
    """

    num_texts: int
    threshold: float
    pairs: list[Duplicate]

    @property
    def num_exact(self) -> int:
        """How many of the pairs differ in case and white space only."""
        return sum(pair.similarity == 1 for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        return {
            **dataclasses.asdict(self),
            "num_exact": self.num_exact,
            "pairs": [pair._asdict() for pair in self.pairs],
        }

    def to_text(self) -> str:
        """Returns how many there are, and the first of them."""
        near = len(self.pairs) - self.num_exact
        text = (
            f"{self.num_exact} exact and {near} near duplicates (similarity {self.threshold} or "
            f"more) of {self.num_texts} texts\n"
        )
        if self.pairs:
            rows = [
                [
                    shortened(pair.text, _CHARACTERS_SHOWN),
                    f"{pair.similarity:.2f}",
                    shortened(pair.other_text, _CHARACTERS_SHOWN),
                ]
                for pair in self.pairs[:_PAIRS_SHOWN]
            ]
            text += format_table(["text", "similarity", "other text"], rows) + "\n"
        return text


def find_duplicates(texts: Any, others: Any = None, *, threshold: float = 0.9) -> Duplicates:
    """Searches each text among others, or among the rest of the same texts.

    Texts are TF-IDF vectors of runs of 3 to 5 letters within words (scikit-learn's `char_wb`), so
    that other endings, spellings and a changed word leave most of a text; the nearest by cosine
    counts. All are compared with all: time grows with the product of both numbers.

    Args:
        texts: n strings; of pairs, a tuple of two columns, which are joined.
        others: Texts to search, such as the training texts, in the same form; None searches for
            texts that occur twice in `texts`.
        threshold: Least similarity, above 0.

    Returns:
        The texts whose nearest reaches the threshold; without `others` both texts of a pair.

    Raises:
        ValueError: If the threshold is not above 0 and at most 1.

    Example:
        >>> found = find_duplicates(["a film to keep", "a dog"], ["A  film to keep", "cats"])
        >>> [(pair.position, pair.other_position, pair.similarity) for pair in found.pairs]
        [(0, 0, 1.0)]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, received {threshold!r}.")
    texts = joined_columns(texts)
    within = others is None
    places = texts if within else joined_columns(others)
    if within and len(texts) < 2:
        return Duplicates(len(texts), threshold, [])
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), dtype=np.float32)
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectorizer.fit_transform(places))
    # Without a query, kneighbors searches each text among the rest.
    distances, found = index.kneighbors(None if within else vectorizer.transform(texts))
    equal_to: dict[str, list[int]] = {}
    for position, text in enumerate(places):
        equal_to.setdefault(_plain(text), []).append(position)
    pairs = []
    for position, text in enumerate(texts):
        equal = equal_to.get(_plain(text), ())
        other = next((place for place in equal if not within or place != position), None)
        similarity = 1.0
        if other is None:
            other = int(found[position, 0])
            # Different texts may have the same runs of letters.
            similarity = min(float(1 - distances[position, 0]), 0.9999)
        if similarity >= threshold:
            pairs.append(Duplicate(position, other, similarity, text, places[other]))
    return Duplicates(len(texts), threshold, sorted(pairs, key=lambda pair: -pair.similarity))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
