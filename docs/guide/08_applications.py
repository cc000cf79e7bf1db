"""Title: Applications.

Description: One encoder, many questions: topics from a dozen examples, sentiment in three ways, tags,
questions over several turns, summaries, and search by meaning.

Every task below is a Keras model with `compile`, `fit` and a method that answers.
"""

import csv
import io
import tarfile
import zipfile

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

from keras_bert_scratch import (
    BertClassifier,
    BertQuestionAnswerer,
    BertSentenceEncoder,
    BertSummarizer,
    BertTokenClassifier,
    adamw,
)
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.data.ratings import expected_ratings, mean_ratings, sentiments
from keras_bert_scratch.data.spans import GoldAnswer, Question
from keras_bert_scratch.tasks.sentence_encoder import TextIndex

"""
## News and mail, from a dozen examples

A sentence encoder gives each text a vector; texts that mean alike have vectors that point alike.
For a few examples, logistic regression on these vectors is hard to beat. ([`fit`](06_fine_tuning.md)
starts a classifier's new head so, and trains the encoder, too.)
"""

CHECKPOINT = "minilm"  # tiny: "tiny-en"

encoder = BertSentenceEncoder.from_pretrained(CHECKPOINT, sequence_length=64)
examples = {
    "sport": ["United win the cup after extra time", "The champion retires at thirty-four"],
    "business": ["Shares fall as the bank cuts its outlook", "Retailer to close forty stores"],
    "technology": ["New phone folds in the middle", "A flaw in browsers leaks passwords"],
    "mail to support": ["My order has not arrived yet", "I cannot log in to my account"],
}
texts = [text for group in examples.values() for text in group]
topics = [topic for topic, group in examples.items() for _ in group]
classifier = LogisticRegression(C=10).fit(encoder.encode(texts, verbose=0), topics)

unseen = [
    "Striker signs for three years",
    "Profits double at the airline",
    "Chip maker shows a faster processor",
    "Where is my parcel?",
]
for text, topic in zip(unseen, classifier.predict(encoder.encode(unseen, verbose=0)), strict=True):
    print(f"{topic:16} {text}")

"""
Two examples a topic leave room for errors; ten are much better than two. Without any, a classifier
compares texts with the names of its classes:
"""

by_name = BertClassifier.from_label_names(list(examples), CHECKPOINT)  # tiny: BertClassifier.from_pretrained(CHECKPOINT, list(examples))  # fmt: skip
for text, answer in zip(unseen, by_name.classify(unseen), strict=True):
    print(f"{max(answer, key=answer.get):16} {text}")

"""
Names and examples help each other: `by_name.fit(texts, topics)` goes on from here.

## Search by meaning

The same vectors answer a query that shares no word with the text:
"""

index = TextIndex(encoder, texts)
for text, cosine in index.search(["someone stole my login data"], count=2)[0]:
    print(f"{cosine:.2f} {text}")

"""
## Sentiment in three ways

People rate in grades; two thresholds make three classes of them. The neutral class is small and
vague, and accuracy alone would hide it: look at the F1 of each class
([benchmarks](../benchmarks.md#three-way-sentiment)).
"""


def rated_snippets():
    """Returns film-review snippets and their mean ratings from -4 to 4."""
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
    return [text for _, _, text in rows], [float(rating) for _, rating, _ in rows]


snippets, ratings = rated_snippets()  # tiny: (["good", "so-so", "bad"] * 16, [3, 0, -3] * 16)
labels = sentiments(ratings, thresholds=(-0.5, 0.5))

