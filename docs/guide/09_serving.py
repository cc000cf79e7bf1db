"""Title: Serving.

Description: The same classifier on a server, on a phone and in a browser, each compared with the
model before it is written.

A trained model is a Python object. What leaves the house is a file that others load without this
package, and mostly without Python.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch import BertClassifier, adamw
from keras_bert_scratch.serving.comparison import size_in_megabytes
from keras_bert_scratch.serving.readers.classifier import load_predictor
from keras_bert_scratch.tables import format_table

"""
## A model to serve

What it knows does not matter here:
"""

texts = ["a good film", "a bad film", "a great story", "an awful story"] * 32
labels = ["positive", "negative"] * 64

keras.utils.set_random_seed(0)
model = BertClassifier.from_pretrained(
    "tiny-en", labels=["negative", "positive"], sequence_length=32
)
model.compile(adamw(1e-3, total_steps=8))
history = model.fit(texts, labels, epochs=2, verbose=0)

"""
## For servers: SavedModel

Strings go in, labels and probabilities come out. The tokenizer is part of the graph, in operations
that every TensorFlow has: the server needs neither Keras nor tensorflow-text.
"""

model.export("films_served")

served = tf.saved_model.load("films_served").signatures["serving_default"]
answer = served(text=tf.constant(["a good story"]))
print({name: value.numpy().tolist() for name, value in answer.items()})

"""
Before the folder appears, a fresh process without Keras loads it and its answers are compared with
the model's. An export that answers otherwise is an error, not a file.

```python
# keras_bert_scratch/tasks/encoder_model.py
signature = self._signature(kwargs)
export(signature, filepath, format, **kwargs)
```

TensorFlow Serving loads this folder, and so does the server that comes with the package, with the
same REST API ([how to](../how_to/serving.md)):

```sh
keras-bert-scratch serve films_served --name films
curl localhost:8501/v1/models/films:predict -d '{"instances": ["a good story"]}'
```

## For phones: LiteRT

A `.tflite` file takes token ids. Its vocabulary and labels are packed behind the model, and
`load_predictor` reads them. With whole numbers of 8 bits instead of 32-bit floats it is a quarter
of the size:
"""

model.export("films.tflite", format="litert")
model.export("films_int8.tflite", format="litert", precision="int8")

reviews = ["a good story", "an awful film"]
expected = model.probabilities(reviews)
rows = []
for path in ["films_served", "films.tflite", "films_int8.tflite"]:
    found = load_predictor(path).probabilities(reviews)
    difference = np.abs(found - expected).max()
    rows.append([path, f"{size_in_megabytes(path):.1f}", f"{difference:.0e}"])
print(format_table(["", "MB", "largest difference"], rows))

"""
What int8 costs in accuracy, and what it gains in time, depends on the model and the processor:
`keras-bert-scratch compare` measures both on your texts, and `frontier` keeps the export that fits
a budget.

## In a browser

`format="mediapipe"` adds the metadata that MediaPipe's TextClassifier reads, on Android, on iOS and
in a browser:

```python
model.export("films.tflite", format="mediapipe")
```

```js
import { FilesetResolver, TextClassifier } from "@mediapipe/tasks-text";

const files = await FilesetResolver.forTextTasks("node_modules/@mediapipe/tasks-text/wasm");
const options = { baseOptions: { modelAssetPath: "films.tflite" } };
const classifier = await TextClassifier.createFromOptions(files, options);
console.log(classifier.classify("a good story").classifications[0].categories);
```

MediaPipe has a tokenizer of its own, which keeps accents: [exports](../how_to/exports.md) says when
that matters.
"""
