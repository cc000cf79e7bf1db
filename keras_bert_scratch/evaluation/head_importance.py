"""Which attention heads a task needs.

Axes: L layers, N heads, D head width, H hidden.
"""

from typing import Any

import keras
import numpy as np

from keras_bert_scratch.models.adapting import has_lora


def head_importance(model: Any, texts: Any, labels: Any) -> np.ndarray:
    """Measures how much the loss of a text depends on each head (Michel et al. 2019, equation 2).

    The importance is the absolute derivative of the loss by a factor on the head's output, at 1;
    the mean over the texts. The output meets only the head's D rows of the output projection, so
    the derivative is the sum of these rows times their gradient. Heads of one block can be
    compared; those of two blocks have different scales (Michel et al. 2019, section 4).

    Args:
        model: A `BertClassifier` with a tokenizer, on Keras' TensorFlow backend.
        texts: Strings, or a tuple of two columns of strings. A thousand are enough.
        labels: One label for each text.

    Returns:
        Importance of the heads. *Shape:* (L, N).

    Raises:
        RuntimeError: If Keras runs on another backend.
        ValueError: If a label is unknown, or the model has adapters.

    Example:
        >>> importance = head_importance(model, texts, labels)
        >>> smaller = model.with_heads(np.argsort(-importance)[:, :6])
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Gradients are TensorFlow's here, and Keras runs on {keras.backend.backend()}: set "
            "KERAS_BACKEND=tensorflow."
        )
    if has_lora(model.encoder):
        raise ValueError("Heads of a model with adapters cannot be weighed: use merge_lora first.")
    projections = [block.attention.output_projection for block in model.encoder.blocks]
    loss_of = (
        keras.losses.binary_crossentropy
        if model.multi_label
        else keras.losses.sparse_categorical_crossentropy
    )
    kernels = [projection.kernel.value for projection in projections]
    shape = (len(kernels), model.encoder.config.num_heads, -1)

    @tf.function(reduce_retracing=True)
    def derivatives(inputs: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(inputs, training=False), from_logits=True)
        gradients = tape.gradient(loss, kernels)
        products = [kernel * gradient for kernel, gradient in zip(kernels, gradients, strict=True)]
        return tf.reduce_sum(tf.reshape(tf.stack(products), shape), -1)

    # One text a batch, because the absolute value is taken for each text.
    batches = model.batches(texts, labels, batch_size=1, training=True)
    return np.mean([np.abs(derivatives(x, y)) for x, y in batches.dataset()], axis=0)
