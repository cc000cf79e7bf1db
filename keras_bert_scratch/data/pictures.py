"""The door for pictures: files, their contents and arrays -> red, green and blue pixels.

Axes: N pictures.
"""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_bert_scratch.data.media import content_of, subject

# Formats of Pillow; others are refused unread, since some start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# Cameras have up to 61 million pixels. So many take 192 MB as red, green and blue, and up to four
# times as much while transparency is removed.
LARGEST_PICTURE = 64_000_000
LARGEST_FILE = 256_000_000


def read_picture(source: Any, size: tuple[int, int] | None = None, place: str = "") -> np.ndarray:
    """Reads a picture as red, green and blue.

    A picture that EXIF data say to be turned is turned. Transparent pixels lie over white. Grey
    pictures, 16 bits a channel, palettes and CMYK are converted. Of a file with one preview or more
    besides its picture, as phones write, the picture is read.

    Args:
        source: The path of a file of `FORMATS`; its content, as bytes; a picture of Pillow; or an
            array of shape (height, width), (height, width, 1), (height, width, 3) or, with
            opacity, (height, width, 4). Arrays hold floats from 0 to 1, bools, uint16 from 0 to
            65,535, or other integers from 0 to 255.
        size: Height and width to which it is resized, without regard to its proportions, each pixel
            a mean of those that it covers; by default its own.
        place: Where it stands, for errors, such as `"row 3 of photo"`.

    Returns:
        The picture. *Shape:* (height, width, 3), uint8. Divide it by 255 for a `PatchEncoder`.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the source is none of these.
        ValueError: If it is broken, animated, of another format, or larger than
            `LARGEST_PICTURE`, which its header tells before it is decoded.

    Example:
        >>> read_picture(np.zeros((8, 6)), size=(4, 4)).shape
        (4, 4, 3)
    """
    named = subject("picture", source, place)
    if isinstance(source, str | Path):
        source = content_of(source, named, LARGEST_FILE)
    if isinstance(source, bytes | bytearray | memoryview):
        picture = _decoded(bytes(source), named)
    elif isinstance(source, Image.Image):
        picture = _converted(source, named)
    elif isinstance(source, np.ndarray):
        picture = _converted(Image.fromarray(_as_bytes(source, named)), named)
    else:
        raise TypeError(
            f"{named} is of {type(source).__name__}: give the path of a file, its bytes, an array "
            "or a picture of Pillow."
        )
    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(picture)


def read_pictures(
    sources: Iterable[Any], size: tuple[int, int], column: str = "picture"
) -> np.ndarray:
    """Reads pictures of one size; see `read_picture`.

    Args:
        sources: N pictures.
        size: Height and width to which they are resized.
        column: Their column's name, which errors name with the row, counted from 0.

    Returns:
        *Shape:* (N, height, width, 3), uint8.

    Raises:
        FileNotFoundError: If a file is missing.
        TypeError: If a source is no picture.
        ValueError: If a picture is refused, or there are none.

    Example:
        >>> read_pictures([np.zeros((8, 6)), np.ones((5, 5))], size=(4, 4)).shape
        (2, 4, 4, 3)
    """
    pictures = [
        read_picture(source, size, place=f"row {row} of {column}")
        for row, source in enumerate(sources)
    ]
    if not pictures:
        raise ValueError(f"There are no pictures in {column}: give at least one.")
    return np.stack(pictures)


def _decoded(content: bytes, named: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow's own bound on the number of pixels is above ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(
            f"{named} is broken or of another format (it begins with {content[:8]!r}): give one of "
            f"{', '.join(FORMATS)}."
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{named} is refused ({error}): make it smaller.") from None
    except Exception as error:
        raise _broken(named, error) from error
    return _converted(picture, named)


def _converted(picture: Image.Image, named: str) -> Image.Image:
    """Turns a picture of Pillow, decoded or not, into red, green and blue."""
    width, height = picture.size
    if width * height > LARGEST_PICTURE:
        raise ValueError(
            f"{named} has {height:,} x {width:,} pixels, at most {LARGEST_PICTURE:,} are decoded: "
            "make it smaller."
        )
    # Pillow's decoders raise errors of many kinds.
    try:
        # Further pictures of an MPO file are previews, or the other eye's.
        is_animated = picture.format != "MPO" and getattr(picture, "is_animated", False)
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        # Numbers of more than 8 bits, which `convert` would cut off at 255.
        has_numbers = picture.mode.startswith(("I", "F"))
        picture = picture if has_numbers else picture.convert("RGB")
    except Exception as error:
        raise _broken(named, error) from error
    if is_animated:
        raise ValueError(f"{named} is animated, of several pictures: save the one that is meant.")
    if has_numbers:
        picture = Image.fromarray(_as_bytes(np.asarray(picture), named)).convert("RGB")
    return picture


def _broken(named: str, error: Exception) -> ValueError:
    return ValueError(f"{named} is broken ({error}): fetch or save it again.")


def _as_bytes(array: np.ndarray, named: str) -> np.ndarray:
    """Turns values of an array into those of uint8."""
    shape = array.shape
    if len(shape) == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if 0 in shape or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))):
        raise ValueError(
            f"{named} is an array of shape {shape}, which must be (height, width), or (height, "
            "width, channels) with 1, 3 or 4 channels: transpose it, or select them."
        )
    if array.dtype.kind not in "fbui":
        raise TypeError(f"{named} is an array of {array.dtype}: convert it to uint8.")
    scale = {"f": 255.0, "b": 255.0}.get(array.dtype.kind, 1.0)
    if array.dtype == np.uint16:
        scale = 1 / 257  # 65,535 becomes 255
    scaled = array * scale
    # Written so that NaN is refused, too.
    if not (scaled.min() >= 0 and scaled.max() <= 255):
        low, high = array.min(), array.max()
        raise ValueError(
            f"{named} is an array of {array.dtype} with values from {low} to {high}, which must "
            "be floats from 0 to 1 or integers from 0 to 255: scale it."
        )
    return np.round(scaled).astype("uint8")
