"""Files for MediaPipe's TextClassifier: what is in them, what is said of their tokenizer.

`tests/parity/test_mediapipe.py` asks MediaPipe itself.
"""

import logging
import re
import zipfile

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch import WordPieceTokenizer
from keras_bert_scratch.serving import mediapipe
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


@pytest.mark.parametrize(
    ("normalization", "texts", "said"),
    [
        # BERT's tokenizer makes caf, ##e of café, and the phone [UNK].
        (
            "bert",
            ["good film"] * 75 + ["good café"] * 25,
            "MediaPipe tokenizes 25 of 100 texts .25.0 %. differently .*, such as 'good café'",
        ),
        ("bert", None, "may tokenize a text differently .*: pass texts= to learn how often"),
        ("mediapipe", None, ""),
    ],
)
def test_what_is_said_of_texts_that_the_phone_reads_otherwise(
    tiny_classifier, caplog, normalization, texts, said
):
    vocabulary = tiny_classifier().tokenizer.vocabulary
    with caplog.at_level(logging.WARNING, "keras_bert_scratch"):
        mediapipe._tell_differences(
            WordPieceTokenizer(vocabulary, normalization=normalization), texts
        )
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), caplog.text)
    assert bool(caplog.text) == bool(said)


def test_pairs_are_refused(tiny_classifier, tmp_path):
    with pytest.raises(ValueError, match="takes one text, not a pair"):
        tiny_classifier().export(tmp_path / "m", format="mediapipe", texts=(["a"], ["b"]))
