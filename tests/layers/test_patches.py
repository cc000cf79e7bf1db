import re

import keras
import numpy as np
import pytest

from keras_bert_scratch.layers.patches import PatchEmbedding, cubic_weights


def test_patches_row_by_row_behind_the_special_tokens() -> None:
    embedding = PatchEmbedding(1, height=2, width=5, patch_size=2, channels=1, num_special_tokens=1)
    embedding.build((None, None, None, 1))
    embedding.kernel.assign(np.reshape([1.0, 10.0, 100.0, 1000.0], (2, 2, 1, 1)))
    embedding.bias.assign([0.5])
    embedding.positions.assign(np.reshape([7.0, 0.25, 0.125], (1, 3, 1)))
    embedding.special_tokens[0].assign([[[3.0]]])
    # The last column fills no patch.
    pixels = np.reshape([[1, 2, 3, 4, 9], [5, 6, 7, 8, 9]], (1, 2, 5, 1)).astype("float32")
    np.testing.assert_array_equal(
        np.ravel(embedding(pixels)), [3 + 7, 6521 + 0.5 + 0.25, 8743 + 0.5 + 0.125]
    )


def test_overlapping_patches() -> None:
    embedding = PatchEmbedding(1, height=1, width=4, patch_size=1, stride=3, channels=1)
    embedding.build((None, None, None, 1))
    embedding.kernel.assign(np.ones((1, 1, 1, 1)))
    embedding.positions.assign(np.zeros((1, 2, 1)))
    pixels = np.reshape([[1, 2, 3, 4]], (1, 1, 4, 1)).astype("float32")
    np.testing.assert_array_equal(np.ravel(embedding(pixels)), [1, 4])
    assert PatchEmbedding(1, 128, 1024, stride=10).grid == (12, 101)  # AST's 1,212 patches


def test_cubic_convolution_by_hand() -> None:
    # A value half way between two has the weights -3/32, 19/32, 19/32, -3/32 (Keys with -0.75);
    # at the ends the last value is repeated.
    near, far = 19 / 32, -3 / 32
    weights = np.array(cubic_weights(2, 4))
    expected = [[far + near, near, far, 0], [0, far, near, near + far]]
    np.testing.assert_allclose(weights, expected, atol=1e-7)
    np.testing.assert_array_equal(cubic_weights(5, 5), np.eye(5))


def test_positions_of_another_size_keep_those_of_the_tokens() -> None:
    embedding = PatchEmbedding(4, height=6, width=4, patch_size=2, num_special_tokens=2)
    embedding.build((None, None, None, 3))
    embedding.kernel.assign(np.zeros((2, 2, 3, 4)))
    positions = np.ones((1, 8, 4), "float32")
    positions[:, :2] = 5
    embedding.positions.assign(positions)
    for token in embedding.special_tokens:
        token.assign(np.zeros((1, 1, 4)))
    # The weights of an interpolation add up to 1.
    found = np.array(embedding(np.zeros((1, 10, 14, 3), "float32")))
    np.testing.assert_allclose(found, [[[5.0] * 4] * 2 + [[1.0] * 4] * 35], atol=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_refused_pictures(known: bool) -> None:
    embedding = PatchEmbedding(4, height=32, width=32)
    shape = (32, 32, 4) if known else (None, None, 4)
    message = "The pictures have 4 channels, the layer reads 3: convert them, or change channels."
    with pytest.raises(ValueError, match=re.escape(message)):
        embedding(keras.Input(shape))
    message = (
        "The pictures have 40 x 15 pixels, which must be at least patch_size=16 each: enlarge "
        "them, or take smaller patches."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        embedding(keras.Input((40, 15, 3)))
    with pytest.raises(ValueError, match="have 8 x 224 pixels"):
        PatchEmbedding(4, height=8)
