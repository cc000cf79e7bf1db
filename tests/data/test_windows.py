import numpy as np
import pytest

from keras_bert_scratch.data.windows import token_windows


@pytest.mark.parametrize(
    ("length", "room", "stride", "starts", "owner"),
    [
        (3, 4, 2, [0], [0, 0, 0]),
        (0, 4, 2, [0], []),
        # Windows 0-5, 4-9, 8-11: tokens 4, 5 and 8, 9 are in two windows each, and the owner
        # changes in the middle of these overlaps.
        (12, 6, 4, [0, 4, 8], [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_windows_by_hand(length, room, stride, starts, owner):
    windows = token_windows(length, room, stride)
    assert (windows.starts, windows.owner.tolist()) == (starts, owner)


@pytest.mark.parametrize("stride", range(1, 8))
@pytest.mark.parametrize("length", [1, 7, 8, 20, 33])
def test_every_token_is_in_its_window_with_the_most_context(length, stride):
    room = 7
    starts, owner = token_windows(length, room, stride)
    for token in range(length):
        ends = [min(start + room, length) for start in starts]
        context = [
            min(token - start, end - 1 - token) if start <= token < end else -1
            # The ends of the text have no more context to give: as if it went on there.
            for start, end in zip(starts, ends, strict=True)
        ]
        mine = owner[token]
        assert context[mine] >= 0
        # Where a text ends, a window may be short; elsewhere no other shows more, but for a tie.
        inner = [c for s, e, c in zip(starts, ends, context, strict=True) if e - s == room]
        if ends[mine] - starts[mine] == room and starts[mine] > 0 and ends[mine] < length:
            assert context[mine] >= max(inner) - 1
    assert np.all(np.diff(owner) >= 0)
