"""Classification of table rows: texts, numbers, pictures and more in one sequence.

Axes: n examples, B batch, S tokens of the text, T tokens of the other columns, K columns, H hidden,
E hidden of a picture's encoder, C classes.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from safetensors.numpy import load_file, save_file

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.name_map import (
    Weight,
    patch_encoder_weights,
    pooler_weights,
)
from keras_bert_scratch.checkpoints.patch_encoders import load_patch_encoder
from keras_bert_scratch.checkpoints.sentence_transformers import read_pooling
from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.data.batching import ColumnBatches, LengthBucketedBatches
from keras_bert_scratch.data.labels import encode_sample_weight
from keras_bert_scratch.data.table import (
    PRESENT,
    Column,
    ImageColumn,
    is_table,
    make_columns,
    read_table,
)
from keras_bert_scratch.layers.columns import ColumnEmbeddings
from keras_bert_scratch.layers.pooling import pool_tokens
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.joined import encode_joined
from keras_bert_scratch.models.patch_encoder import PatchEncoder
from keras_bert_scratch.models.state import copy_state
from keras_bert_scratch.serving.graphs.columns import ColumnSignature
from keras_bert_scratch.serving.graphs.table_rows import from_rows
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.text_model import TextExamples
from keras_bert_scratch.text.preprocessing import Step
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.tokenizer_files import max_length
from keras_bert_scratch.training.memory import check_training_fits

# Beside config.json and model.safetensors, which are the encoder's alone.
_DESCRIPTION, _WEIGHTS = "columns.json", "columns.safetensors"
# What the description does not hold of a config: it stands in the other files, or is no setting.
_NOT_DESCRIBED = ("encoder", "tokenizer", "state", "name", "trainable", "dtype")
# Pictures that a frozen encoder reads at a time.
_CHUNK = 32


@dataclasses.dataclass(frozen=True)
class TableExamples(TextExamples):
    """Rows of a table, checked, by position.

    Attributes:
        values: The values of all columns but texts, by name; None where one is missing. Of pictures
            that a frozen encoder reads, these are its states.
        present: 1 where a column has a value, int32. *Shape:* (n, K).
    """

    values: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    present: Any = None

    def take(self, indices: np.ndarray) -> Self:
        """Returns the examples at some positions, in that order."""
        values = {name: [column[i] for i in indices] for name, column in self.values.items()}
        return dataclasses.replace(
            super().take(indices), values=values, present=self.present[indices]
        )


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ColumnClassifier(BertClassifier):
    """Classifies the rows of a table by its texts, numbers, categories, pictures and sounds.

    Each value becomes tokens, which follow those of the text in one sequence; the blocks of the
    encoder read all of them. The tokens of a missing value are masked. In training, columns of
    single rows are hidden at random, so that the model knows what to do when one is missing.

    Where Keras takes `x`, this takes a table of pandas, polars, pyarrow or `datasets`, or a dict of
    columns, held in memory. The first `fit` learns of its training data the mean and the standard
    deviation of each number, and the list of each category.

    A picture's patches are tokens; or an encoder of its own reads it, whose states of the special
    tokens, and their mean over the patches, become tokens by a dense layer. That encoder is
    frozen, so that it reads each picture once; set `trainable` of it in `column_encoders`, before
    `compile`, to train it, too.

    Args:
        encoder: The encoder below the head; BERT's.
        labels: See `BertClassifier`.
        tokenizer: See `BertClassifier`.
        columns: For each column its kind: `"text"` (two at most, a pair), `"number"`,
            `"category"`, `"image"` or `"audio"`; or a dict of `kind` and settings, such as
            `{"kind": "image", "height": 64, "width": 64, "patch_size": 8}`, see `data.table`. The
            `encoder` of an image is a `PatchEncoder`, whose weights are copied, or what
            `PatchEncoder.from_pretrained` takes, such as `{"kind": "image", "encoder":
            "facebook/dinov2-small"}`.
        column_dropout: Share of the values that training hides; and of the categories that it takes
            for unknown ones.
        patch_dropout: Share of the patches that training hides, of pictures and sounds that no
            encoder reads: "Patchout" (Koutini et al. 2021), against learning few of them by heart.
        **kwargs: The other arguments of `BertClassifier`, but for windows and private training.
            `pooling="mean"` is the mean of the columns' means: a text counts as much as a number.

    Raises:
        ValueError: If a column, or an argument of `BertClassifier`, is refused.

    Example:
        >>> columns = {"title": "text", "price": "number", "shop": "category"}
        >>> model = ColumnClassifier.from_pretrained("tiny-en", ["toy", "tool"], columns=columns)
        >>> model.compile()  # fit chooses the optimizer
        >>> x = {"title": ["a bear", "a saw"], "price": [9.5, None], "shop": ["north", "south"]}
        >>> history = model.fit({name: 16 * x[name] for name in x}, 16 * ["toy", "tool"], verbose=0)
        >>> model.classify(x)
        [{'toy': 0.9..., 'tool': ...}, {'tool': 0.9..., 'toy': ...}]
    """

    export_formats: tuple[str, ...] = ("tf_saved_model", "litert")  # type: ignore[assignment]
    has_engines = False

    def __init__(
        self,
        encoder: BertEncoder,
        labels: Sequence[str],
        tokenizer: WordPieceTokenizer | None = None,
        *,
        columns: Mapping[str, str | Mapping[str, Any]],
        column_dropout: float = 0.1,
        patch_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        # Set before the base's constructor, which ends with `build`.
        columns, sources = _with_encoders(columns)
        self.columns: dict[str, Column] = make_columns(columns)
        self.column_encoders: dict[str, PatchEncoder] = {
            name: _frozen_encoder(column.encoder, sources.get(name), kwargs.get("dtype"))
            for name, column in self.columns.items()
            if isinstance(column, ImageColumn) and column.encoder
        }
        for rate, value in (("column", column_dropout), ("patch", patch_dropout)):
            if not 0 <= value < 1:
                raise ValueError(f"{rate}_dropout must be from 0 to below 1, received {value!r}.")
        self.column_dropout = column_dropout
        self.patch_dropout = patch_dropout
        if encoder.config.architecture != "bert":
            raise ValueError(
                f"Columns join the tokens of a BERT, received a {encoder.config.architecture}, "
                "whose blocks know tokens by their positions: use another checkpoint."
            )
        if kwargs.get("truncation") == "windows":
            raise ValueError(
                'A row is one sequence, received truncation="windows": use another truncation.'
            )
        super().__init__(encoder, labels, tokenizer, **kwargs)
        self.architecture = "BertModel"  # transformers has no such head

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; those of columns that are not learned come with `learn_columns`."""
        self.seed_generator = keras.random.SeedGenerator()
        config = self.encoder.config
        self.column_embeddings = ColumnEmbeddings(
            [column.to_dict() for column in self._others.values()],
            config.hidden_dim,
            self.column_dropout,
            config.initializer_range,
            dtype=self.dtype_policy,
            name="column_embeddings",
        )
        if self.is_learned:
            self.column_embeddings.build((None, 1))
        super().build(input_shape)

    # === Columns ===
    @property
    def _others(self) -> dict[str, Column]:
        """The columns that are no texts."""
        return {name: column for name, column in self.columns.items() if column.kind != "text"}

    @property
    def learns_anew(self) -> bool:  # type: ignore[override]
        """Whether there are neither texts nor pictures that a trained encoder reads."""
        return not self._texts and not self.column_encoders

    @property
    def _texts(self) -> list[str]:
        """The names of the columns of texts, at most two."""
        return [name for name, column in self.columns.items() if column.kind == "text"]

    @property
    def is_learned(self) -> bool:
        """Whether all is known that training data tell of the columns."""
        return all(column.is_learned for column in self.columns.values())

    def learn_columns(self, x: Any) -> None:
        """Finds means, standard deviations and categories; `fit` calls it before it first trains.

        What is known already stays, since weights were trained on it.

        Args:
            x: A table of training data.

        Raises:
            ValueError: If a column has no value.
        """
        if self.is_learned:
            return
        values = self.examples(x).values
        self.columns = {
            name: column if column.is_learned else column.learn(values[name], name)
            for name, column in self.columns.items()
        }
        self.column_embeddings.columns = [column.to_dict() for column in self._others.values()]
        self.column_embeddings.build((None, 1))

    def _check_learned(self) -> None:
        if not self.is_learned:
            names = [name for name, column in self.columns.items() if not column.is_learned]
            raise ValueError(
                f"Nothing is known of {', '.join(map(repr, names))} yet: call fit, or "
                "learn_columns with training data, first."
            )

    # === The network ===
    def features(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes what the head reads.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask` of the texts, int32, *shape:*
                (B, S) each; `present`, 1 for each column that has a value, int32, *shape:* (B, K);
                and by name the values of the other columns, see `ColumnEmbeddings`; of pictures
                that an encoder reads, their pixels or, if it is frozen, its states.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, H).

        Raises:
            ValueError: If an input is missing, or holds states of an encoder that is not frozen.
        """
        if missing := [name for name in (PRESENT, *self._others) if name not in inputs]:
            raise ValueError(
                f"The inputs lack {missing[0]!r}: give a table held in memory, or what "
                "model.batches(x, y).dataset() yields."
            )
        present = inputs[PRESENT]
        if training and self.column_dropout:
            present = self._hide(present)
        values = [self.states(name, inputs[name], training) for name in self._others]
        return self.joined_features(
            self.encoder.embeddings(inputs["token_ids"], inputs["segment_ids"], training=training),
            self.column_embeddings(*values, training=training) if values else None,
            {**inputs, PRESENT: present},
            training=training,
        )

    def joined_features(
        self, embedded: Any, others: Any, inputs: dict[str, Any], training: bool | None = None
    ) -> Any:
        """Computes what the head reads of tokens.

        Args:
            embedded: The texts, by the encoder's embeddings. *Shape:* (B, S, H).
            others: Tokens of the other columns, by `column_embeddings`, or None. *Shape:*
                (B, T, H).
            inputs: `segment_ids`, `padding_mask` and `present`, see `features`.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, H).
        """
        masks = self._masks(inputs, inputs[PRESENT])
        if training and self.patch_dropout:
            masks = [masks[0], *map(self._hide_patches, masks[1:], self._others)]
        mask = ops.concatenate(masks, axis=1)
        outputs = encode_joined(
            self.encoder,
            embedded,
            others,
            mask,
            training=training,
            first_only=self.pooling == "pooler",
        )
        if self.pooling == "pooler":
            return outputs["pooled_output"]
        states = outputs["sequence_output"]
        if self.pooling != "mean":
            return pool_tokens(states, mask, self.pooling)
        # Each column counts the same, of however many tokens it is.
        shares = []
        for tokens in masks:
            tokens = ops.cast(tokens, "float32")
            shares.append(tokens / ops.maximum(ops.sum(tokens, axis=1, keepdims=True), 1.0))
        weights = ops.expand_dims(ops.concatenate(shares, axis=1), 2)  # (B, S + T, 1)
        return ops.sum(ops.cast(states, "float32") * weights, axis=1) / ops.sum(weights, axis=1)

    def states(self, name: str, value: Any, training: bool | None = None) -> Any:
        """Returns what `column_embeddings` gets of a column's values.

        Args:
            name: The column.
            value: The values, see `features`.
            training: Whether dropout of a trained encoder acts.

        Returns:
            The values; of pictures that an encoder reads, its states, *shape:* (B, tokens, E).
        """
        encoder = self.column_encoders.get(name)
        if encoder is None:
            return value
        is_trained = bool(encoder.trainable_weights)
        if len(value.shape) == 4:
            pixels = ops.cast(value, "float32") / 255
            outputs = encoder(pixels, training=training if is_trained else False)
            return encoder.summary_tokens(outputs["sequence_output"])
        if is_trained:
            raise ValueError(
                f"The pictures of {name!r} were read when their encoder was frozen, and it is not "
                "now: give the table again."
            )
        return value

    def _hide(self, present: Any) -> Any:
        """Hides columns of rows at random; each row keeps one at least. *Shape:* (B, K)."""
        drawn = keras.random.uniform(ops.shape(present), seed=self.seed_generator)
        kept = ops.where(drawn < self.column_dropout, 0, present)
        return ops.where(ops.max(kept, axis=1, keepdims=True) > 0, kept, present)

    def _hide_patches(self, mask: Any, name: str) -> Any:
        """Hides patches of a column's rows at random, if it has patches. *Shape:* (B, tokens)."""
        if self.columns[name].kind not in ("image", "audio") or name in self.column_encoders:
            return mask
        drawn = keras.random.uniform(ops.shape(mask), seed=self.seed_generator)
        return ops.where(drawn < self.patch_dropout, 0, mask)

    def _masks(self, inputs: dict[str, Any], present: Any) -> list[Any]:
        """Returns the masks of the text and of each other column. *Shape:* (B, tokens) each."""
        of_column = dict(zip(self.columns, ops.split(present, len(self.columns), 1), strict=True))
        of_text = ops.cast(inputs["padding_mask"], "int32")
        if self._texts:
            first, second = self._texts[0], self._texts[-1]
            known = ops.where(
                ops.equal(inputs["segment_ids"], 1), of_column[second], of_column[first]
            )
            # [CLS] is read always.
            is_first = ops.cast(ops.equal(ops.arange(ops.shape(of_text)[1]), 0), "int32")
            of_text = of_text * ops.maximum(ops.cast(known, "int32"), is_first)
        tokens = zip(self._others, self.column_embeddings.num_tokens, strict=True)
        return [
            of_text,
            *(ops.cast(ops.repeat(of_column[name], n, axis=1), "int32") for name, n in tokens),
        ]

    # === From tables to batches ===
    def is_examples(self, x: Any) -> bool:
        """Whether `x` is a table held in memory."""
        return isinstance(x, TableExamples) or is_table(x)

    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> TableExamples:
        """Checks the columns, labels and weights of a table, and takes them by position."""
        if isinstance(x, TableExamples):
            examples, length = x, len(x)
        else:
            values = read_table(x, self.columns)
            length = len(next(iter(values.values())))
            present = [[value is not None for value in column] for column in values.values()]
            texts = [[value or "" for value in values.pop(name)] for name in self._texts]
            examples = TableExamples(
                texts[0] if texts else [""] * length,
                texts[1] if len(texts) == 2 else None,
                values=values,
                present=np.array(present, "int32").T.reshape(length, len(self.columns)),
            )
        targets = self._targets(examples.texts, examples.pairs, y, labelled)
        if targets is not None and len(targets) != length:
            raise ValueError(f"There are {length} rows but {len(targets)} labels: give one each.")
        weights = encode_sample_weight(sample_weight, length)
        if not isinstance(x, TableExamples):
            for name, encoder in self.column_encoders.items():
                if not encoder.trainable_weights:
                    values[name] = _read_by(encoder, values[name])
        return dataclasses.replace(examples, targets=targets, sample_weight=weights)

    def check_examples(self, examples: TextExamples) -> None:
        """Refuses tables without rows, and rows without a value."""
        assert isinstance(examples, TableExamples)
        if not len(examples):
            raise ValueError("There are no rows: give at least one.")
        empty = np.flatnonzero(examples.present.max(axis=1) == 0)
        if len(empty):
            raise ValueError(
                f"{len(empty)} of {len(examples)} rows have no value in any column, the first is "
                f"row {empty[0]}: remove them."
            )

    def batches_of(
        self,
        examples: TextExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> ColumnBatches:
        """Tokenizes the texts of checked examples; see `batches`."""
        assert isinstance(examples, TableExamples)
        if training:
            self.learn_columns(examples)
        self._check_learned()
        token_ids, segment_ids = self.tokenize(*examples.columns)
        others = {
            name: column.ready(examples.values[name]) for name, column in self._others.items()
        }
        return ColumnBatches(
            token_ids,
            segment_ids,
            columns={PRESENT: examples.present, **others},
            batch_size=batch_size,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            labels=examples.targets,
            sample_weight=examples.sample_weight,
            seed=seed,
        )

    def _whole_batch(self, examples: Any, *, training: bool = False) -> tuple[Any, ...]:
        self._check_learned()  # a single batch tells too little of the columns
        return super()._whole_batch(examples, training=training)

    def _check_batches(self, batches: LengthBucketedBatches) -> None:
        """Refuses batches that memory does not hold, the tokens of all columns counted."""
        check_training_fits(
            self.encoder,
            sum(int(np.prod(weight.shape)) for weight in self.trainable_weights),
            min(batches.batch_size, len(batches.lengths)),
            int(batches.lengths.max()) + sum(self.column_embeddings.num_tokens),
        )

    def predict_examples(self, x: Any, batch_size: int, **settings: Any) -> Any:
        """Predicts rows, in their order; see `predict`."""
        examples = self.examples(x)
        if not len(examples):
            return np.zeros((0, len(self.labels)), "float32")
        return super().predict_examples(examples, batch_size, **settings)

    # === Training ===
    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        training_step: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles as `BertClassifier.compile` does, for one device and Keras' own step.

        Args:
            optimizer: See `BertClassifier.compile`.
            loss: See `BertClassifier.compile`.
            training_step: None.
            **kwargs: See `BertClassifier.compile`.

        Raises:
            ValueError: If there is a training step, or a strategy of `tf.distribute`.
        """
        if training_step is not None or self._strategy is not None:
            raise ValueError(
                f"{type(self).__name__} trains as Keras does, on one device: leave training_step "
                "out, and make the model outside of a strategy's scope."
            )
        super().compile(optimizer, loss, **kwargs)

    def start_head(self, examples: TextExamples) -> None:
        """Starts a new head from the one that suits the encoder as it is; it knows no names."""
        if not np.any(self.head.logits.bias):
            self.head.set_weights([0 * weight for weight in self.head.get_weights()])
        super().start_head(examples)

    def start_from_names(self, descriptions: Mapping[str, str] | None = None) -> None:
        """Refuses: names are compared with texts."""
        raise NotImplementedError(
            "Class names are compared with texts alone: use BertClassifier, or train this model."
        )

    # === Which column matters ===
    def explain(self, x: Any, batch_size: int = 32) -> list[dict[str, float]]:
        """Returns how much each column of a row speaks for its most probable label.

        That is how far the label's probability falls where the column is hidden, as if its value
        were missing. Below 0, it speaks for other labels. For a score, it is how far that falls.

        Args:
            x: A table.
            batch_size: B.

        Which words and patches it was, `evaluation.row_explanations.explain_row` tells.

        Returns:
            For each row the fall of each column, the largest first.

        Example:
            >>> model.explain({"title": ["a bear"], "price": [9.5], "shop": ["north"]})
            [{'title': 0.4..., 'price': 0.0..., 'shop': -0.0...}]
        """
        examples = self.examples(x)
        wanted = self.probabilities(examples, batch_size)
        rows = np.arange(len(wanted)), wanted.argmax(axis=1)
        falls = np.stack(
            [
                wanted[rows] - self.probabilities(self.hide(examples, [name]), batch_size)[rows]
                for name in self.columns
            ],
            axis=1,
        )  # (n, K)
        names = list(self.columns)
        return [{names[i]: float(row[i]) for i in np.argsort(-row, kind="stable")} for row in falls]

    def hide(self, x: Any, names: Sequence[str]) -> TableExamples:
        """Returns the rows of a table as if they had no values in some columns.

        Args:
            x: A table.
            names: The columns to hide.

        Returns:
            What `predict`, `evaluate` and `probabilities` take as a table.

        Raises:
            ValueError: If a column is unknown.
        """
        if unknown := [name for name in names if name not in self.columns]:
            raise ValueError(f"There is no column {unknown[0]!r}: {', '.join(self.columns)}.")
        examples = self.examples(x)
        is_shown = np.array([name not in names for name in self.columns], "int32")
        return dataclasses.replace(examples, present=examples.present * is_shown)

    # === Weights in and out ===
    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path_or_hub_id: str | Path,
        labels: Sequence[str] | None = None,
        *,
        columns: Mapping[str, str | Mapping[str, Any]] | None = None,
        preprocessing: Iterable[Step] | None = None,
        dtype: Any = None,
        **settings: Any,
    ) -> Self:
        """Loads an encoder for a new classifier, or a folder of `save_pretrained`.

        Args:
            path_or_hub_id: See `BertClassifier.from_pretrained`.
            labels: Names of the classes; of a saved classifier, those that it has.
            columns: See the class; of a saved classifier, those that it has.
            preprocessing: See `BertClassifier.from_pretrained`.
            dtype: Dtype of the computation, such as `"mixed_bfloat16"`.
            **settings: Other arguments of the class; by default what the checkpoint says.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, or lacks labels or columns that are not
                given; or if others are given than those of a saved classifier.
        """
        checkpoint = open_checkpoint(path_or_hub_id)
        folder = checkpoint.folder
        saved = _read_description(folder)
        given = {"labels": labels, "columns": columns}
        for name, value in given.items():
            if value is None and name not in saved:
                raise ValueError(f"{folder} is no classifier of columns yet: pass {name}=.")
            if value is not None and saved and value != saved[name]:
                raise ValueError(
                    f"{folder} holds a classifier whose {name} are {saved[name]}: omit {name}=."
                )
        found = saved or {
            **given,
            "pooling": read_pooling(folder) or "pooler",
            "sequence_length": max_length(folder, checkpoint.config.max_positions),
        }
        if saved:
            _check_sizes(saved["columns"], folder / _WEIGHTS)
        changes = {} if preprocessing is None else {"preprocessing": preprocessing}
        model = cls._from_checkpoint(
            checkpoint,
            tokenizer=WordPieceTokenizer.from_directory(folder, **changes),
            dtype=dtype,
            **{**found, **settings},
        )
        if saved:
            model._load_weights(folder / _WEIGHTS)
        return model

    def optional_weights(self, checkpoint: Checkpoint) -> Sequence[Weight]:
        """Returns the pooler's rows, which a checkpoint may lack where nothing reads it."""
        pooler = pooler_weights(checkpoint.config)
        return pooler if self.pooling == "pooler" or checkpoint.has(pooler) else ()

    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the rows of the pooler; the head reads other columns than texts, too."""
        return pooler_weights(self.encoder.config)

    def write_files(self, folder: Path) -> None:
        """Writes the encoder's files, and those of columns and head beside them."""
        self._check_learned()
        super(BertClassifier, self).write_files(folder)
        described = {k: v for k, v in self.get_config().items() if k not in _NOT_DESCRIBED}
        text = json.dumps(described, indent=2, ensure_ascii=False)
        (folder / _DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        tensors = {name: np.array(weight) for name, weight in self._other_weights().items()}
        save_file(tensors, folder / _WEIGHTS)

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the fields of config.json, in which the encoder alone is described."""
        return super(BertClassifier, self).checkpoint_fields()

    def _other_weights(self) -> dict[str, Any]:
        """Returns the weights of columns and head by their names in a file."""
        layers = {"columns": self.column_embeddings, "head": self.head}
        for number, encoder in enumerate(self.column_encoders.values()):
            layers[f"encoder_{number}"] = encoder
        return {
            f"{name}.{number}.{weight.name}": weight
            for name, layer in layers.items()
            for number, weight in enumerate(layer.weights)
        }

    def _load_weights(self, file: Path) -> None:
        try:
            tensors = load_file(file)
        except Exception as error:  # safetensors' errors share no other base
            raise ValueError(f"{file} cannot be read ({error}): restore the folder.") from error
        weights = self._other_weights()
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != shapes:
            raise ValueError(
                f"{file} does not hold the weights of these columns and labels, but {found}: "
                "restore the folder."
            )
        for name, weight in weights.items():
            weight.assign(tensors[name])

    def save_adapter(self, folder: str | Path) -> None:
        """Refuses: adapters hold the encoder's updates and a head, not columns."""
        raise NotImplementedError("Adapters do not hold columns: use save_pretrained.")

    def load_adapter(self, folder: str | Path) -> None:
        """Refuses: adapters hold the encoder's updates and a head, not columns."""
        raise NotImplementedError("Adapters do not hold columns: use from_pretrained.")

    def _signature(self, options: dict[str, Any]) -> ColumnSignature:  # type: ignore[override]
        """Describes the classifier for its exports."""
        self._check_learned()
        return ColumnSignature(
            self,
            self.check_tokenizer(),
            self._of_rows,
            labels=self.labels,
            activation=self._activation,
            columns=self.columns,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
        )

    def _of_rows(self, rows: Sequence[str]) -> np.ndarray:
        """Computes the probabilities of rows as JSON, with which exports are compared."""
        return self.probabilities(from_rows(rows))

    def _with_encoder(self, encoder: BertEncoder) -> "BertClassifier":
        self._check_learned()
        other = super()._with_encoder(encoder)
        assert isinstance(other, ColumnClassifier)
        other.column_embeddings.set_weights(self.column_embeddings.get_weights())
        for name, own in self.column_encoders.items():
            copy_state(own, other.column_encoders[name])
            other.column_encoders[name].set_weights(own.get_weights())
        return other

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            # Without an entry, the encoders of pictures would be frozen again.
            "state": {"lora": [], "frozen_layers": [], "frozen_weights": []},
            **super().get_config(),
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "column_dropout": self.column_dropout,
            "patch_dropout": self.patch_dropout,
        }


def _with_encoders(columns: Any) -> tuple[Any, dict[str, PatchEncoder]]:
    """Returns the columns with the configs of their encoders, and these encoders by name."""
    if not isinstance(columns, Mapping):
        return columns, {}
    described, encoders = {}, {}
    for name, column in columns.items():
        encoder = column.get("encoder") if isinstance(column, Mapping) else None
        if isinstance(encoder, str | Path):
            encoder = load_patch_encoder(encoder, head=False)
        if isinstance(encoder, PatchEncoder):
            encoders[name] = encoder
            column = {**column, "encoder": encoder.config.to_dict()}
        described[name] = column
    return described, encoders


def _frozen_encoder(
    config: Mapping[str, Any], source: PatchEncoder | None, dtype: Any
) -> PatchEncoder:
    """Makes an encoder without heads, with the weights of another if there is one."""
    encoder = PatchEncoder(PatchConfig.from_dict({**config}), dtype=dtype)
    if source is not None:
        for name in ("embeddings", "norm"):
            getattr(encoder, name).set_weights(getattr(source, name).get_weights())
        for block, other in zip(encoder.blocks, source.blocks, strict=True):
            block.set_weights(other.get_weights())
    encoder.trainable = False
    return encoder


def _read_by(encoder: PatchEncoder, pictures: Sequence[Any]) -> list[Any]:
    """Returns what an encoder tells of pictures, float32; None where one is missing."""
    states = list(pictures)
    rows = [row for row, picture in enumerate(pictures) if picture is not None]
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        pixels = np.stack([pictures[row] for row in some]).astype("float32") / 255
        outputs = encoder.predict_on_batch(pixels)
        found = np.array(encoder.summary_tokens(outputs["sequence_output"]), "float32")
        for row, tokens in zip(some, found, strict=True):
            states[row] = tokens
    return states


def _check_sizes(columns: Any, file: Path) -> None:
    """Refuses encoders of pictures that are larger than the file of weights, before they exist."""
    asked = sum(
        _num_values(PatchConfig.from_dict({**column.encoder}))
        for column in make_columns(columns).values()
        if isinstance(column, ImageColumn) and column.encoder
    )
    size = file.stat().st_size if file.exists() else 0
    if asked * np.dtype("float32").itemsize > size:
        raise ValueError(
            f"The columns have encoders of {asked:,} weights, {file} has {size:,} bytes: restore "
            "the folder."
        )


def _num_values(config: PatchConfig) -> int:
    """Returns the number of all values in an encoder's weights; no layer is counted one by one."""
    one, two = (
        sum(math.prod(row.shape(config)) for row in patch_encoder_weights(shallow))
        for shallow in (dataclasses.replace(config, num_layers=n) for n in (1, 2))
    )
    return one + (config.num_layers - 1) * (two - one)


def _read_description(folder: Path) -> dict[str, Any]:
    """Returns what `save_pretrained` has written of columns and head; {} of other checkpoints."""
    file = folder / _DESCRIPTION
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"labels", "columns"} <= found.keys():
            raise ValueError("it has no labels and columns")
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): restore the folder.") from error
    return found
