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

from keras_bert_scratch import BertClassifier, enable_lora, stratified_split
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.evaluation.plots import plot_learning_curves
from keras_bert_scratch.training.fine_tuning import choose_fine_tuning

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

MiniLM is a BERT of six layers, 384 wide, that was trained further on pairs of sentences: texts that
mean alike get vectors that point alike. After `compile` without arguments, `fit` chooses the training
from the number of texts and the encoder, and says what it chose:
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


def accuracy(model):
    """Returns the share of right answers on texts that no training has seen."""
    texts, labels = part(held_out[:HELD_OUT])
    return np.mean(model.probabilities(texts).argmax(axis=1) == model.encode_labels(labels))


model = new_classifier()
for number in [LITTLE, MUCH, len(train)]:
    config, knows_sentences = model.encoder.config, model.knows_sentences
    print(number, "texts:", choose_fine_tuning(number, config, knows_sentences=knows_sentences))

model.compile()
history = model.fit(*part(train[:MUCH]), epochs=2, verbose=0)
print("accuracy in training", np.round(history.history["accuracy"], 3))
print("accuracy on other texts", round(accuracy(model), 3))

"""
What is given, here the number of epochs, is obeyed. `fit` takes strings: it tokenizes them, puts texts
of similar length into the same batch, and hands the batches to Keras. Everything else is Keras:
callbacks, `validation_split`, mixed precision.

The line that is trained on top of the encoder:

```python
# keras_bert_scratch/tasks/classifier.py
logits = self.head(self.features(inputs, training=training), training=training)
```
"""

print(model.classify(["a film to remember", "two hours that I will never get back"]))

"""
No word of the second is bad by itself; [the next chapter](07_evaluation.md) looks at errors.

## Where a new head starts

A head of random numbers sends random gradients into the encoder, which forgets for them what it knows.
So `fit` trains in two steps (*linear probing, then fine-tuning*, Kumar et al. 2022). First the encoder
stays as it is and gives each text a vector f. On these the head of the least loss is soon found,
since it is logistic regression:

$$L(W, b) = -\\sum_i \\log \\mathrm{softmax}(W f_i + b)_{y_i} + \\frac{1}{2} \\lVert W - W_0 \\rVert^2$$

```python
# keras_bert_scratch/training/linear_probe.py
likelihood = _INTEGRALS[link](logits) - (targets * logits).sum(axis=1)  # (n,)
errors = weights[:, None] * (_MEANS[link](logits) - targets)  # (n, C)
loss = weights @ likelihood + 0.5 * np.square(moved).sum()
```

Then all weights are trained, from a head whose gradients make sense.

W₀ is what is known of the classes before the first example. A sentence encoder can read their names: row
c of W₀ is the vector of a text about class c. The more examples, the less the second term weighs, and
the less the names matter. For other encoders W₀ is zero.

## Without any label

Then W₀ alone is a classifier: a text belongs to the class whose name it is closest to. Names should say
what a text is about; where they do not, describe the class.
"""

NAMES = ["negative", "positive"]
DESCRIPTIONS = {"negative": "a dull, bad film", "positive": "a moving, wonderful film"}

by_name = BertClassifier.from_label_names(NAMES, CHECKPOINT, descriptions=DESCRIPTIONS)  # tiny: new_classifier()  # fmt: skip
print(by_name.classify(["a film to remember", "two hours that I will never get back"]))

"""
For topics, which have names, this goes further than for sentiment: [chapter
8](08_applications.md).

## With little data

Sixty-four labels are an hour's work. Of texts that are given as `validation_data`, the loss tells `fit`
which epoch was best, and the weights of that epoch are kept. Such texts cannot judge the model any more:
the accuracy below is on others.
"""

few = new_classifier()
few.compile()
history_of_few = few.fit(
    *part(train[:LITTLE]), validation_data=part(held_out[HELD_OUT : 2 * HELD_OUT]), verbose=0
)
plot_learning_curves({name: history_of_few.history[name] for name in ["loss", "val_loss"]})

"""
Where the loss of other texts rises while that of training falls, a model learns its texts by heart.
Beside each other, on the same held-out texts:
"""

results = {
    "descriptions": accuracy(by_name),
    f"{LITTLE} texts": accuracy(few),
    f"{MUCH} texts": accuracy(model),
}
figure = Figure(figsize=(5, 2), layout="constrained")
axes = figure.add_subplot()
axes.bar_label(axes.barh(list(results), list(results.values())), fmt="{:.1%}", padding=4)
axes.set(xlim=(0, 1), xlabel=f"Accuracy on {HELD_OUT} held-out snippets")
figure

"""
With all 8,454 texts and three epochs it reaches about 85 %, in four minutes on two cores: `make demo`,
and [the benchmarks](../benchmarks.md#film-reviews).

## Less to train

Low-rank adapters (Hu et al. 2021) leave the encoder as it is and train a small update beside each
of its matrices: each task has a small file instead of a copy of the encoder.
"""

small = new_classifier()
enable_lora(small.encoder, rank=8)
small.compile()
trained = sum(int(keras.ops.size(weight)) for weight in small.trainable_weights)
total = small.count_params()
print(f"{trained:,} of {total:,} weights: {trained * 4 / 1e6:.1f} of {total * 4 / 1e6:.1f} MB")

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
