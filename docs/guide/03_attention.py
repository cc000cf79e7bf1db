"""Title: Attention by hand.

Description: The formula, five words, and numbers that can be followed with a pencil; then the layer,
which gives the same.

Read *the film was not good*. To know what *good* says here, you look back at *not*. Attention is
that look: every word asks all words which of them matter to it, and takes a mean of what they say.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch import BertPretrainer
from keras_bert_scratch.evaluation.plots import plot_attention
from keras_bert_scratch.layers.attention import MultiHeadAttention, attend, padding_bias

"""
## Three vectors for each word

Each word has a *query* (what it looks for), a *key* (what it offers) and a *value* (what it says).
Here each has two numbers, so that a pencil suffices:

* In queries and keys, the first number is about *belonging to the film*, the second about *turning
  a meaning around*.
* In values, the first number is *how good*, the second *how much about a film*.

| word | query | key | value |
|---|---|---|---|
| the | (1, 0) | (1, 0) | (0, 0) |
| film | (1, 0) | (1, 0) | (0, 4) |
| was | (0, 0) | (0, 0) | (0, 0) |
| not | (0, 2) | (0, 2) | (−8, 0) |
| good | (0, 1) | (1, 0) | (4, 0) |

So *film* looks for words that belong to it, *good* looks for something that turns it around, and
*was* looks for nothing. Queries are in a unit of √2 · ln 2 = 0.98: it makes the numbers below come
out even, and you can think of it as 1.
"""

words = ["the", "film", "was", "not", "good"]
unit = math.sqrt(2) * math.log(2)
query = unit * np.array([[1, 0], [1, 0], [0, 0], [0, 2], [0, 1]])
key = np.array([[1, 0], [1, 0], [0, 0], [0, 2], [1, 0]])
value = np.array([[0, 0], [0, 4], [0, 0], [-8, 0], [4, 0]])

"""
## The formula

$$\\mathrm{Attention}(Q, K, V) = \\mathrm{softmax}\\left(\\frac{QK^T}{\\sqrt{D}}\\right) V$$

It is equation 1 of Vaswani et al. (2017). D is the width of a query, here 2. Take it apart.

### Scores: who matters to whom

A score is the dot product of a query and a key: first times first plus second times second. *good*
and *not*: 0 · 0 + 1 · 2 = 2. *film* and *good*: 1 · 1 + 0 · 0 = 1. Rows are the words that ask,
columns the words that are asked:

| score | the | film | was | not | good |
|---|---|---|---|---|---|
| **the** | 1 | 1 | 0 | 0 | 1 |
| **film** | 1 | 1 | 0 | 0 | 1 |
| **was** | 0 | 0 | 0 | 0 | 0 |
| **not** | 0 | 0 | 0 | 4 | 0 |
| **good** | 0 | 0 | 0 | 2 | 0 |

The formula divides by √D, and our unit has a √2 to be divided: what is left of each score is ln 2,
as often as the table says.
"""

scores = query @ key.T / math.sqrt(2)
print(np.round(scores / math.log(2), 6))

"""
The division keeps scores from growing with the width: a sum of D products of independent numbers
with variance 1 has variance D, and a softmax of large numbers looks at one word only.

### Softmax: shares that add up to one

Raise e to each score, then divide each row by its sum. Since e to the power of ln 2 is 2, a score
of 0 becomes 1, one of 1 becomes 2, one of 2 becomes 4, and one of 4 becomes 16:

| e to the score | the | film | was | not | good | sum |
|---|---|---|---|---|---|---|
| **the** | 2 | 2 | 1 | 1 | 2 | 8 |
| **film** | 2 | 2 | 1 | 1 | 2 | 8 |
| **was** | 1 | 1 | 1 | 1 | 1 | 5 |
| **not** | 1 | 1 | 1 | 16 | 1 | 20 |
| **good** | 1 | 1 | 1 | 4 | 1 | 8 |

Divided by the sums, these are the shares:

| share | the | film | was | not | good |
|---|---|---|---|---|---|
| **the** | 2/8 | 2/8 | 1/8 | 1/8 | 2/8 |
| **film** | 2/8 | 2/8 | 1/8 | 1/8 | 2/8 |
| **was** | 1/5 | 1/5 | 1/5 | 1/5 | 1/5 |
| **not** | 1/20 | 1/20 | 1/20 | 16/20 | 1/20 |
| **good** | 1/8 | 1/8 | 1/8 | 4/8 | 1/8 |
"""

exponentials = np.exp(scores)
shares = exponentials / exponentials.sum(axis=1, keepdims=True)

figure = Figure(figsize=(5, 4), layout="constrained")
axes = figure.add_subplot()
image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
for (row, column), share in np.ndenumerate(shares):
    color = "white" if share > 0.6 else "black"
    axes.text(column, row, f"{share:.3g}", ha="center", va="center", color=color)
axes.set_xticks(range(5), words)
axes.set_yticks(range(5), words)
axes.set(xlabel="is asked", ylabel="asks")
figure.colorbar(image, ax=axes, label="Share of the row")
figure

"""
*good* gives half of its look to *not*. *was*, which asks for nothing, looks at all words alike.

