import importlib.metadata
import sys

import pytest

from keras_bert_scratch.extras import check_installed, installation

REQUIREMENTS = [
    "keras<3.16,>=3.15",
    "tensorflow-text<2.22,>=2.21; sys_platform != 'win32'",
    "onnx>=1.18; extra == 'onnx'",
    'tf2onnx>=1.17 ; extra=="onnx"',
    "pyarrow>=20; extra == 'parquet'",
]


def test_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIREMENTS)
    assert installation("onnx") == (
        'pip install "onnx>=1.18" "tf2onnx>=1.17" (the extra "onnx" of keras_bert_scratch)'
    )


def test_asks_the_installed_package():
    assert installation("parquet") == (
        'pip install "pyarrow>=20" (the extra "parquet" of keras_bert_scratch)'
    )


def not_installed(name):
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize("requires", [not_installed, lambda name: None])
def test_a_clone_that_is_not_installed(monkeypatch, requires):
    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert installation("onnx") == (
        'pip install -e ".[onnx]", in a clone (the extra "onnx" of keras_bert_scratch)'
    )


def test_check_installed(monkeypatch):
    check_installed("pytest", "dev", "A test")
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError, match=r'A test needs pytest, .*: pip install .*extra "dev"'):
        check_installed("pytest", "dev", "A test")