keras.utils.set_random_seed(0)
model = BertClassifier.from_pretrained(
    "tiny-en", labels=["negative", "neutral", "positive"], sequence_length=64
)
model.compile(adamw(5e-4, total_steps=2 * -(-len(snippets) // 32)))
model.fit(snippets, labels, epochs=2, verbose=0)

reviews = ["a wonderful, moving film", "it has a beginning and an end", "a dull and lazy mess"]
probabilities = model.probabilities(reviews)
means = mean_ratings(ratings, labels)
scores = expected_ratings(probabilities, [means[label] for label in model.labels])
for review, row, score in zip(reviews, probabilities, scores, strict=True):
    print(f"{model.labels[row.argmax()]:9} {score:+.1f}  {review}")

"""
The score is the mean of the classes' mean ratings, weighed by the probabilities.

## One story, three tasks

The next three tasks need longer labels. So that everything here runs in a minute, a script writes
the stories, and the people and towns that are asked about were never seen in training. Real figures
are in the [benchmarks](../benchmarks.md).
"""

FIRST = "Anna Clara Emma Fanny Harriet Jane Louisa Maria Lucy Mary Isabella Elinor".split()
LAST = "Price Smith Brown Palmer Lucas Bennet Elliot Dashwood Weston Martin Campbell Grey".split()
TOWNS = "London Bristol Oxford Lyme Derby Norfolk Surrey Paris Bath York Kent Rome".split()
JOBS = ["teacher", "doctor", "writer", "baker", "painter", "nurse"]


def story(generator, first, last, towns):
    """Returns a person, two towns, a job, and a text about them."""
    name = f"{generator.choice(first)} {generator.choice(last)}"
    born, moved = generator.choice(towns, 2, replace=False)
    job = generator.choice(JOBS)
    openings = [f"{name} was born in {born}.", f"Born in {born}, {name} grew up near a river."]
    return name, born, moved, job, f"{generator.choice(openings)} She moved to {moved} as a {job}."


STORIES, EPOCHS = 600, 6  # tiny: 8, 1

generator = np.random.default_rng(0)
stories = [story(generator, FIRST[:9], LAST[:9], TOWNS[:8]) for _ in range(STORIES)]
unseen = [story(generator, FIRST[9:], LAST[9:], TOWNS[8:]) for _ in range(3)]

"""
### Tags

A tagger labels words: B- begins a span, I- continues it, O is outside.
"""


def tagged(name, born, moved, job, text):
    """Returns the words of a story and their tags."""
    words = text.replace(".", " .").replace(",", " ,").split()
    first, last = name.split()
    tags = {first: "B-person", last: "I-person", born: "B-town", moved: "B-town"}
    return words, [tags.get(word, "O") for word in words]


words, tags = zip(*(tagged(*row) for row in stories), strict=True)
tagger = BertTokenClassifier.from_pretrained(
    "tiny-en", labels=["O", "B-person", "I-person", "B-town", "I-town"]
)
tagger.compile(adamw(1e-3, total_steps=EPOCHS * -(-STORIES // 32)))
tagger.fit(list(words), list(tags), epochs=EPOCHS, verbose=0)
text = unseen[0][-1]
print(text)
for span in tagger.find_spans([text])[0]:
    print(f"{span.label:7} {span.text}")

"""
### Questions over several turns

An answer is a span of the text. A follow-up is understood by what was asked before.
"""


def questions(name, born, moved, job, text):
    """Returns a question and a follow-up about a story."""
    first = f"Where was {name} born?"
    turns = [(first, born)]
    return [
        Question(first, text, (GoldAnswer(born, text.index(born)),)),
        Question(
            "Where did she move to?", text, (GoldAnswer(moved, text.index(moved)),), tuple(turns)
        ),
        Question(
            "And as what did she work?", text, (GoldAnswer(job, text.rindex(job)),), tuple(turns)
        ),
    ]


answerer = BertQuestionAnswerer.from_pretrained("tiny-en")
answerer.compile(adamw(1e-3, total_steps=EPOCHS * -(-3 * STORIES // 32)))
answerer.fit(
    [question for row in stories for question in questions(*row)], epochs=EPOCHS, verbose=0
)

name, *_, text = unseen[1]
print(text)
history = []
for question in [f"Where was {name} born?", "Where did she move to?", "And as what did she work?"]:
    answer = answerer.answer(question, text, history=history)
    history.append((question, answer.text))
    print(f"{question} {answer.text}")

"""
### Summaries

A summarizer has a decoder beside the encoder and writes token by token; a beam keeps the best
beginnings.
"""

summarizer = BertSummarizer.from_pretrained("tiny-en", summary_length=16)
summarizer.compile(adamw(1e-3, total_steps=EPOCHS * -(-STORIES // 32)))
summarizer.fit(
    [row[-1] for row in stories],
    [f"a {job} from {born}" for _, born, _, job, _ in stories],
    epochs=EPOCHS,
    verbose=0,
)
for summary, row in zip(summarizer.summarize([row[-1] for row in unseen]), unseen, strict=True):
    print(f"{summary:24} <- {row[-1]}")

"""
It learned the form of the summaries. Whether it also copies towns that it never wrote in training
is what such a test shows: a decoder this small, after a minute, often names a town that it knows.
"""
