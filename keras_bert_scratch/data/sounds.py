"""The door for sounds: files, their contents and samples -> samples, and their spectrograms.

Axes: B batch, L samples, F frames, M mel bands.
"""

import functools
import io
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from keras_bert_scratch.data.media import content_of, subject

SAMPLE_RATE = 16_000
# Rates of files: of telephones, and the highest of recorders; others would be resampled endlessly.
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000
LARGEST_FILE = 512_000_000

# Frames of 25 ms, one each 10 ms, as Kaldi's and the Audio Spectrogram Transformer's.
FRAME_LENGTH, FRAME_STEP, FFT_LENGTH = 400, 160, 512
NUM_BANDS = 128
# Energies below float32's rounding of 1 are taken for silence, as in Kaldi.
_LEAST_ENERGY = 1.192092955078125e-07
_PREEMPHASIS = 0.97
# Mean and standard deviation of log-mels on AudioSet (Gong et al. 2021).
MEAN, DEVIATION = -4.2677393, 4.5689974


def read_sound(source: Any, sample_rate: int = SAMPLE_RATE, place: str = "") -> np.ndarray:
    """Reads a sound as samples of one channel at 16 kHz.

    The channels of a stereo sound are averaged, and other rates are resampled. Silence is read.

    Args:
        source: The path of a WAV file; its content, as bytes; an array of samples, of shape (L,) or
            (L, channels), floats from -1 to 1 or integers of their type's whole range; or a dict
            of `"array"` and `"sampling_rate"`, as `datasets` has it.
        sample_rate: Samples a second of an array. Files and dicts tell theirs.
        place: Where it stands, for errors, such as `"row 3 of call"`.

    Returns:
        The samples. *Shape:* (L,), float32.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the source is none of these.
        ValueError: If it is broken, compressed, without samples, has values that are not finite, or
            a rate outside `LOWEST_RATE` to `HIGHEST_RATE`.

    Example:
        >>> read_sound(np.zeros((44_100, 2)), sample_rate=44_100).shape
        (16000,)
    """
    named = subject("sound", source, place)
    if isinstance(source, Mapping) and {"array", "sampling_rate"} <= source.keys():
        source, sample_rate = np.asarray(source["array"]), source["sampling_rate"]
    if isinstance(source, str | Path):
        source = content_of(source, named, LARGEST_FILE)
    if isinstance(source, bytes | bytearray | memoryview):
        sample_rate, source = _decoded(bytes(source), named)
    if not isinstance(source, np.ndarray):
        raise TypeError(
            f"{named} is of {type(source).__name__}: give the path of a WAV file, its bytes, or an "
            "array of samples."
        )
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise ValueError(
            f"{named} has a sample rate of {sample_rate}, which must be from {LOWEST_RATE:,} to "
            f"{HIGHEST_RATE:,} a second: convert it."
        )
    samples = _as_floats(source, named)
    divisor = math.gcd(SAMPLE_RATE, int(sample_rate))
    up, down = SAMPLE_RATE // divisor, int(sample_rate) // divisor
    return resample_poly(samples, up, down).astype("float32") if up != down else samples


def read_sounds(
    sources: Iterable[Any], sample_rate: int = SAMPLE_RATE, column: str = "sound"
) -> list[np.ndarray]:
    """Reads sounds; see `read_sound`.

    Args:
        sources: The sounds.
        sample_rate: Samples a second of arrays.
        column: Their column's name, which errors name with the row, counted from 0.

    Returns:
        The samples of each. *Shape:* (L,), float32.

    Raises:
        FileNotFoundError: If a file is missing.
        TypeError: If a source is no sound.
        ValueError: If a sound is refused, or there are none.

    Example:
        >>> [sound.shape for sound in read_sounds([np.zeros(8000), np.zeros(400)])]
        [(8000,), (400,)]
    """
    sounds = [
        read_sound(source, sample_rate, place=f"row {row} of {column}")
        for row, source in enumerate(sources)
    ]
    if not sounds:
        raise ValueError(f"There are no sounds in {column}: give at least one.")
    return sounds


