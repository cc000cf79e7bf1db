"""Runtimes of browsers run what takes code points, in Chromium: LiteRT.js and onnxruntime-web."""

import json

import numpy as np

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS

LITERT, ONNX = "@litertjs/core", "onnxruntime-web"
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
    const row = new Int32Array(256);
    row.set(codePoints(text).subarray(0, 256));
    const [probabilities] = await model.run([new Tensor(row, [1, 256])]);
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


def test_both_give_the_probabilities(two_layer_classifier, tmp_path, ask_browser):
    model = two_layer_classifier()
    model.export(tmp_path / "model.tflite", format="litert", inputs="code_points")
    model.export(tmp_path / "model.onnx", format="onnx", inputs="code_points")
    (tmp_path / "texts.json").write_text(json.dumps(PROBE_TEXTS))
    answers = ask_browser(PAGE, f"{LITERT}@2.5.3", f"{ONNX}@1.30.0")
    assert isinstance(answers, dict), answers
    expected = model.probabilities(PROBE_TEXTS)
    for found in answers.values():
        np.testing.assert_allclose(found, expected, atol=1e-5)
