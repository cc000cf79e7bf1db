"""The sizes and switches of the encoder, the named presets, and their checks."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal, get_origin

Architecture = Literal["bert", "modernbert"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
PositionEmbedding = Literal["learned", "sinusoidal"]


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and switches of an encoder: BERT's (Devlin et al. 2018, section 3), or ModernBERT's.

    ModernBERT (Warner et al. 2024, section 2.1) has rotary positions, blocks that normalize first,
    gated feed-forward layers, no biases, and local attention in most layers, for long texts.

    Args:
        vocab_size: Number of tokens, V.
        num_layers: Number of encoder blocks.
        num_heads: Attention heads a block, N. Divides `hidden_dim`, unless `head_dim` is given.
        hidden_dim: Width of the hidden states, H.
        feed_forward_dim: Width of the feed-forward layer, F.
        max_positions: Longest sequence.
        num_segments: BERT only: number of segment ids (2: first and second text).
        activation: Activation of the feed-forward layers: `"gelu"` (exact, by erf), `"gelu_tanh"`
            and `"quick_gelu"` (its approximations by tanh and sigmoid), `"relu"` or `"silu"`.
        position_embedding: BERT only: `"learned"`, or `"sinusoidal"` (Vaswani et al. 2017, 3.5).
        dropout: Rate after the embeddings and each sub-layer; in ModernBERT after the embeddings
            and inside the feed-forward layers.
        attention_dropout: Rate on the attention probabilities; in ModernBERT on the attention's
            output, too.
        layer_norm_epsilon: Added to the variance in every layer normalization.
        initializer_range: Standard deviation of the truncated normal initializer.
        architecture: `"bert"` or `"modernbert"`.
        head_dim: BERT only: width of a head, D, if heads were removed, see
            `models.adapting.keep_heads`; by default `hidden_dim / num_heads`.
        local_window: ModernBERT only: width of the window in local layers, half of which is on
            either side of a token.
        global_every: ModernBERT only: distance of the global layers, which see all tokens; the
            first layer is global.
        global_rope_theta: ModernBERT only: base of the rotary positions in global layers.
        local_rope_theta: ModernBERT only: base of the rotary positions in local layers.

    Raises:
        ValueError: If a size is not positive, a rate is outside [0, 1), a switch is unknown, a
            field of the other architecture is set, `hidden_dim` is not divisible by `num_heads`,
            or the sizes do not allow rotary positions or windows.

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
    architecture: Architecture = "bert"
    head_dim: int | None = None
    local_window: int = 128
    global_every: int = 3
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0

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
            # The arguments of a Literal are its values.
            choices = getattr(field.type, "__args__", ())
            if get_origin(field.type) is Literal and value not in choices:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(choices)}; received {value!r}."
                )
        for field in dataclasses.fields(self):
            owner = _OWNERS.get(field.name, self.architecture)
            if owner != self.architecture and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name} is of architecture {owner!r}, received architecture="
                    f"{self.architecture!r} and {field.name}={getattr(self, field.name)!r}: "
                    "omit it."
                )
        for rate in ("dropout", "attention_dropout"):
            if getattr(self, rate) >= 1:
                raise ValueError(f"{rate} must be below 1, received {getattr(self, rate)!r}.")
        check_heads(self.hidden_dim, self.num_heads, self.head_dim)
        if self.architecture == "modernbert":
            check_rotary(self.hidden_dim // self.num_heads, self.global_rope_theta)
            check_rotary(self.hidden_dim // self.num_heads, self.local_rope_theta)
            check_window(self.local_window)

    def __repr__(self) -> str:
        # The sizes, and what else is not as usual.
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.type is int or getattr(self, field.name) != field.default
            if _OWNERS.get(field.name, self.architecture) == self.architecture
        ]
        return f"BertConfig({', '.join(shown)})"

    def is_local(self, layer: int) -> bool:
        """Whether attention in a layer, counted from 0, is local."""
        return self.architecture == "modernbert" and layer % self.global_every != 0

    @property
    def attention_dim(self) -> int:
        """Width of all heads of a block, N x D."""
        return self.num_heads * (self.head_dim or self.hidden_dim // self.num_heads)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "BertConfig":
        """Returns the config of a named size.

        Args:
            name: One of tiny, mini, small, medium, base, large (Turc et al. 2019, table 1;
                Devlin et al. 2018) and minilm (Wang et al. 2020, 6 layers of 384).
            **changes: Fields that differ from the preset's.

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
        """Returns the fields as JSON types."""
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
            ValueError: If it is not a JSON object, or a field is refused.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
        except (ValueError, RecursionError) as error:  # not UTF-8, or nested without end
            raise ValueError(f"{path} is not JSON ({error}): write it with to_json.") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{path} holds {type(fields).__name__}, not an object.")
        return cls.from_dict(fields)


def check_heads(hidden_dim: int, num_heads: int, head_dim: int | None = None) -> None:
    """Raises a ValueError if the heads have no width, or do not divide the hidden width."""
    if head_dim is not None and (type(head_dim) is not int or head_dim < 1):
        raise ValueError(f"head_dim must be a positive integer or None, received {head_dim!r}.")
    if head_dim is None and hidden_dim % num_heads:
        raise ValueError(
            f"hidden_dim must be divisible by num_heads, received hidden_dim={hidden_dim} "
            f"and num_heads={num_heads}: change one of them."
        )


def check_rotary(head_dim: int, rope_theta: float) -> None:
    """Raises a ValueError if features cannot be rotated in pairs, or the base is out of range."""
    if head_dim % 2:
        raise ValueError(
            f"Rotary positions need heads of an even width, received {head_dim}: change hidden_dim "
            "or num_heads."
        )
    if not 0 < rope_theta <= sys.float_info.max:
        raise ValueError(f"rope_theta must be a finite number above 0, received {rope_theta!r}.")


def check_window(window: int) -> None:
    """Raises a ValueError if a window does not have as many tokens on one side as on the other."""
    if window < 2 or window % 2:
        raise ValueError(
            f"The window of local attention must be an even number from 2, received {window!r}: "
            "half of it is on either side."
        )


# Fields of one architecture only.
_OWNERS = {
    "num_segments": "bert",
    "position_embedding": "bert",
    "head_dim": "bert",
    "local_window": "modernbert",
    "global_every": "modernbert",
    "global_rope_theta": "modernbert",
    "local_rope_theta": "modernbert",
}

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
