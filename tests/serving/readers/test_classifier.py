"""Predictors of files: without TensorFlow, and asked for what they cannot do."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from keras_bert_scratch.serving import LiteRTPredictor, OnnxPredictor

# What a phone, a small server or a function in a cloud does not have.
ABSENT = ["tensorflow", "tensorflow_text", "keras", "sklearn", "matplotlib", "scipy", "pandas"]


@pytest.fixture(scope="module", params=["dynamic", "static"])
def exported(request, tiny_classifier, tmp_path_factory):
    """A classifier, and its file with a dynamic or a static length of 16."""
    path = tmp_path_factory.mktemp("predictor") / f"{request.param}.tflite"
    model = tiny_classifier(sequence_length=16)
    static_length = 16 if request.param == "static" else None
    model.export(path, format="litert", static_length=static_length)
    return model, path


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_needs_neither_tensorflow_nor_keras(exported):
    model, path = exported
    code = (
        f"import sys\nfor name in {ABSENT}: sys.modules[name] = None\n"
        "from keras_bert_scratch.serving import LiteRTPredictor\n"
        f"predictor = LiteRTPredictor({str(path)!r})\n"
        "import json; print(json.dumps(predictor.probabilities(['a good film']).tolist()))"
    )
    found = json.loads(run(code).splitlines()[-1])
    np.testing.assert_allclose(found, model.probabilities(["a good film"]), atol=1e-5)


def ready(rows: int = 2, length: int = 7, **changes):
    ids = np.full((rows, length), 6)
    return {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1, **changes}


def test_ready_ids(exported):
    model, path = exported
    found = LiteRTPredictor(path).probabilities_of_ids(ready())
    np.testing.assert_allclose(found, model._activation(model(ready())), atol=1e-5)


def test_no_texts(exported):
    predictor = LiteRTPredictor(exported[1])
    assert predictor.probabilities(np.array([], object)).shape == (0, 2)
    assert predictor.probabilities(([], [])).shape == (0, 2)
    assert predictor.probabilities_of_ids(ready(rows=0)).shape == (0, 2)


class TestBadIds:
    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"ids": [[1]]}, "inputs are token_ids, segment_ids, padding_mask; received ids"),
            (ready(token_ids=np.ones((2, 7))), "token_ids must be integers, received float64"),
            (ready(padding_mask=np.ones((2, 7), bool)), "padding_mask must be integers, .* bool"),
            (ready(token_ids=np.ones(7, int)), r"one shape \(B, S\).* token_ids of shape \(7,\)"),
            (ready(segment_ids=np.ones((2, 6), int)), r"segment_ids of shape \(2, 6\) and token_"),
            (ready(length=0), r"one shape \(B, S\).* of shape \(2, 0\)"),
            (ready(length=17), "S is at most 16 tokens, received 17: truncate the text"),
            (ready(token_ids=np.full((2, 7), 99)), "from 0 to 23, the vocabulary's; received 99"),
            (ready(token_ids=np.full((2, 7), -1)), "from 0 to 23, the vocabulary's; received -1"),
        ],
    )
    def test_say_the_rule(self, exported, inputs, message):
        predictor = LiteRTPredictor(exported[1])
        with pytest.raises(ValueError, match=message):
            predictor.probabilities_of_ids(inputs)


class TestBadFiles:
    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist: name a .tflite file"):
            LiteRTPredictor(tmp_path / "nothing.tflite")

    def test_without_vocabulary_and_labels(self, exported, tmp_path):
        # The model alone, as another converter writes it.
        content = exported[1].read_bytes()
        with zipfile.ZipFile(exported[1]) as packed:
            start = min(info.header_offset for info in packed.infolist())
        path = tmp_path / "bare.tflite"
        path.write_bytes(content[:start])
        with pytest.raises(ValueError, match="not a LiteRT file of a classifier .*zip"):
            LiteRTPredictor(path)

    def test_a_model_cut_short(self, exported, tmp_path):
        path = tmp_path / "cut.tflite"
        with zipfile.ZipFile(exported[1]) as packed, zipfile.ZipFile(path, "w") as cut:
            for name in packed.namelist():
                cut.writestr(name, packed.read(name))
        with pytest.raises(ValueError, match="is not a LiteRT file of a classifier"):
            LiteRTPredictor(path)

    def test_an_entry_that_begins_behind_the_end(self, exported, tmp_path):
        content = bytearray(exported[1].read_bytes())
        with zipfile.ZipFile(exported[1]) as packed:
            entry = packed.getinfo("labels.txt")
        # The length of what stands between the entry's name and its bytes.
        content[entry.header_offset + 28 : entry.header_offset + 30] = b"\xff\xff"
        path = tmp_path / "far.tflite"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a LiteRT file of a classifier"):
            LiteRTPredictor(path)

    @pytest.mark.parametrize(
        ("method", "content", "message"),
        [
            # A thousand bytes that become a megabyte.
            (
                zipfile.ZIP_DEFLATED,
                b" " * (1 << 20),
                "packs 5 files of .* 5 of them compressed; they",
            ),
            (
                zipfile.ZIP_STORED,
                b" " * 10_000_001,
                "must be stored as they are, in at most 10000000",
            ),
            (zipfile.ZIP_STORED, b"\xff", "can't decode byte 0xff"),
            (zipfile.ZIP_STORED, b"[" * 100_000, "maximum recursion depth"),
            (zipfile.ZIP_STORED, b"[]", "list indices must be integers"),
            (zipfile.ZIP_STORED, b'{"tokenizer": {}}', "is not one that a tokenizer's get_config"),
        ],
    )
    def test_bombs_and_other_settings(self, exported, tmp_path, method, content, message):
        path = tmp_path / "other.tflite"
        with zipfile.ZipFile(exported[1]) as packed, zipfile.ZipFile(path, "w", method) as other:
            for name in ("vocab.txt", "labels.txt"):
                other.writestr(name, packed.read(name) if name in packed.namelist() else b"a\nb\n")
            other.writestr("tokenizer_config.json", content)
            other.writestr("a", b"a")
            other.writestr("b", b"b")
        with pytest.raises(ValueError, match=message):
            LiteRTPredictor(path)

    def test_a_list_of_thousands_of_files_is_not_read(self, tmp_path):
        path = tmp_path / "many.tflite"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(1000):
                archive.writestr(str(number), b"")
        message = r"whose list of files has at most 10000 bytes, received \d{5}"
        with pytest.raises(ValueError, match=message):
            LiteRTPredictor(path)

    def test_a_model_that_has_changed(self, exported, tmp_path):
        content = bytearray(exported[1].read_bytes())
        content[len(content) // 2] ^= 1
        path = tmp_path / "changed.tflite"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="its model has changed since it was written|CRC"):
            LiteRTPredictor(path)

    def test_a_package_that_is_missing_is_named(self, exported, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        with pytest.raises(ImportError, match='pip install .*the extra "litert"'):
            LiteRTPredictor(exported[1])
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ImportError, match='pip install .*the extra "onnx"'):
            OnnxPredictor(tmp_path / "model.onnx")


def test_unknown_name():
    import keras_bert_scratch.serving

    with pytest.raises(AttributeError, match="'keras_bert_scratch.serving' has no attribute 'X'"):
        _ = keras_bert_scratch.serving.X
