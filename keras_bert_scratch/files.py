"""Writing without leaving halves: everything is written beside its place, then renamed into it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def check_new_folder(path: str | Path) -> Path:
    """Refuses an output folder that would overwrite something.

    Args:
        path: Where a folder is to be written.

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
    """Yields a temporary folder that becomes `path` if the block ends well, and vanishes if not.

    Args:
        path: Where the folder is to stand; must not exist, or be an empty folder.

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
        # mkdtemp makes folders for their owner alone; a result is as readable as any new folder.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path whose file replaces `path` if the block ends well.

    Args:
        path: The file to write; one that exists is replaced.

    Yields:
        A path beside it, with the same suffix.

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
