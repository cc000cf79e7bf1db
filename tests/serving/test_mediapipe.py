"""Files for MediaPipe's TextClassifier: what is in them, what is said of their tokenizer.

`tests/parity/test_mediapipe.py` asks MediaPipe itself.
"""

import logging
import zipfile

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch import WordPieceTokenizer
from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor


@pytest.fixture(scope="module")
def exported(tiny_classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("mediapipe") / "model.tflite"
    model = tiny_classifier()
    model.export(path, format="mediapipe", static_length=16)
    return model, path


def test_answers_as_the_model_on_what_the_phone_reads(exported):
    model, path = exported
    predictor = LiteRTPredictor(path)
    assert predictor.labels == model.labels
    # MediaPipe lower-cases ASCII only: Über stays Über, which is no token; caf and ##e need é's e.
    phone = WordPieceTokenizer(model.tokenizer.vocabulary, normalization="mediapipe")
    for text in ("A GOOD film", "Über film", "café", "电影", "", "good " * 40):
        ids = np.array([phone.encode(text, sequence_length=16).token_ids])
        logits = model({"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1})
        np.testing.assert_allclose(
            predictor.probabilities([text]), model._activation(logits), atol=1e-5
        )


def test_inputs_are_static_and_named(exported):
    _, path = exported
    graph = schema.ModelT.InitFromPackedBuf(path.read_bytes()).subgraphs[0]
    shapes = {graph.tensors[i].name: list(graph.tensors[i].shape) for i in graph.inputs}
    assert shapes == {b"ids": [1, 16], b"mask": [1, 16], b"segment_ids": [1, 16]} or shapes == {
        "ids": [1, 16], "mask": [1, 16], "segment_ids": [1, 16]
    }  # fmt: skip


def test_files_lie_uncompressed_behind_the_model(exported):
    model, path = exported
    with zipfile.ZipFile(path) as packed:
        assert {info.filename: info.compress_type for info in packed.infolist()} == {
            "vocab.txt": zipfile.ZIP_STORED,
            "labels.txt": zipfile.ZIP_STORED,
            "model.sha256": zipfile.ZIP_STORED,
        }
        tokens = packed.read("vocab.txt").decode().splitlines()
    assert tokens == list(model.tokenizer.vocabulary.tokens)


def test_metadata_is_found_by_name(exported):
    _, path = exported
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (entry,) = [e for e in model.metadata if e.name in ("TFLITE_METADATA", b"TFLITE_METADATA")]
    content = bytes(model.buffers[entry.buffer].data)
    # A flatbuffer has its identifier behind the offset of its root.
    assert content[4:8] == b"M001"
    for name in (b"vocab.txt", b"labels.txt", b"ids", b"mask", b"segment_ids", b"1.1.0"):
        assert name in content


class TestDifferences:
    """What the log says of texts that the phone reads otherwise."""

    def export(self, model, path, caplog, texts=None):
        with caplog.at_level(logging.WARNING, "keras_bert_scratch"):
            model.export(path, format="mediapipe", static_length=8, texts=texts)
        return caplog.text

    def test_with_texts(self, tiny_classifier, tmp_path, caplog):
        # BERT's tokenizer makes caf, ##e of café, and the phone [UNK].
        texts = ["good film"] * 75 + ["good café"] * 25
        said = self.export(tiny_classifier(), tmp_path / "m.tflite", caplog, texts)
        assert "MediaPipe tokenizes 25 of 100 texts (25.0 %) otherwise" in said
        assert "'good café'" in said

    def test_without_texts(self, tiny_classifier, tmp_path, caplog):
        said = self.export(tiny_classifier(), tmp_path / "m.tflite", caplog)
        assert "may tokenize a text otherwise" in said
        assert "pass texts= to learn how many" in said

    def test_a_model_trained_for_the_phone(self, tiny_classifier, tmp_path, caplog):
        model = tiny_classifier()
        model.tokenizer = WordPieceTokenizer(model.tokenizer.vocabulary, normalization="mediapipe")
        assert "tokenize" not in self.export(model, tmp_path / "m.tflite", caplog)


def test_pairs_are_refused(tiny_classifier, tmp_path):
    with pytest.raises(ValueError, match="takes one text, not a pair"):
        tiny_classifier().export(tmp_path / "m", format="mediapipe", texts=(["a"], ["b"]))
