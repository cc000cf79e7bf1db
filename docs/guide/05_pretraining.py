"""Title: Pretraining.

Description: What an encoder learns from text that nobody has labelled: hidden words, and which
sentence comes next.

Labels cost money; text does not. Hide a word, and the text itself is the answer.
"""

import contextlib
import io
import json
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch import BertPretrainer, PretrainingRecipe, pretrain
from keras_bert_scratch.data.masking import TokenMasker
from keras_bert_scratch.data.sentence_pairs import sentence_pairs, tokenize_documents
from keras_bert_scratch.evaluation.plots import plot_learning_curves
from keras_bert_scratch.tasks.pretraining_recipe import Phase

"""
## Hidden words

Of the tokens of a text, 15 % are to be guessed. Of those, 80 % become `[MASK]`, 10 % a random
token, and 10 % stay as they are: in use there is no `[MASK]`, so the encoder must keep an eye on
every word (Devlin et al. 2018, 3.1).

```python
# keras_bert_scratch/data/masking.py
hidden = tf.where(
    kind < _MASK_SHARE,
    self.mask_id,
```

The tokens of a word are hidden together, since *##ing* is easy to guess behind *open*.
"""

model = BertPretrainer.from_pretrained("tiny-en-1")
tokenizer = model.tokenizer
ids = np.array([tokenizer.encode("he opened the old wooden door and went into the room").token_ids])
masker = TokenMasker(tokenizer.vocabulary, sequence_length=ids.shape[1], rate=0.3)
for seed in range(3):
    hidden = masker(ids, seed=(0, seed))["token_ids"].numpy()[0]
    print(tokenizer.decode(hidden[1:-1], skip_special_tokens=False))

"""
The loss is the cross-entropy of the true token among all V of the vocabulary, over the hidden
places alone:

$$L = -\\frac{1}{P} \\sum_{p=1}^{P} \\log \\mathrm{softmax}(z_p)_{t_p}$$

A model that knows nothing pays log V:
"""

print(f"log {len(tokenizer.vocabulary):,} = {np.log(len(tokenizer.vocabulary)):.2f}")

"""
e to the power of the loss is the *perplexity*: among how many equally likely words the model hesitates.

tiny-en-1, the package's first encoder, has read the King James Bible, Jane Austen and WordNet:
"""

for text in ["He opened the [MASK].", "In the beginning God created the [MASK]."]:
    print(text, {word: round(p, 2) for word, p in model.fill_mask(text, top_k=3)[0].items()})

"""
## The next sentence

The second task asks whether a piece of text follows another, or comes from elsewhere; a coin
decides which the encoder gets. It trains the vector of `[CLS]`, which stands for a whole text. (Later
work gains little from it, Liu et al. 2019; hidden words are what counts.)
"""

documents = ["A door opened. A man came in. He sat down.", "Rain fell. The river rose. It flooded."]
tokens = tokenize_documents(documents, tokenizer, longest_sentence=30)
pairs = sentence_pairs(
    tokens,
    sequence_length=24,
    cls_id=tokenizer.vocabulary.cls_id,
    sep_id=tokenizer.vocabulary.sep_id,
    generator=np.random.default_rng(4),
)
for example in pairs:
    kind = ["follows", "random"][example.next_sentence_label]
    print(f"{kind:8}", tokenizer.decode(example.token_ids, skip_special_tokens=False))

"""
## From text to an encoder

A recipe says everything a pretraining depends on; the same recipe gives the same weights, and a
stopped run goes on where it was. As text we take what every Python carries: the documentation of
the language, in documents of paragraphs. It is little, but enough to see a curve fall.
"""

documents = []
for name in sorted(topics):
    paragraphs = [" ".join(part.split()) for part in topics[name].split("\n\n")]
    documents.append("\n".join(part for part in paragraphs if len(part.split()) > 12))
print(f"{sum(len(d.split()) for d in documents):,} words in {len(documents)} documents")
Path("held_out.txt").write_text("\n\n".join(documents[::8]))
Path("train.txt").write_text("\n\n".join(d for n, d in enumerate(documents) if n % 8))

STEPS = 400  # tiny: 4

