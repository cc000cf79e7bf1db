"""Every block of code on the pages runs, but those whose page says why not."""

import io
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import keras
import pytest
import yaml

from keras_bert_scratch.cli import main as cli

ROOT = Path(__file__).parents[2]
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")})
BLOCK = re.compile(
    r"(?:<!-- not run: (.*?) -->\n)?^```(\S*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE
)
# What a page may give as the reason that a block is not run.
REASONS = {
    "a Caddyfile",
    "asks a server",
    "fetches packages of npm",
    "needs Apache Beam",
    "needs Docker",
    "needs several machines",
    "needs wandb",
}
# Commands around ours: another tool's, or a target that CI runs by itself.
OTHERS = ("pip", "make", "curl", "#")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(path: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def _has_code(path: Path) -> bool:
    return any(language in ("python", "sh") for _, language, _ in _blocks(path))


@pytest.fixture(scope="module")
def world(tmp_path_factory, reviews):
    """A folder with the files that the pages speak of."""
    from keras_bert_scratch import BertClassifier

    folder = tmp_path_factory.mktemp("pages")
    texts, labels = reviews
    rows = "".join(f"{text},{label}\n" for text, label in zip(texts[:32], labels[:32], strict=True))
    for name in ("films.csv", "more_films.csv"):
        (folder / name).write_text(f"text,label\n{rows}")
    model = BertClassifier.from_pretrained("tiny-en", labels=["negative", "positive"])
    model.save_pretrained(folder / "saved_models/films")
    return folder


@pytest.fixture
def in_the_world(world, tmp_path, monkeypatch):
    """A copy of it to work in."""
    shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")


def _run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command of ours in this process, with the text that `echo` gives it."""
    if line.startswith("echo "):
        said, _, line = line.partition(" | ")
        text = f"{shlex.split(said)[1]}\n"
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    program, *arguments = shlex.split(line)
    assert program == "keras-bert-scratch", line
    assert cli.main(arguments) in (None, 0), line


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(p, id=_name(p)) for p in PAGES if _has_code(p)])
def test_blocks_run(path, in_the_world, monkeypatch):
    keras.utils.set_random_seed(0)
    variables: dict[str, Any] = {}
    text = path.read_text(encoding="utf-8")
    if "finetune films.csv" in text:  # which writes it
        shutil.rmtree("saved_models/films")
    for reason, language, code in _blocks(path):
        code = code.replace('"minilm"', '"tiny-en"').replace("--model minilm", "--model tiny-en")
        code = code.replace("finetune films.csv\n", "finetune films.csv --model tiny-en\n")
        code = code.replace("max_trials=8", "max_trials=1")
        if reason or language not in ("python", "sh"):
            continue
        if language == "python":
            exec(compile(code, _name(path), "exec"), variables)
            continue
        for line in filter(None, code.splitlines()):
            if not line.startswith(OTHERS):
                _run_line(line, monkeypatch)


@pytest.mark.beam
def test_the_block_for_beam_runs(tiny_classifier, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    tiny_classifier().export("saved_models/films.tflite", format="litert")
    Path("films.txt").write_text("a good film\na bad film\n")
    (code,) = (
        code for path in PAGES for reason, _, code in _blocks(path) if reason == "needs Apache Beam"
    )
    exec(compile(code, "scale.md", "exec"), {})
    printed = capfd.readouterr().out
    assert "('a good film', {'negative': " in printed
    assert "('a bad film', {'negative': " in printed


def test_blocks_that_do_not_run_say_why():
    reasons = {reason for path in PAGES for reason, *_ in _blocks(path)} - {""}
    assert reasons == REASONS


def test_yaml_is_yaml():
    found = [
        yaml.safe_load(code)
        for path in PAGES
        for _, language, code in _blocks(path)
        if language == "yaml"
    ]
    assert len(found) >= 2
    assert all(isinstance(document, dict) for document in found)


@pytest.mark.parametrize("path", [*PAGES, *(ROOT / "docs").rglob("*.py")], ids=lambda p: p.name)
def test_columns_of_tables_have_names(path):
    """Readers of screens read them with every cell; axe-core would say so, after minutes."""
    for header in re.findall(r"^ *(\|.*\|)\n *\|[-:| ]+\|$", path.read_text("utf-8"), re.MULTILINE):
        assert all(name.strip() for name in header.strip("|").split("|")), header


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / "README.md").read_text()):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]


def test_the_figures_of_the_readme_are_those_of_the_benchmarks():
    benchmarks = (ROOT / "docs/benchmarks.md").read_text()
    for row in (
        "| ours | 138 | 166 |",
        "| `transformers`, grouped by length | 75 | 155 |",
        "| 128 | 11.8 | 4.4 | 6.2 | 7.9 |",
        "| an int8 LiteRT file, or a checkpoint's engine | 884 | 126 ms |",
        "| SavedModel, dynamic batches | 357 | 363 ms |",
        "| 10,000 of both | Keras, float32 | 120 | 1 |",
        "| | `litert-int8` | 336 | 2.8 | 1,483 MB |",
        "| mean | 83.36 % | 84.92 % | 85.19 % |",
    ):
        assert row in benchmarks
