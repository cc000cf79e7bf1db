"""What the tests of commands share: running one in this process, and its files."""

import csv
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from keras_bert_scratch.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns a function that runs a command: what it prints, or its error if it is to fail."""

    def run(*arguments: Any, status: int = 0) -> str:
        found = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert found == status, printed.err
        return printed.out + printed.err if status else printed.out

    return run


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Returns a function that sets standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.fixture(scope="session")
def write_csv() -> Callable[..., Path]:
    """Returns a function that writes a CSV file with a header."""

    def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write
