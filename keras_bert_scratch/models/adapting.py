"""Changes to an encoder before training: adapters, frozen layers, fewer layers or heads."""

import dataclasses
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.state import copy_state


def enable_lora(encoder: BertEncoder, rank: int) -> None:
    """Freezes an encoder and adds trainable low-rank updates to its dense layers.

    LoRA (Hu et al. 2021, section 4.1) on the six matrices of every block: query, key, value (one in
    ModernBERT) and output of the attention, and both of the feed-forward network. Each becomes
    W + A B with A of shape (inputs, rank) and B of shape (rank, outputs), which starts as 0. W,
    biases, norms, embeddings and pooler are frozen. It uses Keras' `Dense.enable_lora`. Layers on
    top of the encoder, such as a classification head, are still trained.

    Updates need a higher learning rate than weights: try 1e-3, which `fit` chooses by itself on
    many examples. Call this before `compile`.

    Args:
        encoder: The encoder, such as `model.encoder`.
        rank: Rank of the updates.

    Raises:
        ValueError: If the rank is not an integer from 1, or the encoder has such updates already.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> enable_lora(encoder, rank=8)
        >>> len(encoder.trainable_weights)  # two for each dense layer of attention and blocks
        24
    """
    if not isinstance(rank, int) or rank < 1:
        raise ValueError(f"The rank of LoRA must be a whole number from 1, received {rank!r}.")
    for dense in _dense_layers(encoder):
        dense.enable_lora(rank)
    for weight in encoder.weights:
        weight.trainable = weight.name.startswith("lora_")


def has_lora(encoder: BertEncoder) -> bool:
    """Returns whether an encoder has low-rank updates, see `enable_lora`.

    Args:
        encoder: The encoder.

    Example:
        >>> has_lora(BertEncoder(BertConfig.preset("tiny")))
        False
    """
    return any(dense.lora_enabled for dense in _dense_layers(encoder))


def merge_lora(encoder: BertEncoder) -> None:
    """Adds the low-rank updates to their matrices, and removes them.

    The encoder is then like any other, and its exports compute no updates. `save_pretrained` writes
    merged matrices in any case.

    Args:
        encoder: The encoder; one without updates stays as it is.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> enable_lora(encoder, rank=8)
        >>> merge_lora(encoder)
        >>> any(weight.name.startswith("lora_") for weight in encoder.weights)
        False
    """
    # Not the difference to `dense.kernel`, which is rounded to the compute dtype.
    updates = {
        dense: keras.ops.matmul(dense.lora_kernel_a, dense.lora_kernel_b)
        * (dense.lora_alpha / dense.lora_rank)
        for dense in _dense_layers(encoder)
        if dense.lora_enabled
    }
    remove_lora(encoder)
    for dense, update in updates.items():
        dense.kernel.assign_add(update)


def remove_lora(encoder: BertEncoder) -> None:
    """Removes the low-rank updates, so that the encoder can be trained as a whole again.

    Args:
        encoder: The encoder; one without updates stays as it is.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> enable_lora(encoder, rank=8)
        >>> remove_lora(encoder)
        >>> any(weight.name.startswith("lora_") for weight in encoder.weights)
        False
    """
    adapted = [dense for dense in _dense_layers(encoder) if dense.lora_enabled]
    for dense in adapted:
        # A previously traced function still adds the product.
        dense.lora_kernel_b.assign(keras.ops.zeros_like(dense.lora_kernel_b))
        for weight in (dense.lora_kernel_a, dense.lora_kernel_b):
            dense._untrack_variable(weight)
        dense.lora_kernel_a = dense.lora_kernel_b = dense.lora_rank = None
        dense.lora_enabled = False
    if adapted:
        for weight in encoder.weights:
            weight.trainable = True


def freeze_layers(encoder: BertEncoder, num_layers: int) -> None:
    """Excludes the embeddings and the first blocks from training.

    Lower layers hold knowledge that tasks share (Howard & Ruder 2018, section 3.3). Call this
    before `compile`, and after `enable_lora`.

    Args:
        encoder: The encoder, such as `model.encoder`.
        num_layers: Number of blocks to freeze; 0 freezes the embeddings only.

    Raises:
        ValueError: If the encoder has fewer blocks.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> freeze_layers(encoder, 1)
        >>> [block.trainable for block in encoder.blocks]
        [False, True]
    """
    if not 0 <= num_layers <= len(encoder.blocks):
        raise ValueError(
            f"The encoder has {len(encoder.blocks)} layers, received num_layers={num_layers!r} to "
            "freeze: choose from 0 to all of them."
        )
    encoder.embeddings.trainable = False
    for block in encoder.blocks[:num_layers]:
        block.trainable = False


