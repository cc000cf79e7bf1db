"""Long texts as overlapping windows, one of which answers for each token.

Axes: S tokens of a text, without [CLS] and [SEP].
"""

from typing import NamedTuple

import numpy as np

from keras_bert_scratch.text.truncation import window_starts


class Windows(NamedTuple):
    """The windows of one text.

    Attributes:
        starts: The first token of every window.
        owner: The window that answers for each token. It changes in the middle of the overlap of
            two windows, where a token has most context on both sides. *Shape:* (S,), int.
    """

    starts: list[int]
    owner: np.ndarray


def token_windows(length: int, room: int, stride: int) -> Windows:
    """Slides a window over a text.

    Args:
        length: S.
        room: Tokens of a window; the last may have fewer.
        stride: Tokens from the start of a window to the start of the next, at most `room`.

    Example:
        >>> token_windows(length=10, room=4, stride=2)
        Windows(starts=[0, 2, 4, 6], owner=array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3]))
    """
    starts = list(window_starts(length, room, stride))
    half_overlap = (room - stride + 1) // 2
    owner = np.clip((np.arange(length) - half_overlap) // stride, 0, len(starts) - 1)
    return Windows(starts, owner)
