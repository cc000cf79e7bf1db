"""Finds the version of a model that is to be served, while others write and remove versions."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from keras_bert_scratch.files import HASHES
from keras_bert_scratch.serving.server.served_model import ServedModel, versions_of

logger = logging.getLogger(__name__)

# The files of a version: paths, sizes, times and inodes.
_Files = tuple[tuple[str, int, int, int], ...]


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What TensorFlow Serving's status API tells of a version.

    Args:
        state: "LOADING", "AVAILABLE" or "END".
        error: Why it does not load; empty if it does.
    """

    state: str
    error: str = ""

    def to_json(self, version: int) -> dict[str, Any]:
        """Returns it as the API writes it."""
        status = {
            "error_code": "UNKNOWN" if self.error else "OK",
            "error_message": self.error,
        }
        return {"version": str(version), "state": self.state, "status": status}


class ModelVersions:
    """The versions of a model in a folder, of which the highest that loads is to be served.

    A version that does not load, because it is still being copied or is broken, is said once in the
    log, and tried again whenever its files change; meanwhile the next lower one counts. A folder
    with the hashes that `export` writes is whole when they are right; another one when its files
    have not changed since it was last looked at. As in TensorFlow Serving, a version that is served
    is not looked at again: what has changed needs a new number.

    Args:
        folder: A SavedModel, or a folder of versions.

    Attributes:
        statuses: Of every version that has been met, by number.

    Example:
        >>> versions = ModelVersions("saved_models/sentiment")
        >>> model = versions.first()
        >>> versions.next(model)  # None, until there is another version to serve
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.statuses: dict[int, VersionStatus] = {}
        self._seen: dict[int, _Files] = {}
        self._broken: dict[int, _Files] = {}

    def first(self) -> ServedModel:
        """Loads the highest version that loads, and warms it up.

        Raises:
            ValueError: If there is none.
        """
        versions = versions_of(self.folder)
        # Nobody is served yet, so a folder without hashes is not looked at twice.
        self._seen = {version: _files(path) for version, path in versions.items()}
        model = self.next(None)
        if model is None:
            reasons = [self.statuses[version].error for version in sorted(versions)]
            raise ValueError(f"{self.folder} has no version that loads: {'; '.join(reasons)}")
        return model

    def next(self, served: ServedModel | None) -> ServedModel | None:
        """Looks for the version to serve, loads it and warms it up.

        Args:
            served: What is served now.

        Returns:
            The model, or None if that which is served is still the right one.
        """
        try:
            versions = versions_of(self.folder)
        except ValueError:
            # As in TensorFlow Serving, the last version is served on when its folder has gone.
            return None
        for met in (self._seen, self._broken):
            for version in set(met) - set(versions):
                del met[version]
        for version in sorted(versions, reverse=True):
            if served is not None and version == served.version:
                break
            files = _files(versions[version])
            is_whole = HASHES in {name for name, *_ in files} or files == self._seen.get(version)
            self._seen[version] = files
            if not is_whole:
                self.statuses[version] = VersionStatus("LOADING")
            if not is_whole or files == self._broken.get(version):
                continue
            model = self._load(version, versions[version], files)
            if model is not None:
                if served is not None:
                    self.statuses[served.version] = VersionStatus("END")
                self.statuses[version] = VersionStatus("AVAILABLE")
                return model
        return None

    def _load(self, version: int, path: Path, files: _Files) -> ServedModel | None:
        is_new = version not in self._broken
        if is_new:
            self.statuses[version] = VersionStatus("LOADING")
        try:
            model = ServedModel(path)
            model.warm_up()
        # Whatever is wrong with it, the version that is served stays.
        except Exception as error:
            self._broken[version] = files
            self.statuses[version] = VersionStatus("END", str(error))
            if is_new:
                logger.warning(
                    "Version %d is not served, and tried again when its files change: %s",
                    version,
                    error,
                )
            return None
        self._broken.pop(version, None)
        return model


def _files(folder: Path) -> _Files:
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:  # Removed in the meantime.
            continue
        name = str(path.relative_to(folder))
        found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(found)