def keep_layers(encoder: BertEncoder, layers: Sequence[int]) -> BertEncoder:
    """Makes an encoder of some of another's blocks, such as a student of its teacher's.

    DistilBERT takes every other block (Sanh et al. 2019, section 3).

    Args:
        encoder: The encoder, which stays as it is.
        layers: Numbers of the blocks to copy, counted from 0, in their new order.

    Returns:
        An encoder with `len(layers)` blocks, and copies of the embeddings and the pooler.

    Raises:
        ValueError: If `layers` is empty or names a block that does not exist, or if the encoder is
            a ModernBERT, whose blocks depend on their number.

    Example:
        >>> keep_layers(BertEncoder(BertConfig.preset("mini")), [0, 3]).config.num_layers
        2
    """
    if not layers or not set(layers) <= set(range(len(encoder.blocks))):
        raise ValueError(
            f"The layers to keep must be some of 0 to {len(encoder.blocks) - 1}, received "
            f"{list(layers)!r}."
        )
    if encoder.config.architecture != "bert":
        raise ValueError(
            f"Blocks of architecture {encoder.config.architecture!r} are global, local, first or "
            "last by their number, and cannot be moved: make a smaller encoder and train it with "
            "Distiller."
        )
    smaller = _copy(encoder, num_layers=len(layers))
    for block, n in zip(smaller.blocks, layers, strict=True):
        copy_state(encoder.blocks[n], block)
        block.set_weights(encoder.blocks[n].get_weights())
    return smaller


def keep_heads(encoder: BertEncoder, heads: Sequence[Sequence[int]] | np.ndarray) -> BertEncoder:
    """Makes an encoder of some of another's attention heads, as many in every block.

    Heads keep their width D, so queries, keys and values become narrower than the hidden states.
    `evaluation.head_importance` measures which heads a task needs least.

    Args:
        encoder: The encoder, which stays as it is.
        heads: Numbers of the heads to keep, counted from 0, of each block in turn.

    Returns:
        An encoder with `len(heads[0])` heads a block; all else is copied.

    Raises:
        ValueError: If a block lacks one of the heads, names one twice, or keeps another number of
            heads than the first block; or if the encoder is a ModernBERT or has adapters.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> keep_heads(encoder, [[0], [1]]).config.num_heads
        1
    """
    config = encoder.config
    if config.architecture != "bert" or has_lora(encoder):
        raise ValueError(
            "Heads can be removed from a BERT without adapters, received architecture "
            f"{config.architecture!r}: merge adapters by merge_lora first."
        )
    kept = [sorted(map(int, block)) for block in heads]
    known = set(range(config.num_heads))
    if (
        len(kept) != config.num_layers
        or len({len(block) for block in kept}) != 1
        or not all(
            block and set(block) <= known and len(set(block)) == len(block) for block in kept
        )
    ):
        raise ValueError(
            f"For each of the {config.num_layers} blocks the heads to keep must be some of 0 to "
            f"{config.num_heads - 1}, each once, and as many in every block; received {kept}."
        )
    head_dim = config.attention_dim // config.num_heads
    smaller = _copy(encoder, num_heads=len(kept[0]), head_dim=head_dim)
    for block, large, numbers in zip(smaller.blocks, encoder.blocks, kept, strict=True):
        copy_state(large, block)
        features = np.add.outer(head_dim * np.array(numbers), np.arange(head_dim)).ravel()
        for weight, source in zip(block.weights, large.get_weights(), strict=True):
            # Heads are columns of the query, key and value matrices, and rows of the output matrix.
            # No other weight becomes narrower.
            for axis, size in enumerate(weight.shape):
                if size != source.shape[axis]:
                    source = np.take(source, features, axis)
            weight.assign(source)
    return smaller


def _copy(encoder: BertEncoder, **changes: int) -> BertEncoder:
    """Copies an encoder's embeddings and pooler; its new sizes are those of the blocks."""
    copy = BertEncoder(
        dataclasses.replace(encoder.config, **changes),  # type: ignore[arg-type]
        rematerialize=encoder.rematerialize,
        dtype=encoder.dtype_policy,
    )
    for source, target in ((encoder.embeddings, copy.embeddings), (encoder.pooler, copy.pooler)):
        copy_state(source, target)
        target.set_weights(source.get_weights())
    return copy


def _dense_layers(encoder: BertEncoder) -> Iterator[keras.layers.Dense]:
    is_bert = encoder.config.architecture == "bert"
    inputs = ("query", "key", "value") if is_bert else ("query_key_value",)
    for block in encoder.blocks:
        attention, feed_forward = block.attention, block.feed_forward
        yield from (getattr(attention, name) for name in (*inputs, "output_projection"))
        yield from (feed_forward.expand, feed_forward.contract)
