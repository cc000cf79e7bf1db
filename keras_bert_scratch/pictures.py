"""What all pictures share: figures without pyplot, colors, fonts for any script, safe writing.

Figures are made without pyplot, so that the user's own backend and open figures stay untouched.
Matplotlib's settings apply, and their colors are never assumed to be black on white: for a picture
on a dark background, draw it in `with matplotlib.rc_context(DARK)`.
"""

import contextlib
import functools
import logging
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from keras_bert_scratch.files import new_file

logger = logging.getLogger(__name__)

# Colors that people with any kind of color vision tell apart, on white and on black.
BLUE, ORANGE, GREEN, PURPLE = "#3b86c6", "#d9722b", "#1f9e77", "#a866a8"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, "#a8861d", "#808080")
# Settings of matplotlib for a dark background.
DARK: Any = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "#15181c"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#e6e6e6"),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "legend.edgecolor"), "#8a8f98"),
}
_DPI = 150
# Colors of a scale; an odd number, so that one is exactly in the middle.
_STEPS = 257
# The first version of matplotlib that joins Arabic letters, and writes from right to left.
_FIRST_WITH_LAYOUT = (3, 11)
# Fonts whose characters are boxes or colored bitmaps.
_NOT_DRAWN = ("Last Resort", "LastResort", "Color Emoji", "Adobe Blank")


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Returns a figure of that size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def add_grid_and_legend(axes: Axes) -> None:
    """Adds a faint grid, and a legend of everything that has a label."""
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


# === Colors ===
def ink() -> str:
    """Returns the color of texts and lines in matplotlib's settings."""
    return str(matplotlib.rcParams["text.color"])


def shades() -> Colormap:
    """Returns the colors of values from 0, which is the background, to the largest."""
    background = matplotlib.rcParams["axes.facecolor"]
    darkest = "#08427c" if _luminance(background) > 0.5 else "#9fd0ff"
    return LinearSegmentedColormap.from_list("shades", [background, BLUE, darkest])


def signed_colors() -> Colormap:
    """Returns the colors of values around 0: orange below, the background at 0, blue above."""
    background = matplotlib.rcParams["axes.facecolor"]
    return LinearSegmentedColormap.from_list("signed", [ORANGE, background, BLUE], _STEPS)


def ink_on(color: Any) -> str:
    """Returns black or white, whichever is easier to read on a color."""
    return "black" if _luminance(color) > 0.18 else "white"


def _luminance(color: Any) -> float:
    """Returns the relative luminance, 0 to 1 (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# === Fonts ===
def finished(figure: Figure, path: str | Path | None = None) -> Figure:
    """Chooses fonts for the texts of a figure, and writes it if `path` is given.

    A text with characters that its font lacks, such as Chinese ones, also gets an installed font
    that has them. If there is none, a warning says which characters are missing.

    Args:
        figure: A figure whose texts are all there.
        path: Image file; its suffix says which kind. Or None.
    """
    for axes in figure.axes:
        # Labels of ticks get their texts when they are asked for.
        axes.get_xticklabels(), axes.get_yticklabels()
    texts = figure.findobj(Text)
    if missing := choose_fonts(texts):
        logger.warning(
            "No installed font has the characters %s: they are drawn as empty boxes. Install a "
            "font that has them, such as one of the Noto fonts, and start Python again.",
            " ".join(sorted(missing)),
        )
    is_old = matplotlib.__version_info__[:2] < _FIRST_WITH_LAYOUT
    if is_old and any(is_right_to_left(text.get_text()) for text in texts):
        logger.warning(
            "matplotlib %s draws right-to-left scripts from left to right, with unjoined letters: "
            "install 3.11 or later.",
            matplotlib.__version__,
        )
    if path is not None:
        with new_file(path) as temporary, without_glyph_warnings():
            figure.savefig(temporary, dpi=_DPI, format=temporary.suffix[1:] or "png")
    return figure


def choose_fonts(texts: Iterable[Text]) -> set[str]:
    """Gives texts fonts that have their characters, and returns those that no font has."""
    missing: set[str] = set()
    for text in texts:
        families = text.get_fontfamily()
        lacking = {char for char in text.get_text() if not char.isascii() and _is_drawn(char)}
        for family in families:
            lacking -= _characters(family)
        if not lacking:
            continue
        for family in _installed():
            if found := lacking & _characters(family):
                families, lacking = [*families, family], lacking - found
            if not lacking:
                break
        text.set_fontfamily(families)
        missing |= lacking
    return missing


@contextlib.contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silences matplotlib's warnings of missing characters, of which `finished` tells once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def is_right_to_left(text: str) -> bool:
    """Returns whether most letters are of a script that runs from right to left."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    return sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L")


def _is_drawn(char: str) -> bool:
    is_variation_selector = "\ufe00" <= char <= "\ufe0f"
    return unicodedata.category(char)[0] not in "CZ" and not is_variation_selector


def _characters(family: str) -> frozenset[str]:
    """Returns the characters that a family's regular font has; none if it is not installed."""
    try:
        # "sans-serif" is whatever matplotlib's settings say now.
        wanted = font_manager.FontProperties(family=[family])
        return _characters_of_file(font_manager.findfont(wanted, fallback_to_default=False))
    except (ValueError, RuntimeError, OSError):
        return frozenset()


@functools.cache
def _characters_of_file(path: Any) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _installed() -> Sequence[str]:
    """Returns the installed families: those for many scripts first, then those without serifs."""
    # Of a family without a regular font, matplotlib would say so at each text.
    regular = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }
    drawn = [name for name in regular if not any(part in name for part in _NOT_DRAWN)]
    return sorted(drawn, key=lambda name: ("CJK" not in name, "Sans" not in name, name))
