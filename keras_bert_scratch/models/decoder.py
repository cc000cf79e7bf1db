"""The decoder: states of an encoder and the previous tokens in, logits of the next tokens out.

Axes: B batch, S sequence, T target sequence, H hidden, N heads, D head width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.decoder_block import DecoderBlock, causal_bias
from keras_bert_scratch.layers.embeddings import BertEmbeddings
from keras_bert_scratch.layers.heads import MaskedLanguageModelHead
from keras_bert_scratch.models.beam_search import completes_words, forbid, repeats_ngram
from keras_bert_scratch.models.state import ConfiguredModel

# Keys and values, *shape:* (B, N, T, D) each, of every block.
Cache = list[tuple[Any, Any]]


class Memory(NamedTuple):
    """The encoder's states as seen by cross-attention; computed once a text.

    Attributes:
        keys_and_values: Keys and values of every block. *Shape:* (B, N, S, D) each.
        padding_mask: 1 for tokens, 0 for padding. *Shape:* (B, S).
    """

    keys_and_values: Cache
    padding_mask: Any


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertDecoder(ConfiguredModel):
    """A Transformer decoder whose layers fit BERT's weights (Rothe et al. 2020, section 2).

    Its head is the masked-LM head, which projects on the token embeddings. The constructor creates
    the weights.

    Args:
        config: Sizes and switches.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the architecture is not BERT's, or heads were removed.

    Example:
        >>> decoder = BertDecoder(BertConfig.preset("tiny"))
        >>> logits = decoder(
        ...     {
        ...         "token_ids": np.array([[101, 2023]]),
        ...         "sequence_output": np.ones((1, 7, 128), "float32"),
        ...         "padding_mask": np.ones((1, 7)),
        ...     }
        ... )
        >>> logits.shape
        TensorShape([1, 2, 30522])
    """

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if config.architecture != "bert" or config.head_dim is not None:
            raise ValueError(
                "BertDecoder is BERT's with all heads, received architecture "
                f"{config.architecture!r} and head_dim={config.head_dim}: give the decoder a "
                "config of its own."
            )
        self.config = config

        # === Layers ===
        dtype = self.dtype_policy
        self.embeddings = BertEmbeddings.for_config(config, dtype=dtype, name="embeddings")
        self.blocks = [
            DecoderBlock(config, dtype=dtype, name=f"block_{n}") for n in range(config.num_layers)
        ]
        self.head = MaskedLanguageModelHead.for_config(config, dtype=dtype, name="head")
        self.build((None, None))

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; none of them depends on the input's shape."""
        if self.built:  # type: ignore[has-type]
            return
        self.output_shape = (None, None, self.config.vocab_size)  # for `summary`
        self.embeddings.build((None, None))
        for block in self.blocks:
            block.build()
        self.head.build()
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the logits of the token after each given one, all at once.

        Args:
            inputs: `token_ids`, int32, *shape:* (B, T); the encoder's `sequence_output`, *shape:*
                (B, S, H), and its `padding_mask`, *shape:* (B, S).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, T, V).

        Raises:
            ValueError: If the sequence is longer than `config.max_positions`.
        """
        token_ids = inputs["token_ids"]
        x = self.embeddings(token_ids, ops.zeros_like(token_ids), training=training)
        attention_bias = causal_bias(ops.shape(token_ids)[1], self.compute_dtype)
        memory_bias = padding_bias(inputs["padding_mask"], self.compute_dtype)
        for block in self.blocks:
            x = block(
                x,
                inputs["sequence_output"],
                attention_bias=attention_bias,
                memory_bias=memory_bias,
                training=training,
            )
        return self._logits(x)

    def _logits(self, states: Any) -> Any:
        return self.head(states, None, self.embeddings.token.embeddings)

    # === One token at a time ===
    def memory(self, sequence_output: Any, padding_mask: Any) -> Memory:
        """Projects the encoder's states to the keys and values of all cross-attentions.

        Args:
            sequence_output: *Shape:* (B, S, H).
            padding_mask: *Shape:* (B, S).
        """
        return Memory(
            [block.cross_attention.keys_and_values(sequence_output) for block in self.blocks],
            padding_mask,
        )

    def empty_cache(self, batch: Any, length: int) -> Cache:
        """Allocates the keys and values of B rows of `length` tokens."""
        config = self.config
        shape = (batch, config.num_heads, length, config.hidden_dim // config.num_heads)
        return [
            (ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype))
            for _ in self.blocks
        ]

    def step(
        self, token_ids: Any, position: Any, cache: Cache, memory: Memory
    ) -> tuple[Any, Cache]:
        """Computes the logits of the token after one position, from the cache of previous ones.

        Args:
            token_ids: The tokens at the position, int32. *Shape:* (B,).
            position: The position, int32, a scalar.
            cache: Keys and values of the previous positions.
            memory: Memory of the M texts; M divides B, see `DecoderBlock`.

        Returns:
            The logits, *shape:* (B, V), and the cache with this position added.
        """
        tokens = ops.expand_dims(token_ids, 1)
        x = self.embeddings(tokens, ops.zeros_like(tokens), first_position=position)  # (B, 1, H)
        places = ops.arange(cache[0][0].shape[2], dtype="int32")
        bias = padding_bias(ops.expand_dims(places <= position, 0), self.compute_dtype)
        is_here = ops.expand_dims(places == position, 1)  # (T, 1)
        # Computed for each token: with a bias from outside the loop and a single block, TensorFlow
        # 2.21's remapper fuses the scores wrongly, and the loop returns nothing.
        memory_bias = padding_bias(memory.padding_mask, self.compute_dtype)
        new_cache: Cache = []
        for block, block_memory, (keys, values) in zip(
            self.blocks, memory.keys_and_values, cache, strict=True
        ):
            key, value = block.attention.keys_and_values(x)  # (B, N, 1, D)
            # Not by ops.slice_update, which is an operation that stock servers may lack.
            keys, values = ops.where(is_here, key, keys), ops.where(is_here, value, values)
            x = block(
                x,
                attention_bias=bias,
                memory_bias=memory_bias,
                keys_and_values=(keys, values),
                memory=block_memory,
            )
            new_cache.append((keys, values))
        return self._logits(x)[:, 0], new_cache

    def generate(
        self,
        sequence_output: Any,
        padding_mask: Any,
        sampler: Callable[..., Any],
        *,
        start_id: int,
        end_id: int,
        pad_id: int,
        length: int,
        no_repeat_ngram_size: int = 0,
        min_length: int = 0,
        forbidden_words: Sequence[Sequence[int]] = (),
    ) -> Any:
        """Writes a sequence for each of a batch of encoded texts.

        Args:
            sequence_output: States of the encoder. *Shape:* (B, S, H).
            padding_mask: *Shape:* (B, S).
            sampler: A `BeamSearch`, or a sampler of keras-nlp.
            start_id: The first token of all sequences.
            end_id: The token that ends a sequence.
            pad_id: The token after the end of a sequence.
            length: T, the largest number of tokens, start and end included.
            no_repeat_ngram_size: Length of the n-grams that must not be repeated; 0 allows all.
            min_length: Number of tokens, start included, before which no sequence may end.
            forbidden_words: Sequences of ids that must not be written.

        Returns:
            int32 ids, those of start and end included. *Shape:* (B, T).
        """
        memory = self.memory(sequence_output, padding_mask)
        batch = ops.shape(sequence_output)[0]
        prompt = ops.concatenate(
            [
                ops.full((batch, 1), start_id, "int32"),
                ops.full((batch, length - 1), pad_id, "int32"),
            ],
            axis=1,
        )
        is_known = ops.equal(ops.cumsum(ops.ones_like(prompt), axis=1), 1)

        def next_log_probabilities(tokens: Any, cache: Cache, index: Any) -> tuple[Any, Any, Cache]:
            last = ops.take(tokens, index - 1, axis=1)
            logits, cache = self.step(last, index - 1, cache, memory)
            scores = ops.log_softmax(ops.cast(logits, "float32"))
            vocab_size = self.config.vocab_size
            if no_repeat_ngram_size:
                is_repeated = repeats_ngram(tokens, index, no_repeat_ngram_size, vocab_size)
                scores = forbid(scores, is_repeated)
            if forbidden_words:
                scores = forbid(scores, completes_words(tokens, index, forbidden_words, vocab_size))
            if min_length:
                is_end = ops.expand_dims(ops.arange(vocab_size, dtype="int32") == end_id, 0)
                scores = forbid(scores, ops.logical_and(is_end, index < min_length))
            return scores, None, cache

        tokens = sampler(
            next_log_probabilities,
            prompt,
            cache=self.empty_cache(batch, length),
            index=1,
            mask=is_known,
            stop_token_ids=[end_id],
        )
        # Samplers go on until all rows have ended: tokens after the end of a row are removed.
        is_end = ops.cast(ops.logical_and(tokens == end_id, ops.logical_not(is_known)), "int32")
        is_after = ops.cumsum(is_end, axis=1) - is_end > 0
        return ops.where(is_after, pad_id, tokens)
