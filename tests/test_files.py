import os
import re
import stat
from pathlib import Path

import pytest

from keras_bert_scratch.files import check_new_folder, new_file, new_folder


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result"
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
        assert folder.parent == target.parent  # one file system: the rename is one step
    assert (target / "a.txt").read_text() == "a"
    assert [path.name for path in target.parent.iterdir()] == ["result"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.mkdir()
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
    assert [path.name for path in target.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "result") as folder:  # noqa: PT012
        (folder / "a.txt").write_text("a")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_full_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "mine.txt").write_text("mine")
    message = f"The output folder {tmp_path / 'result'} exists and is not empty: remove it, or name"
    with pytest.raises(FileExistsError, match=re.escape(message)), new_folder(tmp_path / "result"):
        pytest.fail("the block ran")
    assert (tmp_path / "result" / "mine.txt").read_text() == "mine"


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("mine")
    with pytest.raises(FileExistsError, match="result exists and is a file: name another"):
        check_new_folder(tmp_path / "result")


def test_folder_filled_by_another_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with pytest.raises(OSError, match="not empty"), new_folder(target):  # noqa: PT012
        target.mkdir()
        (target / "theirs.txt").write_text("theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (target / "theirs.txt").read_text() == "theirs"


def test_results_are_as_readable_as_any_new_folder(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with new_folder(tmp_path / "result"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "result")]
    assert modes[0] == modes[1]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_new_folder("~/result") == tmp_path / "result"


def test_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.json"
    for text in ("old", "new"):
        with new_file(target) as path:
            assert path.suffix == ".json"  # some writers choose their format by it
            path.write_text(text)
            assert not target.exists() or target.read_text() == "old"
        assert target.read_text() == text
    assert os.listdir(target.parent) == ["report.json"]


def test_old_file_stays_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(ValueError, match="half"), new_file(target) as path:  # noqa: PT012
        path.write_text("ha")
        raise ValueError("half")
    assert os.listdir(tmp_path) == ["report.json"]
    assert target.read_text() == "old"


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder: name a file"), new_file(tmp_path):
        pytest.fail("the block ran")
