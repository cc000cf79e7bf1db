"""The signature of summarizers: texts in, summaries out.

The export contains the whole decoding loop with its cache, greedy or with beams.

Axes: B batch, S sequence, T target sequence.
"""

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.serving.graphs.signature import (
    Functions,
    LiteGraph,
    Outputs,
    Signature,
    shared,
    strings,
)
from keras_bert_scratch.text.graphs.detokenizer import DetokenizerGraph


@dataclasses.dataclass(frozen=True, eq=False)
class SummarizerSignature(Signature):
    """A summarizer as its exports see it.

    The signatures of a SavedModel are

    - `serving_default`: `text`, string (B,) -> `summary`, string (B,);
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `summary_ids`, int32
      (B, T), [CLS] and [SEP] included.

    A LiteRT file of built-in operations takes ids of one text and returns `summary_ids`.

    Attributes:
        generate: Maps a dict of ids to the ids of summaries.
        sequence_length: Tokens to which texts are truncated.
    """

    generate: Callable[[dict[str, tf.Tensor]], tf.Tensor]
    sequence_length: int

    task, answers_are, output = "summarizer", "summaries", "summary_ids"
    inputs = ("ids",)
    # Summaries are equal or not.
    largest_gaps = types.MappingProxyType({"float32": 0.0})

    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""
        generate = shared(self.of_ids)

        def summarize(text: tf.Tensor) -> Outputs:
            inputs = self.graph(text, sequence_length=self.sequence_length)
            return {"summary": self.detokenize(generate(inputs))}

        return {
            "serving_default": (summarize, strings("text")),
            "tokens": self.tokens(generate, self.output),
        }

    @functools.cached_property
    def detokenize(self) -> DetokenizerGraph:
        """The tokenizer's inverse as TensorFlow operations."""
        return DetokenizerGraph(self.tokenizer)

    def of_ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the ids of summaries."""
        return self.generate(inputs)

    def lite(
        self, precision: str, *, inputs: str = "ids", num_code_points: int | None = None
    ) -> LiteGraph:
        """Describes a LiteRT file, which takes the ids of one text."""
        self.check_inputs(inputs, num_code_points)
        return self.lite_of_ids((1, None))

    def gap(self, found: np.ndarray, wanted: Any) -> float:
        """Returns 0, or refuses summaries that differ."""
        for text, ours, theirs in zip(self.probes, found, wanted, strict=True):
            if ours != theirs:
                raise RuntimeError(
                    f"For {text[:60]!r} the export writes {str(ours)!r} and the model {theirs!r}: "
                    "nothing was written."
                )
        return 0.0
