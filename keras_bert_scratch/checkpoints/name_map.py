"""The one table of weight names: where a weight stands here, and what others call it.

Read forwards it loads, read backwards it saves. `{n}` stands for the number of a block. A name
here is the attribute path from a task (`encoder.blocks.0.attention.query.kernel`), so it does not
depend on how Keras names variables. A PyTorch linear layer keeps its kernel transposed; Google's
checkpoints of TensorFlow 1 do so with the last matrix of a head only.
"""

from typing import NamedTuple

# Axes, by the config's names of their sizes.
_H, _F = "hidden_dim", "feed_forward_dim"


class Weight(NamedTuple):
    """One row: the weight's place here, and its name in files of Hugging Face and of Google.

    `transpose` and `google_transpose` say whether the one or the other keeps it transposed. `sizes`
    names its axes here by the fields of the config; heads have axes of their own, and none.
    """

    ours: str
    huggingface: str
    google: str
    transpose: bool = False
    google_transpose: bool = False
    sizes: tuple[str, ...] = ()


def _dense(
    ours: str, huggingface: str, google: str, sizes: tuple[str, str] = (_H, _H)
) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.kernel", f"{huggingface}.weight", f"{google}/kernel", True, False, sizes),
        Weight(f"{ours}.bias", f"{huggingface}.bias", f"{google}/bias", sizes=sizes[1:]),
    )


def _norm(ours: str, huggingface: str, google: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.gamma", f"{huggingface}.weight", f"{google}/gamma", sizes=(_H,)),
        Weight(f"{ours}.beta", f"{huggingface}.bias", f"{google}/beta", sizes=(_H,)),
    )


def _output(ours: str, huggingface: str, google: str) -> tuple[Weight, Weight]:
    return (
        Weight(f"{ours}.kernel", f"{huggingface}.weight", f"{google}output_weights", True, True),
        Weight(f"{ours}.bias", f"{huggingface}.bias", f"{google}output_bias"),
    )


def _table(name: str, google: str, size: str) -> Weight:
    return Weight(
        f"encoder.embeddings.{name}.embeddings",
        f"bert.embeddings.{google}.weight",
        f"bert/embeddings/{google}",
        sizes=(size, _H),
    )


_EMBEDDINGS = (
    _table("token", "word_embeddings", "vocab_size"),
    _table("position", "position_embeddings", "max_positions"),
    _table("segment", "token_type_embeddings", "num_segments"),
    *_norm("encoder.embeddings.norm", "bert.embeddings.LayerNorm", "bert/embeddings/LayerNorm"),
)
_OURS, _HUGGINGFACE, _GOOGLE = (
    "encoder.blocks.{n}",
    "bert.encoder.layer.{n}",
    "bert/encoder/layer_{n}",
)
_BLOCK = tuple(
    weight
    for kind, ours, huggingface, google, *sizes in (
        (_dense, "attention.query", "attention.self.query", "attention/self/query"),
        (_dense, "attention.key", "attention.self.key", "attention/self/key"),
        (_dense, "attention.value", "attention.self.value", "attention/self/value"),
        (_dense, "attention.output_projection", "attention.output.dense", "attention/output/dense"),
        (_norm, "attention_norm", "attention.output.LayerNorm", "attention/output/LayerNorm"),
        (_dense, "feed_forward.expand", "intermediate.dense", "intermediate/dense", (_H, _F)),
        (_dense, "feed_forward.contract", "output.dense", "output/dense", (_F, _H)),
        (_norm, "feed_forward_norm", "output.LayerNorm", "output/LayerNorm"),
    )
    for weight in kind(
        f"{_OURS}.{ours}", f"{_HUGGINGFACE}.{huggingface}", f"{_GOOGLE}/{google}", *sizes
    )
)
POOLER = _dense("encoder.pooler.dense", "bert.pooler.dense", "bert/pooler/dense")
CLASSIFIER = _output("head.logits", "classifier", "")
SPAN = _output("head.logits", "qa_outputs", "cls/squad/")
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
    Weight(
        "masked_language_model.bias",
        "cls.predictions.bias",
        "cls/predictions/output_bias",
        sizes=("vocab_size",),
    ),
)
NEXT_SENTENCE = _output("next_sentence.logits", "cls.seq_relationship", "cls/seq_relationship/")


# A decoder starts from an encoder's weights and the masked-LM head; cross-attention is its own.
DECODER_HEAD = tuple(
    row._replace(ours=row.ours.replace("masked_language_model", "decoder.head"))
    for row in MASKED_LANGUAGE_MODEL
)
_CROSS_ATTENTION = tuple(
    weight
    for kind, ours, huggingface in (
        (_dense, "cross_attention.query", "crossattention.self.query"),
        (_dense, "cross_attention.key", "crossattention.self.key"),
        (_dense, "cross_attention.value", "crossattention.self.value"),
        (_dense, "cross_attention.output_projection", "crossattention.output.dense"),
        (_norm, "cross_attention_norm", "crossattention.output.LayerNorm"),
    )
    for weight in kind(f"decoder.blocks.{{n}}.{ours}", f"{_HUGGINGFACE}.{huggingface}", "")
)


def encoder_weights(num_layers: int) -> tuple[Weight, ...]:
    """Returns the rows of an encoder with `num_layers` blocks, without the pooler's."""
    return (*_EMBEDDINGS, *_numbered(_BLOCK, num_layers))


def decoder_weights(num_layers: int) -> tuple[Weight, ...]:
    """Returns the rows of a decoder that an encoder has, too, named as the encoder's."""
    return tuple(
        row._replace(ours=f"decoder.{row.ours.removeprefix('encoder.')}")
        for row in encoder_weights(num_layers)
    )


def encoder_decoder_weights(encoder_layers: int, decoder_layers: int) -> tuple[Weight, ...]:
    """Returns all rows of an encoder and its decoder, named as `EncoderDecoderModel` has them."""
    encoder = (*encoder_weights(encoder_layers), *POOLER)
    decoder = (
        *decoder_weights(decoder_layers),
        *_numbered(_CROSS_ATTENTION, decoder_layers),
        *DECODER_HEAD,
    )
    return (
        *(
            row._replace(huggingface=f"encoder.{row.huggingface.removeprefix('bert.')}")
            for row in encoder
        ),
        *(row._replace(huggingface=f"decoder.{row.huggingface}") for row in decoder),
    )


def _numbered(rows: tuple[Weight, ...], num_layers: int) -> tuple[Weight, ...]:
    return tuple(
        row._replace(
            ours=row.ours.format(n=n),
            huggingface=row.huggingface.format(n=n),
            google=row.google.format(n=n),
        )
        for n in range(num_layers)
        for row in rows
    )
