"""The floors of ARCHITECTURE.md, read from the imports themselves."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "keras_bert_scratch"
ROOT = Path(__file__).parents[1] / PACKAGE
FLOORS = {
    "cli": 6,
    "tasks": 5,
    "training": 4,
    "evaluation": 4,
    "serving": 4,
    "checkpoints": 3,
    "models": 2,
    "data": 2,
    "layers": 1,
    "text": 1,
    "pictures": 1,
    "config": 0,
    "extras": 0,
    "files": 0,
    "tables": 0,
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports(source: str) -> set[str]:
    """Returns what is imported anywhere, in functions too, as dotted names."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from package.folder import module` imports package.folder.module.
            names |= {f"{'.' * node.level}{node.module or ''}.{a.name}" for a in node.names}
    return names


def violations(folder: str, source: str) -> list[str]:
    """Returns the imports by which a module of `folder` breaks a rule."""
    found = []
    for name in sorted(imports(source)):
        parts = name.split(".")
        if not name.startswith((".", PACKAGE)):
            continue
        # Only the commands, above all else, use the package by its public names.
        target = parts[1] if len(parts) > 1 and parts[1] in FLOORS else "cli"
        is_allowed = parts[0] == PACKAGE and (target == folder or FLOORS[target] < FLOORS[folder])
        if not is_allowed:
            found.append(name)
    return found


def imported_files(source: str) -> set[str]:
    """Returns the files of the package that a source imports anywhere, for types, too."""
    found = set()
    for name in imports(source):
        package, *parts = name.split(".")
        # The last part is a module, or a name in the module before it.
        for path in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
            if package == PACKAGE and parts and path.with_suffix(".py").is_file():
                found.add(module_id(path.with_suffix(".py")))
    return found


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_folder_has_a_floor() -> None:
    assert {folder_of(path) for path in MODULES} <= set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_imports_go_down(path: Path) -> None:
    assert violations(folder_of(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("layers", "from keras_bert_scratch.models.encoder import BertEncoder"),  # up
        ("data", "from keras_bert_scratch.models.encoder import BertEncoder"),  # same floor
        ("serving", "import keras_bert_scratch.evaluation.report"),  # same floor
        ("models", "from keras_bert_scratch import BertClassifier"),  # by the public names
        ("models", "from ..tasks import classifier"),  # relative
        ("models", "def f():\n    import keras_bert_scratch.tasks.classifier"),  # hidden
    ],
)
def test_the_floors_test_can_fail(folder: str, line: str) -> None:
    assert len(violations(folder, line)) == 1


def test_no_circle_of_files() -> None:
    graph = {module_id(path): imported_files(path.read_text("utf-8")) for path in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises a CycleError that lists the circle


@pytest.mark.parametrize(
    "line",
    [
        "import keras_bert_scratch.models.encoder",
        "from keras_bert_scratch.models import encoder",
        "def f():\n    from keras_bert_scratch.models.encoder import BertEncoder",
        "if TYPE_CHECKING:\n    from keras_bert_scratch.models.encoder import BertEncoder",
    ],
)
def test_every_import_counts_in_a_circle(line: str) -> None:
    assert imported_files(line) == {"models/encoder.py"}


def test_serving_shows_few_entries() -> None:
    entries = [p.name for p in (ROOT / "serving").iterdir() if p.name != "__pycache__"]
    assert len(entries) <= 14, sorted(entries)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if folder_of(path) in ("layers", "models")], ids=module_id
)
def test_layers_and_models_run_on_every_backend(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path.read_text("utf-8"))}
    allowed = {"keras", "numpy", PACKAGE} | set(sys.stdlib_module_names)
    assert roots <= allowed


def test_four_files_from_the_classifier_to_the_matrix_product() -> None:
    path = ["tasks.classifier", "models.encoder", "layers.encoder_block", "layers.attention"]
    sources = [(ROOT / f"{name.replace('.', '/')}.py").read_text("utf-8") for name in path]
    for source, following in zip(sources, path[1:], strict=False):
        assert any(name.startswith(f"{PACKAGE}.{following}.") for name in imports(source))
    assert "ops.matmul(" in sources[-1]


def test_subpackages_have_no_code_of_their_own() -> None:
    # serving names its predictors, which are made to be used without the rest of the package.
    found = [p for p in ROOT.rglob("*/__init__.py") if p.read_text("utf-8").strip()]
    assert found == [ROOT / "serving" / "__init__.py"]


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import keras_bert_scratch", {"keras", "tensorflow", "numpy", "sklearn", "matplotlib"}),
        ("import keras_bert_scratch.cli.main", {"keras", "tensorflow", "sklearn", "matplotlib"}),
        ("import keras_bert_scratch.serving.readers.classifier", {"keras", "tensorflow"}),
        ("import keras_bert_scratch.text.tokenizer", {"keras", "tensorflow", "sklearn", "nltk"}),
        ("import keras_bert_scratch.tasks.classifier", {"keras_nlp", "keras_hub"}),
    ],
)
def test_imports_stay_light(statement: str, forbidden: set[str]) -> None:
    code = f"{statement}; import sys; print(*sorted({forbidden!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == ""