def pad_sounds(sounds: Sequence[np.ndarray], num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts sounds or fills them with silence to the samples of `num_frames` frames.

    Args:
        sounds: B sounds of `read_sound`.
        num_frames: F.

    Returns:
        The samples, *shape:* (B, L), float32, L = 400 + 160 (F - 1); and how many each sound had,
        *shape:* (B,), int32, for `log_mel_spectrograms`.

    Example:
        >>> samples, lengths = pad_sounds([np.ones(300, "float32")], num_frames=2)
        >>> samples.shape, lengths
        ((1, 560), array([300], dtype=int32))
    """
    length = FRAME_LENGTH + FRAME_STEP * (num_frames - 1)
    samples = np.zeros((len(sounds), length), "float32")
    for row, sound in zip(samples, sounds, strict=True):
        row[: len(sound)] = sound[:length]
    return samples, np.array([min(len(sound), length) for sound in sounds], "int32")


def log_mel_spectrograms(
    samples: Any,
    lengths: Any,
    mean: float = MEAN,
    deviation: float = DEVIATION,
    dtype: str = "float64",
) -> Any:
    """Computes the log-mel spectrograms that the Audio Spectrogram Transformer reads.

    They are those of Kaldi (a Hann window, pre-emphasis 0.97, no dither), normalized. All that is
    linear before the energies is one matrix, so the same operations run in NumPy, which reads
    arrays without Keras, and in TensorFlow, LiteRT, JAX and PyTorch.

    Args:
        samples: *Shape:* (B, L), L = 400 + 160 (F - 1), float32, see `pad_sounds`.
        lengths: How many samples of each row are its sound's, int32. *Shape:* (B,). Frames that
            begin or end behind them are 0 before they are normalized; the first never is.
        mean: Subtracted from the logarithms.
        deviation: They are divided by twice this number.
        dtype: Dtype of the computation. In `"float32"`, as in LiteRT and by default on JAX, the
            rounding of loud frequencies hides soft ones beside them.

    Returns:
        *Shape:* (B, F, M), float32, M = 128; an array where `samples` are one.

    Example:
        >>> log_mel_spectrograms(*pad_sounds([np.zeros(16_000)], num_frames=64)).shape
        (1, 64, 128)
    """
    ops: Any = np
    cast: Any = _cast
    if not isinstance(samples, np.ndarray):
        import keras

        ops, cast = keras.ops, keras.ops.cast
    num_frames = (samples.shape[1] - FRAME_LENGTH) // FRAME_STEP + 1
    places = np.arange(num_frames)[:, None] * FRAME_STEP + np.arange(FRAME_LENGTH)
    frames = ops.take(cast(samples, dtype), places.astype("int32"), axis=1)  # (B, F, 400)
    real, imaginary = (cast(part, dtype) for part in _fourier_matrices())
    energies = ops.square(ops.matmul(frames, real)) + ops.square(ops.matmul(frames, imaginary))
    mels = ops.matmul(energies, cast(_mel_filters(), dtype))
    logarithms = ops.log(ops.maximum(mels, _LEAST_ENERGY))
    last = (ops.maximum(cast(lengths, "int32"), FRAME_LENGTH) - FRAME_LENGTH) // FRAME_STEP
    is_sound = ops.arange(num_frames, dtype="int32") <= ops.expand_dims(last, 1)  # (B, F)
    is_sound = ops.expand_dims(is_sound, -1)
    logarithms = ops.where(is_sound, logarithms, ops.zeros_like(logarithms))
    return cast((logarithms - mean) / (2 * deviation), "float32")


def _cast(array: Any, dtype: str) -> np.ndarray:
    return np.asarray(array).astype(dtype)


@functools.cache
def _fourier_matrices() -> tuple[np.ndarray, np.ndarray]:
    """Returns the Fourier transform of a frame: its real and its imaginary part, (400, 257)."""
    centered = np.eye(FRAME_LENGTH) - 1 / FRAME_LENGTH
    # Each sample less 0.97 of the one before; the first has itself before it.
    emphasis = np.eye(FRAME_LENGTH) - _PREEMPHASIS * np.eye(FRAME_LENGTH, k=1)
    emphasis[0, 0] = 1 - _PREEMPHASIS
    spectrum = np.fft.rfft(centered @ emphasis * np.hanning(FRAME_LENGTH), FFT_LENGTH)
    return spectrum.real, spectrum.imag


@functools.cache
def _mel_filters() -> np.ndarray:
    """Returns triangles on the mel scale from 20 Hz to 8 kHz, (257, 128), as Kaldi's."""

    def mel(frequency: Any) -> Any:
        return 1127.0 * np.log(1.0 + frequency / 700.0)

    corners = np.linspace(mel(20.0), mel(SAMPLE_RATE / 2), NUM_BANDS + 2)
    bins = mel(np.arange(FFT_LENGTH // 2 + 1) * SAMPLE_RATE / FFT_LENGTH)[:, None]
    widths = np.diff(corners)
    rising = (bins - corners[:-2]) / widths[:-1]
    falling = (corners[2:] - bins) / widths[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def _decoded(content: bytes, named: str) -> tuple[int, np.ndarray]:
    # A length of 0 or of all ones is that of a stream that knew no end.
    announced = int.from_bytes(content[4:8], "little")
    if content[:4] == b"RIFF" and len(content) < announced + 8 < 2**32:
        raise ValueError(
            f"{named} is truncated: it announces {announced + 8:,} bytes and has "
            f"{len(content):,}. Fetch it again."
        )
    try:
        with warnings.catch_warnings():
            # Other chunks, such as those of comments.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            return wavfile.read(io.BytesIO(content))
    # SciPy's reader raises errors of many kinds.
    except Exception as error:
        raise ValueError(
            f"{named} is broken or not a WAV file without compression ({error}; it begins with "
            f"{content[:8]!r}): convert it to WAV."
        ) from error


def _as_floats(samples: np.ndarray, named: str) -> np.ndarray:
    """Turns samples of any type and number of channels into those of one channel, -1 to 1."""
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        raise ValueError(
            f"{named} has samples of shape {samples.shape}, which must be (samples,) or (samples, "
            "channels), and at least one: remove it, or transpose it."
        )
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise ValueError(
            f"{named} has {samples.shape[0]} samples of {samples.shape[1]} channels: transpose it."
        )
    if samples.dtype.kind not in "fiu":
        raise TypeError(f"{named} has samples of {samples.dtype}: give floats or integers.")
    if samples.dtype.kind == "f":
        floats = samples.astype("float32")
    else:
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        middle = half if samples.dtype.kind == "u" else 0
        floats = ((samples.astype("float64") - middle) / half).astype("float32")
    if not np.isfinite(floats).all():
        raise ValueError(f"{named} has samples that are not finite: remove it, or mend it.")
    return floats if floats.ndim == 1 else floats.mean(axis=1)
