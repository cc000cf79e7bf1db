"""Title: The block and the encoder.

Description: Attention, a feed-forward network, and two additions that keep what was there; then a
stack of such blocks.

Attention moves what words say from one to another. The rest of a block works on each word alone.
"""

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch import BertConfig, BertEncoder, BertPretrainer
from keras_bert_scratch.layers.encoder_block import EncoderBlock
from keras_bert_scratch.layers.feed_forward import FeedForward, gelu

"""
## The feed-forward network

Two dense layers, the same for every position: to four times the width, and back (Vaswani et al.
2017, equation 2):

$$\\mathrm{FFN}(x) = \\mathrm{gelu}(x W_1 + b_1) W_2 + b_2$$

```python
# keras_bert_scratch/layers/feed_forward.py
return self.contract(ACTIVATIONS[self.activation](self.expand(x)))
```

GELU multiplies a number by the probability that a standard normal number is smaller: large numbers
pass, very negative ones become 0, and around 0 it is smooth.

$$\\mathrm{gelu}(x) = \\frac{x}{2} \\left(1 + \\mathrm{erf}\\left(\\frac{x}{\\sqrt{2}}\\right)\\right)$$

```python
# keras_bert_scratch/layers/feed_forward.py
return 0.5 * x * (1.0 + ops.erf(x * (1.0 / math.sqrt(2.0))))
```
"""

x = np.linspace(-4, 4, 201).astype("float32")
figure = Figure(figsize=(5, 3), layout="constrained")
axes = figure.add_subplot()
axes.plot(x, np.maximum(x, 0), label="relu", color="#b0b0b0")
axes.plot(x, np.array(gelu(x)), label="gelu")
axes.grid(alpha=0.3)
axes.legend()
figure

"""
## The block

A block is attention and feed-forward network, each with an addition and a layer norm around it:

$$a = \\mathrm{LayerNorm}(x + \\mathrm{Attention}(x))$$

$$y = \\mathrm{LayerNorm}(a + \\mathrm{FFN}(a))$$

```python
# keras_bert_scratch/layers/encoder_block.py
x = self.attention_norm(x + self.attention_output_dropout(attended, training=training))
transformed = self.feed_forward(x)
x = self.feed_forward_norm(
```

The additions (*residuals*) matter most: a block that has learned nothing yet passes on what came
in, and gradients reach the lowest layer undiminished. With all matrices zero, a block only
normalizes:
"""

config = BertConfig(
    vocab_size=30, num_layers=1, num_heads=2, hidden_dim=4, feed_forward_dim=8, max_positions=8
)
block = EncoderBlock(config)
block.build((None, None, 4))
for layer in (block.attention.output_projection, block.feed_forward.contract):
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])

row = np.array([[[1.0, 2.0, 3.0, 6.0]]], "float32")
print(np.round(np.array(block(row)), 3) + 0.0)
print(np.round((row - row.mean()) / row.std(), 3) + 0.0)

"""
The mean of 1, 2, 3 and 6 is 3, the mean of the squared differences (4 + 1 + 0 + 9) / 4 = 3.5, and
its root 1.871: so 1 becomes −2/1.871 = −1.069.

## How many weights

Each block has 4 matrices of H × H in attention and 2 of H × F, with F = 4H: 12 H² in all, without
biases and norms. For BERT base, H = 768: 7.1 million, times 12 blocks. The input layer has another
24 million, most of them for tokens.
"""


def size(layer):
    """Returns the number of weights."""
    return sum(int(keras.ops.size(weight)) for weight in layer.weights)


print(f"12 H²                  {12 * 768**2:>11,}")
feed_forward = FeedForward(hidden_dim=768, feed_forward_dim=3072)
feed_forward.build((None, None, 768))
print(f"feed-forward network   {size(feed_forward):>11,}")

print("\nof the preset tiny, H = 128")
tiny = BertEncoder(BertConfig.preset("tiny"))
for layer in (tiny.embeddings, *tiny.blocks, tiny.pooler):
    print(f"{layer.name:22} {size(layer):>11,}")

"""
## The encoder

The encoder is the input layer, then one block after another:

```python
# keras_bert_scratch/models/encoder.py
x = self.embeddings(inputs["token_ids"], inputs["segment_ids"], training=training)
attention_bias = padding_bias(inputs["padding_mask"], self.compute_dtype)
```

It returns a vector for each token, `sequence_output`, and one for the text, `pooled_output`: the
vector of `[CLS]`, passed through a dense layer. Padding changes nothing, to float32's last digits:
"""

model = BertPretrainer.from_pretrained("tiny-en-1")
ids = np.array([model.tokenizer.encode("he opened the door").token_ids])
padded = np.pad(ids, [(0, 0), (0, 5)])


def encode(token_ids):
    """Runs the encoder on one text, whose padding is 0."""
    inputs = {"token_ids": token_ids, "segment_ids": 0 * token_ids}
    return model.encoder({**inputs, "padding_mask": np.sign(token_ids)})


alone, filled = encode(ids), encode(padded)
print(alone["sequence_output"].shape, alone["pooled_output"].shape)
difference = alone["sequence_output"] - filled["sequence_output"][:, : ids.shape[1]]
print("largest difference by padding:", f"{np.abs(np.array(difference)).max():.0e}")

"""
## The same word, twice

A word's vector depends on its neighbours; that is what a stack of blocks is for. *light* means two
things below. The cosine between its two vectors, after the input layer and after each block:
"""


def states(text, word):
    """Returns a word's vector after the embeddings and after each block."""
    encoding = model.tokenizer.encode(text)
    ids = np.array([encoding.token_ids])
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": np.sign(ids)}
    outputs = model.encoder(inputs, return_hidden_states=True)
    place = encoding.tokens.index(word)
    return [np.array(state)[0, place] for state in outputs["hidden_states"]]


first = states("the bag was very light", "light")
second = states("there was light in the window", "light")
for number, (a, b) in enumerate(zip(first, second, strict=True)):
    print(f"after layer {number}: cosine {a @ b / np.linalg.norm(a) / np.linalg.norm(b):.2f}")
