"""One sequence of texts and other columns, read by the blocks of an encoder.

Axes: B batch, S tokens of the text, T tokens of the other columns, H hidden.
"""

from typing import Any

from keras import ops

from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.rematerialization import rematerialize
from keras_bert_scratch.models.encoder import BertEncoder


def encode_joined(
    encoder: BertEncoder,
    embedded: Any,
    others: Any,
    mask: Any,
    *,
    training: bool | None = None,
    first_only: bool = False,
) -> dict[str, Any]:
    """Encodes texts and the tokens of other columns behind them, as `BertEncoder` encodes texts.

    The tokens of other columns go through the layer norm and the dropout of the text's embeddings,
    and have no positions among them.

    Args:
        encoder: The encoder.
        embedded: The texts, by the encoder's embeddings. *Shape:* (B, S, H).
        others: Tokens of the other columns, or None. *Shape:* (B, T, H).
        mask: 1 for tokens that are read, 0 for padding and missing values. *Shape:* (B, S + T).
        training: Whether dropout acts.
        first_only: Whether the last block computes [CLS] only.

    Returns:
        A dict of `sequence_output`, *shape:* (B, S + T, H), and `pooled_output`, *shape:* (B, H).

    Example:
        >>> ids, others = np.array([[2, 7, 3]]), np.ones((1, 2, 128), "float32")
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> embedded = encoder.embeddings(ids, 0 * ids)
        >>> mask = np.ones((1, 5), "int32")
        >>> encode_joined(encoder, embedded, others, mask)["sequence_output"].shape
        TensorShape([1, 5, 128])
    """
    x = embedded
    if others is not None:
        embeddings = encoder.embeddings
        others = embeddings.output_dropout(embeddings.norm(others), training=training)
        x = ops.concatenate([x, others], axis=1)
    attention_bias = padding_bias(mask, encoder.compute_dtype)
    for block in encoder.blocks:
        arguments = {
            "attention_bias": attention_bias,
            "training": training,
            "first_only": first_only and block is encoder.blocks[-1],
        }
        if encoder.rematerialize and training:
            x = rematerialize(block, x, **arguments)
        else:
            x = block(x, **arguments)
    return {"sequence_output": x, "pooled_output": encoder.pooler(x)}
