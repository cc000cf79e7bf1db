"""The base of the layers: their configs, and how they make dense layers and tables."""

import inspect
from typing import Any, ClassVar, Self

import keras

from keras_bert_scratch.config import BertConfig, Config
from keras_bert_scratch.layers.dense import Dense


class BaseLayer(keras.layers.Layer):
    """A layer that stores each argument of its constructor under the argument's name."""

    initializer_range: float
    # That of the argument `config`, if there is one.
    config_class: ClassVar[type[Config]] = BertConfig

    @classmethod
    def for_config(cls, config: Config, **kwargs: Any) -> Self:
        """Makes a layer with the sizes and switches of a network.

        Args:
            config: The value of every argument that has the name of one of its fields.
            **kwargs: The other arguments, and those that differ from the config.

        Example:
            >>> FeedForward.for_config(BertConfig.preset("tiny")).feed_forward_dim
            512
        """
        fields = config.to_dict()
        shared = {name: fields[name] for name in _arguments(cls) if name in fields}
        return cls(**{**shared, **kwargs})

    def _dense(self, width: int, name: str, **kwargs: Any) -> Dense:
        initializer = keras.initializers.TruncatedNormal(stddev=self.initializer_range)
        return Dense(
            width, kernel_initializer=initializer, dtype=self.dtype_policy, name=name, **kwargs
        )

    def _table(self, rows: int, width: int, name: str) -> keras.layers.Embedding:
        return keras.layers.Embedding(
            rows,
            width,
            embeddings_initializer=keras.initializers.TruncatedNormal(
                stddev=self.initializer_range
            ),
            dtype=self.dtype_policy,
            name=name,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        values = {name: getattr(self, name) for name in _arguments(type(self))}
        if "config" in values:
            values["config"] = values["config"].to_dict()
        return {**super().get_config(), **values}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverts `get_config`."""
        if "config" in config:
            config = {**config, "config": cls.config_class.from_dict(config["config"])}
        return super().from_config(config)


def _arguments(layer_class: type[BaseLayer]) -> list[str]:
    return [name for name in inspect.signature(layer_class).parameters if name != "kwargs"]
