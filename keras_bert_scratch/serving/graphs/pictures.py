"""Pictures in graphs: PNG and JPEG files -> pixels, as `data.pictures` and `data.table` make them.

Core TensorFlow operations alone.
"""

import tensorflow as tf

from keras_bert_scratch.data.pictures import LARGEST_PICTURE
from keras_bert_scratch.data.table import ROUNDED_UP

_PNG = b"\x89PNG\r\n\x1a\n"
# The entry of EXIF data that says how a camera was held, up to its value, in both orders of bytes;
# and where the value stands behind its start.
_ORIENTATION = (
    (b"\x01\x12\x00\x03\x00\x00\x00\x01", 9),
    (b"\x12\x01\x03\x00\x01\x00\x00\x00", 8),
)
# EXIF data stand in front, in a segment of at most so many bytes.
_EXIF_BYTES = 1 << 16


def decode_picture(contents: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes and resizes a picture as `read_picture` and `resize_picture` do.

    Args:
        contents: A PNG or JPEG file, string. *Shape:* ().
        height: The height to which it is resized.
        width: The width.

    Returns:
        *Shape:* (height, width, 3), uint8.

    Raises:
        tf.errors.InvalidArgumentError: When it is run: if the picture is broken or of another
            format, or larger than `LARGEST_PICTURE`, which its header tells before it is decoded.

    Example:
        >>> png = tf.io.encode_png(np.zeros((8, 6, 3), "uint8"))
        >>> decode_picture(png, 4, 4).shape
        TensorShape([4, 4, 3])
    """
    is_png = tf.equal(tf.strings.substr(contents, 0, len(_PNG)), _PNG)
    pixels = tf.cond(is_png, lambda: _png(contents), lambda: _jpeg(contents))
    resized = tf.image.resize(_turned(pixels, contents), (height, width), antialias=True)
    whole = tf.floor(resized + ROUNDED_UP)
    return tf.ensure_shape(tf.cast(tf.clip_by_value(whole, 0, 255), tf.uint8), (height, width, 3))


def _jpeg(contents: tf.Tensor) -> tf.Tensor:
    size = tf.image.extract_jpeg_shape(contents)
    with tf.control_dependencies([_check_size(size[0], size[1])]):
        # Pillow's method; TensorFlow's own is faster, and up to 11 of 255 off.
        return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def _png(contents: tf.Tensor) -> tf.Tensor:
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, 16, 9), tf.uint8), tf.int32)
    powers = tf.constant([1 << 24, 1 << 16, 1 << 8, 1])
    height, width = tf.reduce_sum(header[4:8] * powers), tf.reduce_sum(header[:4] * powers)
    depth = header[8]
    with tf.control_dependencies([_check_size(height, width)]):
        contents = tf.identity(contents)
    values = tf.cond(
        tf.equal(depth, 16),
        # 65,535 becomes 255.
        lambda: tf.round(tf.cast(tf.io.decode_png(contents, 4, tf.uint16), tf.float32) / 257),
        lambda: tf.cast(tf.io.decode_png(contents, 4), tf.float32),
    )
    color, opacity = values[..., :3], values[..., 3:]
    # Of pictures of fewer bits without opacity, TensorFlow gives the largest number of these bits.
    largest = tf.cast(tf.bitwise.left_shift(1, tf.minimum(depth, 8)) - 1, tf.float32)
    opacity = tf.where(tf.reduce_all(tf.equal(opacity, largest)), 255.0, opacity)
    # Over white, in Pillow's whole numbers.
    over = tf.floor((color * opacity + 255 * (255 - opacity) + 127) / 255)
    return tf.cast(over, tf.uint8)


def _check_size(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    # In floats, since the product of what a header claims may be beyond int32.
    pixels = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    return tf.debugging.assert_less_equal(
        pixels,
        tf.constant(LARGEST_PICTURE, tf.float64),
        f"A picture has more than {LARGEST_PICTURE} pixels: make it smaller",
    )


def _turned(pixels: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    """Turns a picture as its EXIF data say."""
    data = tf.io.decode_raw(tf.strings.substr(contents, 0, _EXIF_BYTES), tf.uint8)
    orientation = tf.constant(1)
    for entry, offset in _ORIENTATION:
        count = tf.maximum(tf.size(data) - offset, 0)
        found = tf.ones([count], tf.bool)
        for place, byte in enumerate(entry):
            found &= tf.equal(data[place : place + count], byte)
        first = tf.where(found)[:1, 0]  # of none, none
        value = tf.gather(data, first + offset)
        is_valid = tf.reduce_any((value >= 1) & (value <= 8)) & tf.equal(orientation, 1)
        orientation = tf.cond(
            is_valid,
            lambda value=value: tf.cast(value[0], tf.int32),
            lambda orientation=orientation: orientation,
        )

    def is_one_of(*values: int) -> tf.Tensor:
        return tf.reduce_any(tf.equal(orientation, values))

    pixels = tf.cond(
        orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: tf.identity(pixels)
    )
    turned = tf.cond(is_one_of(2, 3, 6, 7), lambda: pixels[:, ::-1], lambda: tf.identity(pixels))
    return tf.cond(is_one_of(3, 4, 7, 8), lambda: turned[::-1], lambda: tf.identity(turned))
