import json

import pytest

from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.report import write_report
from keras_bert_scratch.evaluation.slices import evaluate_slices


@pytest.fixture
def report():
    return evaluate_classification([0, 1], [[1, 0], [0, 1]], ["no", "sí"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_text_json_and_picture(report, tmp_path):
    write_report(tmp_path / "new" / "report", report)
    folder = tmp_path / "new" / "report"
    assert names(folder) == ["confusion_matrix.png", "report.json", "report.txt"]
    assert (folder / "report.txt").read_text(encoding="utf-8") == report.to_text()
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report.to_dict()
    assert (folder / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_writes_learning_curves_into_an_empty_folder(report, tmp_path):
    write_report(tmp_path, report, {"loss": [1.0, 0.5]})
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


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
