"""Classifiers of columns: pictures of digits; drawings and their titles, each alone and together.

    python benchmarks/columns.py digits
    python benchmarks/columns.py clipart FOLDER --seeds 3

`digits` are scikit-learn's. FOLDER holds Debian's openclipart-svg, unpacked (`apt-get download
openclipart-svg`, `dpkg-deb -x`); drawings are drawn by resvg (`pip install resvg-py`). Their label
is the folder that they lie in; no title is both in the training and in the held-out drawings.
"""

import argparse
import gzip
import html
import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, ColumnClassifier, adamw
from keras_bert_scratch.evaluation.columns import compare_columns
from keras_bert_scratch.evaluation.significance import mcnemar

# User units of Inkscape's early versions.
_UNITS = {"": 1, "px": 1, "pt": 1.25, "mm": 3.543307, "cm": 35.43307, "in": 90}
_SIDE = 64


def digits(seeds: int, epochs: int) -> None:
    """Pictures alone: 1,347 digits of 8 x 8 pixels to train on, 450 held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures, labels = (found.images / 16).astype("float32"), found.target.astype(str)
    order = np.random.default_rng(0).permutation(len(labels))
    train, held_out = order[:1347], order[1347:]
    tokenizer = BertClassifier.from_pretrained("tiny-en", ["a", "b"]).check_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer.vocabulary), num_layers=3, num_heads=4, hidden_dim=64,
        feed_forward_dim=128, max_positions=16,
    )  # fmt: skip
    columns = {"picture": {"kind": "image", "height": 8, "width": 8, "patch_size": 2}}
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = ColumnClassifier(
            BertEncoder(config), sorted(set(labels)), tokenizer, columns=columns
        )
        model.compile(adamw(2e-3, total_steps=epochs * -(-len(train) // 32)))
        model.fit({"picture": pictures[train]}, labels[train], epochs=epochs, verbose=0)
        parts = [({"picture": pictures[rows]}, labels[rows]) for rows in (train, held_out)]
        print(f"seed {seed}\n{compare_columns(model, parts[0], parts[1]).to_text()}", flush=True)


def clipart(folder: Path, seeds: int, epochs: int) -> None:
    """Titles and pictures of drawings, to the folder that they lie in."""
    titles, pictures, labels = read_clipart(folder)
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        names = np.unique(titles)
        is_held_out = np.isin(titles, generator.choice(names, len(names) // 4, replace=False))
        rows = [generator.permutation(np.flatnonzero(part)) for part in (~is_held_out, is_held_out)]
        parts = [
            (
                {
                    "title": [titles[i] or None for i in part],
                    "picture": [pictures[i] or None for i in part],
                },
                labels[part],
            )
            for part in rows
        ]
        is_right: dict[str, Any] = {}
        for names_of in (["title", "picture"], ["title"], ["picture"]):
            started = time.time()
            model = train_on(parts[0], names_of, sorted(set(labels)), seed, epochs)
            table, wanted = parts[1]
            answers = model.probabilities(table).argmax(axis=1)
            named = " and ".join(names_of)
            is_right[named] = np.array(model.labels)[answers] == wanted
            print(
                f"seed {seed}: trained on {named}: accuracy {is_right[named].mean():.4f} "
                f"({len(rows[0])} + {len(rows[1])} drawings, {time.time() - started:.0f} s)",
                flush=True,
            )
            if len(names_of) > 1:
                print(compare_columns(model, parts[0], parts[1]).to_text(), flush=True)
        both = is_right["title and picture"]
        for alone in ("title", "picture"):
            test = mcnemar(both, is_right[alone])
            print(f"seed {seed}: both against {alone}: p = {test.p_value:.2g}", flush=True)


def train_on(
    part: tuple[Any, Any], names: list[str], labels: list[str], seed: int, epochs: int
) -> ColumnClassifier:
    """Trains a classifier of some columns, from tiny-en."""
    keras.utils.set_random_seed(seed)
    kinds: dict[str, Any] = {
        "title": "text",
        "picture": {"kind": "image", "height": _SIDE, "width": _SIDE, "patch_size": 8},
    }
    model = ColumnClassifier.from_pretrained(
        "tiny-en", labels, columns={name: kinds[name] for name in names}, sequence_length=32
    )
    model.compile(adamw(5e-4, total_steps=epochs * -(-len(part[1]) // 32)))
    table, wanted = part
    is_known = [any(table[name][i] is not None for name in names) for i in range(len(wanted))]
    rows = np.flatnonzero(is_known)
    model.fit(
        {name: [table[name][i] for i in rows] for name in names}, wanted[rows],
        epochs=epochs, batch_size=32, verbose=0,
    )  # fmt: skip
    return model


def read_clipart(folder: Path) -> tuple[np.ndarray, list[bytes], np.ndarray]:
    """Returns titles, pictures as PNG files, and labels; what resvg refuses has no picture."""
    import resvg_py

    root = next(path for path in sorted(folder.rglob("svg")) if path.is_dir())
    titles, pictures, labels = [], [], []
    settings: dict[str, Any] = {"width": _SIDE, "height": _SIDE, "background": "white"}
    for path in sorted(root.rglob("*.svg*")):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        svg = content.decode("utf-8", "replace")
        match = re.search(r"<dc:title[^>]*>(.*?)</dc:title>", svg, re.DOTALL)
        title = html.unescape(re.sub(r"<[^>]+>", "", match.group(1))).strip() if match else ""
        titles.append(title)
        labels.append(path.relative_to(root).parts[0])
        try:
            pictures.append(bytes(resvg_py.svg_to_bytes(svg_string=with_sizes(svg), **settings)))
        except ValueError:
            pictures.append(b"")
    print(f"{len(labels)} drawings, {pictures.count(b'')} without a picture", flush=True)
    return np.array(titles), pictures, np.array(labels)


def with_sizes(svg: str) -> str:
    """Gives a drawing that says its size in other units a view box, and plain sizes."""
    tag = re.search(r"<svg\b[^>]*>", svg, re.DOTALL)
    if tag is None:
        return svg
    sizes = []
    for name in ("width", "height"):
        size = re.search(rf"""\s{name}\s*=\s*["']\s*([\d.]+)\s*(px|pt|mm|cm|in|)\s*["']""", tag[0])
        sizes.append(float(size[1]) * _UNITS[size[2]] if size else 744.0)
    new = re.sub(r"""\s(width|height)\s*=\s*("[^"]*"|'[^']*')""", "", tag[0])
    plain = f'width="{sizes[0]:g}" height="{sizes[1]:g}"'
    if "viewBox" not in new:
        plain += f' viewBox="0 0 {sizes[0]:g} {sizes[1]:g}"'
    return svg.replace(tag[0], new.replace("<svg", f"<svg {plain}", 1), 1)


def main() -> None:
    """Runs one of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", choices=["digits", "clipart"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.data == "digits":
        digits(arguments.seeds, arguments.epochs or 80)
    elif arguments.folder is None:
        parser.error("clipart needs the folder of openclipart-svg")
    else:
        clipart(arguments.folder, arguments.seeds, arguments.epochs or 8)


if __name__ == "__main__":
    main()
