"""The base of the networks, and the state in their configs: frozen layers, adapters.

Layers and weights are numbered in Keras' order, which follows from the constructor.
"""

from typing import Any, ClassVar, Self

import keras

from keras_bert_scratch.config import BertConfig, Config


class ConfiguredModel(keras.Model):
    """A network that is made of a config, and saved with it and its state."""

    config_class: ClassVar[type[Config]] = BertConfig
    config: Any

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the state, see `state_config`."""
        return {**super().get_config(), "config": self.config.to_dict(), **state_config(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Inverts `get_config`."""
        arguments = {**config, "config": cls.config_class.from_dict(config["config"])}
        state = arguments.pop("state", None)
        model = cls(**arguments)
        set_state(model, state)
        return model


def state_config(model: keras.layers.Layer) -> dict[str, Any]:
    """Returns an entry `state` for `get_config`; none for a model as its constructor made it.

    Args:
        model: A model or layer with its weights.

    Raises:
        ValueError: If the model is quantized, which configs do not hold.

    Example:
        >>> model.encoder.embeddings.trainable = False
        >>> state_config(model.encoder)
        {'state': {'lora': [], 'frozen_layers': [1, 2, 3], 'frozen_weights': [0, 1, 2, 3, 4]}}
    """
    layers = model._flatten_layers()
    state: dict[str, list[Any]] = {"lora": [], "frozen_layers": [], "frozen_weights": []}
    for number, layer in enumerate(layers):
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"{model.name} is quantized to {layer.quantization_mode}, which its config does "
                "not tell: save or clone it before quantize, and quantize the loaded model; export "
                "writes quantized models, and save_weights the weights of this one."
            )
        if getattr(layer, "lora_enabled", False):
            state["lora"].append([number, layer.lora_rank, layer.lora_alpha])
        if not layer.trainable:
            state["frozen_layers"].append(number)
    state["frozen_weights"] = [
        number for number, weight in enumerate(model.weights) if not weight.trainable
    ]
    return {"state": state} if any(state.values()) else {}


def set_state(model: keras.layers.Layer, state: dict[str, Any] | None) -> None:
    """Freezes and adapts a new model as `state_config` has recorded it.

    Args:
        model: A model as its constructor made it.
        state: The entry `state`, or None.

    Example:
        >>> set_state(model, config.pop("state", None))
    """
    if state is None:
        return
    layers = model._flatten_layers()
    for number, rank, alpha in state["lora"]:
        if not layers[number].lora_enabled:
            layers[number].enable_lora(rank, lora_alpha=alpha)
    frozen_layers, frozen_weights = (set(state[f"frozen_{kind}"]) for kind in ("layers", "weights"))
    # Layers before their sub-layers, since the setter changes these and the weights, too.
    for number, layer in enumerate(layers):
        layer.trainable = number not in frozen_layers
    for number, weight in enumerate(model.weights):
        weight.trainable = number not in frozen_weights


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Freezes and adapts a layer as another of the same kind is."""
    set_state(target, state_config(source).get("state"))
