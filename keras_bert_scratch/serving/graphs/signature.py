"""The description of a task for its exports: inputs, outputs, graph, and largest accepted gap.

Axes: B batch, S sequence.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.packed import INPUTS, NAMES, SETTINGS
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine
from keras_bert_scratch.text.graphs.tokenizer_graph import TokenizerGraph, tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Of a file that takes code points, unless told otherwise: English has some 5 a token.
CODE_POINTS_OF_A_TOKEN = 8
Outputs = dict[str, tf.Tensor]
# Functions by the name of a SavedModel's signature, each with its inputs.
Functions = dict[str, tuple[Callable[..., Outputs], list[tf.TensorSpec]]]


class LiteGraph(NamedTuple):
    """A function that becomes a LiteRT file.

    Attributes:
        function: Computes the outputs by name.
        inputs: Its inputs, with their names.
        files: The texts packed behind the model, by name.
        expected: Computes the answers that the file must give.
        calibration: Inputs by name, for `"full_int8"`.
        held_out: Texts for which the file must give the model's labels, or None.
        probes: Texts on which the file is compared, if not those of the task.
        others: Functions that become further signatures of the file, by name.
    """

    function: Callable[..., Outputs]
    inputs: list[tf.TensorSpec]
    files: dict[str, str]
    expected: Callable[[Any], Any]
    calibration: Sequence[Mapping[str, np.ndarray]] | None = None
    held_out: Any = None
    probes: Any = None
    others: Mapping[str, Any] = types.MappingProxyType({})


class Check(NamedTuple):
    """How an export is compared with its model.

    Attributes:
        expected: Computes the answers that the export must give.
        precision: Precision of the export, which decides the largest accepted gap.
        held_out: Texts for which the export must give the model's labels, or None.
        probes: Texts on which the export is compared, if not those of the task.
    """

    expected: Callable[[Any], Any]
    precision: str = "float32"
    held_out: Any = None
    probes: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """A task as its exports see it.

    Attributes:
        network: Maps a dict of ids to logits or embeddings; has an `encoder`.
        tokenizer: The tokenizer of the network.
        expected: Computes the model's answers, with which exports are compared.
    """

    network: Any
    tokenizer: WordPieceTokenizer
    expected: Callable[[Any], Any]

    # Name of the task, which selects its reader; of the compared answers, in errors; and of the
    # output of files that take ids.
    task: ClassVar[str]
    answers_are: ClassVar[str] = "probabilities"
    output: ClassVar[str]
    # Largest accepted gap, by the precisions that a LiteRT file may have.
    largest_gaps: ClassVar[Mapping[str, float]] = {"float32": 1e-5, "float16": 1e-2, "int8": 0.25}
    # Texts on which an export is compared.
    probes: ClassVar[Any] = PROBE_TEXTS
    # What files of the task may take.
    inputs: ClassVar[tuple[str, ...]] = ("ids", "code_points")
    # The inputs of files that take code points: a text each.
    texts: ClassVar[tuple[str, ...]] = ("code_points",)
    # Attributes that are packed in a file for its reader, of JSON types.
    settings: ClassVar[tuple[str, ...]] = ("sequence_length",)

    def functions(self) -> Functions:
        """Returns the functions of a SavedModel, by the names of their signatures."""
        raise NotImplementedError

    def compute(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Runs the network on ids."""
        return tf.cast(self.network(inputs, training=False), tf.float32)

    def of_ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the output of files that take ids."""
        return self.compute(inputs)

    # === SavedModel ===
    @property
    def graph(self) -> TokenizerGraph:
        """The tokenizer as core TensorFlow operations."""
        return tokenizer_graph(self.tokenizer, "core")

    def write_assets(self, folder: Path) -> None:
        """Writes files of the task beside the model; most tasks have none."""

    def tokens(
        self, compute: Callable[[dict[str, tf.Tensor]], tf.Tensor], output: str = "logits"
    ) -> tuple[Callable[..., Outputs], list[tf.TensorSpec]]:
        """Returns the function of the signature `tokens`, and its inputs.

        Args:
            compute: Runs the network on ids.
            output: Name of the result.
        """

        def function(token_ids: Any, segment_ids: Any, padding_mask: Any) -> Outputs:
            inputs = dict(zip(INPUTS, (token_ids, segment_ids, padding_mask), strict=True))
            return {output: compute(self._checked(inputs))}

        return function, ids()

    def _checked(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns ids that fail when they cannot be looked up; a GPU would give zeros."""
        config = self.network.encoder.config
        checks = [
            tf.debugging.assert_less_equal(
                tf.shape(inputs["token_ids"])[1],
                config.max_positions,
                f"token_ids must have at most {config.max_positions} tokens, the positions of the "
                "model: truncate them",
            )
        ]
        for name, size in (("token_ids", config.vocab_size), ("segment_ids", config.num_segments)):
            message = f"{name} must be from 0 to {size - 1}"
            checks += [
                tf.debugging.assert_non_negative(inputs[name], message),
                tf.debugging.assert_less(inputs[name], size, message),
            ]
        with tf.control_dependencies(checks):
            return {name: tf.identity(value) for name, value in inputs.items()}

    # === Files ===
    def lite(
        self, precision: str, *, inputs: str = "ids", num_code_points: int | None = None
    ) -> LiteGraph:
        """Describes a LiteRT file.

        Args:
            precision: See `write_litert`.
            inputs: `"ids"`, B and S free; or `"code_points"` of one text, which is tokenized in the
                file, see `of_code_points`.
            num_code_points: N, the code points that a file takes; by default 8 for each token of
                the sequence length.

        Raises:
            ValueError: If an option is refused.
        """
        self.check_inputs(inputs, num_code_points)
        if inputs == "code_points":
            return self.lite_of_code_points(num_code_points)
        return self.lite_of_ids()

    def check_inputs(self, inputs: str, num_code_points: int | None) -> None:
        """Refuses other inputs than those that files of the task take.

        Raises:
            ValueError: If the inputs or their number are others.
        """
        if inputs not in self.inputs:
            raise ValueError(
                f"inputs must be {' or '.join(map(repr, self.inputs))} in a file of a "
                f"{self.task.replace('_', ' ')}, received {inputs!r}."
            )
        if num_code_points is None:
            return
        if inputs != "code_points":
            raise ValueError(
                f"num_code_points={num_code_points} is for inputs='code_points', received "
                f"inputs={inputs!r}: omit it."
            )
        if type(num_code_points) is not int or num_code_points < 1:
            raise ValueError(
                f"num_code_points must be a positive whole number, received {num_code_points!r}."
            )

    def engine(self, **options: bool) -> IntegerEngine:
        """Returns the tokenizer of files that take code points, see `IntegerEngine`.

        Raises:
            ValueError: If the tokenizer has settings that need strings.
        """
        for name, needed in (("errors", "replace"), ("preprocessing", ())):
            if (found := getattr(self.tokenizer, name)) != needed:
                raise ValueError(
                    f"A file that takes code points needs a tokenizer with {name}={needed!r}, "
                    f"received {found!r}: export one that takes ids, with inputs='ids'."
                )
        return IntegerEngine(self.tokenizer, **options)

    def of_code_points(self, *texts: tf.Tensor, unrolled: bool = False) -> Outputs:
        """Computes the outputs of files that take code points.

        Args:
            *texts: The texts that `self.texts` names, filled up with zeros, int32. *Shape:* (1, N)
                each
            unrolled: See `IntegerEngine`.
        """
        raise NotImplementedError

    @property
    def row_length(self) -> int:
        """Most tokens of a row of the network."""
        raise NotImplementedError

    def lite_of_code_points(self, num_code_points: int | None) -> LiteGraph:
        """Describes a LiteRT file that takes code points, see `of_code_points`."""
        size = num_code_points or CODE_POINTS_OF_A_TOKEN * self.row_length
        # The reader refuses longer texts, of which the file would read the start alone.
        columns = [
            [text[:size] for text in column] for column in text_columns(self.probes) if column
        ]
        return LiteGraph(
            self.of_code_points,
            [tf.TensorSpec((1, size), tf.int32, name=name) for name in self.texts],
            self.packed(inputs="code_points", num_code_points=size),
            self.expected,
            probes=columns[0] if len(columns) == 1 else tuple(columns),
        )

    def lite_of_ids(
        self,
        shape: tuple[int | None, int | None] = (None, None),
        names: Mapping[str, str] = NAMES,
        **settings: Any,
    ) -> LiteGraph:
        """Describes a LiteRT file that takes ids.

        Args:
            shape: B and S, None where they are free.
            names: Names of the inputs in the file, in order.
            **settings: More settings for the file's reader, of JSON types.
        """

        def function(*values: tf.Tensor) -> Outputs:
            return {self.output: self.of_ids(dict(zip(names, values, strict=True)))}

        inputs = ids(shape, [*names.values()])
        return LiteGraph(function, inputs, self.packed(**settings), self.expected)

    def packed(self, **settings: Any) -> dict[str, str]:
        """Returns the texts that are packed in a file, by name."""
        settings |= {name: getattr(self, name) for name in self.settings}
        settings["tokenizer"] = self.tokenizer.get_config()
        return {SETTINGS: json.dumps(settings, ensure_ascii=False)}

    # === Comparison ===
    def gap(self, found: np.ndarray, wanted: Any) -> float:
        """Returns how far an export's answers are from the model's.

        Scores, which may be large, count as shares of the largest of them.
        """
        wanted = np.asarray(wanted)
        return float(np.max(np.abs(found - wanted)) / max(1.0, np.max(np.abs(wanted))))

    def check_labels(self, found: np.ndarray, wanted: np.ndarray, precision: str) -> None:
        """Refuses an export that gives too many held-out texts another label, if there are any."""


def strings(*names: str) -> list[tf.TensorSpec]:
    """Returns columns of strings, by name. *Shape:* (B,) each."""
    return [tf.TensorSpec((None,), tf.string, name=name) for name in names]


def ids(
    shape: tuple[int | None, int | None] = (None, None), names: Sequence[str] = INPUTS
) -> list[tf.TensorSpec]:
    """Returns the inputs of a network that takes ids, int32. *Shape:* (B, S) each."""
    return [tf.TensorSpec(shape, tf.int32, name=name) for name in names]


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function that several signatures share: half the time to export."""
    return tf.function(function, autograph=False)
