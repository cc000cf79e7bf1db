"""The sizes and switches of the encoders, the named presets, and their checks."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal, Self, get_origin

Architecture = Literal["bert", "modernbert"]
PatchArchitecture = Literal["vit", "deit", "dinov2", "audio-spectrogram-transformer"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
PositionEmbedding = Literal["learned", "sinusoidal"]


@dataclasses.dataclass(frozen=True)
class Config:
    """What the configs share: checks of their fields, and JSON."""

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
            if field.type is bool and type(value) is not bool:
                raise ValueError(f"{field.name} must be True or False, received {value!r}.")
            # The arguments of a Literal are its values.
            choices = getattr(field.type, "__args__", ())
            if get_origin(field.type) is Literal and value not in choices:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(choices)}; received {value!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        fields = dataclasses.asdict(self)
        return {n: list(v) if isinstance(v, tuple) else v for n, v in fields.items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
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


@dataclasses.dataclass(frozen=True)
class BertConfig(Config):
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
        super().__post_init__()
        for field in dataclasses.fields(self):
            owner = _OWNERS.get(field.name, self.architecture)
            if owner != self.architecture and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name} is of architecture {owner!r}, received architecture="
                    f"{self.architecture!r} and {field.name}={getattr(self, field.name)!r}: "
                    "omit it."
                )
        check_rates(self.dropout, self.attention_dropout)
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

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the axes that the table of weight names knows."""
        return {
            "V": self.vocab_size,
            "S": self.max_positions,
            "G": self.num_segments,
            "H": self.hidden_dim,
            "3H": 3 * self.hidden_dim,
            "A": self.attention_dim,
            "F": self.feed_forward_dim,
            "2F": 2 * self.feed_forward_dim,
        }

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


@dataclasses.dataclass(frozen=True)
class PatchConfig(Config):
    """Sizes and switches of an encoder of patches, of pictures or of spectrograms.

    Its architecture is that of ViT (Dosovitskiy et al. 2021), DeiT (Touvron et al. 2021; with a
    distillation token), DINOv2 (Oquab et al. 2023; the output of each sub-layer is scaled), or the
    Audio Spectrogram Transformer (Gong et al. 2021; a spectrogram, 128 bands by 1,024 frames, has
    one channel, and its patches of 16 overlap by 6).

    Args:
        architecture: `"vit"`, `"deit"`, `"dinov2"` or `"audio-spectrogram-transformer"`.
        height: Height of the pictures for which positions are learned, in pixels; of a spectrogram
            its number of bands. Other sizes are read with interpolated positions.
        width: Their width; of a spectrogram its number of frames.
        patch_size: P, height and width of a patch.
        stride: Distance of neighbouring patches; by default `patch_size`.
        channels: C, values of a pixel.
        num_layers: Number of blocks.
        num_heads: Attention heads a block, N. Divides `hidden_dim`.
        hidden_dim: Width of the hidden states, H.
        feed_forward_dim: Width of the feed-forward layer, F.
        activation: Activation of the feed-forward layers, as in `BertConfig`.
        dropout: Rate after the embeddings and each sub-layer.
        attention_dropout: Rate on the attention probabilities.
        layer_norm_epsilon: Added to the variance in every layer normalization.
        initializer_range: Standard deviation of the truncated normal initializer.
        layer_scale: DINOv2 only: initial value of the scales.
        pooler: Whether `pooled_output` is that of a dense tanh layer on [CLS].
        distillation_head: DeiT only: whether the distillation token has a head of its own.
        mean: Mean of each channel, which the encoder subtracts; `()` reads pixels as they are. An
            Audio Spectrogram Transformer's single mean and deviation are those that
            `data.sounds.log_mel_spectrograms` is given; the encoder does not apply them.
        deviation: Standard deviation of each channel, by which the encoder divides.

    Raises:
        ValueError: If a size is not positive, a rate is outside [0, 1), a switch is unknown, a
            field of another architecture is set, `hidden_dim` is not divisible by `num_heads`, a
            picture is smaller than a patch, or there is not one mean and deviation a channel.

    Example:
        >>> PatchConfig(architecture="deit", height=384, width=384).num_special_tokens
        2
    """

    architecture: PatchArchitecture = "vit"
    height: int = 224
    width: int = 224
    patch_size: int = 16
    stride: int | None = None
    channels: int = 3
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int = 768
    feed_forward_dim: int = 3072
    activation: Activation = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02
    layer_scale: float = 1.0
    pooler: bool = False
    distillation_head: bool = False
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride is not None and (type(self.stride) is not int or self.stride < 1):
            raise ValueError(
                f"stride must be a positive integer or None, received {self.stride!r}."
            )
        for name, owner in (("layer_scale", "dinov2"), ("distillation_head", "deit")):
            if self.architecture != owner and getattr(self, name) != getattr(PatchConfig, name):
                raise ValueError(
                    f"{name} is of architecture {owner!r}, received architecture="
                    f"{self.architecture!r} and {name}={getattr(self, name)!r}: omit it."
                )
        check_rates(self.dropout, self.attention_dropout)
        check_heads(self.hidden_dim, self.num_heads)
        check_patches(self.height, self.width, self.patch_size)
        for name in ("mean", "deviation"):
            values = getattr(self, name)
            numbers = isinstance(values, list | tuple) and all(
                type(v) in (int, float) for v in values
            )
            if not numbers or not all(abs(v) <= sys.float_info.max for v in values):
                raise ValueError(f"{name} must hold finite numbers, received {values!r}.")
            object.__setattr__(self, name, tuple(values))
        counts = {len(self.mean), len(self.deviation)}
        if counts not in ({0}, {self.channels}) or 0 in self.deviation:
            raise ValueError(
                f"mean and deviation must have one number for each of {self.channels} channels, "
                f"and no deviation may be 0; received {self.mean} and {self.deviation}."
            )

    @property
    def num_special_tokens(self) -> int:
        """T: 1 for [CLS], 2 with a distillation token."""
        return 1 if self.architecture in ("vit", "dinov2") else 2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches for which there are positions."""
        return patch_grid(self.height, self.width, self.patch_size, self.stride)

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the axes that the table of weight names knows."""
        rows, columns = self.grid
        return {
            "1": 1,
            "P": self.patch_size,
            "C": self.channels,
            "S": self.num_special_tokens + rows * columns,
            "H": self.hidden_dim,
            "A": self.hidden_dim,
            "F": self.feed_forward_dim,
        }


def check_rates(dropout: float, attention_dropout: float) -> None:
    """Raises a ValueError if a rate of dropout is 1 or more."""
    for name, rate in (("dropout", dropout), ("attention_dropout", attention_dropout)):
        if rate >= 1:
            raise ValueError(f"{name} must be below 1, received {rate!r}.")


def check_patches(height: int, width: int, patch_size: int) -> None:
    """Raises a ValueError if pictures are smaller than a patch."""
    if min(height, width) < patch_size:
        raise ValueError(
            f"The pictures have {height} x {width} pixels, which must be at least patch_size="
            f"{patch_size} each: enlarge them, or take smaller patches."
        )


def patch_grid(height: int, width: int, patch_size: int, stride: int | None) -> tuple[int, int]:
    """Returns the rows and columns of patches of a picture."""
    step = stride or patch_size
    return (height - patch_size) // step + 1, (width - patch_size) // step + 1


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
