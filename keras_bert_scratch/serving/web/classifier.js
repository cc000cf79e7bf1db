// Classifies texts with the model beside this file, in the browser:
//
//   import { loadClassifier } from "./classifier.js";
//   const classifier = await loadClassifier();
//   const { probabilities } = await classifier.classify("a film to remember");
//   // [{ label: "negative", probability: 0.02 }, { label: "positive", probability: 0.98 }]
//
// `unread`, beside `probabilities`, lists the parts of a long text that the model does not read, as
// pairs of a start and an end in code points; it is [] if all is read.

import { loadAndCompile, loadLiteRt, Tensor } from "./runtime/index.js";

let loaded;

export function loadClassifier() {
  return loaded ??= load();
}

async function load() {
  const [about, file] = await Promise.all([
    get("model.json").then(response => response.json()),
    get("model.tflite").then(response => response.arrayBuffer()),
    loadLiteRt(new URL("runtime/", import.meta.url).href),
  ]);
  const { labels, num_code_points: size } = about;
  const model = await loadAndCompile(new Uint8Array(file), { accelerator: "wasm" });

  async function classify(text) {
    const row = new Int32Array(size);
    let length = 0;
    // What is set behind the end of the row is lost.
    for (const character of text) row[length++] = character.codePointAt(0);
    const input = new Tensor(row, [1, size]);
    const outputs = await model.run({ code_points: input });
    const values = outputs.probabilities.toTypedArray();
    const [start, end] = outputs.unread.toTypedArray();
    for (const tensor of [input, ...Object.values(outputs)]) tensor.delete();
    return {
      probabilities: labels.map((label, i) => ({ label, probability: values[i] })),
      unread: [[start, end], [size, length]].filter(([from, to]) => from < to),
    };
  }

  return { labels, classify };
}

async function get(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}
