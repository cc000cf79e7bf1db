"""No file that leaves the house holds a text of the training data."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_bert_scratch
from keras_bert_scratch.cli.main import main
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# No word of any vocabulary, so that neither vocab.txt nor an [UNK] can stand for it.
MARKER = "Qzyxwvorp"
TEXT = f"A really good film, says {MARKER} of number 40817."


def traces(tokenizer: WordPieceTokenizer) -> list[bytes]:
    """What TEXT could look like in a file, in small letters: strings, and its ids."""
    ids = tokenizer.encode(MARKER).token_ids[1:-1]
    assert len(ids) > 3
    strings = [MARKER.lower().encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")]
    return strings + [np.array(ids, dtype).tobytes().lower() for dtype in ("<i2", "<i4", "<i8")]


def leaks(content: bytes, patterns: list[bytes], place: str) -> list[str]:
    """Returns where any of the patterns stands, in zip archives, and in those within them, too."""
    found = [place] if any(pattern in content.lower() for pattern in patterns) else []
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                found += leaks(archive.read(name), patterns, f"{place}/{name}")
    return found


def leaks_of_folder(folder: Path, patterns: list[bytes]) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = "\n".join(str(path.relative_to(folder)) for path in files)
    found = leaks(names.encode(), patterns, "file names")
    for path in files:
        found += leaks(path.read_bytes(), patterns, str(path.relative_to(folder)))
    return found


@pytest.mark.slow(minutes=1)
def test_no_file_holds_it(tmp_path, reviews):
    """Nor does a name: of what was made of a classifier that was fine-tuned on TEXT, too."""
    texts = [*reviews[0], *[TEXT] * 4] * 4
    labels = [*reviews[1], *["positive"] * 4] * 4
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(texts, labels, strict=True)])
    output = tmp_path / "artefacts"
    command = [
        "finetune",
        "--model",
        "tiny-en",
        "--train",
        f"{tmp_path}/train.csv",
        "--epochs",
        "10",
    ]
    command += ["--output", f"{output}/model", "--lora", "4", "--calibrate"]
    command += ["--checkpoint", f"{output}/training.safetensors", "--learning-rate", "0.005"]
    assert main(command) == 0
    model = BertClassifier.from_pretrained(output / "model", sequence_length=32)
    model.save(output / "model.keras")
    model.export(output / "saved_model")
    # Calibrated on the very texts.
    model.export(output / "int8.tflite", format="litert", precision="full_int8", texts=texts)
    model.export(output / "text.tflite", format="litert", inputs="code_points")
    model.export(output / "mediapipe.tflite", format="mediapipe")
    model.export(output / "model.onnx", format="onnx")
    command = ["frontier", "--model", f"{output}/model", "--data", f"{tmp_path}/train.csv"]
    command += ["--output", f"{output}/best", "--precisions", "float32", "--lengths", "16"]
    assert main(command) == 0
    files = {path.name for path in output.rglob("*") if path.is_file()}
    # There are files of every kind: weights, adapters, reports, cards, exports.
    assert files >= {
        *("model.safetensors", "adapter_model.safetensors", "training.safetensors", "model.keras"),
        *("report.json", "calibration.json", "frontier.json", "README.md"),
        *("saved_model.pb", "tf_serving_warmup_requests", "labels.txt"),
        *("int8.tflite", "text.tflite", "mediapipe.tflite", "model.onnx"),
    }
    assert leaks_of_folder(output, traces(model.tokenizer)) == []


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer.from_directory(
        Path(keras_bert_scratch.__file__).parent / "weights/tiny-en"
    )


@pytest.mark.parametrize(
    "code", ["utf-8", "utf-16-le", "utf-16-be", "ids <i2", "ids <i4", "ids <i8"]
)
@pytest.mark.parametrize("archives", [0, 1, 2])
def test_the_search_finds_what_is_there(tokenizer, tmp_path, code, archives):
    if code.startswith("ids "):
        ids = tokenizer.encode(TEXT).token_ids
        content = np.array(ids, code.removeprefix("ids ")).tobytes()
    else:
        content = f"so {TEXT.upper()} said".encode(code)
    for _ in range(archives):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", content)
        # As in a LiteRT file, the archive stands behind other bytes.
        content = b"model" + stream.getvalue()
    (tmp_path / "file").write_bytes(content)
    assert leaks_of_folder(tmp_path, traces(tokenizer)) == ["file" + "/inner" * archives]
    assert leaks_of_folder(tmp_path, [b"something else"]) == []
