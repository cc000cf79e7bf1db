"""Exports applied to more texts than one machine is for, by Apache Beam. Needs the extra `beam`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from keras_bert_scratch.serving.readers.classifier import load_predictor


class Classify(beam.PTransform):
    """Texts -> pairs of a text and its probabilities by label, in any order.

    Args:
        path: A SavedModel or LiteRT file that `export` wrote; must be at the same place for all
            workers, each of which loads it once.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     texts = pipeline | beam.io.ReadFromText("films-*.txt")
        ...     texts | Classify("saved_models/films_served") | beam.io.WriteToText("classified")
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = str(path)

    def expand(self, texts: Any) -> Any:
        """Batches the texts and classifies them."""
        return texts | beam.BatchElements(32, 1024) | beam.ParDo(_Classify(self.path))


class _Classify(beam.DoFn):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def setup(self) -> None:
        self.predictor = load_predictor(self.path)

    def process(self, texts: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
        for text, row in zip(texts, self.predictor.probabilities(texts), strict=True):
            yield text, dict(zip(self.predictor.labels, row.tolist(), strict=True))
