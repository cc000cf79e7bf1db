"""Pretraining: an encoder, and heads for hidden tokens, next sentences and a teacher's vectors.

Axes: B batch, S sequence, P predictions, V vocabulary, W width of a teacher's vectors.
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
from keras_bert_scratch.layers.heads import ClassificationHead, MaskedLanguageModelHead
from keras_bert_scratch.layers.pooling import pool_tokens
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import MASK


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
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer's vocabulary is larger than the encoder's, or there is no head.

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
        **kwargs: Any,
    ) -> None:
        if not (masked_language_model or next_sentence or teacher_dim):
            raise ValueError("A pretrainer needs a head: set one of the arguments for them.")
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
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the heads' weights; the encoder has its own."""
        if self.masked_language_model is not None:
            self.masked_language_model.build((None, None, self.encoder.config.hidden_dim))
        if self.next_sentence is not None:
            self.next_sentence.build((None, self.encoder.config.hidden_dim))
        if self.teacher_vector is not None:
            self.teacher_vector.build((None, self.encoder.config.hidden_dim))
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
            teacher, also `teacher_vector`, *shape:* (B, W).
        """
        outputs = self.encoder(inputs, training=training)
        logits = {}
        if self.masked_language_model is not None:
            logits["masked_language_model"] = self.masked_language_model(
                outputs["sequence_output"],
                inputs["masked_positions"],
                self.encoder.embeddings.token.embeddings,
            )
        if self.next_sentence is not None:
            logits["next_sentence"] = self.next_sentence(outputs["pooled_output"])
        if self.teacher_vector is not None:
            states = outputs["sequence_output"]
            logits["teacher_vector"] = self.teacher_vector(
                pool_tokens(states, inputs["padding_mask"], "mean")
            )
        return logits

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
        """
        losses: dict[str, keras.losses.Loss] = {
            head: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for head in self._heads
        }
        if self.teacher_vector is not None:
            losses["teacher_vector"] = keras.losses.CosineSimilarity()
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
        if self.masked_language_model is None:
            return "BertModel"
        return "BertForMaskedLM" if self.next_sentence is None else "BertForPreTraining"

    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the rows of the heads, and of the pooler below the next-sentence head."""
        config = self.encoder.config
        masked = masked_language_model_weights(config) if self.masked_language_model else ()
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
        }
