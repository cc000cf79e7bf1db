import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_bert_scratch.data import pictures
from keras_bert_scratch.data.pictures import read_picture, read_pictures

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# A row of two pixels over another.
FOUR = np.array([[RED, GREEN], [BLUE, (9, 99, 199)]], "uint8")


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """Writes a PNG by hand, with whatever its header shall say."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_file_its_content_and_a_picture(tmp_path: Path) -> None:
    picture = Image.fromarray(FOUR)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("BMP", {})):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(encoded(picture, kind, **options))
        for source in (path, str(path), path.read_bytes(), picture, FOUR):
            np.testing.assert_array_equal(read_picture(source), FOUR, err_msg=kind)
    grey = Image.new("RGB", (8, 8), (90, 90, 90))
    np.testing.assert_allclose(read_picture(encoded(grey, "JPEG")), 90, atol=2)


def test_grey_pictures_of_8_and_16_bits_and_one() -> None:
    expected = np.array([[[7] * 3, [200] * 3]])
    eight = np.array([[7, 200]], "uint8")
    sixteen = (eight.astype("uint16") * 257).byteswap().tobytes()
    for source in (
        encoded(Image.fromarray(eight)),
        png(2, 1, 16, 0, b"\0" + sixteen),
        eight.astype("uint16") * 257,
        eight[..., None].astype("int64"),
        eight / 255.0,
    ):
        np.testing.assert_array_equal(read_picture(source), expected)
    np.testing.assert_array_equal(read_picture(np.eye(2, dtype=bool))[..., 0], [[255, 0], [0, 255]])
    np.testing.assert_array_equal(read_picture(encoded(Image.new("1", (1, 1), 1))), [[[255] * 3]])


def test_transparent_pixels_lie_over_white() -> None:
    half = Image.new("RGBA", (1, 1), (0, 0, 100, 51))  # a fifth
    np.testing.assert_array_equal(read_picture(encoded(half)), [[[204, 204, 224]]])
    np.testing.assert_array_equal(read_picture(np.array(half)), [[[204, 204, 224]]])
    clear = Image.new("P", (1, 1), 0)
    clear.putpalette([10, 20, 30])
    np.testing.assert_array_equal(read_picture(encoded(clear)), [[[10, 20, 30]]])
    content = encoded(clear, transparency=0)
    np.testing.assert_array_equal(read_picture(content), [[[255, 255, 255]]])
    grey = Image.new("LA", (1, 1), (0, 0))
    np.testing.assert_array_equal(read_picture(encoded(grey)), [[[255, 255, 255]]])


def test_turned_by_exif_and_cmyk() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    turned = encoded(Image.fromarray(FOUR), exif=exif)
    np.testing.assert_array_equal(read_picture(turned), np.rot90(FOUR, -1))
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    np.testing.assert_allclose(read_picture(encoded(inks, "JPEG"))[0, 0], RED, atol=4)


def test_size_is_height_and_width() -> None:
    stripes = np.zeros((4, 6), "uint8")
    stripes[:, 3:] = 200
    found = read_pictures([stripes, stripes[:2]], size=(3, 2))
    assert found.shape == (2, 3, 2, 3)
    assert found.dtype == np.uint8
    # The mean of what a pixel covers: its 3 columns, and one beyond with half of a triangle.
    assert (found[:, :, 0] < 40).all()
    assert (found[:, :, 1] > 160).all()


def test_a_camera_file_with_a_preview() -> None:
    large, small = (Image.new("RGB", (n, n), (n, n, n)) for n in (16, 8))
    content = encoded(large, "MPO", save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert read_picture(content).shape == (16, 16, 3)


def test_refused_with_file_and_row(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), n) for n in (0, 90)]
    (tmp_path / "moving.gif").write_bytes(
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    )
    (tmp_path / "cut.png").write_bytes(encoded(Image.effect_noise((64, 64), 50))[:900])
    (tmp_path / "page.png").write_bytes(b"<html>404</html>")
    # 40 GB, if it were decoded: its header alone is read.
    (tmp_path / "bomb.png").write_bytes(png(100_000, 100_000, 8, 6, b""))
    (tmp_path / "large.png").write_bytes(png(8_000, 8_001, 1, 0, b""))
    for file, message in (
        ("moving.gif", "is animated, of several pictures: save the one that is meant."),
        ("cut.png", "is broken (image file is truncated"),
        ("page.png", "is broken or of another format (it begins with b'<html>40'): give one of"),
        ("bomb.png", "is refused (Image size (10000000000 pixels) exceeds limit"),
        ("large.png", "has 8,001 x 8,000 pixels, at most 64,000,000 are decoded: make it smaller."),
        ("none.png", "is missing: there is no such file. Correct the path."),
    ):
        named = f"The picture {tmp_path / file} (row 1 of photo) {message}"
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(named)):
            read_pictures([FOUR, tmp_path / file], (4, 4), column="photo")


def test_animated_pngs_and_webps_are_refused() -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, BLUE)]
    for kind in ("PNG", "WEBP"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match="The picture is animated"):
            read_picture(content)


def test_other_formats_are_refused_unread() -> None:
    with pytest.raises(ValueError, match="is broken or of another format"):
        read_picture(encoded(Image.fromarray(FOUR), "TIFF"))
    with pytest.raises(ValueError, match="is broken or of another format"):
        read_picture(b"")


def test_too_large_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_FILE", 3)
    (tmp_path / "a.png").write_bytes(b"1234")
    with pytest.raises(ValueError, match=r"is a file of 4 bytes, at most 3 are read: make it"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2), 1.5), "is an array of float64 with values from 1.5 to 1.5"),
        (np.full((2, 2), np.nan), "is an array of float64 with values from nan to nan"),
        (np.full((2, 2), -1), "is an array of int64 with values from -1 to -1"),
        (np.zeros((3, 2, 2)), "is an array of shape (3, 2, 2), which must be (height, width)"),
        (np.zeros((0, 2)), "is an array of shape (0, 2)"),
    ],
)
def test_refused_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"The picture (row 0 of picture) {message}")):
        read_pictures([array], (2, 2))


def test_what_is_no_picture() -> None:
    with pytest.raises(TypeError, match="The picture is of int: give the path of a file"):
        read_picture(3)
    with pytest.raises(TypeError, match="is an array of complex128: convert it to uint8"):
        read_picture(np.zeros((2, 2), complex))
    with pytest.raises(ValueError, match="There are no pictures in photo: give at least one."):
        read_pictures([], (2, 2), column="photo")
