import base64
import html.parser
import json
import re
import xml.etree.ElementTree

import numpy as np
import pytest

from keras_bert_scratch.evaluation.baseline import compare_with_baseline
from keras_bert_scratch.evaluation.calibration import calibrate
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.report import examine, write_report
from keras_bert_scratch.evaluation.report_page import report_page
from keras_bert_scratch.evaluation.slices import evaluate_slices


@pytest.fixture
def report():
    return evaluate_classification([0, 1], [[1, 0], [0, 1]], ["no", "sí"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_text_json_page_and_picture(report, tmp_path):
    write_report(tmp_path / "new" / "report", report)
    folder = tmp_path / "new" / "report"
    assert names(folder) == ["confusion_matrix.png", "report.html", "report.json", "report.txt"]
    assert (folder / "report.txt").read_text(encoding="utf-8") == report.to_text()
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report.to_dict()
    assert (folder / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report.html").read_text("utf-8") == report_page(report, title="Report")


def test_writes_learning_curves_and_a_card_into_an_empty_folder(report, tmp_path):
    write_report(tmp_path, report, {"loss": [1.0, 0.5]}, card="# Céard\n")
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "README.md").read_text("utf-8") == "# Céard\n"


def test_writes_details(report, tmp_path):
    slices = evaluate_slices(["a", "a"], [0, 1], [[1, 0], [0, 1]], ["no", "sí"])
    write_report(tmp_path, report, details={"by_source": slices})
    assert (tmp_path / "by_source.txt").read_text(encoding="utf-8") == slices.to_text()
    assert json.loads((tmp_path / "by_source.json").read_text("utf-8")) == slices.to_dict()


def test_refuses_a_folder_that_is_not_empty(report, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="exists and is not empty: remove it, or name anoth"):
        write_report(tmp_path, report)
    assert names(tmp_path) == ["mine.txt"]


def test_a_failure_leaves_nothing(report, tmp_path):
    with pytest.raises(ValueError, match="The history holds no epoch"):
        write_report(tmp_path / "report", report, {})
    assert names(tmp_path) == []


# === The page ===
class Page(html.parser.HTMLParser):
    """The elements of a page, and what it says."""

    VOID = ("meta", "img", "source", "link", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += "" if self.open[-1:] == ["style"] else data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


HOSTILE = "<script>alert('1')</script>\"&amp;"


@pytest.fixture(scope="module")
def examined(tiny_classifier):
    """Everything about a classifier with a hostile label, on hostile texts."""
    model = tiny_classifier(["good", HOSTILE])
    texts = [f"{word} film {HOSTILE}" for word in ("good", "bad", "great", "awful")] * 3
    ids = np.arange(12) % 2
    probabilities = model.probabilities(texts)
    details = examine(
        model, texts, ids, probabilities, train=(texts, ids), column=["a", "b", HOSTILE] * 4
    )
    return evaluate_classification(ids, probabilities, model.labels), details


def test_details_of_a_report(examined):
    report, details = examined
    assert list(details) == [
        *("errors", "by_length", "by_column", "label_suspects", "leaks", "baseline", "stress"),
    ]
    wrong = round((1 - report.accuracy) * 12)
    assert len(details["errors"].errors) == wrong > 0
    assert 0 < len(details["errors"].explanations) <= wrong
    assert details["stress"].num_texts <= 12
    assert details["leaks"].num_exact == 12


def test_a_page_is_one_file_that_runs_nothing(examined):
    report, details = examined
    logits = np.random.default_rng(0).normal(size=(9, 2))
    text = report_page(
        report,
        title=HOSTILE,
        history={"loss": [1.0, 0.5]},
        calibration=calibrate(logits, [0, 1, 1] * 3),
        details=details,
        training={"learning_rate": 3e-5, "file": HOSTILE},
    )
    page = Page(text)
    # Whatever texts and labels are, they are texts.
    assert not page.all("script")
    assert "onerror" not in text
    assert page.text.count(HOSTILE) > 10
    # It refers to nothing but places in itself.
    links = [link["href"] for link in page.all("a")]
    targets = {f"#{attributes['id']}" for _, attributes in page.elements if "id" in attributes}
    assert set(links) <= targets
    images = [image["src"] for image in page.all("img")]
    images += [source["srcset"] for source in page.all("source")]
    assert len(images) == 4
    for image in images:
        kind, content = image.split(",")
        assert kind == "data:image/svg+xml;base64"
        xml.etree.ElementTree.fromstring(base64.b64decode(content))
    assert not re.search(r"(src|href|srcset)=\"(?!data:|#)|url\(|@import", text)
    (policy,) = [meta["content"] for meta in page.all("meta") if "content" in meta][:1]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_page_for_everyone(examined):
    report, details = examined
    page = Page(report_page(report, title="Films", history={"loss": [1.0]}, details=details))
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    # What may be wider than the screen can be scrolled by keys, and has a name.
    wide = [part for part in page.all("div") if part.get("class") == "wide"]
    assert len(wide) == len(page.all("table")) + 1
    assert all(part["tabindex"] == "0" and part["aria-label"] for part in wide)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in cell for cell in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_figures_of_a_page_by_hand():
    # Three of four are right; the commonest class alone would get two.
    scores = [[0.9, 0.1, 0], [0.2, 0.8, 0], [0, 0, 1], [0.9, 0.1, 0]]
    report = evaluate_classification([0, 0, 2, 0], scores, ["a", "b", "c"])
    text = Page(report_page(report, title="Films")).text
    assert "Right in 75.0% of 4 examples" in text
    # Always "a": 3 of 4 right; F1 of "a" 2 x 0.75 / 1.75, of the others 0, so a third of it.
    assert "always “a”, the commonest0.7500" in text
    assert f"{2 * 0.75 / 1.75 / 3:.4f}" in text
    assert "Not measured: a comparison with TF-IDF (needs the training file); errors;" in text


def test_a_page_compares_with_tf_idf_and_the_commonest_answer():
    texts, ids = ["good film", "bad film", "good", "bad"] * 5, np.array([1, 0, 1, 0] * 5)
    for scores, warning in (
        (np.tile([0.1, 0.9], (20, 1)), "does not beat the baseline"),
        (np.eye(2)[ids], "does not beat the baseline"),
    ):
        report = evaluate_classification(ids, scores, ["no", "yes"])
        baseline = compare_with_baseline((texts, ids), (texts, ids), scores, ["no", "yes"])
        text = Page(report_page(report, title="Films", details={"baseline": baseline})).text
        assert warning in text
        assert f"this model{report.accuracy:.4f}" in text
        assert "TF-IDF and logistic regression1.0000" in text
        assert "always the commonest answer0.5000" in text
        assert f"{100 * (report.accuracy - 1):+.1f} points of accuracy" in text


def test_several_labels_have_a_page():
    report = evaluate_classification(
        [[1, 0], [1, 1]], [[0.9, 0.9], [0.9, 0.9]], ["x", "y"], multi_label=True
    )
    text = Page(report_page(report, title="Tags")).text
    assert "All labels are right in 50.0% of 2 examples" in text
    assert "commonest" not in text
    assert "true and predictedtrue, missedfalse alarmneither" in text


# === What is bounded ===
def test_without_time_nothing_costly_is_done(tiny_classifier):
    model = tiny_classifier()
    texts, ids = ["good film", "bad film"], [0, 1]
    details = examine(model, texts, ids, model.probabilities(texts), seconds=0)
    assert list(details) == ["by_length", "label_suspects"]
    details = examine(model, texts, ids, model.probabilities(texts), seconds=0, stress=True)
    assert details["stress"].num_texts == 2


def test_a_slow_model_is_asked_a_few_texts(monkeypatch):
    class Slow:
        labels = ("no", "yes")

        def probabilities(self, texts, batch_size=32):
            now[0] += 0.1 * len(texts)
            return np.tile([0.4, 0.6], (len(texts), 1))

    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    texts, ids = [f"text {number}" for number in range(100)], [0, 1] * 50
    details = examine(Slow(), texts, ids, Slow().probabilities(texts), seconds=5)
    # A text takes 0.1 s, and is asked as it is and under eight perturbations.
    assert details["stress"].num_texts == 5
    assert details["errors"].explanations == {}
    whole = examine(Slow(), texts, ids, Slow().probabilities(texts), seconds=5, stress=True)
    assert whole["stress"].num_texts == 100