### The mean of the values

Each word's new vector is the mean of all values, weighed by its shares. For *good*, only *film*,
*not* and *good* have something to say:

1/8 · (0, 4) + 4/8 · (−8, 0) + 1/8 · (4, 0) = (−4 + 0.5, 0.5) = (−3.5, 0.5)

It said 4, "quite good". Having looked at *not*, it says −3.5: "rather bad".

| word | before | after |
|---|---|---|
| the | (0, 0) | (0, 1) |
| film | (0, 4) | (0, 1) |
| was | (0, 0) | (−0.8, 0.8) |
| not | (−8, 0) | (−6.2, 0.2) |
| good | (4, 0) | (−3.5, 0.5) |
"""

attended = shares @ value
print(np.round(attended, 3))

"""
## The same by the package

`attend` is the formula, for a batch of texts and for several heads: B = 1 text, N = 1 head, S = 5
words, D = 2 numbers.

```python
# keras_bert_scratch/layers/attention.py
query = query * (1.0 / math.sqrt(query.shape[-1]))
scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (B, N, S, K)
if attention_bias is not None:
    scores = scores + attention_bias
probabilities = ops.softmax(scores, axis=-1)
return ops.matmul(dropout(probabilities), value), probabilities
```
"""


def heads(x):
    """(S, D) -> (B, N, S, D)."""
    return x[None, None].astype("float32")


def no_dropout(x):
    """Drops nothing."""
    return x


result, probabilities = attend(heads(query), heads(key), heads(value), None, no_dropout)
print(np.round(np.array(result)[0, 0], 3))
print("largest difference:", f"{np.abs(np.array(result)[0, 0] - attended).max():.0e}")

"""
## A word that must not be seen

Texts of a batch have different lengths; short ones are filled up, and nobody may look there. A
score of −60 does it: e to the −60 is so small that the share is 0 in float32.

```python
# keras_bert_scratch/layers/attention.py
bias = (1.0 - ops.cast(padding_mask, dtype)) * MASKED_SCORE
```

Hide *not*, and compute the row of *good* again: the four others have 1 each, so the shares are 1/4,
and the mean is 1/4 · (0, 4) + 1/4 · (4, 0) = (1, 1). *good* is good again.
"""

bias = padding_bias(np.array([[1, 1, 1, 0, 1]]), "float32")
hidden, _ = attend(heads(query), heads(key), heads(value), bias, no_dropout)
print("good, without not:", np.round(np.array(hidden)[0, 0, 4], 3))

"""
## Where queries, keys and values come from

Nobody writes them by hand. Each word comes as one vector x, and three matrices, which training
finds, make the three from it: $Q = xW^Q$, $K = xW^K$, $V = xW^V$. A fourth, $W^O$, mixes what the
heads found. In the package these are dense layers of `MultiHeadAttention`.

To see that the layer does nothing else, let x be our three vectors side by side, 6 numbers, and let
each matrix pick its own two:
"""

x = np.concatenate([query, key, value], axis=1)[None].astype("float32")  # (1, 5, 6)
layer = MultiHeadAttention(num_heads=1, hidden_dim=6, head_dim=2)
layer.build(x.shape)
pick = np.eye(6)
layer.query.set_weights([pick[:, 0:2], np.zeros(2)])
layer.key.set_weights([pick[:, 2:4], np.zeros(2)])
layer.value.set_weights([pick[:, 4:6], np.zeros(2)])
layer.output_projection.set_weights([pick[4:6], np.zeros(6)])

from_layer = np.array(layer(x))[0, :, 4:]
print(np.round(from_layer, 3))

"""
The same five rows. All that BERT adds is size: 12 heads of width 64 in each of 12 layers, each with
its own matrices, so that one head may look for negations, and another at the word before.

## In a trained encoder

tiny-en-1, an encoder in the package, has two layers of two heads. Rows ask, columns are asked, and
each row adds up to one:
"""

model = BertPretrainer.from_pretrained("tiny-en-1")
encoding = model.tokenizer.encode(" ".join(words))
ids = np.array([encoding.token_ids])
outputs = model.encoder(
    {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": np.ones_like(ids)},
    return_attention=True,
)

plot_attention(outputs["attention"], encoding.tokens)

"""
The second head of the first layer looks at the word before: in most rows the strongest cell is one to
the left of the diagonal. Do not read too much into such pictures: what a word takes from another passes through the values
and all layers above. [Chapter 7](07_evaluation.md) asks which words an answer came from.
"""
