"""Safe writing, and reading of untrusted files.

Files and folders are written under a temporary name, then renamed. Files that are read may be
hostile: JSON and vocabularies have a largest size, links must not lead out of their folder, and
hashes in a folder are compared with its files.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Parsing may take 26 times the size of a text. LaBSE's tokenizer.json of half a million tokens has
# 9.6 MB.
LARGEST_TEXT = 10_000_000
HASHES = "hashes.json"
# The files that are read from a folder of weights.
_READ = ("*.json", "*/config.json", "*.safetensors", "*.bin", "vocab.txt", "*.ckpt*")


def check_new_folder(path: str | Path) -> Path:
    """Refuses an output folder that exists and is not empty.

    Args:
        path: The output folder.

    Returns:
        The path, absolute.

    Raises:
        FileExistsError: If the path is a file, or a folder that is not empty.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir() and any(path.iterdir()):
        raise FileExistsError(
            f"The output folder {path} exists and is not empty: remove it, or name another."
        )
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"The output folder {path} exists and is a file: name another.")
    return path


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder, renamed to `path` if the block succeeds and removed if it fails.

    Args:
        path: The output folder, which must not exist or must be empty.

    Yields:
        The temporary folder, on the same file system.

    Raises:
        FileExistsError: If the path is a file, or a folder that is not empty.

    Example:
        >>> with new_folder("report") as folder:
        ...     (folder / "report.txt").write_text("accuracy 0.9")
    """
    path = check_new_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        # Like any new folder; mkdtemp makes folders that their owner alone can read.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path whose file replaces `path` if the block succeeds.

    Args:
        path: The file to write; an existing one is replaced.

    Yields:
        A path in the same folder, with the same suffix.

    Raises:
        IsADirectoryError: If the path is a folder.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        raise IsADirectoryError(f"The output file {path} is a folder: name a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Reads a text of limited size.

    Args:
        path: A file in UTF-8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has more than `LARGEST_TEXT` bytes, or is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise ValueError(
            f"{path} has {size} bytes, and at most {LARGEST_TEXT} are read: do not use it."
        )
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): convert it to UTF-8."
        ) from error


def read_json(path: Path, kind: type = dict) -> Any:
    """Reads a JSON object or list; see `read_text`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, or not JSON of that kind in UTF-8.
    """
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # or nested without end
        raise ValueError(f"{path} is not JSON ({error}): fetch it again.") from error
    if not isinstance(document, kind):
        wanted = "an object" if kind is dict else "a list"
        raise ValueError(f"{path} holds {type(document).__name__}, not {wanted}: fetch it again.")
    return document


def check_folder(folder: Path) -> None:
    """Refuses a folder of weights with links out of it, or with changed files.

    Raises:
        ValueError: If `check_links` or `check_hashes` refuses the folder.
    """
    check_links(folder)
    check_hashes(folder)


def check_links(folder: Path) -> None:
    """Refuses a folder of weights, or of a tokenizer, with links out of it.

    Links within the folder are allowed, and so is the Hugging Face hub's cache, which consists of
    links: from `models--NAME/snapshots/REVISION` into the folders `blobs` beside `snapshots` and
    beside `models--NAME`.

    Raises:
        ValueError: If one of the files to read is a link out of the folder, or no regular file.
    """
    for path in (path for pattern in _READ for path in folder.glob(pattern)):
        if not _is_inside(path, folder):
            raise ValueError(
                f"{path} is a link that leads out of its folder, to {os.path.realpath(path)}: copy "
                "the file into the folder if you trust it."
            )
        if not path.is_file() and not path.is_dir():
            raise ValueError(f"{path} is no file: fetch the folder again.")


def _is_inside(path: Path, folder: Path) -> bool:
    root = folder.resolve()
    allowed = [root]
    if root.parent.name == "snapshots" and root.parents[1].name.startswith("models--"):
        allowed += [parent / "blobs" for parent in root.parents[1:3]]
    try:
        target = Path(os.path.realpath(path))
    except ValueError:  # No name of a file.
        return False
    return any(target.is_relative_to(place) for place in allowed)


def write_hashes(folder: Path) -> None:
    """Writes the sha256 of all files of a folder into its hashes.json, for `check_hashes`."""
    (folder / HASHES).unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    (folder / HASHES).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


def check_hashes(folder: str | Path) -> None:
    """Refuses a folder with changed files; one without hashes passes.

    The hashes show damage and mistakes, not malice: whoever changes a file can change them, too.

    Raises:
        ValueError: If a file is missing or has changed.
    """
    folder = Path(folder)
    if not (folder / HASHES).exists():
        return
    for name, saved in read_json(folder / HASHES).items():
        path = folder / name
        found = sha256_of(path) if _is_inside(path, folder) and os.path.isfile(path) else None
        if found != saved:
            raise ValueError(
                f"{path} {'has changed' if found else 'is missing'} since the folder was saved "
                f"(sha256 {found}, {HASHES} says {saved!r}): restore it; or remove {HASHES} if you "
                "changed it yourself."
            )


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
