"""The signature of sentence encoders: texts in, embeddings out.

Axes: B batch, H hidden.
"""

import dataclasses
import types
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.serving.graphs.signature import Functions, Outputs, Signature, strings


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceEncoderSignature(Signature):
    """A sentence encoder as its exports see it.

    A SavedModel's signature `serving_default` takes `text`, string (B,), and returns `embeddings`,
    float32 (B, H); so does a LiteRT file from ids or, with B = 1, from code points.

    Attributes:
        sequence_length: Tokens to which texts are truncated.
    """

    sequence_length: int

    task, answers_are, output = "sentence_encoder", "embeddings", "embeddings"
    # Distances relative to an embedding's length; 0.3 is a cosine of 0.955.
    largest_gaps = types.MappingProxyType({"float32": 1e-5, "float16": 1e-2, "int8": 0.3})

    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""

        def embeddings(text: tf.Tensor) -> Outputs:
            inputs = self.graph(text, sequence_length=self.sequence_length)
            return {"embeddings": self.compute(inputs)}

        return {"serving_default": (embeddings, strings("text"))}

    def of_code_points(  # type: ignore[override]
        self, code_points: tf.Tensor, *, unrolled: bool = False
    ) -> Outputs:
        """See `Signature`."""
        engine = self.engine(unrolled=unrolled)
        inputs = engine.inputs(code_points, sequence_length=self.sequence_length)
        return {self.output: self.of_ids(inputs)}

    @property
    def row_length(self) -> int:
        """Most tokens of a row of the network."""
        return self.sequence_length

    def gap(self, found: np.ndarray, wanted: Any) -> float:
        """Returns the largest distance of two embeddings, as a share of their length."""
        distances = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        return float(np.max(distances))
