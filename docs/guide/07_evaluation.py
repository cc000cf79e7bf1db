"""Title: Evaluation.

Description: Accuracy, precision, recall and F1; how sure a figure is; what the errors say; and
whether a simple model would have done.

A figure answers a question. First comes the question.
"""

import csv
import io
import tarfile
import zipfile

import keras
import numpy as np

from keras_bert_scratch import BertClassifier, adamw, stratified_split
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.evaluation.baseline import compare_with_baseline
from keras_bert_scratch.evaluation.calibration import Calibration, calibrate
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.explanations import integrated_gradients
from keras_bert_scratch.evaluation.label_noise import find_label_suspects
from keras_bert_scratch.evaluation.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_explanation,
    plot_stress,
)
from keras_bert_scratch.evaluation.slices import evaluate_slices, length_groups
from keras_bert_scratch.evaluation.stress import stress_test

"""
## By hand first

A filter marks 5 of 20 mails as spam. 4 of them are spam; it misses 2 more.

| mails | marked | not marked |
|---|---|---|
| **spam** | 4 | 2 |
| **mail** | 1 | 13 |

* *Accuracy*, right answers of all: (4 + 13) / 20 = 0.85
* *Precision*, spam among what was marked: 4 / 5 = 0.8
* *Recall*, marked among what is spam: 4 / 6 = 0.667
* *F1*, their harmonic mean: 2 · 0.8 · 0.667 / (0.8 + 0.667) = 0.727

A filter that never marks anything would have an accuracy of 14 / 20 = 0.7, and a recall of 0.
*Macro* figures are means over the classes, so that a rare class counts as much as a frequent one.
"""

true = [1] * 6 + [0] * 14
answers = [1, 1, 1, 1, 0, 0] + [1] + [0] * 13
report = evaluate_classification(true, np.eye(2)[answers], ["mail", "spam"])
print(report.to_text())

"""
## How sure is a figure?

20 mails are few. The interval beside the accuracy says where it would be for other mails of the
same kind, 95 times of 100: it is drawn from 2,000 samples of these 20. With four times as many
examples it is half as wide.

## A model to look at

tiny-en, fine-tuned on the film-review snippets of [chapter 6](06_fine_tuning.md):
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


texts, labels = film_snippets()  # tiny: (["good", "bad, bad"] * 40, ["positive", "negative"] * 40)
train, held_out = stratified_split(labels, 0.2, seed=0)
train_texts, train_labels = [texts[i] for i in train], [labels[i] for i in train]
held_out_texts, held_out_labels = [texts[i] for i in held_out], [labels[i] for i in held_out]

keras.utils.set_random_seed(0)
model = BertClassifier.from_pretrained(
    "tiny-en", labels=["negative", "positive"], sequence_length=64
)
model.compile(adamw(5e-4, total_steps=3 * len(train) // 32))
model.fit(train_texts, train_labels, epochs=3, verbose=0)

true_ids = model.encode_labels(held_out_labels)
probabilities = model.probabilities(held_out_texts)
report = evaluate_classification(true_ids, probabilities, model.labels)
print(report.to_text())

"""
Rows of the matrix are the truth, columns the answers; the diagonal is right.
"""

plot_confusion_matrix(report)

"""
## Would a simple model have done?

Ask before deploying a network. TF-IDF with logistic regression counts words and pairs of words and
is trained in seconds. McNemar's test asks whether the difference could be chance: only texts that
exactly one of the two gets right tell them apart.
"""

comparison = compare_with_baseline(
    (train_texts, model.encode_labels(train_labels)),
    (held_out_texts, true_ids),
    probabilities,
    model.labels,
)
print(comparison.to_text())

"""
tiny-en is for trying things out: believe the p-value, not the order of the rows. Six-layer MiniLM wins,
with 85 % on the same texts ([benchmarks](../benchmarks.md#film-reviews)). Run the test with the model that you want to
deploy.

## Where are the errors?

By length of text:
"""

print(
    evaluate_slices(length_groups(held_out_texts), true_ids, probabilities, model.labels).to_text()
)

"""
Some errors are the labels'. Confident learning (Northcutt et al. 2021) lists texts whose label the
model contradicts more surely than its mean:
"""

suspects = find_label_suspects(true_ids, probabilities, model.labels, held_out_texts).suspects
for suspect in suspects[:3]:
    print(f"{suspect.given}, likelier {suspect.likelier}: {suspect.text}")

"""
With a weak model most of them are the model's errors: read before you change one.

## Why this answer?

Integrated gradients (Sundararajan et al. 2017) distribute an answer over the words. The scores add
up to the difference of the log-odds between the text and one in which every token is hidden, so
nothing is left unexplained:

$$s_i = (x_i - x'_i) \\cdot \\int_0^1 \\frac{\\partial F(x' + a(x - x'))}{\\partial x_i} da$$
"""

explanation = integrated_gradients(model, "A beautiful story, told without a single dull moment.")
plot_explanation(explanation)

"""
## Does "90 % sure" mean 90 %?

Put answers into bins by how sure they are; in a calibrated model, of those at 0.9 nine in ten are
right. A temperature divides all logits and changes no answer, only how sure it is. It is found on
one half of the held-out texts, and judged on the other, which it has not seen:
"""

logits = model.predict(held_out_texts, verbose=0)
half = len(logits) // 2
calibration = calibrate(logits[:half], true_ids[:half])
other_half = Calibration(calibration.temperature, logits[half:], true_ids[half:], False)
print(other_half.to_text())
plot_calibration(other_half)

"""
## When people type as they do

The same texts with typos, shouted, without accents, or with a sentence that tries to give orders:
"""

stress = stress_test(model.probabilities, held_out_texts[:300], true_ids[:300], model.labels)
plot_stress(stress)

"""
On the command line, `keras-bert-scratch evaluate --model films --data more_films.csv --output
report --stress` writes all of this into a folder.
"""
