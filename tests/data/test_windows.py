import numpy as np
import pytest

from keras_bert_scratch.data.windows import token_windows


def test_a_short_text_is_one_window():
    windows = token_windows(3, room=4, stride=2)
    assert windows.starts == [0]
    assert windows.owner.tolist() == [0, 0, 0]


def test_no_tokens_are_one_empty_window():
    windows = token_windows(0, room=4, stride=2)
    assert windows.starts == [0]
    assert windows.owner.tolist() == []


def test_ownership_passes_in_the_middle_of_an_overlap():
    # Windows 0-5, 4-9, 8-11 of 12 tokens: tokens 4, 5 and 8, 9 stand in two windows each.
    windows = token_windows(12, room=6, stride=4)
    assert windows.starts == [0, 4, 8]
    assert windows.owner.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


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
