"""Whether this machine has the memory and the instructions that a training step needs.

Axes: B batch, S sequence, H hidden, N heads, F feed-forward.
"""

import os
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.models.encoder import BertEncoder

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CPU_INFO = Path("/proc/cpuinfo")
_HAS_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def training_bytes(
    encoder: BertEncoder, num_trainable: int, batch_size: int, sequence_length: int
) -> int:
    """Estimates the memory of a training step with AdamW on a CPU.

    A trained weight is held five times (with its gradient, clipped again, and two moments). For
    each text, the gradient of a block needs about 8 tensors of S x H, 3 of S x F and 3 of N x S x S
    in the compute dtype; that of a ModernBERT block 12, 6 and 2, the last narrower if attention is
    local. The estimate is up to 15 % less than steps of base and medium took, as
    benchmarks/memory.py prints, and within 20 % of those of ModernBERTs of mini's and medium's
    sizes.

    Args:
        encoder: The encoder.
        num_trainable: Number of trained weights, heads included.
        batch_size: B.
        sequence_length: S.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("base"))
        >>> training_bytes(encoder, encoder.count_params(), batch_size=4, sequence_length=512)
        5511533568
    """
    config = encoder.config
    states = sequence_length * config.hidden_dim
    inner = sequence_length * config.feed_forward_dim
    of_states, of_inner, of_scores = (8, 3, 3) if config.architecture == "bert" else (12, 6, 2)
    blocks = []
    for n in range(config.num_layers):
        keys = 3 * (config.local_window // 2) if config.is_local(n) else sequence_length
        scores = config.num_heads * sequence_length * keys
        blocks.append(of_states * states + of_inner * inner + of_scores * scores)
    kept = config.num_layers * states + max(blocks) if encoder.rematerialize else sum(blocks)
    values = batch_size * kept
    width = np.dtype(keras.backend.standardize_dtype(encoder.compute_dtype)).itemsize
    return 4 * encoder.count_params() + 16 * num_trainable + width * values


def check_training_fits(
    encoder: BertEncoder, num_trainable: int, batch_size: int, sequence_length: int
) -> None:
    """Refuses a batch that does not fit into memory; warns of a precision that is emulated.

    Training on a GPU is not checked: its framework tells when memory is exhausted. For the
    arguments, see `training_bytes`.

    Raises:
        ValueError: If the estimate exceeds the machine's memory, or its container's.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    needed = training_bytes(encoder, num_trainable, batch_size, sequence_length)
    memory = machine_bytes()
    if needed > memory:
        raise ValueError(
            f"A training step on {batch_size} texts of {sequence_length} tokens needs about "
            f"{needed / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB: lower batch_size "
            "or sequence_length, or set encoder.rematerialize = True."
        )
    if encoder.compute_dtype == "bfloat16" and not has_bfloat16():
        warnings.warn(
            "This processor has no bfloat16 products, which are therefore emulated, slower than "
            "float32: leave the dtype out.",
            stacklevel=2,
        )


def machine_bytes() -> int:
    """Returns the memory of this machine, or of the container if that has less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return total if limit == "max" else min(total, int(limit))


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; True if the system does not say."""
    if not _CPU_INFO.is_file():
        return True
    return not _HAS_BFLOAT16.isdisjoint(_CPU_INFO.read_text().split())
