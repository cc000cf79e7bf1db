import ast
import inspect
from pathlib import Path

import pytest

import keras_bert_scratch

CLASSES_AND_FUNCTIONS = [name for name in keras_bert_scratch.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_name_is_found_and_documented(name: str) -> None:
    public = getattr(keras_bert_scratch, name)
    assert public.__name__ == name
    assert "Example:" in inspect.getdoc(public)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(keras_bert_scratch.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module for node in ast.walk(guarded) if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    modules = {
        name: f"keras_bert_scratch.{module}"
        for name, module in keras_bert_scratch._MODULE_OF.items()
    }
    assert seen == modules


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'keras_bert_scratch' has no attribute 'BertTypo'"):
        _ = keras_bert_scratch.BertTypo


def test_dir_lists_the_public_names() -> None:
    assert dir(keras_bert_scratch) == sorted(keras_bert_scratch.__all__)
