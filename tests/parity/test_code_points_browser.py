"""Runtimes run what takes code points: LiteRT.js and onnxruntime-web in Chromium, and OpenVINO."""

import json

import numpy as np
import pytest

from keras_bert_scratch import BertClassifier
from keras_bert_scratch.serving import OnnxPredictor, load_predictor
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS

LITERT, ONNX = "@litertjs/core", "onnxruntime-web"
SIZE = 512
PAGE = f"""<!doctype html>
<script type="importmap">
{{"imports": {{"@litertjs/wasm-utils": "./node_modules/@litertjs/wasm-utils/dist/index.js"}}}}
</script>
<script type="module">
let answers;
try {{
  const texts = await (await fetch("./texts.json")).json();
  const codePoints = text => Int32Array.from([...text], c => c.codePointAt(0));

  const {{loadLiteRt, loadAndCompile, Tensor}} =
    await import("./node_modules/{LITERT}/dist/index.js");
  await loadLiteRt("./node_modules/{LITERT}/wasm/");
  const model = await loadAndCompile("./model.tflite", {{accelerator: "wasm"}});
  const litert = [];
  for (const text of texts) {{
    const row = new Int32Array({SIZE});
    row.set(codePoints(text).subarray(0, {SIZE}));
    const [probabilities] = await model.run([new Tensor(row, [1, {SIZE}])]);
    litert.push(Array.from(probabilities.toTypedArray()));
  }}

  const ort = await import("./node_modules/{ONNX}/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./node_modules/{ONNX}/dist/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("./model.onnx");
  const onnx = [];
  for (const text of texts) {{
    const row = codePoints(text);
    const {{probabilities}} = await session.run(
      {{code_points: new ort.Tensor("int32", row, [1, row.length])}});
    onnx.push(Array.from(probabilities.data));
  }}
  answers = {{litert, onnx}};
}} catch (error) {{
  answers = String(error.stack || error);
}}
await fetch("./answers", {{method: "POST", body: JSON.stringify(answers)}});
</script>"""


def ask_all(model, texts, folder, ask_browser):
    """Returns the probabilities that each runtime gives a model's texts, by its name."""
    import openvino

    litert, onnx = folder / "model.tflite", folder / "model.onnx"
    model.export(litert, format="litert", inputs="code_points", num_code_points=SIZE)
    model.export(onnx, format="onnx", inputs="code_points")
    (folder / "texts.json").write_text(json.dumps(texts))
    answers = ask_browser(PAGE, f"{LITERT}@2.5.3", f"{ONNX}@1.30.0")
    assert isinstance(answers, dict), answers
    compiled = openvino.compile_model(onnx, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = [np.array([[*map(ord, text)]], "int32").reshape(1, -1) for text in texts]
    answers["openvino"] = np.concatenate([compiled(row)["probabilities"] for row in rows])
    answers["ai-edge-litert"] = load_predictor(litert).probabilities(texts)
    answers["onnxruntime"] = OnnxPredictor(onnx).probabilities(texts)
    return answers


def test_all_give_the_probabilities(two_layer_classifier, tmp_path, ask_browser):
    model = two_layer_classifier()
    expected = model.probabilities(PROBE_TEXTS)
    for found in ask_all(model, PROBE_TEXTS, tmp_path, ask_browser).values():
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow(2)
def test_all_give_those_of_real_weights(tmp_path, ask_browser):
    descriptions = {"negative": "This film is bad.", "positive": "This film is good."}
    model = BertClassifier.from_label_names(
        [*descriptions], descriptions=descriptions, sequence_length=64
    )
    texts = [*PROBE_TEXTS, "A masterpiece \U0001f600!", "Trop long, et pas tr\u00e8s dr\u00f4le."]
    expected = model.probabilities(texts)
    assert np.ptp(expected[:, 0]) > 0.2  # the texts are told apart
    for found in ask_all(model, texts, tmp_path, ask_browser).values():
        np.testing.assert_allclose(found, expected, atol=1e-5)
