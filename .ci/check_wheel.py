"""Asks an installed wheel: what it holds, its command, and the weights that come with it.

Run by `make package`, in an environment with the wheel and what it requires alone.
"""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "keras_bert_scratch"
TEXTS = ["a film to remember", "Call me Ishmael."]


def files_of(paths: list[Path], root: Path) -> set[str]:
    """Returns the names of files under `root`, without those that Python writes."""
    return {
        path.relative_to(root).as_posix()
        for path in paths
        if path.is_relative_to(root) and "__pycache__" not in path.parts and path.is_file()
    }


def main() -> None:
    """Checks the wheel; a failed check ends the process with an AssertionError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras_bert_scratch
    from keras_bert_scratch.extras import installation

    assert Path.cwd() not in (SOURCES, SOURCES.parent)
    installed = Path(keras_bert_scratch.__file__).parent
    assert "site-packages" in installed.parts, installed
    found = metadata.distribution("keras_bert_scratch")
    assert found.version == keras_bert_scratch.__version__
    recorded = [Path(str(file.locate())).resolve() for file in found.files or []]
    held, sources = files_of(recorded, installed), files_of(list(SOURCES.rglob("*")), SOURCES)
    assert held == sources, held ^ sources

    command = Path(sys.executable).with_name("keras-bert-scratch")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "finetune" in shown.stdout

    # From a wheel, errors name packages that an index has.
    assert '"onnxruntime>=' in installation("onnx")

    model = keras_bert_scratch.BertClassifier.from_pretrained("tiny-en", labels=["no", "yes"])
    answers = model.classify(TEXTS)
    assert [set(answer) for answer in answers] == [{"no", "yes"}] * len(TEXTS), answers
    model.save_pretrained("model")
    Path("texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    predict = [command, "predict", "--model", "model", "texts.txt", "--json"]
    lines = subprocess.run(predict, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(TEXTS), lines
    print(f"The wheel of version {found.version} holds {len(held)} files, and answers.")


if __name__ == "__main__":
    main()
