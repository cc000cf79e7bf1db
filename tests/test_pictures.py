import itertools
import logging

import matplotlib.figure
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.colors import to_rgb

from keras_bert_scratch import pictures
from keras_bert_scratch.pictures import (
    BLUE,
    DARK,
    ORANGE,
    PALETTE,
    finished,
    ink_on,
    is_right_to_left,
    shades,
    signed_colors,
)

# Stands for a font of other scripts.
FONT = "DejaVu Serif"


def figure_with(text):
    figure = matplotlib.figure.Figure()
    return figure, figure.add_subplot().set_title(text)


# === Fonts ===
@pytest.fixture
def installed(monkeypatch):
    """Returns a function that makes a font with some characters the only other one installed."""

    def install(characters):
        known = pictures._characters

        def characters_of(family):
            return frozenset(characters) if family == FONT else known(family)

        monkeypatch.setattr(pictures, "_characters", characters_of)
        monkeypatch.setattr(pictures, "_installed", lambda: [FONT])

    return install


def test_characters_get_a_font_that_has_them(installed, caplog):
    installed("电影")
    figure, title = figure_with("film 电影")
    before = title.get_fontfamily()
    finished(figure)
    assert title.get_fontfamily() == [*before, FONT]
    assert not caplog.records


def test_other_texts_keep_their_font(installed):
    installed("电影")
    figure, title = figure_with("Kino für alle — Ωμέγα")
    before = list(title.get_fontfamily())
    finished(figure)
    assert title.get_fontfamily() == before


def test_labels_of_ticks_are_texts_too(installed):
    installed("电影")
    figure, title = figure_with("")
    title.axes.set_yticks([0, 1], ["电影", "film"])
    finished(figure)
    chosen, other = title.axes.get_yticklabels()
    assert chosen.get_fontfamily()[-1] == FONT
    assert FONT not in other.get_fontfamily()


def test_characters_that_no_font_has_are_named_once(installed, caplog, recwarn, tmp_path):
    installed("电")
    figure, title = figure_with("电影 ☃ 影")
    with caplog.at_level(logging.WARNING):
        finished(figure, tmp_path / "film.png")
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "No installed font has the characters 影: they are drawn as empty boxes. Install a font"
    )
    assert title.get_fontfamily()[-1] == FONT
    assert not [warning for warning in recwarn if "missing from" in str(warning.message)]
    assert (tmp_path / "film.png").exists()


def test_fonts_are_looked_for_among_those_installed():
    families = pictures._installed()
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    assert set(families) <= names
    assert "DejaVu Sans" in families
    assert not any("Emoji" in family for family in families)
    assert {"a", "ß", "Ω"} <= pictures._characters("DejaVu Sans")
    assert pictures._characters("no font of this name") == frozenset()


def test_old_versions_say_that_they_cannot_write_from_right_to_left(monkeypatch, caplog):
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 10, 1))
    finished(figure_with("film")[0])
    assert not caplog.records
    finished(figure_with("שלום")[0])
    (record,) = caplog.records
    assert "draws right-to-left scripts from left to right" in record.getMessage()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", False),
        ("שלום", True),
        ("مرحبا!", True),
        ("", False),
        ("12", False),
        ("שab", False),
    ],
)
def test_directions(text, expected):
    assert is_right_to_left(text) == expected


# === Colors ===
def contrast(one, other):
    bright, dark = sorted((pictures._luminance(c) for c in (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("settings", [{}, DARK])
def test_words_can_be_read_on_every_color(settings):
    with matplotlib.rc_context(settings):
        for colors, share in itertools.product((shades(), signed_colors()), np.linspace(0, 1, 21)):
            color = colors(share)
            assert contrast(ink_on(color), color) >= 4.5
        for color in PALETTE:
            # Graphics need three to one.
            assert contrast(color, matplotlib.rcParams["axes.facecolor"]) >= 3


@pytest.mark.parametrize("settings", [{}, DARK])
def test_signed_colors_are_symmetric_around_the_background(settings):
    with matplotlib.rc_context(settings):
        colors, background = signed_colors(), to_rgb(matplotlib.rcParams["axes.facecolor"])
    np.testing.assert_allclose(colors(0.5)[:3], background, atol=0.01)
    for side, full in ((0.0, ORANGE), (1.0, BLUE)):
        np.testing.assert_allclose(colors(side)[:3], to_rgb(full), atol=1e-6)
        halfway = (np.array(to_rgb(full)) + background) / 2
        np.testing.assert_allclose(colors((side + 0.5) / 2)[:3], halfway, atol=0.01)


# What people without one kind of cones see, in linear RGB (Machado et al. 2009, severity 1).
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("kind", DEFICIENCIES)
def test_blue_and_orange_differ_for_all_eyes(kind):
    seen = [np.array(DEFICIENCIES[kind]) @ to_rgb(color) for color in (BLUE, ORANGE)]
    assert np.abs(seen[0] - seen[1]).max() > 0.3
