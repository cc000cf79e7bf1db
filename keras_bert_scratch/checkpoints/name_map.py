"""The one table of weight names: where a weight stands here, and what others call it.

Read forwards it loads, read backwards it saves. `{n}` stands for the number of a block. A name
here is the attribute path from a task (`encoder.blocks.0.attention.query.kernel`), so it does not
depend on how Keras names variables. A PyTorch linear layer keeps its kernel transposed.
"""

from typing import NamedTuple


class Weight(NamedTuple):
    """One row: the weight's place here, its Hugging Face name, whether that one is transposed."""

    ours: str
    huggingface: str
    transpose: bool = False


def _dense(ours: str, huggingface: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.kernel", f"{huggingface}.weight", transpose=True),
        Weight(f"{ours}.bias", f"{huggingface}.bias"),
    )


def _norm(ours: str, huggingface: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.gamma", f"{huggingface}.weight"),
        Weight(f"{ours}.beta", f"{huggingface}.bias"),
    )


_EMBEDDINGS = (
    Weight("encoder.embeddings.token.embeddings", "bert.embeddings.word_embeddings.weight"),
    Weight("encoder.embeddings.position.embeddings", "bert.embeddings.position_embeddings.weight"),
    Weight("encoder.embeddings.segment.embeddings", "bert.embeddings.token_type_embeddings.weight"),
    *_norm("encoder.embeddings.norm", "bert.embeddings.LayerNorm"),
)
_OURS, _THEIRS = "encoder.blocks.{n}", "bert.encoder.layer.{n}"
_BLOCK = (
    *_dense(f"{_OURS}.attention.query", f"{_THEIRS}.attention.self.query"),
    *_dense(f"{_OURS}.attention.key", f"{_THEIRS}.attention.self.key"),
    *_dense(f"{_OURS}.attention.value", f"{_THEIRS}.attention.self.value"),
    *_dense(f"{_OURS}.attention.output_projection", f"{_THEIRS}.attention.output.dense"),
    *_norm(f"{_OURS}.attention_norm", f"{_THEIRS}.attention.output.LayerNorm"),
    *_dense(f"{_OURS}.feed_forward.expand", f"{_THEIRS}.intermediate.dense"),
    *_dense(f"{_OURS}.feed_forward.contract", f"{_THEIRS}.output.dense"),
    *_norm(f"{_OURS}.feed_forward_norm", f"{_THEIRS}.output.LayerNorm"),
)
POOLER = _dense("encoder.pooler.dense", "bert.pooler.dense")
CLASSIFIER = _dense("head.logits", "classifier")


def encoder_weights(num_layers: int) -> tuple[Weight, ...]:
    """Returns the rows of an encoder with `num_layers` blocks, without the pooler's."""
    blocks = (
        Weight(row.ours.format(n=n), row.huggingface.format(n=n), row.transpose)
        for n in range(num_layers)
        for row in _BLOCK
    )
    return (*_EMBEDDINGS, *blocks)
