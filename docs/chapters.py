"""Runs the chapters of the guide: a .py in keras.io's form becomes a notebook and a page.

Strings between the code are the text; everything else runs, and what it prints and the value of a
block's last line (a figure is drawn) stand below it, as in Jupyter.

    python docs/chapters.py OUTPUT docs/guide/03_attention.py  # writes the page and its pictures
"""

import ast
import base64
import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat.v4 as notebooks
from matplotlib.figure import Figure

# `EPOCHS = 3  # tiny: 1` is 1 at the tiny size, and the comment is not shown.
_TINY = re.compile(r"= .*?  # tiny: (.*)$", re.MULTILINE)
# Keras' progress bars move the cursor, which only a terminal has.
_PROGRESS = re.compile(r"^.*[\x08\x1b].*\n?", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_TITLE = re.compile(r"Title: (.*?)\.?\n\n?(?:Description: )?")


def run_chapter(path: Path, *, tiny: bool = False) -> tuple[Any, dict[str, Any]]:
    """Runs a chapter in an empty folder.

    Args:
        path: The chapter.
        tiny: Whether to replace what a comment `# tiny: VALUE` marks.

    Returns:
        The notebook with its outputs, and the variables at the end.
    """
    source = path.read_text(encoding="utf-8")
    if tiny:
        source = _TINY.sub(r"= \1", source)
    lines = source.splitlines()
    cells, code, variables = [], [], {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for node in [*ast.parse(source, path).body, None]:
            if node is not None and not _is_text(node):
                code.append(node)
                continue
            if code:
                first, last = cells[-1].metadata.end, node.lineno - 1 if node else len(lines)
                text = re.sub(r"  # tiny: .*|  # noqa.*", "", "\n".join(lines[first:last]))
                outputs = _run(code, variables, path)
                cells.append(notebooks.new_code_cell(text.strip(), outputs=outputs))
                code = []
            if node is not None:
                text = _TITLE.sub(r"# \1\n\n", node.value.value.strip())
                cells.append(notebooks.new_markdown_cell(text, metadata={"end": node.end_lineno}))
    for number, cell in enumerate(cells):
        cell.metadata.clear()
        cell.id = f"cell-{number}"
    return notebooks.new_notebook(cells=cells), variables


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _run(code: list[ast.stmt], variables: dict[str, Any], path: Path) -> list[Any]:
    """Runs statements and returns what they print, and the last one's value."""
    *statements, last = code
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        if not isinstance(last, ast.Expr):
            statements.append(last)
        exec(compile(ast.Module(statements, []), path, "exec"), variables)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), path, "eval"), variables)
    outputs = []
    if text := _PROGRESS.sub("", printed.getvalue()):
        outputs.append(notebooks.new_output("stream", text=text))
    if value is not None:
        outputs.append(notebooks.new_output("display_data", _shown(value)))
    return outputs


def _shown(value: Any) -> dict[str, str]:
    if isinstance(value, Figure):
        image = io.BytesIO()
        value.savefig(image, format="png", dpi=110)
        return {"image/png": base64.b64encode(image.getvalue()).decode()}
    return {"text/plain": repr(value)}


def page(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by their names.

    Args:
        notebook: What `run_chapter` returns.
        name: The chapter's, without a suffix.
    """
    parts, images, section = [], {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            section = [section, *_HEADING.findall(cell.source)][-1]
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text")})
            if "image/png" in data:
                image = f"{name}_{len(images) + 1}.png"
                images[image] = base64.b64decode(data["image/png"])
                parts.append(f"![{section}: what the code above draws]({image}){{ loading=lazy }}")
            else:
                parts.append(f'```text title="Output"\n{data["text/plain"].rstrip()}\n```')
    links = f"[Notebook]({name}.ipynb) · [Source]({name}.py)\n"
    heading, _, rest = "\n\n".join(parts).partition("\n")
    return f"{heading}\n\n{links}\n{rest}\n", images


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    output, *chapters = map(Path, sys.argv[1:])
    for path in chapters:
        made, _ = run_chapter(path.resolve())
        text, pictures = page(made, path.stem)
        files = {f"{path.stem}.md": text.encode(), **pictures}
        for name, content in files.items():
            (output / name).write_bytes(content)
