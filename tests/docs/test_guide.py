"""The chapters of the guide run, and say what the code computes."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "docs/guide").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def chapters(load_script):
    return load_script("docs/chapters.py")


@pytest.fixture(scope="module")
def attention(chapters):
    """The chapter that is followed with a pencil; all ten run in `make docs`."""
    return chapters.run_chapter(ROOT / "docs/guide/03_attention.py", tiny=True)


def test_a_chapter_becomes_a_page(chapters, attention):
    text, images = chapters.page(attention[0], "03_attention")
    assert text.startswith("# Attention by hand\n")
    assert len(images) == 2
    assert all(content.startswith(b"\x89PNG") for content in images.values())
    assert all(f"({name})" in text for name in images)


def test_there_are_ten_chapters():
    assert [path.stem[:2] for path in CHAPTERS] == [f"{n:02}" for n in range(1, 11)]


def test_quoted_lines_stand_in_the_package():
    quoted = 0
    for path in CHAPTERS:
        blocks = re.findall(
            r"```python\n# (keras_bert_scratch/\S+)\n(.*?)```", path.read_text(), re.S
        )
        for name, block in blocks:
            source = [line.strip() for line in (ROOT / name).read_text().splitlines()]
            position = 0
            for line in filter(None, map(str.strip, block.splitlines())):
                # In the same order, behind the line before.
                assert line in source[position:], f"{path.name} quotes a line {name} lacks: {line}"
                position += source[position:].index(line) + 1
            quoted += 1
    assert quoted >= 10


def _table(text: str, first_cell: str) -> np.ndarray:
    """Reads the numbers of the table whose header begins with a name, by row."""
    rows = text.partition(f"| {first_cell} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")[1:]] for row in rows]
    numbers = [
        [float(Fraction(n)) for cell in row for n in cell.replace("−", "-").strip("()").split(", ")]
        for row in cells
    ]
    return np.array(numbers)


def test_numbers_of_attention_by_hand_are_those_of_the_code(attention):
    notebook, found = attention
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")

    vectors = np.concatenate([found["query"] / found["unit"], found["key"], found["value"]], axis=1)
    np.testing.assert_allclose(_table(text, "word"), vectors)
    np.testing.assert_allclose(_table(text, "score"), found["scores"] / np.log(2), atol=1e-12)
    powers = _table(text, "e to the score")
    np.testing.assert_allclose(powers[:, :-1], found["exponentials"])
    np.testing.assert_allclose(powers[:, -1], found["exponentials"].sum(axis=1))
    np.testing.assert_allclose(_table(text, "share"), found["shares"])
    before_and_after = _table(text.partition("### The mean of the values")[2], "word")
    expected = np.concatenate([found["value"], found["attended"]], axis=1)
    np.testing.assert_allclose(before_and_after, expected, atol=1e-12)

    # The layer says the same as the pencil.
    np.testing.assert_allclose(np.array(found["result"])[0, 0], found["attended"], atol=1e-5)
    np.testing.assert_allclose(found["from_layer"], found["attended"], atol=1e-5)
    np.testing.assert_allclose(np.array(found["hidden"])[0, 0, 4], [1, 1], atol=1e-5)
    assert "the mean is 1/4 · (0, 4) + 1/4 · (4, 0) = (1, 1)" in text.replace("\n", " ")


def test_numbers_of_the_spam_filter_are_those_of_the_report():
    text = (ROOT / "docs/guide/07_evaluation.py").read_text()
    (hits, misses), (false_alarms, right) = _table(text, "mails").astype(int).tolist()
    assert hits / (hits + false_alarms) == 0.8
    assert f"= {hits / (hits + misses):.3f}" in text
    assert f"= {2 * hits / (2 * hits + misses + false_alarms):.3f}" in text
    assert f"/ 20 = {(hits + right) / 20}" in text


def test_a_chapter_is_text_code_and_outputs(chapters, tmp_path):
    chapter = tmp_path / "01_example.py"
    chapter.write_text(
        '"""Title: An example.\n\nDescription: What it says.\n"""\n\n'
        'COUNT = 100  # tiny: 2\nprint("\\x1b[1mbar\\x08\\nsaid", COUNT)\n\n'
        '"""\nThen a value:\n"""\n\n'
        "COUNT + 1\n"
        '"""\n## A picture\n\nDrawn:\n"""\n\n'
        "from matplotlib.figure import Figure\nFigure()\n"
        '"""\nNot a [title], though a line of text:\n"""\n\nFigure()\n'
    )
    text, images = chapters.page(chapters.run_chapter(chapter, tiny=True)[0], "01_example")
    assert list(images) == ["01_example_1.png", "01_example_2.png"]
    assert [part.strip() for part in re.split("\n\n+", text)] == [
        "# An example",
        "[Notebook](01_example.ipynb) · [Source](01_example.py)",
        "What it says.",
        '```python\nCOUNT = 2\nprint("\\x1b[1mbar\\x08\\nsaid", COUNT)\n```',
        '```text title="Output"\nsaid 2\n```',
        "Then a value:",
        "```python\nCOUNT + 1\n```",
        '```text title="Output"\n3\n```',
        "## A picture",
        "Drawn:",
        "```python\nfrom matplotlib.figure import Figure\nFigure()\n```",
        "![A picture: what the code above draws](01_example_1.png){ loading=lazy }",
        "Not a [title], though a line of text:",
        "```python\nFigure()\n```",
        "![A picture: what the code above draws](01_example_2.png){ loading=lazy }",
    ]
