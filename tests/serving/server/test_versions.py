"""Which version is served while folders come, change and go; the models are stand-ins."""

import logging
import shutil

import pytest

from keras_bert_scratch.files import HASHES, check_hashes, write_hashes
from keras_bert_scratch.serving.server import versions
from keras_bert_scratch.serving.server.versions import ModelVersions


class Model:
    """Loads unless the file says otherwise."""

    warmed_up = 0

    def __init__(self, folder):
        check_hashes(folder)
        self.version = int(folder.name)
        self.content = (folder / "saved_model.pb").read_text()
        if "broken" in self.content:
            raise ValueError(f"{folder.name} is broken.")

    def warm_up(self):
        if "cold" in self.content:
            raise RuntimeError("The requests failed.")
        self.warmed_up += 1


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(versions, "ServedModel", Model)


def write(folder, version, content="good", hashes=True):
    """Writes a version beside, then renames it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    (temporary / "saved_model.pb").write_text(content)
    (temporary / "weights").write_text("weights")
    if hashes:
        write_hashes(temporary)
    temporary.rename(folder / str(version))


def statuses(found):
    return {version: status.state for version, status in found.statuses.items()}


def test_the_highest_comes_first(tmp_path):
    for version in (9, 10, 2):
        write(tmp_path, version)
    found = ModelVersions(tmp_path)
    model = found.first()
    assert (model.version, model.warmed_up) == (10, 1)
    assert found.next(model) is None
    assert statuses(found) == {10: "AVAILABLE"}


def test_a_higher_one_is_served_and_a_lower_one_is_not(tmp_path):
    write(tmp_path, 3)
    found = ModelVersions(tmp_path)
    first = found.first()
    write(tmp_path, 2)
    assert found.next(first) is None
    write(tmp_path, 4)
    second = found.next(first)
    assert (second.version, second.warmed_up) == (4, 1)
    assert found.next(second) is None
    assert statuses(found) == {3: "END", 4: "AVAILABLE"}


def test_the_next_lower_one_after_the_highest_is_removed(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2)
    found = ModelVersions(tmp_path)
    model = found.first()
    shutil.rmtree(tmp_path / "2")
    lower = found.next(model)
    assert lower.version == 1
    assert statuses(found) == {1: "AVAILABLE", 2: "END"}
    # It may come again.
    write(tmp_path, 2)
    assert found.next(lower).version == 2


def test_the_last_one_is_served_on_when_its_folder_has_gone(tmp_path):
    write(tmp_path, 1)
    found = ModelVersions(tmp_path)
    model = found.first()
    shutil.rmtree(tmp_path / "1")
    assert found.next(model) is None
    write(tmp_path, 2)
    assert found.next(model).version == 2


@pytest.mark.parametrize("content", ["broken", "cold"])
def test_a_broken_one_is_said_once_and_tried_again_when_it_changes(tmp_path, caplog, content):
    write(tmp_path, 1)
    found = ModelVersions(tmp_path)
    model = found.first()
    write(tmp_path, 2, content)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert found.next(model) is None
        # Changed, and broken still.
        (tmp_path / "2" / "weights").write_text("other weights")
        assert found.next(model) is None
    assert len(caplog.records) == 1
    assert "Version 2 is not served, and tried again when its files change" in caplog.text
    assert statuses(found) == {1: "AVAILABLE", 2: "END"}
    assert found.statuses[2].error
    shutil.rmtree(tmp_path / "2")
    write(tmp_path, 2)
    assert found.next(model).version == 2
    assert found.statuses[2].error == ""


def test_a_broken_one_does_not_hide_a_lower_one_that_is_new(tmp_path):
    write(tmp_path, 1)
    found = ModelVersions(tmp_path)
    model = found.first()
    write(tmp_path, 3, "broken")
    write(tmp_path, 2)
    assert found.next(model).version == 2


@pytest.mark.parametrize("order", ["hashes first", "hashes last"])
def test_a_folder_that_is_being_copied(tmp_path, caplog, order):
    """File by file, as `cp -r` does: nothing is served before all is there."""
    write(tmp_path, 1)
    found = ModelVersions(tmp_path)
    model = found.first()
    source = tmp_path / "elsewhere"
    source.mkdir()
    write(source, 2)
    names = [HASHES, "saved_model.pb", "weights"]
    if order == "hashes last":
        names = names[1:] + names[:1]
    (tmp_path / "2").mkdir()
    for name in names[:-1]:
        shutil.copy(source / "2" / name, tmp_path / "2" / name)
        assert found.next(model) is None
    (tmp_path / "2" / names[-1]).write_text((source / "2" / names[-1]).read_text()[:3])
    assert found.next(model) is None
    shutil.copy(source / "2" / names[-1], tmp_path / "2" / names[-1])
    assert found.next(model).version == 2
    assert len(caplog.records) <= 1


def test_a_folder_without_hashes_is_served_when_it_has_stopped_changing(tmp_path):
    write(tmp_path, 1)
    found = ModelVersions(tmp_path)
    model = found.first()
    write(tmp_path, 2, hashes=False)
    for n in range(3):
        (tmp_path / "2" / "weights").write_text("weights" * n)
        assert found.next(model) is None
    assert statuses(found)[2] == "LOADING"
    assert found.next(model).version == 2


def test_at_the_start_a_lower_one_stands_in(tmp_path, caplog):
    write(tmp_path, 1, hashes=False)
    write(tmp_path, 2, "broken")
    assert ModelVersions(tmp_path).first().version == 1
    assert "Version 2 is not served" in caplog.text


def test_nothing_that_loads(tmp_path):
    with pytest.raises(ValueError, match="holds neither a saved_model.pb nor versions of one"):
        ModelVersions(tmp_path).first()
    write(tmp_path, 1, "broken")
    write(tmp_path, 2, "broken")
    with pytest.raises(ValueError, match="has no version that loads: 1 is broken.; 2 is broken."):
        ModelVersions(tmp_path).first()
