"""Packages that only some need: each belongs to an extra in pyproject.toml, and errors name it."""

import importlib.metadata
import importlib.util


def installation(extra: str) -> str:
    """Returns the command that installs the packages of an extra.

    It names the packages themselves, which an index has.

    Args:
        extra: Its name in pyproject.toml.

    Example:
        >>> installation("parquet")
        'pip install "pyarrow>=20" (the extra "parquet" of keras_bert_scratch)'
    """
    try:
        found = importlib.metadata.requires(__package__) or []
    except importlib.metadata.PackageNotFoundError:
        found = []
    split = [line.partition(";") for line in found]
    packages = [f'"{name.strip()}"' for name, _, marker in split if _is_of(marker, extra)]
    # Of a package that is not installed itself, or was before the extra came, nothing is known.
    what = " ".join(packages) or f'-e ".[{extra}]", in a clone'
    return f'pip install {what} (the extra "{extra}" of keras_bert_scratch)'


def check_installed(package: str, extra: str, user: str) -> None:
    """Refuses to go on without a package that is imported late.

    Args:
        package: Name of the package.
        extra: The extra that brings it.
        user: What needs it, for the message.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{user} needs {package}, which is not installed: {installation(extra)}.")


def _is_of(marker: str, extra: str) -> bool:
    """Whether a requirement's marker is that of an extra."""
    return marker.replace("'", '"').replace(" ", "") == f'extra=="{extra}"'
