"""Learning on the device: the further signatures of a LiteRT file whose head can be trained.

The encoder is frozen, and may have int8 weights; the head, a kernel and a bias, goes in and out as
float32 tensors, so that the file itself never changes, and an app keeps what was learnt by storing
two arrays. The signatures are

- `head`: nothing -> `kernel`, float32 (H, C), and `bias`, float32 (C,), as they were exported;
- `infer`: `code_points`, int32 (1, N), `kernel` and `bias` -> `probabilities`, float32 (1, C);
- `train`: the same with `label`, int32 (1,), and `learning_rate`, float32 (1,) -> `kernel` and
  `bias` after one step, and `loss`, float32 (1,), before it.

A step is that of stochastic gradient descent, without momentum, on the cross-entropy of one text,
as `keras.optimizers.SGD(learning_rate)` takes it in a batch of one: with the probabilities p of the
logits (at temperature 1), the features f of the text and its label y,

    kernel -= learning_rate * f^T (p - onehot(y)),    bias -= learning_rate * (p - onehot(y)).

There is no dropout.

Axes: H hidden, N code points, C classes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bert_scratch.serving.graphs.signature import Functions, Outputs


def check_trainable(signature: Any, trainable: str, inputs: str, pairs: bool) -> None:
    """Refuses what cannot learn on a device.

    Args:
        signature: The classifier's.
        trainable: What shall be trained.
        inputs: What the file takes.
        pairs: Whether it takes pairs.

    Raises:
        ValueError: If it is no head of a classifier of single labels, or the file takes no single
            texts as code points.
    """
    if trainable != "head":
        raise ValueError(f"trainable must be 'head' or None, received {trainable!r}.")
    if inputs != "code_points" or pairs:
        raise ValueError(
            "trainable='head' is for files that take the code points of one text, received "
            f"inputs={inputs!r} and pairs={pairs}: use inputs='code_points' without pairs."
        )
    if signature.is_score or signature.network.multi_label:
        raise ValueError(
            "trainable='head' is for classifiers of which a text has exactly one of several "
            "labels: fine-tune this model in Keras, and export it without trainable."
        )


def learning(signature: Any, inputs: Sequence[tf.TensorSpec]) -> Functions:
    """Returns the further signatures of a file.

    Args:
        signature: The classifier's.
        inputs: The code points of one text.
    """
    logits = signature.network.head.logits
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in (logits.kernel, logits.bias))

    def logits_of(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return tf.matmul(features, kernel) + bias

    def head() -> Outputs:
        return {"kernel": tf.constant(kernel), "bias": tf.constant(bias)}

    def infer(code_points: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Outputs:
        features = signature.features_of(code_points)
        return {signature.output: signature.activation(logits_of(features, kernel, bias))}

    def train(
        code_points: tf.Tensor,
        label: tf.Tensor,
        learning_rate: tf.Tensor,
        kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> Outputs:
        features = signature.features_of(code_points)
        probabilities = tf.nn.softmax(logits_of(features, kernel, bias))
        is_label = tf.one_hot(label, bias.shape[0])
        # The gradient of the cross-entropy by the logits.
        step = learning_rate * (probabilities - is_label)  # (1, C)
        return {
            "kernel": kernel - tf.matmul(features, step, transpose_a=True),
            "bias": bias - step[0],
            "loss": -tf.math.log(tf.reduce_sum(probabilities * is_label, axis=-1)),
        }

    weights = [
        tf.TensorSpec(kernel.shape, tf.float32, name="kernel"),
        tf.TensorSpec(bias.shape, tf.float32, name="bias"),
    ]
    example = [
        tf.TensorSpec((1,), tf.int32, name="label"),
        tf.TensorSpec((1,), tf.float32, name="learning_rate"),
    ]
    return {
        "head": (head, []),
        "infer": (infer, [*inputs, *weights]),
        "train": (train, [*inputs, *example, *weights]),
    }
