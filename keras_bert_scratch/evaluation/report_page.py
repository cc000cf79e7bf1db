"""The page of a report: one file without scripts that refers to nothing outside itself."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch.evaluation.baseline import BaselineComparison
from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import OUTCOMES, ClassificationReport
from keras_bert_scratch.evaluation.columns import ColumnComparison
from keras_bert_scratch.evaluation.duplicates import Duplicates
from keras_bert_scratch.evaluation.errors import Errors
from keras_bert_scratch.evaluation.label_noise import LabelSuspects
from keras_bert_scratch.evaluation.plots import plot_calibration, plot_learning_curves
from keras_bert_scratch.evaluation.slices import Slices
from keras_bert_scratch.evaluation.stress import StressReport
from keras_bert_scratch.pictures import DARK, without_glyph_warnings

# Rows of the tables that quote texts.
_MOST_ROWS = 20
# An error of the scores' sum that is said.
_LARGE_ERROR = 0.05

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #f2f4f7;
  --line: #c9ced6; --soft: #59636e; --link: #0b5cad; --bar: rgba(59, 134, 198, 0.35);
  --warn: #fff4e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #15181c; --faint: #1f242b;
  --line: #444c56; --soft: #a9b1bb; --link: #7ab8f5; --bar: rgba(59, 134, 198, 0.45);
  --warn: #3a2a14; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 0.3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.5rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line); }
p { margin: 0.4rem 0; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; list-style: none; padding: 0; }
nav a { display: inline-block; padding: 0.2rem 0; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--paper); padding: 0.4rem; z-index: 1; }
.verdict { font-size: 1.1rem; }
.note { color: var(--soft); font-size: 0.9rem; }
.warning { background: var(--warn); border-left: 4px solid #d9722b; padding: 0.5rem 0.8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; margin: 0.4rem 0;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.2rem; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th { font-weight: 600; }
th[scope=row], .text, th:first-child { text-align: left; }
th[scope=row] { font-weight: 500; white-space: normal; min-width: 9rem; }
td.text { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
.bar { display: inline-block; width: 8rem; padding: 0 0.3rem;
  background: linear-gradient(to right, var(--bar) var(--share), var(--faint) 0); }
.matrix td { text-align: center; min-width: 3rem; border: 1px solid var(--line); }
.matrix thead th { white-space: normal; text-align: center; vertical-align: bottom; }
.matrix .corner { border: 0; }
.matrix .zero { color: var(--soft); }
article { background: var(--faint); border-radius: 6px; padding: 0.6rem 0.9rem; margin: 0.7rem 0; }
article h3 { font-size: 1rem; margin: 0; font-weight: 600; }
img { max-width: 100%; height: auto; }
.wide img { max-width: none; width: max(100%, 44rem); }
pre { background: var(--faint); padding: 0.7rem; overflow-x: auto; font-size: 0.85rem; }
@media print { nav, .skip { display: none; } }
"""


class _Html(str):
    """A cell that is HTML already; all others are escaped."""


class _Quote(_Html):
    """A cell with a text of others, whatever its length and direction."""


