"""Title: Fine-tuning.

Description: From an encoder that knows a language to a classifier that answers a question, with
little and with much data.

A classifier is an encoder with one dense layer on a vector for the text: that of `[CLS]` (Devlin et
al. 2018, section 4.1), or, where the encoder was trained so, the mean over the tokens. `fit` trains
all of it.
"""

import csv
import io
import tarfile
import zipfile

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch import BertClassifier, stratified_split
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.evaluation.plots import plot_learning_curves

"""
## Texts and labels

10,568 snippets of film reviews, each with the mean rating of 20 people (Hutto and Gilbert 2014);
the sign is the label. They lie in a package of the Python package index, which is fetched once.
"""


def film_snippets():
    """Returns the texts and labels of film-review snippets."""
    package = fetch_package(
        "vaderSentiment==0.5", "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
    )
    corpus = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    with (
        zipfile.ZipFile(package) as files,
        tarfile.open(fileobj=io.BytesIO(files.read(corpus))) as archive,
    ):
        table = archive.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
        rows = list(csv.reader(io.TextIOWrapper(table, "utf-8"), "excel-tab", quoting=3))
    rated = [(text, float(rating)) for _, rating, text in rows if float(rating) != 0]
    return [text for text, _ in rated], [
        "positive" if rating > 0 else "negative" for _, rating in rated
    ]


texts, labels = film_snippets()  # tiny: (["good", "bad"] * 40, ["positive", "negative"] * 40)
train, held_out = stratified_split(labels, 0.2, seed=0)
print(len(train), "to train on,", len(held_out), "held out")
print(texts[0], "->", labels[0])

"""
## A classifier in five lines

MiniLM is a BERT of six layers, 384 wide. `compile` without arguments chooses BERT's recipe from the
data, and `fit` says which: AdamW with a warm-up and a linear decay over the steps that it takes.
"""

CHECKPOINT = "minilm"  # tiny: "tiny-en"
MUCH, LITTLE, HELD_OUT = 1000, 64, 300  # tiny: 32, 8, 8
LENGTH = 64  # tiny: 16


def part(positions):
    """Returns the texts and labels at some positions."""
    return [texts[i] for i in positions], [labels[i] for i in positions]


def new_classifier():
    """Returns a pretrained encoder with a new head, always the same."""
    keras.utils.set_random_seed(0)
    return BertClassifier.from_pretrained(
        CHECKPOINT, labels=["negative", "positive"], sequence_length=LENGTH
    )


model = new_classifier()
model.compile()
history = model.fit(
    *part(train[:MUCH]), validation_data=part(held_out[:HELD_OUT]), epochs=2, verbose=0
)
for name in ["accuracy", "val_accuracy"]:
    print(name, np.round(history.history[name], 3))

"""
`fit` takes strings: it tokenizes them, puts texts of similar length into the same batch, and hands
the batches to Keras. Everything else is Keras: callbacks, `validation_split`, mixed precision.

The line that is trained on top of the encoder:

```python
# keras_bert_scratch/tasks/classifier.py
logits = self.head(self.features(inputs, training=training), training=training)
```
"""

print(model.classify(["a film to remember", "two hours that I will never get back"]))

"""
Figures of speech are where a model of a thousand texts fails first; [the next
chapter](07_evaluation.md) looks at errors.

## With little data

Sixty-four labels are an hour's work. The same model, more epochs, since there are fewer steps in
each:
"""

few = new_classifier()
few.compile()
history_of_few = few.fit(
    *part(train[:LITTLE]), validation_data=part(held_out[:HELD_OUT]), epochs=6, verbose=0
)
plot_learning_curves({name: history_of_few.history[name] for name in ["loss", "val_loss"]})

"""
The training loss goes on falling where that of other texts no longer does: the model learns its
few texts by heart. Beside each other, on the same held-out texts:
"""

results = {
    f"{LITTLE} texts": history_of_few.history["val_accuracy"][-1],
    f"{MUCH} texts": history.history["val_accuracy"][-1],
}
figure = Figure(figsize=(5, 2), layout="constrained")
axes = figure.add_subplot()
axes.bar_label(axes.barh(list(results), list(results.values())), fmt="{:.1%}", padding=4)
axes.set(xlim=(0, 1), xlabel=f"Accuracy on {HELD_OUT} held-out snippets")
figure

"""
With all 8,454 texts and three epochs it reaches 85.2 % on average, which takes four minutes on two
cores: `make demo`, and [the benchmarks](../benchmarks.md#film-reviews).

## Less to train

Low-rank adapters (Hu et al. 2021) leave the encoder as it is and train a small update beside each
of its matrices: a file of kilobytes for each task instead of a copy of the encoder.
"""

from keras_bert_scratch import adamw, enable_lora

small = new_classifier()
enable_lora(small.encoder, rank=8)
small.compile(adamw(1e-3, total_steps=100))
trained = sum(int(keras.ops.size(weight)) for weight in small.trainable_weights)
print(f"{trained:,} of {small.count_params():,} weights are trained")

"""
## Keep it

Three forms: Keras' own file, which keeps the optimizer; a checkpoint folder; and an
export, for [serving](09_serving.md).
"""

model.save("films.keras")
model.save_pretrained("films")
again = keras.saving.load_model("films.keras")
print(
    "largest difference:",
    np.abs(again.probabilities(texts[:9]) - model.probabilities(texts[:9])).max(),
)
