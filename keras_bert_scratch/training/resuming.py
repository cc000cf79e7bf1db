"""Resuming a stopped training, exactly as if it had not been stopped."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_bert_scratch.files import new_file
from keras_bert_scratch.training.distribution import is_chief

_METADATA = "training"


class ExactResume(keras.callbacks.Callback):
    """Saves everything that the next epoch depends on in one file, after every epoch.

    That is the weights, the optimizer with its step, the states of the dropouts' seed generators,
    the number of epochs done and their history. The data must follow from the number of the epoch,
    as those of `data.shards.ShardedExamples.training` do. (Keras' `BackupAndRestore` omits the
    seeds, the history and the data.)

    Args:
        path: The file, ending in .safetensors. Under `tf.distribute` all workers restore from it,
            in the strategy's scope, and must be able to read it.
        recipe: Settings that the training depends on, as plain JSON types: a file with another
            recipe is refused.

    Attributes:
        epochs_done: Number of epochs done; pass it to `fit` as `initial_epoch` after `restore`.
        history: Values of each log, by its name, in the epochs done.

    Example:
        >>> resume = ExactResume("run/checkpoint.safetensors", {"seed": 0})
        >>> resume.restore(model)  # does nothing if there is no such file
        >>> model.fit(batches, epochs=9, initial_epoch=resume.epochs_done, callbacks=[resume])
    """

    def __init__(self, path: str | Path, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.path = Path(path)
        self.recipe = recipe
        self.epochs_done = 0
        self.history: dict[str, list[float]] = {}

    def restore(self, model: keras.Model) -> None:
        """Restores the state of a compiled model from the file, if there is one.

        Raises:
            ValueError: If the file has another recipe or other weights, or is damaged.
        """
        model.optimizer.build(model.trainable_variables)
        if not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="numpy") as file:
                saved = json.loads(file.metadata()[_METADATA])
                self._check(saved["recipe"])
                variables = _variables(model)
                shapes = {name: list(variable.shape) for name, variable in variables.items()}
                found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
                if shapes != found:
                    raise ValueError(
                        f"{self.path} does not hold the variables of this model: go on with the "
                        "recipe and the version it was written with, or remove it."
                    )
                for name, variable in variables.items():
                    variable.assign(file.get_tensor(name))
        except SafetensorError as error:
            raise ValueError(
                f"{self.path} is damaged ({error}): remove it, and start anew."
            ) from error
        self.epochs_done, self.history = saved["epochs_done"], saved["history"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state; under `tf.distribute`, only the first worker writes."""
        self.epochs_done = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        # Only TensorFlow's trainer has the attribute.
        if not is_chief(getattr(self.model, "distribute_strategy", None)):
            return
        fields = ("recipe", "epochs_done", "history")
        saved = {name: getattr(self, name) for name in fields}
        tensors = {
            name: np.asarray(keras.ops.convert_to_numpy(variable), order="C")
            for name, variable in _variables(self.model).items()
        }
        with new_file(self.path) as temporary:
            save_file(tensors, temporary, metadata={_METADATA: json.dumps(saved)})

    def _check(self, recipe: dict[str, Any]) -> None:
        ours, theirs = (_flat(fields) for fields in (self.recipe, recipe))
        differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"{self.path} was written by another recipe, which differs in "
                f"{', '.join(differing)} ({name} was {theirs.get(name)!r}, now it is "
                f"{ours.get(name)!r}): go on with that recipe, or start a new run elsewhere."
            )


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the state of a training, seed generators included, by the same names in any process.

    Keras' paths differ between processes: they count its seed generators.
    """
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{group}/{number}": variable
        for group, variables in groups.items()
        for number, variable in enumerate(variables)
    }


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns nested fields by dotted names."""
    leaves = keras.tree.flatten_with_path(fields)
    return {".".join(map(str, path)): value for path, value in leaves}
