"""MediaPipe's own TextClassifier runs what `export(format="mediapipe")` writes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_bert_scratch import WordPieceTokenizer
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS

# In a process of its own, as an application has it: MediaPipe brings a TensorFlow Lite.
CLASSIFY = """
import json, sys
from mediapipe.tasks.python import core, text

options = text.TextClassifierOptions(core.base_options.BaseOptions(model_asset_path=sys.argv[1]))
with text.TextClassifier.create_from_options(options) as classifier:
    answers = [
        {c.category_name: c.score for c in classifier.classify(text).classifications[0].categories}
        for text in json.load(sys.stdin)
    ]
print(json.dumps(answers))
"""


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_text_classifier_gives_the_probabilities(two_layer_classifier, tmp_path, precision):
    model = two_layer_classifier()
    path = tmp_path / "model.tflite"
    model.export(path, format="mediapipe", precision=precision)
    process = subprocess.run(
        [sys.executable, "-c", CLASSIFY, str(path)],
        input=json.dumps(PROBE_TEXTS),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout.splitlines()[-1])

    phone = WordPieceTokenizer(model.tokenizer.vocabulary, normalization="mediapipe")
    num_alike = 0
    for text, answer in zip(PROBE_TEXTS, answers, strict=True):
        found = [answer[label] for label in model.labels]
        ids = phone.encode(text, sequence_length=model.sequence_length).token_ids
        inputs = {"token_ids": np.array([ids])}
        inputs |= {
            "segment_ids": 0 * inputs["token_ids"],
            "padding_mask": 0 * inputs["token_ids"] + 1,
        }
        on_these_ids = model._activation(model(inputs))[0]
        bound = 1e-5 if precision == "float32" else 0.05
        np.testing.assert_allclose(found, on_these_ids, atol=bound)
        if ids == model.tokenizer.encode(text, sequence_length=model.sequence_length).token_ids:
            num_alike += 1
            np.testing.assert_allclose(found, model.probabilities([text])[0], atol=bound)
    # The accents of the second text and the control characters of the sixth are read otherwise.
    assert num_alike >= 7
