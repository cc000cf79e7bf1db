"""Each file tests the script of its name."""

from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def benchmark(request, load_script) -> ModuleType:
    """The script that the test file is named after, as a module."""
    return load_script(f"benchmarks/{request.path.stem.removeprefix('test_')}.py")
