"""Embeddings of texts: an encoder, pooling, and cosine similarity.

Axes: B batch, S sequence, H hidden.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint
from keras_bert_scratch.checkpoints.sentence_transformers import (
    read_length,
    read_modules,
    write_modules,
)
from keras_bert_scratch.data.batching import LengthBucketedBatches, PairBatches
from keras_bert_scratch.files import check_folder
from keras_bert_scratch.layers.pooling import Pooling, check_pooling, pool_tokens
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.engines import Engine
from keras_bert_scratch.serving.graphs.sentence_encoder import SentenceEncoderSignature
from keras_bert_scratch.tasks.text_model import TextExamples, TextModel
from keras_bert_scratch.text.columns import column_values, text_columns
from keras_bert_scratch.text.graphs.tokenizer_graph import TokenizerGraph
from keras_bert_scratch.text.preprocessing import AddPrompt
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Least cosine of the embeddings of a text that count as the same.
_LEAST_COSINE = 0.98


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertSentenceEncoder(TextModel):
    """Turns texts into vectors whose cosine says how alike they are (Reimers and Gurevych 2019).

    `fit` takes pairs of texts, each text a sequence of its own: with `InBatchContrastiveLoss` pairs
    that belong together, without y; with `CosineSimilarityLoss` any pairs, and their similarities
    as y. The same column twice is unsupervised SimCSE: a text read twice, with different dropout,
    belongs to itself.

    Args:
        encoder: The encoder. Its pooler is not used, nor trained.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        pooling: `"mean"`, over a text's tokens, `"cls"`, the state of its first, or another of
            `layers.pooling.pool_tokens`.
        normalize: Whether embeddings have length 1, so that their dot product is the cosine.
        sequence_length: Tokens to which texts are truncated; by default all that the encoder's
            positions cover.
        prompts: Prompts by name, kept for `save_pretrained`. The tokenizer sets one before every
            text if its last step of `preprocessing` is an `AddPrompt`, as after `from_pretrained`
            of a folder with a `default_prompt_name`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the pooling is unknown, the tokenizer's vocabulary is larger than the
            encoder's, or `sequence_length` exceeds the positions.

    Example:
        >>> model = BertSentenceEncoder.from_pretrained("tiny-en")
        >>> model.compile(adamw(2e-5, total_steps=1), loss=InBatchContrastiveLoss())
        >>> questions, answers = ["who came?", "did it rain?"], ["a man came", "rain fell"]
        >>> history = model.fit((questions, answers), batch_size=64)
        >>> model.similarity(["a film to remember"], ["an unforgettable movie", "rain"]).shape
        (1, 2)
    """

    architecture = "BertModel"
    export_formats = ("tf_saved_model", "litert", "onnx")
    has_engines = True

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None = None,
        *,
        pooling: Pooling = "mean",
        normalize: bool = True,
        sequence_length: int | None = None,
        prompts: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        check_pooling(pooling)
        super().__init__(encoder, tokenizer, sequence_length, **kwargs)
        self.pooling = pooling
        self.normalize = normalize
        self.prompts = dict(prompts or {})

        # === Layers ===
        # The loss does not depend on it: an optimizer would miss its gradients.
        self.encoder.pooler.trainable = False
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes the embeddings.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32, *shape:* (B, S) each; or
                for pairs a tuple of two such dicts.
            training: Whether dropout acts.

        Returns:
            float32. *Shape:* (B, H), or for pairs (B, 2, H).
        """
        if isinstance(inputs, tuple | list):
            return ops.stack([self.call(column, training=training) for column in inputs], axis=1)
        states = self.encoder(inputs, training=training)["sequence_output"]
        embeddings = pool_tokens(states, inputs["padding_mask"], self.pooling)
        # sentence-transformers, by torch.nn.functional.normalize, has the same epsilon.
        return ops.normalize(embeddings, epsilon=1e-12) if self.normalize else embeddings

    # === Training ===
    def _targets(self, texts: list[str], pairs: list[str] | None, y: Any, labelled: bool) -> Any:
        if y is None and pairs is not None:
            return _text_ids(texts, pairs)
        return super()._targets(texts, pairs, y, labelled)

    def encode_labels(self, y: Any) -> np.ndarray:
        """Checks what pairs are learned by.

        Args:
            y: One similarity from -1 to 1 a pair; or the ids of its two texts, *shape:* (n, 2).

        Returns:
            float32. *Shape:* (n, 1) or (n, 2).

        Raises:
            ValueError: If y is something else.
        """
        if y is None:
            raise ValueError(
                "A sentence encoder learns from pairs of texts: give fit a tuple of two columns, "
                "such as (questions, answers), or (texts, texts) for unsupervised SimCSE."
            )
        array = np.asarray(column_values(y))
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
            raise ValueError(
                f"y is one number from -1 to 1 a pair, received {array.dtype} of shape "
                f"{array.shape}: give similarities, or leave y out for InBatchContrastiveLoss."
            )
        array = array.reshape(len(array), -1).astype("float32")
        if array.shape[1] == 1 and not (np.abs(array) <= 1).all():
            position = int(np.argmin(np.abs(array[:, 0]) <= 1))
            raise ValueError(
                f"Similarities are from -1 to 1, received {array[position, 0]:g} at position "
                f"{position}: scale yours, such as ratings from 0 to 5 by a fifth."
            )
        return array

    def batches_of(
        self,
        examples: TextExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes texts, or both texts of each pair by themselves; see `TextModel.batches_of`."""
        if examples.pairs is None:
            return super().batches_of(examples, batch_size=batch_size, seed=seed, training=training)
        first, second = (self.tokenize(column)[0] for column in examples.columns)
        return PairBatches(
            first,
            second,
            labels=examples.targets,
            sample_weight=examples.sample_weight,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            batch_size=batch_size,
            seed=seed,
        )

    def _tokenize_batch(self, graph: TokenizerGraph, columns: tuple[tf.Tensor, ...]) -> Any:
        """Makes each text of a pair a sequence of its own."""
        tokenize = super()._tokenize_batch
        inputs = tuple(tokenize(graph, (column,)) for column in columns)
        return inputs if len(inputs) > 1 else inputs[0]

    # === Answers ===
    def encode(
        self,
        texts: Any,
        batch_size: int = 32,
        verbose: Any = "auto",
        *,
        engine: str | Engine = "keras",
    ) -> np.ndarray:
        """Computes the embeddings of texts, in their order.

        Args:
            texts: n strings.
            batch_size: B.
            verbose: Whether Keras shows its progress: "auto" or 1 for a bar, 0 for none.
            engine: What computes them, see `predict`.

        Returns:
            float32. *Shape:* (n, H).
        """
        column = list(text_columns(texts)[0])
        return self.predict(column, batch_size, verbose=verbose, engine=engine)

    def answer_by_engine(
        self, engine: Engine, x: Any, batch_size: int, verbose: Any
    ) -> np.ndarray | None:
        """Computes embeddings by an engine, of both texts of each pair by themselves."""
        found = []
        for column in self.examples(x).columns if self.is_examples(x) else [x]:
            rows = super().answer_by_engine(engine, column, batch_size, verbose)
            if rows is None:
                return None
            found.append(rows)
        return np.stack(found, axis=1) if len(found) > 1 else found[0]

    def same_answers(self, wanted: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, float]:
        """Compares an engine's embeddings with those of Keras: the same are 0.98 alike."""
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
        cosines = (wanted * found).sum(axis=1) / np.maximum(lengths, 1e-12)
        return cosines >= _LEAST_COSINE, float(np.abs(wanted - found).max())

    def similarity(self, texts: Any, others: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the cosine of every text with every other.

        Args:
            texts: n strings.
            others: m strings.
            batch_size: B.

        Returns:
            float32, from -1 to 1. *Shape:* (n, m).
        """
        from sklearn.metrics.pairwise import cosine_similarity

        columns = (self.encode(column, batch_size, verbose=0) for column in (texts, others))
        return cosine_similarity(*columns)

    # === Weights in and out ===
    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path_or_hub_id: str | Path,
        *,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        sequence_length: int | None = None,
        dtype: Any = None,
    ) -> "BertSentenceEncoder":
        """Loads a folder of sentence-transformers, or any BERT checkpoint of `transformers`.

        Args:
            path_or_hub_id: A local folder (no network is used) or the id of a model on the hub.
            pooling: See the class; by default what the folder says, or the mean.
            normalize: See the class; by default what the folder says. As in sentence-transformers,
                a plain checkpoint's embeddings are not normalized.
            sequence_length: See the class; by default what the folder says.
            dtype: Dtype of the computation, such as `"mixed_bfloat16"`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, or has modules or a pooling that this class
                does not have.
        """
        folder = find_checkpoint(path_or_hub_id)
        check_folder(folder)
        saved = read_modules(folder)
        checkpoint = open_checkpoint(saved["transformer"])
        length = read_length(saved["transformer"], checkpoint.config.max_positions)
        tokenizer = WordPieceTokenizer.from_directory(saved["transformer"])
        changes: dict[str, Any] = {}
        if saved["lowercase"] and not tokenizer.lowercase:
            changes |= {"lowercase": True, "strip_accents": bool(tokenizer.strip_accents)}
        if saved["prompt"]:
            changes["preprocessing"] = (*tokenizer.preprocessing, AddPrompt(saved["prompt"]))
        if changes:
            tokenizer = WordPieceTokenizer.from_directory(saved["transformer"], **changes)
        return cls._from_checkpoint(
            checkpoint,
            tokenizer=tokenizer,
            prompts=saved["prompts"],
            pooling=pooling or saved["pooling"],
            normalize=saved["normalize"] if normalize is None else normalize,
            sequence_length=sequence_length
            or length
            or checkpoint.settings(sequence_length=int).get("sequence_length"),
            dtype=dtype,
        )

    def saved_tokenizer(self) -> WordPieceTokenizer:
        """Returns the tokenizer without its prompt, which `write_files` writes."""
        tokenizer = self.check_tokenizer()
        if self._prompt() is None:
            return tokenizer
        plain = tokenizer.get_config()
        plain["preprocessing"].pop()
        return WordPieceTokenizer.from_config(plain)

    def _prompt(self) -> str | None:
        """Returns what the tokenizer sets before every text, if anything."""
        *_, last = (None, *self.check_tokenizer().preprocessing)
        return last.prompt if isinstance(last, AddPrompt) else None

    def write_files(self, folder: Path) -> None:
        """Writes the files of `transformers`, and beside them those of sentence-transformers."""
        super().write_files(folder)
        write_modules(
            folder,
            pooling=self.pooling,
            normalize=self.normalize,
            sequence_length=self.sequence_length,
            hidden_dim=self.encoder.config.hidden_dim,
            prompts=self.prompts,
            prompt=self._prompt(),
        )

    def _signature(self, options: dict[str, Any]) -> SentenceEncoderSignature:
        """Describes the sentence encoder for its exports."""
        return SentenceEncoderSignature(
            self,
            self.check_tokenizer(),
            functools.partial(self.encode, verbose=0),
            sequence_length=self.sequence_length,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "normalize": self.normalize,
            "prompts": self.prompts,
        }


class TextIndex:
    """Texts and their embeddings, to be searched by meaning: exact, by scikit-learn.

    Args:
        model: Makes the embeddings.
        texts: n strings.
        batch_size: B.

    Example:
        >>> model = BertSentenceEncoder.from_pretrained("tiny-en")
        >>> index = TextIndex(model, ["a great film", "rain in the north", "a dull movie"])
        >>> index.search(["heavy rain"], count=1)
        [[('rain in the north', 0...)]]
    """

    def __init__(self, model: BertSentenceEncoder, texts: Sequence[str], batch_size: int = 32):
        from sklearn.neighbors import NearestNeighbors

        self.model = model
        self.texts = text_columns(texts)[0]
        self.embeddings = model.encode(self.texts, batch_size)
        self._neighbors = NearestNeighbors(metric="cosine").fit(self.embeddings)

    def search(self, queries: Sequence[str], count: int = 5) -> list[list[tuple[str, float]]]:
        """Returns the nearest texts of each query with their cosines, nearest first.

        Args:
            queries: Strings.
            count: Texts to a query; all, if there are fewer.
        """
        distances, positions = self._neighbors.kneighbors(
            self.model.encode(queries, verbose=0), min(count, len(self.texts))
        )
        return [
            [(self.texts[i], 1.0 - float(distance)) for distance, i in zip(*row, strict=True)]
            for row in zip(distances, positions, strict=True)
        ]


def _text_ids(texts: Sequence[str], pairs: Sequence[str]) -> np.ndarray:
    """Numbers the different texts, so that equal ones can be told. *Shape:* (n, 2)."""
    numbers: dict[str, int] = {}
    columns = [
        [numbers.setdefault(text, len(numbers)) for text in column] for column in (texts, pairs)
    ]
    return np.array(columns).T
