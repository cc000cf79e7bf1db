"""Finds the version of a model to serve, while versions are written and removed."""

import logging
from pathlib import Path

from keras_bert_scratch.files import HASHES
from keras_bert_scratch.serving.server.served import Served, VersionStatus
from keras_bert_scratch.serving.server.served_model import ServedModel, versions_of

logger = logging.getLogger(__name__)

# Path, size, time and inode of each file of a version.
_Files = tuple[tuple[str, int, int, int], ...]


class ModelVersions:
    """The versions of a model in a folder, of which the highest that loads is served.

    A version that does not load, because it is broken or still being copied, is logged once and
    tried again whenever its files change; meanwhile the next lower version is used. A folder with
    the hashes that `export` writes is complete when they match; any other folder is complete when
    its files have not changed between two looks. As in TensorFlow Serving, a version that is being
    served is not reloaded: a changed model needs a new number.

    Args:
        folder: A SavedModel, or a folder of versions.

    Attributes:
        statuses: Status of every version found so far, by number.

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
        # No client waits yet, so a folder without hashes is taken as complete.
        self._seen = {version: _files(path) for version, path in versions.items()}
        model = self.next(None)
        if model is None:
            reasons = [self.statuses[version].error for version in sorted(versions)]
            raise ValueError(f"{self.folder} has no version that loads: {'; '.join(reasons)}")
        return model

    def next(self, served: Served | None) -> ServedModel | None:
        """Looks for the version to serve, loads it and warms it up.

        Args:
            served: The model that is being served.

        Returns:
            The model to serve next, or None to keep the current one.
        """
        try:
            versions = versions_of(self.folder)
        except ValueError:
            # As in TensorFlow Serving, the last version stays when its folder is removed.
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
        # Whatever the error, the current version stays.
        except Exception as error:
            self._broken[version] = files
            self.statuses[version] = VersionStatus("END", str(error))
            if is_new:
                text = "Version %d is not served, and tried again when its files change: %s"
                logger.warning(text, version, error)
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
