"""Pretraining: an encoder, and heads for hidden and replaced tokens, next sentences, and a teacher.

Axes: B batch, S sequence, H hidden, P predictions, V vocabulary, W width of a teacher's vectors.
"""

from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.name_map import (
    NEXT_SENTENCE,
    Weight,
    masked_language_model_weights,
    pooler_weights,
)
from keras_bert_scratch.checkpoints.sentence_transformers import write_modules
from keras_bert_scratch.evaluation.metrics import Perplexity
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.encoder_block import EncoderBlock
from keras_bert_scratch.layers.heads import (
    ClassificationHead,
    MaskedLanguageModelHead,
    ReplacedTokensHead,
)
from keras_bert_scratch.layers.pooling import pool_tokens
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import MASK
from keras_bert_scratch.training.losses import ReplacedTokensLoss, replaced_tokens_accuracy


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertPretrainer(EncoderModel):
    """Predicts hidden tokens, and whether a sentence follows (Devlin et al. 2018, section 3.1).

    Train it on the batches of `data.shards.ShardedExamples`.

    Args:
        encoder: The encoder below the heads.
        tokenizer: For `fill_mask` and `save_pretrained`; None if neither is used.
        masked_language_model: Whether there is a head for hidden tokens.
        next_sentence: Whether there is a next-sentence head. Without one nothing trains the
            encoder's pooler.
        teacher_dim: W, the size of the vectors that a larger sentence encoder gives to texts. With
            it there is a third head: from the mean of a text's states to the teacher's vector, by
            cosine (Reimers and Gurevych 2020, "Making Monolingual Sentence Embeddings
            Multilingual", section 2). Texts are compared, not tokens, so that the teacher's
            vocabulary may be another. The head is for training, and is not in `save_pretrained`,
            which writes a sentence encoder of mean pooling.
        generator_layers: Layers of a generator, by default none. With one, it is the generator that
            guesses hidden tokens, and the encoder reads its guesses and tells of every token
            whether it was replaced (Clark et al. 2020, "ELECTRA", section 2). The generator reads
            the encoder's embeddings and has blocks of its own; `fill_mask` asks it. Both heads are
            for training, and are not in `save_pretrained`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer's vocabulary is larger than the encoder's, there is no head, or
            a generator without the head for hidden tokens, with the one for next sentences, or
            beside an encoder of ModernBERT's.

    Example:
        >>> model = BertPretrainer.from_pretrained("tiny-en-1")
        >>> model.fill_mask("He opened the [MASK].", top_k=2)
        [{'way': 0.03..., 'door': 0.02...}]
    """

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None = None,
        *,
        masked_language_model: bool = True,
        next_sentence: bool = True,
        teacher_dim: int | None = None,
        generator_layers: int = 0,
        **kwargs: Any,
    ) -> None:
        if not (masked_language_model or next_sentence or teacher_dim):
            raise ValueError("A pretrainer needs a head: set one of the arguments for them.")
        if generator_layers and (next_sentence or not masked_language_model):
            raise ValueError(
                f"generator_layers is {generator_layers}, which needs masked_language_model=True "
                f"and next_sentence=False, received {masked_language_model} and {next_sentence}: a "
                "generator guesses hidden tokens, and guesses do not tell what sentence follows."
            )
        if generator_layers and encoder.config.architecture != "bert":
            raise ValueError(
                f"generator_layers is {generator_layers}, but the generator has BERT's blocks, and "
                f"the encoder those of {encoder.config.architecture!r}: leave it at 0."
            )
        super().__init__(encoder, tokenizer, **kwargs)
        config = encoder.config

        # === Layers ===
        self.masked_language_model = (
            MaskedLanguageModelHead(
                config.hidden_dim,
                config.vocab_size,
                activation=config.activation,
                layer_norm_epsilon=config.layer_norm_epsilon,
                initializer_range=config.initializer_range,
                use_bias=config.architecture == "bert",
                dtype=self.dtype_policy,
                name="masked_language_model",
            )
            if masked_language_model
            else None
        )
        self.next_sentence = (
            ClassificationHead(
                2,
                dropout=0.0,
                initializer_range=config.initializer_range,
                dtype=self.dtype_policy,
                name="next_sentence",
            )
            if next_sentence
            else None
        )
        self.teacher_vector = (
            None
            if teacher_dim is None
            else keras.layers.Dense(teacher_dim, dtype=self.dtype_policy, name="teacher_vector")
        )
        self.generator = [
            EncoderBlock(config, dtype=self.dtype_policy, name=f"generator_{n}")
            for n in range(generator_layers)
        ]
        self.replaced_tokens: keras.layers.Layer | None = None
        if generator_layers:
            self.replaced_tokens = ReplacedTokensHead.for_config(
                config, dtype=self.dtype_policy, name="replaced_tokens"
            )
            self.seed_generator = keras.random.SeedGenerator()
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the heads' weights; the encoder has its own."""
        if self.masked_language_model is not None:
            self.masked_language_model.build((None, None, self.encoder.config.hidden_dim))
        if self.next_sentence is not None:
            self.next_sentence.build((None, self.encoder.config.hidden_dim))
        if self.teacher_vector is not None:
            self.teacher_vector.build((None, self.encoder.config.hidden_dim))
        if self.replaced_tokens is not None:
            for layer in (*self.generator, self.replaced_tokens):
                layer.build((None, None, self.encoder.config.hidden_dim))
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Computes the outputs of the heads.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32, *shape:* (B, S) each, and
                `masked_positions`, int32, *shape:* (B, P).
            training: Whether dropout acts.

        Returns:
            A dict of logits: `masked_language_model`, *shape:* (B, P, V), and `next_sentence`,
            *shape:* (B, 2); class 0 means that the second segment follows the first. With a
            teacher, also `teacher_vector`, *shape:* (B, W). With a generator, also
            `replaced_tokens`, the logit of "replaced" and the token that the encoder read, *shape:*
            (B, S, 2).
        """
        logits = {}
        if self.generator:
            states = self._generator_states(inputs, training)
            logits["masked_language_model"] = guesses = self._hidden_tokens(states, inputs)
            inputs = {**inputs, "token_ids": self._with_guesses(inputs, guesses)}
        outputs = self.encoder(inputs, training=training)
        if self.replaced_tokens is not None:
            read = keras.ops.expand_dims(inputs["token_ids"], -1)
            found = self.replaced_tokens(outputs["sequence_output"]), read
            logits["replaced_tokens"] = keras.ops.concatenate(
                [keras.ops.cast(part, "float32") for part in found], axis=-1
            )
        elif self.masked_language_model is not None:
            logits["masked_language_model"] = self._hidden_tokens(
                outputs["sequence_output"], inputs
            )
        if self.next_sentence is not None:
            logits["next_sentence"] = self.next_sentence(outputs["pooled_output"])
        if self.teacher_vector is not None:
            states = outputs["sequence_output"]
            logits["teacher_vector"] = self.teacher_vector(
                pool_tokens(states, inputs["padding_mask"], "mean")
            )
        return logits

    def _hidden_tokens(self, states: Any, inputs: dict[str, Any]) -> Any:
        """Returns the logits of hidden tokens. *Shape:* (B, P, V)."""
        assert self.masked_language_model is not None
        return self.masked_language_model(
            states, inputs["masked_positions"], self.encoder.embeddings.token.embeddings
        )

    def _generator_states(self, inputs: dict[str, Any], training: bool | None) -> Any:
        """Returns what the generator's last block computes. *Shape:* (B, S, H)."""
        x = self.encoder.embeddings(inputs["token_ids"], inputs["segment_ids"], training=training)
        bias = padding_bias(inputs["padding_mask"], self.compute_dtype)
        for block in self.generator:
            x = block(x, attention_bias=bias, training=training)
        return x

    def _with_guesses(self, inputs: dict[str, Any], logits: Any) -> Any:
        """Returns the token ids with hidden ones as the generator draws them. *Shape:* (B, S)."""
        token_ids, positions = (
            keras.ops.cast(inputs[name], "int32") for name in ("token_ids", "masked_positions")
        )
        rows = keras.ops.reshape(keras.ops.cast(logits, "float32"), (-1, logits.shape[-1]))
        drawn = keras.random.categorical(rows, 1, dtype="int32", seed=self.seed_generator)
        drawn = keras.ops.reshape(drawn, keras.ops.shape(positions))
        # (B, P, S). Unused slots point to [CLS], which is never hidden.
        places = keras.ops.arange(keras.ops.shape(token_ids)[1], dtype="int32")
        is_here = keras.ops.equal(positions[:, :, None], places)
        is_here = keras.ops.cast(is_here, "int32") * keras.ops.sign(positions)[:, :, None]
        guesses = keras.ops.sum(is_here * drawn[:, :, None], axis=1)
        return keras.ops.where(keras.ops.any(is_here, axis=1), guesses, token_ids)

    # === Training ===
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles, see `EncoderModel.compile`.

        Raises:
            ValueError: If there is a `training_step`, as `BertClassifier` has.
        """
        if "training_step" in kwargs:
            name = type(kwargs["training_step"]).__name__
            raise ValueError(
                f"BertPretrainer takes no training_step, received a {name}: an example holds pieces"
                " of several documents, and differential privacy is of examples. Pretrain on text "
                "that is public, and fine-tune a BertClassifier privately."
            )
        super().compile(*args, **kwargs)

    def default_loss(self) -> dict[str, keras.losses.Loss]:
        """Returns cross-entropy for the heads; the loss is their sum (A.2).

        The masked-LM head's is summed over the masked positions and divided by all B x P slots: a
        denominator that is the same for every batch, so that gradients accumulated over small
        batches are those of the large one. Of a teacher's vectors the loss is the cosine, negative.
        Of replaced tokens it is a binary cross-entropy over all tokens, see `ReplacedTokensLoss`.
        """
        losses: dict[str, keras.losses.Loss] = {
            head: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for head in self._heads
        }
        if self.teacher_vector is not None:
            losses["teacher_vector"] = keras.losses.CosineSimilarity()
        if self.replaced_tokens is not None:
            losses["replaced_tokens"] = ReplacedTokensLoss()
        return losses

    def default_weighted_metrics(self) -> dict[str, list[keras.metrics.Metric]]:
        """Returns accuracy and perplexity over the masked positions, and those of other heads."""
        metrics: dict[str, list[keras.metrics.Metric]] = {
            head: [keras.metrics.SparseCategoricalAccuracy("accuracy")] for head in self._heads
        }
        if self.masked_language_model is not None:
            metrics["masked_language_model"].append(Perplexity())
        if self.teacher_vector is not None:
            metrics["teacher_vector"] = [keras.metrics.CosineSimilarity("cosine")]
        if self.replaced_tokens is not None:
            metrics["replaced_tokens"] = [
                keras.metrics.MeanMetricWrapper(replaced_tokens_accuracy, name="accuracy")
            ]
        return metrics

    @property
    def _heads(self) -> list[str]:
        """The heads whose answer is a class."""
        names = "masked_language_model", "next_sentence"
        return [name for name in names if getattr(self, name) is not None]

    # === Answers ===
    def fill_mask(self, text: str, top_k: int = 5) -> list[dict[str, float]]:
        """Returns the most probable tokens for every [MASK] of a text.

        Args:
            text: With [MASK] in place of the tokens to guess.
            top_k: Number of tokens for each.

        Returns:
            For each [MASK], in order, tokens and their probabilities, most probable first.

        Raises:
            ValueError: If the text has no [MASK], is too long, or the model has no tokenizer, or no
                head for hidden tokens.
        """
        if self.masked_language_model is None:
            raise ValueError(
                "The model has no head for hidden tokens: make it with masked_language_model=True."
            )
        tokenizer = self.check_tokenizer()
        settings = {**tokenizer.get_config(), "allow_special_tokens": True}
        encoding = WordPieceTokenizer.from_config(settings).encode(text)
        token_ids = np.array([encoding.token_ids], "int32")
        positions = np.flatnonzero(token_ids[0] == tokenizer.vocabulary.mask_id)
        if not len(positions):
            raise ValueError(f"The text has no {MASK}: write it where a token is to be guessed.")
        longest = self.encoder.config.max_positions
        if token_ids.shape[1] > longest:
            raise ValueError(
                f"The text has {token_ids.shape[1]} tokens, the model reads {longest}: shorten it."
            )
        inputs = {
            "token_ids": token_ids,
            "segment_ids": np.zeros_like(token_ids),
            "padding_mask": np.ones_like(token_ids),
            "masked_positions": positions[None].astype("int32"),
        }
        logits = keras.ops.cast(self(inputs)["masked_language_model"][0], "float32")
        # Rows beyond the vocabulary have no token.
        known = keras.ops.softmax(logits)[:, : len(tokenizer.vocabulary)]
        probabilities, tokens = keras.ops.top_k(known, top_k)
        return [
            {
                tokenizer.vocabulary.id_to_token(int(token)): float(probability)
                for token, probability in zip(*row, strict=True)
            }
            for row in zip(
                keras.ops.convert_to_numpy(tokens),
                keras.ops.convert_to_numpy(probabilities),
                strict=True,
            )
        ]

    # === Weights in and out ===
    @classmethod
    def _from_checkpoint(cls, checkpoint: Checkpoint, **settings: Any) -> Self:
        """Makes a model, by default with a next-sentence head if the checkpoint has one."""
        if settings.get("next_sentence") is None:
            settings["next_sentence"] = checkpoint.has(NEXT_SENTENCE)
        return super()._from_checkpoint(checkpoint, **settings)

    @property
    def architecture(self) -> str:  # type: ignore[override]
        """`BertForPreTraining`, `BertForMaskedLM` without the head for next sentences."""
        if self.masked_language_model is None or self.generator:
            return "BertModel"
        return "BertForMaskedLM" if self.next_sentence is None else "BertForPreTraining"

    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the rows of the heads, and of the pooler below the next-sentence head."""
        config = self.encoder.config
        has_masked = self.architecture != "BertModel"
        masked = masked_language_model_weights(config) if has_masked else ()
        if self.next_sentence is None:
            return masked or super().other_weights()
        return (*pooler_weights(config), *masked, *NEXT_SENTENCE)

    def optional_weights(self, checkpoint: Checkpoint) -> tuple[Weight, ...]:
        """Returns the rows of the heads, which are new where a checkpoint lacks them."""
        return self.other_weights()

    def write_files(self, folder: Path) -> None:
        """Writes the files of `transformers`; after a teacher also those of a sentence encoder."""
        super().write_files(folder)
        if self.teacher_vector is not None:
            write_modules(
                folder,
                pooling="mean",
                normalize=False,
                sequence_length=self.encoder.config.max_positions,
                hidden_dim=self.encoder.config.hidden_dim,
                prompts={},
                prompt=None,
            )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "masked_language_model": self.masked_language_model is not None,
            "next_sentence": self.next_sentence is not None,
            "teacher_dim": None if self.teacher_vector is None else self.teacher_vector.units,
            "generator_layers": len(self.generator),
        }
