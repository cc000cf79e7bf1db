"""Private parts of Keras that training and evaluation use, as of the version in pyproject.toml.

A test fails on the day Keras renames a part, changes its arguments, or no longer calls those that
are overridden: otherwise weights would decay twice, or replicas learn from their own rows alone.
`_direction`, `_seed_generators`, `_non_trainable_variables` and `_learning_rate` have tests in
test_metrics.py (early stopping), test_privacy.py (refusals) and test_data_checks.py (steps).
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers import Adam, Muon

from keras_bert_scratch.training.distribution import shard


@pytest.mark.parametrize(
    ("owner", "arguments", "caller"),
    [
        (Adam._get_variable_index, ["variable"], Adam.update_step),
        (Adam._use_weight_decay, ["variable"], Adam._apply_weight_decay),
        (Muon._should_use_adamw, ["variable"], Muon._apply_weight_decay),
        (Adam._backend_apply_gradients, ["grads", "trainable_variables"], Adam.apply),
        (Adam._clip_gradients, ["grads"], Adam._backend_apply_gradients),
        (Adam._apply_weight_decay, ["variables"], Adam._backend_apply_gradients),
        (
            Adam._backend_increment_gradient_accumulators,
            ["grads", "acc_grads"],
            Adam._backend_apply_gradients,
        ),
        (
            Adam._backend_update_step,
            ["grads", "trainable_variables", "learning_rate"],
            Adam._backend_apply_gradients,
        ),
        (Adam._all_reduce_sum_gradients, ["grads_and_vars"], Adam._backend_update_step),
        (keras.Model._maybe_symbolic_build, ["iterator", "data_batch"], keras.Model.fit),
        (keras.Model._flatten_layers, ["include_self", "recursive"], keras.Model.compile),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_methods(owner, arguments, caller) -> None:
    assert [*inspect.signature(owner).parameters] == ["self", *arguments]
    assert f".{owner.__name__}(" in inspect.getsource(inspect.unwrap(caller))


def test_variables_of_optimizers() -> None:
    weight = keras.Variable([1.0])
    optimizer = Adam(gradient_accumulation_steps=2)
    optimizer.apply([tf.constant([2.0])], [weight])
    index = optimizer._get_variable_index(weight)
    assert optimizer._momentums[index].shape == optimizer._velocities[index].shape == (1,)
    np.testing.assert_array_equal(optimizer._accumulated_gradients[index], [2.0])
    assert int(optimizer._iterations) == 1  # batches; `iterations` counts updates


def test_strategies() -> None:
    assert keras.Sequential()._distribute_strategy is None
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        assert keras.Sequential()._distribute_strategy is strategy
    assert int(shard(tf.data.Dataset.range(6).batch(2), strategy).cardinality) == 3


def test_loss_tracker() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model._loss_tracker is next(metric for metric in model.metrics if metric.name == "loss")
