"""Adversarial training: the model learns from its texts and from their worst perturbations.

Axes: B batch, S sequence, H hidden.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Self

import keras
import tensorflow as tf

from keras_bert_scratch.training.training_step import TrainingStep


@keras.saving.register_keras_serializable("keras_bert_scratch")
class AdversarialTraining(TrainingStep):
    """Adds to the loss of each batch that under the worst perturbation of its token embeddings.

    The perturbation r of a text, (S, H), has an L2 norm of at most `radius`. With one step it is
    r = radius · g / |g|, where g is the gradient of the loss by the embeddings: FGM (Miyato et al.
    2017, "Adversarial Training Methods for Semi-Supervised Text Classification", equation 5). With
    more it is PGD (Madry et al. 2018, section 2.1): from r = 0, each step adds `step_size` · g /
    |g| and projects the result onto the ball. Padding is not perturbed.

    A batch takes `steps` + 1 times as long.

    Args:
        radius: Largest norm of a text's perturbation. The embedding of a token has a norm of about
            1, and few tokens may get all of the perturbation: with 0.3, MiniLM hardly learned.
        steps: Number of gradients by the embeddings; 1 is FGM.
        step_size: Length of a step, by default 2.5 · radius / steps, with which every point of the
            ball can be reached (Madry et al. 2018).

    Raises:
        ValueError: If a value is not above 0.

    Example:
        >>> model = BertClassifier.from_pretrained("tiny-en", labels=["bad", "good"])
        >>> model.compile(adamw(5e-5, total_steps=1), training_step=AdversarialTraining())
        >>> history = model.fit(["a good film", "a bad film"], ["good", "bad"])
    """

    def __init__(self, radius: float = 0.1, steps: int = 1, step_size: float | None = None) -> None:
        for name, value in (("radius", radius), ("steps", steps), ("step_size", step_size)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, received {value!r}.")
        self.radius = radius
        self.steps = steps
        self.step_size = 2.5 * radius / steps if step_size is None else step_size

    def __call__(self, model: keras.Model, data: Any) -> dict[str, Any]:
        """Trains one step, in place of `keras.Model.train_step`.

        Args:
            model: A compiled model with an `encoder` whose `embeddings.token` is called once.
            data: `(inputs, labels)` or `(inputs, labels, sample_weight)`.

        Returns:
            The loss and the metrics of the unperturbed texts.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = [variable.value for variable in model.trainable_variables]
        token = model.encoder.embeddings.token
        # float32 under mixed precision, too: other norms would be coarse.
        is_token = tf.cast(x["padding_mask"], tf.float32)[..., None]  # (B, S, 1)

        def gradients(perturbation: tf.Tensor) -> Any:
            """Returns loss, logits, and the gradients by the weights and the perturbation."""
            with tf.GradientTape() as tape:
                tape.watch(perturbation)
                with added_to_output(token, tf.cast(perturbation, token.compute_dtype)):
                    logits = model(x, training=True)
                loss = model.compute_loss(x, y, logits, sample_weight)
                scaled = model.optimizer.scale_loss(loss)
            found = tape.gradient(scaled, [variables, perturbation], unconnected_gradients="zero")
            return loss, logits, *found

        perturbation = is_token * tf.zeros(token.output_dim, is_token.dtype)
        loss, logits, clean, direction = gradients(perturbation)
        for _ in range(self.steps):
            perturbation = self.move(perturbation, direction * is_token)
            _, _, adversarial, direction = gradients(perturbation)
        total = [
            tf.convert_to_tensor(left) + tf.convert_to_tensor(right)
            for left, right in zip(clean, adversarial, strict=True)
        ]
        model.optimizer.apply(total, model.trainable_variables)
        loss_tracker = next(metric for metric in model.metrics if metric.name == "loss")
        loss_tracker.update_state(loss, sample_weight=model.loss_weight(x, y, sample_weight))
        return model.compute_metrics(x, y, logits, sample_weight)

    def move(self, perturbation: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Moves each text's perturbation along its gradient, (B, S, H) each, within the ball."""
        moved = perturbation + self.step_size * tf.math.divide_no_nan(gradient, _norms(gradient))
        return moved * tf.minimum(1.0, tf.math.divide_no_nan(self.radius, _norms(moved)))

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"radius": self.radius, "steps": self.steps, "step_size": self.step_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverts `get_config`."""
        return cls(**config)


@contextlib.contextmanager
def added_to_output(layer: keras.layers.Layer, term: Any) -> Iterator[None]:
    """Adds a term, which must broadcast, to the output of a layer within the context.

    Example:
        >>> with added_to_output(model.encoder.embeddings.token, perturbation):
        ...     logits = model(inputs)
    """
    call = layer.call
    layer.call = lambda *args, **kwargs: call(*args, **kwargs) + term
    try:
        yield
    finally:
        del layer.call


def _norms(x: tf.Tensor) -> tf.Tensor:
    """Returns the L2 norm of each text's (S, H). *Shape:* (B, 1, 1)."""
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=(1, 2), keepdims=True))
