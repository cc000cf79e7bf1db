"""The one table of weight names: where a weight stands here, and what others call it.

Read forwards it loads, read backwards it saves. `{n}` stands for the number of a block. A name
here is the attribute path from a task (`encoder.blocks.0.attention.query.kernel`), so it does not
depend on how Keras names variables. A PyTorch linear layer keeps its kernel transposed; Google's
checkpoints of TensorFlow 1 do so with the last matrix of a head only.
"""

from typing import NamedTuple

from keras_bert_scratch.config import BertConfig

# Axes, by the config's names of their sizes.
_H, _F, _A = "hidden_dim", "feed_forward_dim", "attention_dim"


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
        (_dense, "attention.query", "attention.self.query", "attention/self/query", (_H, _A)),
        (_dense, "attention.key", "attention.self.key", "attention/self/key", (_H, _A)),
        (_dense, "attention.value", "attention.self.value", "attention/self/value", (_H, _A)),
        (
            _dense,
            "attention.output_projection",
            "attention.output.dense",
            "attention/output/dense",
            (_A, _H),
        ),
        (_norm, "attention_norm", "attention.output.LayerNorm", "attention/output/LayerNorm"),
        (_dense, "feed_forward.expand", "intermediate.dense", "intermediate/dense", (_H, _F)),
        (_dense, "feed_forward.contract", "output.dense", "output/dense", (_F, _H)),
        (_norm, "feed_forward_norm", "output.LayerNorm", "output/LayerNorm"),
    )
    for weight in kind(
        f"{_OURS}.{ours}", f"{_HUGGINGFACE}.{huggingface}", f"{_GOOGLE}/{google}", *sizes
    )
)
_POOLER = _dense("encoder.pooler.dense", "bert.pooler.dense", "bert/pooler/dense")
CLASSIFIER = _output("head.logits", "classifier", "")
SPAN = _output("head.logits", "qa_outputs", "cls/squad/")
_MASKED_LANGUAGE_MODEL = (
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


# ModernBERT has no biases, and no checkpoint of Google's.
def _modern(ours: str, huggingface: str, *sizes: str) -> Weight:
    is_kernel = ours.endswith(".kernel")
    return Weight(ours, f"{huggingface}.weight", "", transpose=is_kernel, sizes=sizes or (_H,))


_MODERN_EMBEDDINGS = (
    _modern(
        "encoder.embeddings.token.embeddings", "model.embeddings.tok_embeddings", "vocab_size", _H
    ),
    _modern("encoder.embeddings.norm.gamma", "model.embeddings.norm"),
)
_MODERN_BLOCK = tuple(
    _modern(f"{_OURS}.{ours}", f"model.layers.{{n}}.{huggingface}", *sizes)
    for ours, huggingface, *sizes in (
        ("attention_norm.gamma", "attn_norm"),
        ("attention.query_key_value.kernel", "attn.Wqkv", _H, "query_key_value_dim"),
        ("attention.output_projection.kernel", "attn.Wo", _H, _H),
        ("feed_forward_norm.gamma", "mlp_norm"),
        ("feed_forward.expand.kernel", "mlp.Wi", _H, "gated_dim"),
        ("feed_forward.contract.kernel", "mlp.Wo", _F, _H),
    )
)


def _modern_head(ours: str) -> tuple[Weight, Weight]:
    return (
        _modern(f"{ours}.dense.kernel", "head.dense", _H, _H),
        _modern(f"{ours}.norm.gamma", "head.norm"),
    )


# A decoder starts from an encoder's weights and the masked-LM head; cross-attention is its own.
DECODER_HEAD = tuple(
    row._replace(ours=row.ours.replace("masked_language_model", "decoder.head"))
    for row in _MASKED_LANGUAGE_MODEL
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


def encoder_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of an encoder, without the pooler's."""
    if config.architecture == "bert":
        return (*_EMBEDDINGS, *_numbered(_BLOCK, config.num_layers))
    # The first block reads what the embeddings have normalized.
    blocks = _numbered(_MODERN_BLOCK, config.num_layers)[1:]
    last = f"encoder.blocks.{config.num_layers - 1}"
    return (*_MODERN_EMBEDDINGS, *blocks, _modern(f"{last}.output_norm.gamma", "model.final_norm"))


def pooler_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of an encoder's pooler."""
    return _POOLER if config.architecture == "bert" else _modern_head("encoder.pooler")


def masked_language_model_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of the masked-LM head; ModernBERT's are those of its pooler."""
    if config.architecture == "bert":
        return _MASKED_LANGUAGE_MODEL
    bias = Weight("masked_language_model.bias", "decoder.bias", "", sizes=("vocab_size",))
    return (*_modern_head("masked_language_model"), bias)


def decoder_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of a decoder that an encoder has, too, named as the encoder's."""
    return tuple(
        row._replace(ours=f"decoder.{row.ours.removeprefix('encoder.')}")
        for row in encoder_weights(config)
    )


def encoder_decoder_weights(encoder: BertConfig, decoder: BertConfig) -> tuple[Weight, ...]:
    """Returns all rows of an encoder and its decoder, named as `EncoderDecoderModel` has them."""
    encoder_rows = (*encoder_weights(encoder), *_POOLER)
    decoder_rows = (
        *decoder_weights(decoder),
        *_numbered(_CROSS_ATTENTION, decoder.num_layers),
        *DECODER_HEAD,
    )
    return (
        *(
            row._replace(huggingface=f"encoder.{row.huggingface.removeprefix('bert.')}")
            for row in encoder_rows
        ),
        *(row._replace(huggingface=f"decoder.{row.huggingface}") for row in decoder_rows),
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
