"""What the doors for pictures and sounds share: contents of files, and how errors name them."""

from pathlib import Path
from typing import Any

from keras_bert_scratch.tables import shortened

# Characters of a path that errors show.
_LONGEST_NAME = 500


def subject(kind: str, source: Any, place: str = "") -> str:
    """Returns how an error names a picture or a sound.

    Args:
        kind: `"picture"` or `"sound"`.
        source: What was given: a path is shown, contents are not.
        place: Where it stands, such as `"row 3 of photo"`.

    Example:
        >>> subject("picture", "cat.png", "row 3 of photo")
        'The picture cat.png (row 3 of photo)'
    """
    name = f" {source}" if isinstance(source, str | Path) else ""
    # Blanks in a usual name stay as they are.
    name = name if len(name) <= _LONGEST_NAME else f" {shortened(name, _LONGEST_NAME)}"
    return f"The {kind}{name}{f' ({place})' if place else ''}"


def content_of(path: str | Path, named: str, largest: int) -> bytes:
    """Reads a file of at most `largest` bytes.

    Args:
        path: The file.
        named: How errors name it, see `subject`.
        largest: Number of bytes from which the file is refused, unread.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large.
    """
    path = Path(path)
    try:
        path = path.expanduser()
        is_file = path.is_file()
    # A zero byte in the name, one that is too long, and the home of no user.
    except (ValueError, OSError, RuntimeError):
        is_file = False
    if not is_file:
        raise FileNotFoundError(f"{named} is missing: there is no such file. Correct the path.")
    size = path.stat().st_size
    if size > largest:
        raise ValueError(
            f"{named} is a file of {size:,} bytes, at most {largest:,} are read: make it smaller."
        )
    return path.read_bytes()
