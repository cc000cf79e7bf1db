"""Which tokens of a long text a model reads: the first, the last, both, or all in windows.

Functions that compute the same in TensorFlow graphs: `graphs.tokenizer_graph`, `graphs.windows`.
"""

from typing import Literal, get_args

Truncation = Literal["head", "tail", "head_tail", "windows"]


def check_truncation(truncation: Truncation, num_texts: int = 1) -> None:
    """Refuses unknown truncations, and all but "head" for pairs.

    Args:
        truncation: The truncation to check.
        num_texts: 1, or 2 for a pair.

    Raises:
        ValueError: If the truncation is unknown, or not "head" for a pair.
    """
    if truncation not in get_args(Truncation):
        raise ValueError(
            f"truncation must be one of {', '.join(get_args(Truncation))}; received {truncation!r}."
        )
    if num_texts > 1 and truncation != "head":
        raise ValueError(
            f"truncation={truncation!r} is for single texts, and these are pairs, which lose the "
            'last tokens of the longer text first: use truncation="head".'
        )


def head_and_tail(truncation: Truncation, room: int) -> tuple[int, int]:
    """Returns how many of the first and of the last tokens of a long text stay.

    Args:
        truncation: "head"; "tail"; or "head_tail", a quarter from the start and the rest from the
            end: 128 and 382 of 510 (Sun et al. 2019, "How to fine-tune BERT for text
            classification", section 5.3.1).
        room: Number of tokens that stay.

    Raises:
        ValueError: If `truncation` is "windows", which drops no tokens.

    Example:
        >>> head_and_tail("head_tail", 510)
        (128, 382)
    """
    if truncation == "windows":
        raise ValueError(
            'truncation="windows" makes several rows of a text, and this function makes one: use '
            "`encode_windows`, or `windows` of the tokenizer's graph."
        )
    quarter = -(-room // 4)
    shares = {"head": (room, 0), "tail": (0, room), "head_tail": (quarter, room - quarter)}
    return shares[truncation]


def check_window_stride(window_stride: int | None, room: int) -> int:
    """Returns the stride of sliding windows.

    Args:
        window_stride: Tokens from the start of a window to the start of the next; None for half of
            the room.
        room: Tokens of a window, without [CLS] and [SEP].

    Raises:
        ValueError: If windows would not move, or would skip tokens.
    """
    if room < 1:
        raise ValueError(
            'truncation="windows" needs a sequence_length of 3 or more: [CLS], a token, [SEP].'
        )
    if window_stride is None:
        return max(room // 2, 1)
    if not 1 <= window_stride <= room:
        raise ValueError(
            f"window_stride must be from 1 to {room}, the tokens of a window without [CLS] and "
            f"[SEP], received {window_stride}: a larger one skips tokens."
        )
    return window_stride


def window_starts(length: int, room: int, stride: int) -> range:
    """Returns the starts of the windows of a text: one every `stride` tokens, up to its end.

    Args:
        length: Tokens of the text.
        room: Tokens of a window; the last window may have fewer.
        stride: Tokens from the start of a window to the start of the next.

    Example:
        >>> list(window_starts(length=10, room=4, stride=3))
        [0, 3, 6]
    """
    return range(0, max(length - room, 0) + stride, stride)


def check_sequence_length(sequence_length: int, num_texts: int) -> int:
    """Returns the number of tokens left for the texts.

    Raises:
        ValueError: If there is no room for [CLS] and a [SEP] after every text.
    """
    num_special = 1 + num_texts
    if sequence_length < num_special:
        raise ValueError(
            f"sequence_length is {sequence_length}, but [CLS] and [SEP] alone take {num_special} "
            "tokens: use a larger one."
        )
    return sequence_length - num_special


def truncated_lengths(lengths: list[int], room: int) -> list[int]:
    """Truncates the longer text of a pair first, as the reference's `LongestFirst`.

    Args:
        lengths: Tokens of both texts.
        room: Most tokens of both together.

    Returns:
        Number of tokens of each that stay.
    """
    first, second = lengths
    # Where both are too long, the longer text gets the odd token; of equal ones, the second.
    share = room - room // 2 if first > second else room // 2
    return [min(first, max(room - second, share)), min(second, max(room - first, room - share))]