recipe = PretrainingRecipe(
    train=["train.txt"],
    held_out=["held_out.txt"],
    vocabulary=2000,
    encoder={
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 64,
        "feed_forward_dim": 256,
        "max_positions": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    phases=[Phase(sequence_length=64, batch_size=32, steps=STEPS)],
    repeats=4,
    learning_rate=2e-3,
    evaluate_every=STEPS // 4,
    lines="sentences",
    deterministic=False,
)
with contextlib.redirect_stdout(io.StringIO()):  # the curves below say the same
    scratch = pretrain(recipe, "run")

"""
The same as one command, with the recipe as YAML:

```sh
keras-bert-scratch pretrain recipe.yaml --output run
```

The curves, of training and of documents that were held out:
"""

history = json.loads(Path("run/history.json").read_text())
curves = {name: history[name] for name in history if "accuracy" in name or name.endswith("loss")}
plot_learning_curves(curves)

"""
A model that knows nothing hesitates among all 2,000 tokens of this vocabulary. After a minute, on the
held-out documents:
"""

print(f"perplexity {np.exp(history['val_masked_language_model_loss'][-1]):.0f}")

"""
The model knows which words are frequent, and some that stand together. Hidden words of two sentences about
Python:
"""

for text in ["The statement [MASK] an exception.", "The value of the [MASK] is not used."]:
    print(text, {word: round(p, 2) for word, p in scratch.fill_mask(text, top_k=3)[0].items()})

"""
That is little, for little. tiny-en-1 had 42 minutes and three books; BERT had four days
on 64 TPU chips and 3.3 billion words.

## Replaced tokens

A hidden word teaches at one place of seven. In ELECTRA (Clark et al. 2020) a small generator guesses the
hidden words, and the encoder reads its guesses and says of every token whether it was replaced, so that
every token teaches. Where the guess is the word that was hidden, nothing was replaced. In the recipe that
is `generator_layers: 1`; the generator has so many blocks, above the same embeddings.
"""

electra = BertPretrainer(
    scratch.encoder, scratch.tokenizer, next_sentence=False, generator_layers=1
)
encoding = scratch.tokenizer.encode("The value of the name is not used.")
ids = np.array([encoding.token_ids])
positions = np.array([[2, 5]])
hidden = ids.copy()
hidden[0, positions] = scratch.tokenizer.vocabulary.mask_id
inputs = {
    "token_ids": hidden,
    "segment_ids": 0 * ids,
    "padding_mask": 1 + 0 * ids,
    "masked_positions": positions,
}
answer = np.array(electra(inputs)["replaced_tokens"])[0]
read = scratch.tokenizer.decode(answer[:, 1].astype(int), skip_special_tokens=False)
print("the encoder reads", read)
print("to be learned    ", (answer[:, 1] != ids[0]).astype(int))

"""
## From a teacher

Who has no four days learns from one who had. MiniLM, a larger encoder, gives every text a vector;
a small encoder needs no labels to learn to point the same way, and the vector says more about a text
than one hidden word does. The loss is the cosine between the teacher's vector v and ours, from the
mean of the states h of the text's n tokens:

$$L = -\\cos\\left(v, W \\frac{1}{n} \\sum_{i=1}^{n} h_i + b\\right)$$

In the recipe that is a line, `teacher: minilm`. So was tiny-en made: 24 minutes of one core, after
MiniLM's vectors of 283,000 texts. On the left its cosine with MiniLM on texts that it has not read (the dip is
where longer texts come in); on the right, what classifiers that start from it learn from 500 examples,
one draw, and TF-IDF, dotted:
"""

minutes = [1.5 * epoch for epoch in range(1, 17)]
cosines = [0.633, 0.700, 0.725, 0.737, 0.743, 0.747, 0.741, 0.743]
cosines += [0.748, 0.751, 0.754, 0.757, 0.752, 0.763, 0.764, 0.765]
figure = Figure(figsize=(9, 3), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(minutes, cosines, "o-")
left.set(xlabel="minutes of one core", ylabel="cosine with MiniLM")

# Accuracy in % after 0 minutes (random weights), and after some; and that of TF-IDF.
curves = {
    "BBC news": ([89.7, 93.2, 93.7, 94.7, 94.3], 95.1),
    "film snippets": ([64.4, 65.7, 70.8, 71.0, 71.6], 66.9),
    "20 Newsgroups": ([38.8, 54.9, 59.4, 63.2, 65.3], 59.8),
}
for number, (name, (accuracies, tf_idf)) in enumerate(curves.items()):
    right.plot([0, 1.5, 6, 12, 24], accuracies, "o-", color=f"C{number}", label=name)
    right.axhline(tf_idf, color=f"C{number}", linestyle=":")
right.set(xlabel="minutes of pretraining", ylabel="accuracy of 500 examples, %", ylim=(0, 100))
right.legend(loc="lower right")
figure

"""
Whether that paid is a question for the task. Accuracy in %, after fine-tuning with few
examples, the same for both, mean of five draws:

| set | examples | random weights | tiny-en |
|---|---|---|---|
| film snippets | 100 | 54.3 | 65.3 |
| film snippets | 500 | 61.9 | 70.6 |
| BBC news | 100 | 64.6 | 91.9 |
| BBC news | 500 | 85.8 | 94.0 |
| 20 Newsgroups | 100 | 22.0 | 47.2 |
| 20 Newsgroups | 500 | 43.5 | 63.9 |
| R8 | 100 | 75.8 | 90.9 |
| R8 | 500 | 90.6 | 95.2 |

It pays most where examples are few and classes many. Eleven minutes of hidden or of replaced tokens, with the
same text, leave an encoder that is worse than random weights: language takes longer to learn than a teacher
takes to follow. (The card,
`keras_bert_scratch/weights/tiny-en/README.md`, has all runs, and TF-IDF.)
"""
