"""Files are decoded in a graph as the door for pictures decodes them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_bert_scratch.data.pictures import read_picture
from keras_bert_scratch.data.table import resize_picture
from keras_bert_scratch.serving.graphs.pictures import decode_picture

SIZE = (23, 31)


@pytest.fixture(scope="module")
def decode():
    spec = tf.TensorSpec((), tf.string)
    return tf.function(lambda contents: decode_picture(contents, *SIZE), input_signature=[spec])


def picture(mode: str = "RGB") -> Image.Image:
    rows = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    smooth = Image.fromarray(rows, "RGBA").resize((57, 44), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.random.default_rng(1).integers(0, 65536, (44, 57), "uint16"))
    if mode == "RGBA":
        return smooth
    return smooth.convert("LA" if mode == "LA" else "RGB").convert(mode)


def file(image: Image.Image, format: str, **settings) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **settings)
    return stream.getvalue()


def exif(orientation: int, order: str) -> bytes:
    """EXIF data with an entry before the orientation, in either order of bytes."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "II" else "big")

    entries = [(0x0100, 4, number(57, 4)), (0x0112, 3, number(orientation, 2) + b"\0\0")]
    body = b"".join(
        number(tag, 2) + number(kind, 2) + number(1, 4) + value for tag, kind, value in entries
    )
    start = order.encode() + number(42, 2) + number(8, 4)
    return b"Exif\0\0" + start + number(len(entries), 2) + body + number(0, 4)


FILES = {
    **{f"PNG {mode}": file(picture(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")},
    "PNG of 16 bits": file(picture("I;16"), "PNG"),
    "PNG of 4 colors": file(picture().quantize(4), "PNG"),
    "PNG of 3 colors and none": file(picture().quantize(4), "PNG", transparency=1),
    "JPEG": file(picture(), "JPEG", quality=60),
    "grey JPEG": file(picture("L"), "JPEG"),
    "JPEG, progressive": file(picture(), "JPEG", progressive=True, subsampling=0),
    **{
        f"JPEG turned {orientation} {order}": file(picture(), "JPEG", exif=exif(orientation, order))
        for orientation in range(1, 9)
        for order in ("II", "MM")
    },
    "PNG turned": file(picture(), "PNG", exif=exif(6, "MM")),
}


@pytest.mark.parametrize("contents", FILES.values(), ids=FILES)
def test_as_the_door(decode, contents):
    np.testing.assert_array_equal(decode(contents), resize_picture(read_picture(contents), *SIZE))


def test_the_turned_pictures_differ():
    turned = [read_picture(FILES[f"JPEG turned {n} II"]) for n in range(1, 9)]
    assert len({(pixels.shape, pixels.tobytes()) for pixels in turned}) == 8


@pytest.mark.parametrize(
    "contents", [b"", b"GIF89a", FILES["JPEG"][:200], FILES["PNG RGB"][:200]], ids=lambda c: len(c)
)
def test_broken_files(decode, contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(contents)


def test_a_bomb_is_refused_by_its_header(decode):
    bomb = bytearray(FILES["PNG RGB"])
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="has more than 64000000 pixels"):
        decode(bytes(bomb))
