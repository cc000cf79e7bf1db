"""MediaPipe's package for browsers runs what `export(format="mediapipe")` writes, in Chromium."""

import json

import numpy as np

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor

PACKAGE = "@mediapipe/tasks-text"
PAGE = f"""<!doctype html><script type="module">
let answers;
try {{
  const {{FilesetResolver, TextClassifier}} =
    await import("./node_modules/{PACKAGE}/text_bundle.mjs");
  const files = await FilesetResolver.forTextTasks("./node_modules/{PACKAGE}/wasm");
  const options = {{baseOptions: {{modelAssetPath: "./model.tflite"}}}};
  const classifier = await TextClassifier.createFromOptions(files, options);
  const texts = await (await fetch("./texts.json")).json();
  answers = texts.map(text => Object.fromEntries(
    classifier.classify(text).classifications[0].categories.map(c => [c.categoryName, c.score])));
}} catch (error) {{
  answers = String(error);
}}
await fetch("./answers", {{method: "POST", body: JSON.stringify(answers)}});
</script>"""


def test_tasks_text_gives_the_probabilities(two_layer_classifier, tmp_path, ask_browser):
    model = two_layer_classifier()
    model.export(tmp_path / "model.tflite", format="mediapipe")
    (tmp_path / "texts.json").write_text(json.dumps(PROBE_TEXTS))
    answers = ask_browser(PAGE, f"{PACKAGE}@1.0.1")
    assert isinstance(answers, list), answers
    found = [[answer[label] for label in model.labels] for answer in answers]
    # LiteRTPredictor tokenizes as MediaPipe does; test_mediapipe.py compares it with the model.
    expected = LiteRTPredictor(tmp_path / "model.tflite").probabilities(PROBE_TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
