"""Every size and switch of the encoder, the named presets, and their checks."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal

Activation = Literal["gelu", "gelu_tanh", "relu"]
PositionEmbedding = Literal["learned", "sinusoidal"]


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and switches of a BERT encoder (Devlin et al. 2018, section 3).

    Args:
        vocab_size: Number of tokens, V.
        num_layers: Number of encoder blocks.
        num_heads: Attention heads a block, N. Divides `hidden_dim`.
        hidden_dim: Width of the hidden states, H.
        feed_forward_dim: Width of the feed-forward layer, F.
        max_positions: Longest sequence that the position embedding covers.
        num_segments: Number of segment ids (2: first and second text).
        activation: Of the feed-forward layer: `"gelu"` (exact, by erf), `"gelu_tanh"`
            (its tanh approximation) or `"relu"`.
        position_embedding: `"learned"` (BERT) or `"sinusoidal"` (Vaswani et al. 2017, 3.5).
        dropout: Rate after the embeddings and after each sub-layer.
        attention_dropout: Rate on the attention probabilities.
        layer_norm_epsilon: Added to the variance in every layer normalization.
        initializer_range: Standard deviation of the truncated normal initializer.

    Raises:
        ValueError: If a size is not positive, a rate is outside [0, 1), a switch is unknown, or
            `hidden_dim` is not divisible by `num_heads`.

    Example:
        >>> BertConfig.preset("tiny").hidden_dim
        128
        >>> BertConfig.preset("base", vocab_size=8000).vocab_size
        8000
    """

    vocab_size: int = 30522
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int = 768
    feed_forward_dim: int = 3072
    max_positions: int = 512
    num_segments: int = 2
    activation: Activation = "gelu"
    position_embedding: PositionEmbedding = "learned"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(f"{field.name} must be a positive integer, received {value!r}.")
            if field.type is float and (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 <= value <= sys.float_info.max
            ):
                raise ValueError(
                    f"{field.name} must be a finite number of at least 0, received {value!r}."
                )
            # A Literal lists what it allows.
            choices = getattr(field.type, "__args__", ())
            if choices and value not in choices:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(choices)}; received {value!r}."
                )
        for rate in ("dropout", "attention_dropout"):
            if getattr(self, rate) >= 1:
                raise ValueError(f"{rate} must be below 1, received {getattr(self, rate)!r}.")
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim must be divisible by num_heads, received hidden_dim="
                f"{self.hidden_dim} and num_heads={self.num_heads}: change one of them."
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "BertConfig":
        """Returns a named size, with `changes` to single fields.

        Args:
            name: One of tiny, mini, small, medium, base, large (Turc et al. 2019, table 1;
                Devlin et al. 2018) and minilm (Wang et al. 2020, 6 layers of 384).
            **changes: Fields that differ from the preset.

        Raises:
            ValueError: If the name is unknown.
        """
        if name not in _PRESETS:
            raise ValueError(f"Unknown preset {name!r}: the presets are {', '.join(_PRESETS)}.")
        num_layers, num_heads, hidden_dim = _PRESETS[name]
        sizes = {
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "feed_forward_dim": 4 * hidden_dim,
        }
        return cls(**{**sizes, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BertConfig":
        """Inverts `to_dict`.

        Raises:
            ValueError: If a field is unknown, or its value is refused.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise ValueError(
                f"Unknown config fields {', '.join(unknown)}: the fields are {', '.join(known)}."
            )
        return cls(**fields)

    def to_json(self, path: str | Path) -> None:
        """Writes the config as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: str | Path) -> "BertConfig":
        """Reads a config that `to_json` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no JSON object, or a field is refused.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
        except (ValueError, RecursionError) as error:  # not UTF-8, or nested without end
            raise ValueError(f"{path} is not JSON ({error}): write it with to_json.") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{path} holds {type(fields).__name__}, not an object.")
        return cls.from_dict(fields)


# name: (layers, heads, hidden width); the feed-forward width is always four times the hidden one.
_PRESETS = {
    "tiny": (2, 2, 128),
    "mini": (4, 4, 256),
    "small": (4, 8, 512),
    "medium": (8, 8, 512),
    "minilm": (6, 12, 384),
    "base": (12, 12, 768),
    "large": (24, 16, 1024),
}
