"""Asks MediaPipe's on-device BERT tokenizer: a model that returns its ids as scores shows them.

MediaPipe needs an environment of its own:

    pip install mediapipe==1.2.2
"""

import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

LENGTH = 512


def _import_mediapipe() -> types.ModuleType:
    # The wheel lacks the module that computes the oldest parser which reads the metadata.
    version = types.ModuleType("_pywrap_metadata_version")
    version.GetMinimumMetadataParserVersion = lambda buffer: "1.1.0"
    for name in ("mediapipe.tasks.cc", "mediapipe.tasks.cc.metadata"):
        sys.modules[name] = types.ModuleType(name)
    package = types.ModuleType("mediapipe.tasks.cc.metadata.python")
    package._pywrap_metadata_version = version
    sys.modules[package.__name__] = package
    import mediapipe

    return mediapipe


def _echo_model() -> bytes:
    """Returns a TFLite model with inputs ids, mask and segment_ids that casts the ids to float."""
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as schema

    def tensor(name: str, kind: int, buffer: int) -> schema.TensorT:
        result = schema.TensorT()
        result.name, result.type, result.shape, result.buffer = name, kind, [1, LENGTH], buffer
        return result

    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(name, schema.TensorType.INT32, i + 1)
        for i, name in enumerate(("ids", "mask", "segment_ids"))
    ] + [tensor("scores", schema.TensorType.FLOAT32, 4)]
    graph.inputs, graph.outputs = [0, 1, 2], [3]
    cast = schema.OperatorT()
    cast.opcodeIndex, cast.inputs, cast.outputs = 0, [0], [3]
    cast.builtinOptionsType = schema.BuiltinOptions.CastOptions
    cast.builtinOptions = schema.CastOptionsT()
    cast.builtinOptions.inDataType = schema.TensorType.INT32
    cast.builtinOptions.outDataType = schema.TensorType.FLOAT32
    graph.operators = [cast]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(5)]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Echo:
    """MediaPipe's TextClassifier with a vocabulary, returning ids."""

    def __init__(self, tokens: Sequence[str]) -> None:
        _import_mediapipe()
        from mediapipe.tasks.python import core, text
        from mediapipe.tasks.python.metadata.metadata_writers import (
            metadata_writer,
            text_classifier,
        )

        with tempfile.TemporaryDirectory() as folder:
            vocabulary = Path(folder) / "vocab.txt"
            vocabulary.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
            labels = metadata_writer.Labels().add([str(i) for i in range(LENGTH)])
            writer = text_classifier.MetadataWriter.create_for_bert_model(
                bytearray(_echo_model()),
                metadata_writer.BertTokenizer(str(vocabulary)),
                labels,
                "ids",
                "mask",
                "segment_ids",
            )
            model, _ = writer.populate()
        options = text.TextClassifierOptions(
            core.base_options.BaseOptions(model_asset_buffer=bytes(model))
        )
        self._classifier = text.TextClassifier.create_from_options(options)
        self._end = list(tokens).index("[SEP]")

    def ids(self, text: str) -> list[int]:
        """Returns the ids of a text without [CLS] and [SEP]; texts of over 510 tokens are cut."""
        result = self._classifier.classify(text)
        ids = [0] * LENGTH
        for category in result.classifications[0].categories:
            ids[category.index] = int(category.score)
        return ids[1 : ids.index(self._end)]
