"""Keeps TensorFlow's messages about itself off the screen."""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any


def quiet_tensorflow() -> None:
    """Silences what TensorFlow writes to standard error when it is imported, and later.

    Nothing is imported by this. A part of the messages comes before TensorFlow reads any setting,
    so the whole import is kept off the screen, and shown only if it fails. Set
    `TF_CPP_MIN_LOG_LEVEL=0` to see all messages.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    is_there = any(isinstance(finder, _QuietImport) for finder in sys.meta_path)
    if level != "0" and "tensorflow" not in sys.modules and not is_there:
        sys.meta_path.insert(0, _QuietImport())


def without_keras() -> None:
    """Lets TensorFlow's import of Keras fail, as on a server without it: two seconds less.

    For commands that read SavedModels alone, in a process that has imported neither.
    """
    if not {"keras", "tensorflow"} & sys.modules.keys():
        sys.modules["keras"] = None  # type: ignore[assignment]


class _QuietImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds TensorFlow as Python does, and loads it without its messages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self._loader: Any = spec.loader
            spec.loader = self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # As if this had never been there, also for what looks for TensorFlow's files.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with stderr_kept():
            self._loader.exec_module(module)


@contextlib.contextmanager
def stderr_kept() -> Iterator[None]:
    """Keeps what the process, C++ included, writes to standard error; shows it after an error."""
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
