"""What MkDocs calls: the guide is run and added to the site, and formulas become MathML."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import nbformat
from chapters import page, run_chapter
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

# `make docs SIZE=tiny` runs the chapters at the size that their comments `# tiny:` say.
_SIZE = os.environ.get("SIZE", "full")
if _SIZE not in ("full", "tiny"):
    raise ValueError(f'SIZE must be "full" or "tiny", received {_SIZE!r}.')
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Runs the chapters and adds their pages, notebooks and pictures."""
    for path in sorted((Path(config.docs_dir) / "guide").glob("[0-9]*.py")):
        start = time.monotonic()
        notebook, _ = run_chapter(path, tiny=_SIZE == "tiny")
        print(f"{path.name} ran in {time.monotonic() - start:.0f} s", file=sys.stderr)
        text, images = page(notebook, path.stem)
        made = {f"{path.stem}.md": text, f"{path.stem}.ipynb": nbformat.writes(notebook), **images}
        for name, content in made.items():
            files.append(File.generated(config, f"guide/{name}", content=content))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Replaces formulas by MathML, which browsers show without a script."""

    def mathml(formula: re.Match[str]) -> str:
        tag, tex = formula.groups()
        tex = tex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return convert(tex.strip(), display="inline" if tag == "span" else "block")

    return _FORMULA.sub(mathml, html)
