"""Summarization: an encoder that reads a text, and a decoder that writes its summary.

Axes: B batch, S sequence, T target sequence, V vocabulary.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_bert_scratch.checkpoints.encoder_decoder import (
    MODEL_TYPE,
    EncoderDecoderCheckpoint,
    write_encoder_decoder,
)
from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint
from keras_bert_scratch.checkpoints.name_map import (
    DECODER_HEAD,
    decoder_weights,
    encoder_weights,
    pooler_weights,
)
from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.data.teacher_forcing import TeacherForcedBatches
from keras_bert_scratch.evaluation.metrics import Perplexity
from keras_bert_scratch.files import read_json
from keras_bert_scratch.models.beam_search import GREEDY
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.graphs.summarizer import SummarizerSignature
from keras_bert_scratch.tasks.text_model import TextExamples, TextModel
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.label_smoothing import SmoothedCrossentropy

logger = logging.getLogger(__name__)


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertSummarizer(TextModel):
    """Writes a text for a text: BERT as encoder and as decoder (Rothe et al. 2020, "BERT2BERT").

    It learns by teacher forcing from texts and summaries. A summary is [CLS] tokens [SEP].

    Args:
        encoder: Reads the text.
        decoder: Writes the summary; of the encoder's width and vocabulary.
        tokenizer: The tokenizer of both; None if only ready inputs are used.
        sequence_length: Tokens to which texts are truncated; by default all that the encoder's
            positions cover.
        summary_length: Most tokens of a summary, [CLS] and [SEP] included.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If encoder and decoder do not fit together, the tokenizer's vocabulary is
            larger than theirs, or a length exceeds the positions.

    Example:
        >>> model = BertSummarizer.from_pretrained("tiny-en", summary_length=8)
        >>> model.compile(adamw(1e-3, total_steps=20, warmup_ratio=0.1))
        >>> history = model.fit(["a man came in and sat down"] * 8, ["a man sat"] * 8, epochs=20)
        >>> model.summarize(["a man came in and sat down"])
        ['a man sat']
    """

    export_formats = ("tf_saved_model", "litert")

    def __init__(
        self,
        encoder: BertEncoder,
        decoder: BertDecoder,
        tokenizer: WordPieceTokenizer | None = None,
        *,
        sequence_length: int | None = None,
        summary_length: int = 64,
        **kwargs: Any,
    ) -> None:
        for name in ("vocab_size", "hidden_dim"):
            sizes = getattr(encoder.config, name), getattr(decoder.config, name)
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f"Encoder and decoder must have the same {name}, received {sizes[0]} and "
                    f"{sizes[1]}: make both from one config."
                )
        super().__init__(encoder, tokenizer, sequence_length, **kwargs)
        if not 3 <= summary_length <= decoder.config.max_positions:
            raise ValueError(
                "summary_length must be from 3 to the decoder's max_positions, "
                f"{decoder.config.max_positions}; received {summary_length}."
            )
        self.summary_length = summary_length

        # === Layers ===
        self.encoder.pooler.trainable = False  # nothing reads it
        self.decoder = decoder
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the logits of every token of the summaries from the true tokens before it.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32, *shape:* (B, S) each, and
                `target_ids`, the summaries' tokens from [CLS] on, int32, *shape:* (B, T).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, T, V).
        """
        states = self.encoder(inputs, training=training)["sequence_output"]
        return self.decoder(
            {
                "token_ids": inputs["target_ids"],
                "sequence_output": states,
                "padding_mask": inputs["padding_mask"],
            },
            training=training,
        )

    # === Training ===
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles, see `EncoderModel.compile`."""
        # Like Keras' own functions, these are traced again: layers may have changed, as by LoRA.
        self._generators.clear()
        super().compile(*args, **kwargs)

    def default_loss(self) -> keras.losses.Loss:
        """Returns the cross-entropy with a label smoothing of 0.1."""
        return SmoothedCrossentropy(label_smoothing=0.1)

    def default_weighted_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy and the perplexity of the next token."""
        return [keras.metrics.SparseCategoricalAccuracy("accuracy"), Perplexity()]

    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns summaries into the tokens to predict: those after [CLS], up to [SEP], then padding.

        Args:
            y: Summaries.

        Returns:
            int32. *Shape:* (n, T).

        Raises:
            ValueError: If a summary has no token, or the model has no tokenizer.
        """
        summaries, _ = text_columns(y)
        token_ids, _ = self.tokenize(summaries, sequence_length=self.summary_length)
        empty = np.flatnonzero(token_ids.row_lengths() < 3)
        if len(empty):
            raise ValueError(
                f"{len(empty)} of {len(summaries)} summaries are empty, the first at position "
                f"{empty[0]}: {summaries[empty[0]]!r}. Remove them with their texts."
            )
        return token_ids[:, 1:].to_tensor(self.check_tokenizer().vocabulary.pad_id).numpy()

    def _targets(self, texts: list[str], pairs: list[str] | None, y: Any, labelled: bool) -> Any:
        if y is not None and pairs is not None:
            raise ValueError("A summary is of one text, received pairs of texts: join them.")
        targets = super()._targets(texts, pairs, y, labelled)
        if targets is not None and len(targets) != len(texts):
            more, fewer = "text", "summary"
            if len(targets) > len(texts):
                more, fewer = fewer, more
            raise ValueError(
                f"There are {len(texts)} texts but {len(targets)} summaries: the {more} at "
                f"position {min(len(texts), len(targets))} has no {fewer}."
            )
        return targets

    def batches_of(
        self,
        examples: TextExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes texts, and their summaries if given; see `TextModel.batches_of`."""
        if examples.targets is None:
            return super().batches_of(examples, batch_size=batch_size, seed=seed)
        token_ids, segment_ids = self.tokenize(examples.texts)
        vocabulary = self.check_tokenizer().vocabulary
        return TeacherForcedBatches(
            token_ids,
            segment_ids,
            start_id=vocabulary.cls_id,
            labels=examples.targets,
            sample_weight=examples.sample_weight,
            batch_size=batch_size,
            pad_id=vocabulary.pad_id,
            seed=seed,
        )

    # === Answers ===
    def generate(
        self,
        inputs: dict[str, Any],
        sampler: Callable[..., Any] = GREEDY,
        no_repeat_ngram_size: int = 0,
        min_length: int = 0,
        forbidden_words: Sequence[str] = (),
    ) -> Any:
        """Writes the tokens of summaries; see `summarize`.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
            sampler: How to choose among the tokens.
            no_repeat_ngram_size: Length of the n-grams that may come only once.
            min_length: Tokens before which no summary ends, [CLS] included.
            forbidden_words: Words that are not written.

        Returns:
            int32 ids, [CLS] and [SEP] included; for a text without tokens these two alone. *Shape:*
            (B, summary_length).

        Raises:
            ValueError: If the model has no tokenizer, or an argument is out of its range.
        """
        if no_repeat_ngram_size < 0:
            raise ValueError(
                f"no_repeat_ngram_size must be at least 0, received {no_repeat_ngram_size}."
            )
        if not 0 <= min_length <= self.summary_length:
            raise ValueError(
                f"min_length must be from 0 to summary_length, {self.summary_length}; received "
                f"{min_length}."
            )
        vocabulary = self.check_tokenizer().vocabulary
        tokens = self.decoder.generate(
            self.encoder(inputs, training=False)["sequence_output"],
            inputs["padding_mask"],
            sampler,
            start_id=vocabulary.cls_id,
            end_id=vocabulary.sep_id,
            pad_id=vocabulary.pad_id,
            length=self.summary_length,
            no_repeat_ngram_size=no_repeat_ngram_size,
            min_length=min_length,
            forbidden_words=self._token_sequences(forbidden_words),
        )
        ids, is_text = inputs["token_ids"], inputs["padding_mask"] > 0
        for end in (vocabulary.cls_id, vocabulary.sep_id):
            is_text = ops.logical_and(is_text, ids != end)
        padding = [vocabulary.pad_id] * (self.summary_length - 2)
        nothing = ops.array([[vocabulary.cls_id, vocabulary.sep_id, *padding]], "int32")
        return ops.where(ops.any(is_text, axis=1, keepdims=True), tokens, nothing)

    def _token_sequences(self, words: Sequence[str]) -> list[list[int]]:
        """Returns the ids of words, for those that the vocabulary can write.

        Raises:
            TypeError: If they are one string, or hold something else than strings.
            ValueError: If a word has no token.
        """
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"forbidden_words are strings in a list, received {words!r}.")
        tokenizer = self.check_tokenizer()
        sequences = [tokenizer.encode(word).token_ids[1:-1] for word in words]
        if [] in sequences:
            raise ValueError(
                f"forbidden_words has {words[sequences.index([])]!r}, which has no token: leave it "
                "out."
            )
        # To forbid [UNK] would forbid words that were not named.
        unknown = tokenizer.vocabulary.unk_id
        return [sequence for sequence in sequences if unknown not in sequence]

    def predict_step(self, data: Any) -> Any:
        """Makes `predict` return the ids of greedy summaries, as no true tokens are given."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.generate(inputs)

    def summarize(
        self,
        texts: Any,
        sampler: Callable[..., Any] = GREEDY,
        *,
        no_repeat_ngram_size: int = 0,
        min_length: int = 0,
        forbidden_words: Sequence[str] = (),
        batch_size: int = 32,
    ) -> list[str]:
        """Writes a summary of each text; an empty one of an empty text.

        Args:
            texts: Strings.
            sampler: By default the most probable token, each time; `BeamSearch(...)`; or a sampler
                of keras-nlp, such as `keras_hub.samplers.TopPSampler(p=0.9, seed=0)`. It is traced
                once: keep one for several calls.
            no_repeat_ngram_size: N-grams of this length come only once in a summary; 0 forbids
                nothing.
            min_length: Tokens before which no summary ends, [CLS] included, as `min_length` of
                transformers' `generate`; 0 or 1 allows empty summaries.
            forbidden_words: Words, or sequences of them, whose tokens are not written one after the
                other, as `bad_words_ids` of `generate`. Words that begin with all the tokens of a
                forbidden one are not written, either.
            batch_size: B.

        Raises:
            TypeError: If a text or a forbidden word is no string.
            ValueError: If the model has no tokenizer, or an argument is out of its range.

        Example:
            >>> model = BertSummarizer.from_pretrained("tiny-en", summary_length=8)
            >>> beams = BeamSearch(num_beams=4)
            >>> len(model.summarize(["a man came in"], beams, no_repeat_ngram_size=3))
            1
        """
        decode = self.check_tokenizer().decode
        self._token_sequences(forbidden_words)  # which refuses a string, before it is a tuple
        if not len(texts):
            return []
        batches = self.batches(texts, batch_size=batch_size)
        generate = self._generator(
            sampler, no_repeat_ngram_size, min_length, tuple(forbidden_words)
        )
        summaries: dict[int, str] = {}
        for indices in batches.order(0):
            rows = keras.ops.convert_to_numpy(generate(batches.inputs(indices)))
            summaries |= dict(zip(indices.tolist(), map(decode, rows), strict=True))
        return [summaries[position] for position in range(len(summaries))]

    @functools.cached_property
    def _generators(self) -> dict[Any, Callable[[dict[str, Any]], Any]]:
        return {}

    def _generator(
        self,
        sampler: Callable[..., Any],
        no_repeat_ngram_size: int,
        min_length: int,
        forbidden_words: tuple[str, ...],
    ) -> Callable[[dict[str, Any]], Any]:
        """Returns `generate` for one choice, as a graph where Keras runs on TensorFlow."""
        key = (sampler, no_repeat_ngram_size, min_length, forbidden_words)
        if key not in self._generators:
            generate = functools.partial(
                self.generate,
                sampler=sampler,
                no_repeat_ngram_size=no_repeat_ngram_size,
                min_length=min_length,
                forbidden_words=forbidden_words,
            )
            if keras.backend.backend() == "tensorflow":
                generate = tf.function(generate, reduce_retracing=True)
            self._generators[key] = generate
        return self._generators[key]

    # === Weights in and out ===
    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path_or_hub_id: str | Path,
        *,
        sequence_length: int | None = None,
        summary_length: int | None = None,
        num_decoder_layers: int | None = None,
        dtype: Any = None,
    ) -> "BertSummarizer":
        """Loads a summarizer, or an encoder from which both encoder and decoder start.

        From an encoder's checkpoint, the decoder's embeddings, attentions and feed-forward layers
        start with the encoder's weights, and its head with the masked-LM's if there is one.
        Cross-attention starts as self-attention does: from random weights, the decoder learns
        summaries by heart long before it learns to read the text.

        Args:
            path_or_hub_id: A local folder (no network is used) or the id of a model on the hub: of
                transformers' EncoderDecoderModel of two BERTs, or of a BERT encoder.
            sequence_length: See the class; by default what the checkpoint says.
            summary_length: See the class; by default what the checkpoint says, or 64.
            num_decoder_layers: Layers of a decoder that starts from the encoder's first blocks; by
                default as many as it has.
            dtype: Dtype of the computation, such as `"mixed_bfloat16"`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, or does not fit its config or vocabulary.
        """
        folder = find_checkpoint(path_or_hub_id)
        # A folder of Google's has no such file.
        fields = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
        checkpoint = (
            EncoderDecoderCheckpoint(folder)
            if fields.get("model_type") == MODEL_TYPE
            else open_checkpoint(folder)
        )
        config = checkpoint.config
        saved = checkpoint.settings(sequence_length=int, summary_length=int)
        if isinstance(checkpoint, EncoderDecoderCheckpoint):
            decoder_config = checkpoint.decoder_config
            if num_decoder_layers not in (None, decoder_config.num_layers):
                raise ValueError(
                    f"{folder} has a decoder of {decoder_config.num_layers} layers, received "
                    f"num_decoder_layers={num_decoder_layers}: leave it out."
                )
        else:
            num_layers = num_decoder_layers or config.num_layers
            if not 1 <= num_layers <= config.num_layers:
                raise ValueError(
                    f"num_decoder_layers must be from 1 to the encoder's {config.num_layers}, "
                    f"received {num_layers}."
                )
            decoder_config = dataclasses.replace(config, num_layers=num_layers)
        model = cls(
            BertEncoder(config, dtype=dtype, name="encoder"),
            BertDecoder(decoder_config, dtype=dtype, name="decoder"),
            WordPieceTokenizer.from_directory(folder),
            sequence_length=sequence_length or saved.get("sequence_length"),
            summary_length=summary_length or saved.get("summary_length", 64),
            dtype=dtype,
        )
        if isinstance(checkpoint, EncoderDecoderCheckpoint):
            checkpoint.load_all(model)
        else:
            checkpoint.load(
                model,
                (*encoder_weights(config), *decoder_weights(decoder_config)),
                optional=(*pooler_weights(config), *DECODER_HEAD),
            )
            logger.warning(
                "To be trained: the decoder's cross-attention, a copy of its self-attention."
            )
            for block in model.decoder.blocks:
                block.cross_attention.set_weights(block.attention.get_weights())
        return model

    def write_files(self, folder: Path) -> None:
        """Writes the files of transformers' EncoderDecoderModel."""
        write_encoder_decoder(folder, self, **self.checkpoint_fields())
        self.saved_tokenizer().save(folder)

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the special tokens and the lengths, as fields of config.json."""
        vocabulary = self.check_tokenizer().vocabulary
        return {
            **super().checkpoint_fields(),
            "decoder_start_token_id": vocabulary.cls_id,
            "eos_token_id": vocabulary.sep_id,
            "sequence_length": self.sequence_length,
            "summary_length": self.summary_length,
        }

    def _signature(self, options: dict[str, Any]) -> SummarizerSignature:
        """Describes the summarizer for its exports, which write as `summarize` with the options."""
        names = ("sampler", "no_repeat_ngram_size", "min_length", "forbidden_words")
        choice = {name: options.pop(name) for name in names if name in options}
        return SummarizerSignature(
            self,
            self.check_tokenizer(),
            functools.partial(self.summarize, **choice),
            generate=functools.partial(self.generate, **choice),
            sequence_length=self.sequence_length,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "summary_length": self.summary_length,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "BertSummarizer":
        """Inverts `get_config`."""
        decoder = keras.saving.deserialize_keras_object(config["decoder"], custom_objects)
        return super().from_config({**config, "decoder": decoder}, custom_objects)
