"""The one table of weight names: where a weight stands here, and what others call it.

Read forwards it loads, read backwards it saves. `{n}` stands for the number of a block. A name
here is the attribute path from a task (`encoder.blocks.0.attention.query.kernel`), so it does not
depend on how Keras names variables. A PyTorch linear layer keeps its kernel transposed; Google's
checkpoints of TensorFlow 1 do so with the last matrix of a head only.
"""

from typing import NamedTuple


class Weight(NamedTuple):
    """One row: the weight's place here, and its name in files of Hugging Face and of Google.

    `transpose` and `google_transpose` say whether the one or the other keeps it transposed.
    """

    ours: str
    huggingface: str
    google: str
    transpose: bool = False
    google_transpose: bool = False


def _dense(ours: str, huggingface: str, google: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.kernel", f"{huggingface}.weight", f"{google}/kernel", transpose=True),
        Weight(f"{ours}.bias", f"{huggingface}.bias", f"{google}/bias"),
    )


def _norm(ours: str, huggingface: str, google: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.gamma", f"{huggingface}.weight", f"{google}/gamma"),
        Weight(f"{ours}.beta", f"{huggingface}.bias", f"{google}/beta"),
    )


def _output(ours: str, huggingface: str, google: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.kernel", f"{huggingface}.weight", f"{google}output_weights", True, True),
        Weight(f"{ours}.bias", f"{huggingface}.bias", f"{google}output_bias"),
    )


def _table(name: str, google: str) -> Weight:
    return Weight(
        f"encoder.embeddings.{name}.embeddings",
        f"bert.embeddings.{google}.weight",
        f"bert/embeddings/{google}",
    )


_EMBEDDINGS = (
    _table("token", "word_embeddings"),
    _table("position", "position_embeddings"),
    _table("segment", "token_type_embeddings"),
    *_norm("encoder.embeddings.norm", "bert.embeddings.LayerNorm", "bert/embeddings/LayerNorm"),
)
_OURS, _HUGGINGFACE, _GOOGLE = (
    "encoder.blocks.{n}",
    "bert.encoder.layer.{n}",
    "bert/encoder/layer_{n}",
)
_BLOCK = tuple(
    weight
    for kind, ours, huggingface, google in (
        (_dense, "attention.query", "attention.self.query", "attention/self/query"),
        (_dense, "attention.key", "attention.self.key", "attention/self/key"),
        (_dense, "attention.value", "attention.self.value", "attention/self/value"),
        (_dense, "attention.output_projection", "attention.output.dense", "attention/output/dense"),
        (_norm, "attention_norm", "attention.output.LayerNorm", "attention/output/LayerNorm"),
        (_dense, "feed_forward.expand", "intermediate.dense", "intermediate/dense"),
        (_dense, "feed_forward.contract", "output.dense", "output/dense"),
        (_norm, "feed_forward_norm", "output.LayerNorm", "output/LayerNorm"),
    )
    for weight in kind(f"{_OURS}.{ours}", f"{_HUGGINGFACE}.{huggingface}", f"{_GOOGLE}/{google}")
)
POOLER = _dense("encoder.pooler.dense", "bert.pooler.dense", "bert/pooler/dense")
CLASSIFIER = _output("head.logits", "classifier", "")
MASKED_LANGUAGE_MODEL = (
    *_dense(
        "masked_language_model.dense",
        "cls.predictions.transform.dense",
        "cls/predictions/transform/dense",
    ),
    *_norm(
        "masked_language_model.norm",
        "cls.predictions.transform.LayerNorm",
        "cls/predictions/transform/LayerNorm",
    ),
    Weight("masked_language_model.bias", "cls.predictions.bias", "cls/predictions/output_bias"),
)
NEXT_SENTENCE = _output("next_sentence.logits", "cls.seq_relationship", "cls/seq_relationship/")


def encoder_weights(num_layers: int) -> tuple[Weight, ...]:
    """Returns the rows of an encoder with `num_layers` blocks, without the pooler's."""
    blocks = (
        row._replace(
            ours=row.ours.format(n=n),
            huggingface=row.huggingface.format(n=n),
            google=row.google.format(n=n),
        )
        for n in range(num_layers)
        for row in _BLOCK
    )
    return (*_EMBEDDINGS, *blocks)
