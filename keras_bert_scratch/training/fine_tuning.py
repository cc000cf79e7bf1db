"""The training that `fit` chooses where `compile` was given no optimizer.

What is chosen follows from the number of examples and the encoder alone, so it can be read before,
and given by hand afterwards. Sources: Devlin et al. 2018, A.3, for rate, batch size and epochs on
much data; Mosbach et al. 2021, "On the Stability of Fine-tuning BERT", for many steps with a
warm-up on little.
"""

from typing import Any, NamedTuple

import keras

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.training.optimizers import adamw
from keras_bert_scratch.training.schedules import WarmupLinearDecay

# From so many examples on, some are held out, and the weights of the best epoch are kept.
_MOST_WITHOUT_VALIDATION = 1000
_HELD_OUT = 0.1
_WARM_UP = 0.1
# Encoders as narrow as tiny-en need larger steps.
_NARROW = 256
# Where the encoder has learned nothing that is of use; the rate is over the width.
_ANEW = 0.128
# The rate of low-rank updates over that of weights; with it they reach 1e-3, as in Hu et al. 2021.
_LORA_RATE = 20


class FineTuning(NamedTuple):
    """What `fit` chooses.

    Attributes:
        batch_size: B.
        epochs: Number of epochs.
        learning_rate: Its peak, after a warm-up of a tenth of the steps; it falls to 0.
        held_out: Share of the examples that is held out to find the best epoch.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    held_out: float

    def __str__(self) -> str:
        held_out = f", best epoch on {self.held_out:.0%} held out" if self.held_out else ""
        return (
            f"AdamW, peak rate {self.learning_rate:g} after a warm-up of {_WARM_UP:.0%}, "
            f"{self.epochs} epochs in batches of {self.batch_size}{held_out}"
        )


def choose_fine_tuning(
    num_examples: int,
    config: BertConfig,
    *,
    batch_size: int | None = None,
    epochs: int | None = None,
    can_hold_out: bool = True,
    knows_sentences: bool = False,
    learns_anew: bool = False,
    is_adapted: bool = False,
) -> FineTuning:
    """Chooses a training by the number of examples and the kind of encoder.

    Args:
        num_examples: Number of training examples.
        config: The encoder's.
        batch_size: B, if it is given.
        epochs: Number of epochs, if it is given.
        can_hold_out: Whether examples can be held out for validation.
        knows_sentences: Whether the encoder was trained as a sentence encoder: its features suit
            few examples nearly as they are, and more steps would take from them.
        learns_anew: Whether the examples have nothing that the encoder has learned to read, such as
            pictures: the training is then that of a new network.
        is_adapted: Whether low-rank updates are trained in place of the encoder's weights.

    Example:
        >>> choose_fine_tuning(64, BertConfig()).epochs
        20
    """
    is_narrow = config.hidden_dim < _NARROW
    has_few = num_examples <= _MOST_WITHOUT_VALIDATION
    batch_size = batch_size or (16 if has_few else 32)
    if epochs is None:
        least_steps, most_epochs = (400, 40) if is_narrow else (200, 5 if knows_sentences else 20)
        if learns_anew:
            least_steps, most_epochs = 2000, 100
        steps_per_epoch = -(-num_examples // batch_size)
        epochs = max(3, min(most_epochs, -(-least_steps // steps_per_epoch)))
    learning_rate = 5e-4 if is_narrow else 2e-5 if has_few and knows_sentences else 5e-5
    if learns_anew:
        learning_rate = _ANEW / config.hidden_dim
    if is_adapted:
        learning_rate = min(1e-3, _LORA_RATE * learning_rate)
    return FineTuning(
        batch_size,
        epochs,
        learning_rate,
        held_out=0.0 if has_few or not can_hold_out else _HELD_OUT,
    )


def fine_tuning_optimizer() -> Any:
    """Returns the optimizer that `begin` gives a schedule."""
    return adamw(total_steps=1, warmup_ratio=0.0)


def begin(optimizer: Any, learning_rate: float, total_steps: int, *, restart: bool) -> None:
    """Gives an optimizer the schedule of a training.

    Args:
        optimizer: The optimizer, perhaps with Keras' loss scaling around it.
        learning_rate: The peak.
        total_steps: Number of steps.
        restart: Whether to forget the steps of an earlier training.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.learning_rate = WarmupLinearDecay(
        learning_rate, total_steps, int(_WARM_UP * total_steps)
    )
    if restart:
        for variable in optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
