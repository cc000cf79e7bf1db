"""What a model's config tells beside its constructor's arguments: what is frozen, and what adapted.

Layers and weights are told by their number in Keras' order, which follows from the constructor.
"""

from typing import Any

import keras


def state_config(model: keras.layers.Layer) -> dict[str, Any]:
    """Returns an entry `state` for `get_config`; nothing where all is as the constructor left it.

    Args:
        model: A model, or a layer, with its weights.

    Raises:
        ValueError: If the model is quantized: its config would tell of another one.

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
                "not tell: save or clone it before quantize, and quantize what is loaded; export "
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
    """Brings a new model to what `state_config` told of another one of the same kind.

    Args:
        model: As its constructor made it.
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
    for number, weight in enumerate(model.weights):
        weight.trainable = number not in frozen_weights
    for number, layer in enumerate(layers):
        # Not by the setter, which would freeze all that is below.
        layer._trainable = number not in frozen_layers


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Brings a layer of the same kind to another's state."""
    set_state(target, state_config(source).get("state"))
