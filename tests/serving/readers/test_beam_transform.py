"""Apache Beam gives every text the probabilities that the predictor gives it."""

import pytest

from keras_bert_scratch.serving.readers.classifier import load_predictor

pytestmark = pytest.mark.beam


def test_every_text_once(tiny_classifier, tmp_path):
    beam = pytest.importorskip("apache_beam")

    from keras_bert_scratch.serving.readers.beam_transform import Classify

    tiny_classifier().export(tmp_path / "model.tflite", format="litert")
    texts = [f"a {'very ' * n}good film" for n in range(20)]
    with beam.Pipeline() as pipeline:
        (
            pipeline
            | beam.Create(texts)
            | Classify(tmp_path / "model.tflite")
            | beam.Map(lambda pair: f"{pair[0]}\t{pair[1]['positive']:.5f}")
            | beam.io.WriteToText(f"{tmp_path}/found")
        )
    lines = [line for file in tmp_path.glob("found-*") for line in file.read_text().splitlines()]
    predictor = load_predictor(tmp_path / "model.tflite")
    expected = dict(zip(texts, predictor.probabilities(texts)[:, 1], strict=True))
    found = {text: float(value) for text, value in (line.split("\t") for line in lines)}
    assert len(lines) == 20
    assert found == pytest.approx(expected, abs=1e-5)
