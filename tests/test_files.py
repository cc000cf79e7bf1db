import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keras_bert_scratch.files import (
    HASHES,
    LARGEST_TEXT,
    check_folder,
    check_hashes,
    check_new_folder,
    new_file,
    new_folder,
    read_json,
    read_text,
    write_hashes,
)


@pytest.mark.parametrize("exists", [False, True])
def test_folder_appears_when_the_block_ends(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "deep" / "result"
    if exists:  # an empty one is filled
        target.mkdir(parents=True)
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert target.exists() == exists
        assert folder.parent == target.parent  # one file system: the rename is one step
    assert (target / "a.txt").read_text() == "a"
    assert [path.name for path in target.parent.iterdir()] == ["result"]


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


# === What strangers made ===
def refused(error: type[Exception], message: str, act: Callable, *arguments: Any) -> None:
    with pytest.raises(error, match=re.escape(message)):
        act(*arguments)


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    refused(FileNotFoundError, f"There is no file {path}: check the path.", read_text, path)
    path.write_bytes(b"\xef\xbb\xbfa\r\n")
    assert read_text(path) == "\ufeffa\r\n"
    path.write_bytes(b"ab\xff")
    refused(ValueError, f"{path} is not UTF-8 (invalid start byte at byte 2)", read_text, path)


def test_a_text_too_large_to_be_parsed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # A file with a hole: a terabyte that takes no place.
    message = f"{path} has {1 << 40} bytes, and at most {LARGEST_TEXT} are read: do not use it."
    refused(ValueError, message, read_text, path)
    refused(ValueError, message, read_json, path)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (dict, b"{", "is not JSON (Expecting property name"),
        (dict, b"[" * 100_000, "is not JSON (maximum recursion depth exceeded"),
        (dict, b"9" * 5000, "is not JSON (Exceeds the limit (4300 digits)"),
        (dict, b"[]", "holds list, not an object: fetch it again."),
        (list, b"{}", "holds dict, not a list: fetch it again."),
    ],
)
def test_what_is_no_json(tmp_path: Path, kind: type, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    refused(ValueError, f"{path} {message}", read_json, path, kind)
    path.write_text("[1]")
    assert read_json(path, list) == [1]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder as of weights, beside a file that is none of its own."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        (folder / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    return folder


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "inner/../../secret"])
def test_a_link_out_of_the_folder_is_refused(weights: Path, name: str, target: str) -> None:
    (weights / "inner").mkdir()
    (weights / name).unlink()
    (weights / name).symlink_to(target)
    real = os.path.realpath(weights / target)
    message = f"{weights / name} is a link that leads out of its folder, to {real}: copy the file"
    refused(ValueError, message, check_folder, weights)
    (weights / name).unlink()
    (weights.parent / "config.json").write_text("{}")
    (weights / "1_Pooling").symlink_to(weights.parent)
    refused(ValueError, "1_Pooling/config.json is a link that leads out", check_folder, weights)


def test_links_within_the_folder_and_to_the_folder(weights: Path) -> None:
    (weights / "tokenizer.json").symlink_to("config.json")
    (weights.parent / "link").symlink_to(weights)
    check_folder(weights)
    check_folder(weights.parent / "link")


def test_a_link_that_is_not_read_is_not_looked_at(weights: Path) -> None:
    (weights / "runs").symlink_to(weights.parent)
    check_folder(weights)


def test_a_pipe_is_refused_before_it_is_opened(weights: Path) -> None:
    (weights / "config.json").unlink()
    os.mkfifo(weights / "config.json")
    refused(ValueError, f"{weights / 'config.json'} is no file", check_folder, weights)
    refused(FileNotFoundError, "There is no file", read_text, weights / "config.json")


def hub_cache(cache: Path, *, shared: bool) -> Path:
    """The layout in which huggingface_hub keeps a model, with a blob of its own or a shared one."""
    model = cache / "models--org--bert"
    snapshot, blob = model / "snapshots" / "abc", model / "blobs" / "123"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    if shared:
        (cache / "blobs" / "12").mkdir(parents=True)
        (cache / "blobs" / "12" / "1234").write_text("{}")
        blob.symlink_to("../../blobs/12/1234")
    else:
        blob.write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/123")
    return snapshot


@pytest.mark.parametrize("shared", [False, True])
def test_the_hub_s_cache_is_made_of_links(tmp_path: Path, shared: bool) -> None:
    check_folder(hub_cache(tmp_path, shared=shared))


def test_a_link_out_of_the_hub_s_cache_is_refused(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path / "cache", shared=False)
    (tmp_path / "secret").write_text("secret")
    (snapshot.parents[1] / "blobs" / "123").unlink()
    (snapshot.parents[1] / "blobs" / "123").symlink_to("../../../secret")
    refused(
        ValueError, f"leads out of its folder, to {tmp_path / 'secret'}", check_folder, snapshot
    )


# === Hashes ===
def test_hashes_are_those_of_sha256sum(weights: Path) -> None:
    (weights / "1_Pooling").mkdir()
    (weights / "1_Pooling" / "config.json").write_bytes(b"abc")
    write_hashes(weights)
    write_hashes(weights)  # again, without a hash of the hashes
    hashes = json.loads((weights / HASHES).read_text())
    # FIPS 180-2, appendix B.1.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashes["1_Pooling/config.json"] == abc
    assert hashes["vocab.txt"] == hashlib.sha256(b"vocab.txt").hexdigest()
    assert sorted(hashes) == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]
    check_hashes(weights)


def test_changed_and_missing_files_are_named(weights: Path) -> None:
    write_hashes(weights)
    (weights / "README.md").write_text("mine")  # other files may come and go
    check_folder(weights)
    file = weights / "vocab.txt"
    file.write_text("vocab.tx_")
    message = f"{file} has changed since the folder was saved (sha256 "
    refused(ValueError, message, check_folder, weights)
    file.unlink()
    refused(ValueError, f"{file} is missing since the folder was saved", check_hashes, weights)
    (weights / HASHES).unlink()
    check_folder(weights)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", "."])
def test_hashes_of_what_is_no_file_of_the_folder(weights: Path, name: str) -> None:
    (weights / HASHES).write_text(json.dumps({name: "0"}))
    refused(ValueError, "is missing since the folder was saved", check_hashes, weights)