def report_page(
    report: ClassificationReport,
    *,
    title: str,
    history: Any = None,
    calibration: Calibration | None = None,
    details: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> str:
    """Returns the page; for the arguments, see `write_report`."""
    details = details or {}
    sections: list[tuple[str, str]] = [
        ("Figures", _figures(report, details.get("baseline"))),
        ("Classes", _classes(report)),
        ("Confusion matrix", _matrix(report)),
    ]
    for name, part in details.items():
        for kind, heading, write in _SECTIONS:
            if isinstance(part, kind):
                sections.append((heading or name.replace("_", " ").capitalize(), write(part)))
    if calibration is not None:
        sections.append(("Calibration", _calibration(calibration)))
    if history is not None or training:
        sections.append(("Training", _training(history, training or {})))
    links = "".join(
        f'<li><a href="#s{number}">{_escape(heading)}</a></li>'
        for number, (heading, _) in enumerate(sections)
    )
    body = "\n".join(
        f'<section aria-labelledby="s{number}">\n<h2 id="s{number}">{_escape(heading)}</h2>\n'
        f"{content}\n</section>"
        for number, (heading, content) in enumerate(sections)
    )
    warnings = "".join(f'<p class="warning">{_escape(text)}</p>\n' for text in report.warnings)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<header>
<h1>{_escape(title)}</h1>
{_verdict(report)}
</header>
<nav aria-label="Contents"><ul>{links}</ul></nav>
<main id="main">
{warnings}{body}
{_missing(details, calibration)}
</main>
</body>
</html>
"""


# === Sections ===
def _verdict(report: ClassificationReport) -> str:
    low, high = report.intervals["accuracy"]
    what = "All labels are right in" if report.is_multi_label else "Right in"
    return (
        f'<p class="verdict">{what} <strong>{report.accuracy:.1%}</strong> of '
        f"{report.num_examples:,} examples (95 % interval {low:.1%} to {high:.1%}); macro F1 "
        f"<strong>{report.macro_f1:.3f}</strong>.</p>"
    )


def _figures(report: ClassificationReport, baseline: BaselineComparison | None) -> str:
    rows = [_figures_row("this model", report)]
    note = ""
    if baseline is not None:
        rows.append(_figures_row("TF-IDF and logistic regression", baseline.report))
        rows.append(_figures_row("always the commonest answer", baseline.commonest))
        test = baseline.test
        note = (
            f'<p class="note">This model is right alone on {test.first_only:,} examples, TF-IDF on '
            f"{test.second_only:,}: {100 * baseline.accuracy_gain:+.1f} points of accuracy, p = "
            f"{test.p_value:.2g} (McNemar, exact).</p>"
        )
        note += "".join(f'<p class="warning">{_escape(text)}</p>' for text in baseline.warnings)
    elif not report.is_multi_label:
        supports = {name: found["support"] for name, found in report.per_class.items()}
        commonest = max(supports, key=supports.__getitem__)
        share = supports[commonest] / report.num_examples
        # Precision is the share, recall is 1, and the other classes have an F1 of 0.
        f1 = 2 * share / (1 + share) / len(supports)
        rows.append([f"always “{commonest}”, the commonest", _bar(share), "", f"{f1:.4f}", ""])
    header = ["model", "accuracy", "95 % interval", "macro F1", "95 % interval"]
    return _table("On the same examples", header, rows) + note


def _columns(comparison: ColumnComparison) -> str:
    rows = [
        [*_figures_row(name, report), "" if test is None else f"{test.p_value:.2g}"]
        for name, report, test in comparison.rows
    ]
    header = ["model", "accuracy", "95 % interval", "macro F1", "95 % interval", "p"]
    notes = "".join(f'<p class="warning">{_escape(text)}</p>' for text in comparison.warnings)
    explained = '<p class="note">p: McNemar\'s exact test against all columns.</p>'
    return notes + _table("Each column alone and left out", header, rows) + explained


def _figures_row(name: str, report: ClassificationReport) -> list[str]:
    return [
        name,
        _bar(report.accuracy),
        report.interval_text("accuracy"),
        f"{report.macro_f1:.4f}",
        report.interval_text("macro_f1"),
    ]


def _classes(report: ClassificationReport) -> str:
    rows = [
        [name, *(_bar(found[key]) for key in ("precision", "recall", "f1")), found["support"]]
        for name, found in report.per_class.items()
    ]
    for kind in ("macro", "weighted"):
        shares = (getattr(report, f"{kind}_{key}") for key in ("precision", "recall", "f1"))
        rows.append([f"{kind} average", *map(_bar, shares), ""])
    return _table(
        "Precision: how often the answer is right where it is given. Recall: how many of the "
        "class are found.",
        ["class", "precision", "recall", "F1", "examples"],
        rows,
    )


def _matrix(report: ClassificationReport) -> str:
    names = report.class_names
    counts, columns = report.confusion_matrix, names
    caption = "Rows: the true class. Columns: the answer. Color: the share of the row."
    if report.is_multi_label:
        counts, columns, caption = report.outcomes, [*OUTCOMES], "How often, for each label"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for name, row, row_shares in zip(names, counts, shares, strict=True):
        cells = "".join(
            f'<td{"" if count else " class=zero"} title="{share:.1%} of the row" style="background:'
            f' rgba(59, 134, 198, {0.62 * share:.2f})">{count}</td>'
            for count, share in zip(row, row_shares, strict=True)
        )
        rows.append(f'<tr><th scope="row" dir="auto">{_escape(name)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col" dir="auto">{_escape(name)}</th>' for name in columns)
    return _scrolling(
        caption,
        f'<table class="matrix"><caption>{caption}</caption>'
        f"<thead><tr><td class=corner></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>",
    )


def _errors(errors: Errors) -> str:
    count = len(errors.errors)
    if not count:
        return f"<p>All {errors.num_examples:,} answers are right.</p>"
    # Those that are explained come first: the others may be too long, or the time was over.
    explained = [error for error in errors.errors if error.position in errors.explanations]
    others = [error for error in errors.errors if error.position not in errors.explanations]
    shown = [*explained, *others][:_MOST_ROWS]
    parts = [
        f"<p>{count:,} of {errors.num_examples:,} answers are wrong; here are {len(shown)} of the "
        f"surest. {_explained(errors)}</p>"
    ]
    if explained:
        parts.append(next(iter(errors.explanations.values())).legend_html())
    for error in shown:
        found = errors.explanations.get(error.position)
        note = ""
        if found is not None and found.completeness_error > _LARGE_ERROR:
            note = f'<p class="note">The scores are off by {found.completeness_error:.0%}.</p>'
        parts.append(
            _article(
                f"Example {error.position}: answered “{error.answer}” ({error.probability:.1%}), "
                f"labelled “{error.true}”",
                (_text(error.text) if found is None else found.words_html()) + note,
            )
        )
    return "\n".join(parts)


def _explained(errors: Errors) -> str:
    if not errors.explanations:
        return "None is explained: that takes a checkpoint, and single texts of moderate length."
    return (
        f"{len(errors.explanations)} of them are explained, as many as fit into some seconds: blue "
        "words speak for the answer that was given, orange ones against it."
    )


def _suspects(found: LabelSuspects) -> str:
    shown = found.suspects[:_MOST_ROWS]
    text = (
        f"<p>{len(found.suspects):,} of {found.num_examples:,} labels may be wrong"
        f"{f'; here are {len(shown)}, the least probable first' if shown else ''}. With a weak "
        "model most of them are the model's mistakes: read them before changing one.</p>"
    )
    return text + "\n".join(
        _article(
            f"Example {suspect.position}: labelled “{suspect.given}” ({suspect.probability:.1%}), "
            f"“{suspect.likelier}” is likelier",
            _text(suspect.text),
        )
        for suspect in shown
    )


def _slices(slices: Slices) -> str:
    rows = [
        [
            name,
            report.num_examples,
            _bar(report.accuracy),
            report.interval_text("accuracy"),
            f"{report.macro_f1:.4f}",
        ]
        for name, report in slices.reports.items()
    ]
    header = ["group", "examples", "accuracy", "95 % interval", "macro F1"]
    return _table("The figures of each group", header, rows)


def _stress(report: StressReport) -> str:
    rows: list[list[Any]] = [["as they are", _bar(report.accuracy), "", "", ""]]
    for name, stress in report.stresses.items():
        rows.append(
            [
                name,
                _bar(stress.accuracy),
                f"{100 * (stress.accuracy - report.accuracy):+.1f}",
                f"{stress.changed:.1%}",
                f"{len(stress.flips) / report.num_texts:.1%}",
            ]
        )
    header = ["texts", "accuracy", "points", "texts changed", "answers changed"]
    return (
        f"<p>{report.num_texts:,} texts were asked again, changed in ways that keep their "
        f"meaning.</p>{_table('Accuracy under each change', header, rows)}"
    )


def _leaks(found: Duplicates) -> str:
    rows = [
        [_quote(pair.text), f"{pair.similarity:.2f}", _quote(pair.other_text)]
        for pair in found.pairs[:_MOST_ROWS]
    ]
    near = len(found.pairs) - found.num_exact
    text = (
        f"<p>{found.num_exact:,} of {found.num_texts:,} texts are in the training file, too, and "
        f"{near:,} are nearly: the figures above are too good by what the model knows by heart.</p>"
        if found.pairs
        else f"<p>None of {found.num_texts:,} texts is in the training file.</p>"
    )
    header = ["text", "similarity", "text of the training file"]
    return text + (_table("The most similar first", header, rows) if rows else "")


def _calibration(calibration: Calibration) -> str:
    return (
        f"<p>{_escape(calibration.to_text())}</p>"
        "<p class=note>Where a point is on the diagonal, a probability of 0.9 is right nine times "
        "in ten.</p>"
        + _picture(lambda: plot_calibration(calibration), "Accuracy over confidence, before and "
        "after the temperature, and the number of predictions at each confidence.")
    )  # fmt: skip


def _training(history: Any, settings: Mapping[str, Any]) -> str:
    parts = []
    if history is not None:
        curves = getattr(history, "history", history)
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in curves.items() if values)
        parts.append(
            _scrolling(
                "Learning curves",
                _picture(
                    lambda: plot_learning_curves(history),
                    f"Learning curves; after the last epoch: {last}.",
                ),
            )
        )
    if settings:
        rows = [[name.replace("_", " "), _quote(str(value))] for name, value in settings.items()]
        parts.append(_table("How the model was trained", ["setting", "value"], rows))
    return "\n".join(parts)


def _missing(details: Mapping[str, Any], calibration: Calibration | None) -> str:
    """Says what the page does not tell and why not, and that it quotes."""
    kinds = {type(part) for part in details.values()}
    absent = [
        text
        for is_there, text in (
            (bool(kinds & _COMPARISONS), "a comparison with TF-IDF (needs the training file)"),
            (Errors in kinds, "errors"),
            (LabelSuspects in kinds, "suspect labels (need one label an example)"),
            (Slices in kinds, "groups of examples"),
            (StressReport in kinds, "stress"),
            (calibration is not None, "calibration"),
        )
        if not is_there
    ]
    text = f'<p class="note">Not measured: {"; ".join(absent)}.</p>' if absent else ""
    if kinds & {Errors, LabelSuspects, Duplicates}:
        text += '<p class="note">This page quotes examples: treat it as you treat them.</p>'
    return text


_COMPARISONS = {BaselineComparison, ColumnComparison}
# The sections for the details, in the order of `details`; None is the name of the detail.
_SECTIONS: tuple[tuple[type, str | None, Callable[[Any], str]], ...] = (
    (ColumnComparison, "Columns", _columns),
    (Errors, "Errors", _errors),
    (LabelSuspects, "Suspect labels", _suspects),
    (Slices, None, _slices),
    (StressReport, "Stress", _stress),
    (Duplicates, "Leaks", _leaks),
)


# === Parts ===
def _escape(text: str) -> str:
    return html.escape(text)


def _quote(text: str) -> _Quote:
    return _Quote(f'<td class="text" dir="auto">{_escape(_cut(text, 300))}</td>')


def _text(text: str) -> str:
    return f'<p dir="auto">{_escape(_cut(text, 1000))}</p>'


def _cut(text: str, length: int) -> str:
    return text[:length] + "…" * (len(text) > length)


def _article(heading: str, content: str) -> str:
    return f"<article><h3>{_escape(heading)}</h3>{content}</article>"


def _bar(share: float) -> _Html:
    """Returns a cell with a share as a number on a bar."""
    return _Html(f'<td><span class="bar" style="--share: {share:.1%}">{share:.4f}</span></td>')


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    # The names of columns stand where their cells begin.
    quotes = [isinstance(cell, _Quote) for cell in rows[0]]
    head = "".join(
        f'<th scope="col"{" class=text" * quote}>{_escape(name)}</th>'
        for name, quote in zip(header, quotes, strict=True)
    )
    lines = []
    for first, *others in rows:
        row = str(first)
        if not isinstance(first, _Html):
            row = f'<th scope="row" dir="auto">{_escape(row)}</th>'
        row += "".join(
            cell if isinstance(cell, _Html) else f'<td dir="auto">{_escape(str(cell))}</td>'
            for cell in others
        )
        lines.append(f"<tr>{row}</tr>")
    return _scrolling(
        caption,
        f"<table><caption>{_escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>",
    )


def _scrolling(name: str, content: str) -> str:
    """Wraps what may be wider than a phone; keys scroll it, once it has the focus."""
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{_escape(name)}">{content}</div>'
    )


def _picture(draw: Callable[[], Figure], text: str) -> str:
    """Returns a picture for light and for dark pages, with what it shows in words."""
    light = _data_uri(draw())
    with matplotlib.rc_context(DARK):
        dark = _data_uri(draw())
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{_escape(text)}"></picture>'
    )


def _data_uri(figure: Figure) -> str:
    file = io.BytesIO()
    with without_glyph_warnings():
        figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
