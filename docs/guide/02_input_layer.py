"""Title: The input layer.

Description: Three tables whose rows are added: what a token is, where it stands, and to which text
it belongs.

A token's number means nothing by itself: token 17 is not larger than token 16. The input layer
looks up a row of numbers for it, its *embedding*, which training can move.
"""

import keras
import numpy as np

from keras_bert_scratch import BertConfig, BertEncoder, BertPretrainer
from keras_bert_scratch.evaluation.plots import plot_positions
from keras_bert_scratch.layers.embeddings import BertEmbeddings, sinusoidal_positions

"""
## Three tables

Attention, [the next chapter](03_attention.md), does not know the order of words. So the position
has an embedding, too, and so has the segment: 0 for the first text, 1 for the second of a pair.
The three rows are added and normalized (Devlin et al. 2018, figure 2):

$$x_s = \\mathrm{LayerNorm}(E^{token}_{id_s} + E^{position}_s + E^{segment}_{seg_s})$$

```python
# keras_bert_scratch/layers/embeddings.py
x = self.token(token_ids) + self.segment(segment_ids) + positions
return self.output_dropout(self.norm(x), training=training)
```

Here are tables small enough to add in the head: 4 tokens, 3 positions, 2 segments, width 2.
"""

layer = BertEmbeddings(vocab_size=4, hidden_dim=2, max_positions=3, dropout=0.0)
layer.build((None, None))
layer.token.set_weights([np.array([[0, 0], [1, 0], [0, 2], [3, 3]])])
layer.position.set_weights([np.array([[0, 0], [10, 0], [20, 0]])])
layer.segment.set_weights([np.array([[0, 0], [0, 100]])])

token_ids, segment_ids = np.array([[1, 2, 3]]), np.array([[0, 0, 1]])
total = layer.token(token_ids) + layer.segment(segment_ids) + layer.position(np.arange(3))
print(np.array(total[0]))

"""
Token 2 at position 1 in segment 0: (0, 2) + (10, 0) + (0, 0) = (10, 2). Token 3 at position 2 in
segment 1: (3, 3) + (20, 0) + (0, 100) = (23, 103).

The layer norm then subtracts the mean of each row and divides by its standard deviation. A row of
two numbers becomes (−1, 1) or (1, −1), whatever it was:
"""

print(np.round(np.array(layer(token_ids, segment_ids)[0]), 3))

"""
With 768 numbers instead of 2, far more is left.

## Positions without learning

The Transformer's first positions were not learned, but waves of many lengths (Vaswani et al. 2017,
section 3.5):

$$PE(p, 2i) = \\sin(p / 10000^{2i/H}) \\qquad PE(p, 2i+1) = \\cos(p / 10000^{2i/H})$$

```python
# keras_bert_scratch/layers/embeddings.py
angle = position / np.power(10000.0, even_columns / hidden_dim)
table[:, 0::2] = np.sin(angle)
table[:, 1::2] = np.cos(angle)[:, : hidden_dim // 2]
```

Position 0 is (0, 1, 0, 1, …), since sin 0 = 0 and cos 0 = 1. Columns on the left turn fast, those
on the right slowly: like the hands of a clock, together they tell any position.

BERT learns its positions instead, which costs a row for each and knows none beyond the last. Here
are both: waves, and the table that tiny-en-1, a small encoder in the package, has learned.
"""

waves = sinusoidal_positions(128, 128)
encoder = BertPretrainer.from_pretrained("tiny-en-1").encoder
learned = encoder.embeddings.position.get_weights()[0]

plot_positions(waves)

"""
On the left the table, on the right the cosine between each two of its rows: how alike two positions
are. The learned table:
"""

plot_positions(learned)

"""
Along the diagonal, neighbours are alike in both. The waves have it by construction; the learned
table found out from text that near words belong together.

An encoder takes either, by one argument of its config:
"""

for kind in ["learned", "sinusoidal"]:
    encoder = BertEncoder(BertConfig.preset("tiny", position_embedding=kind))
    size = sum(int(keras.ops.size(weight)) for weight in encoder.embeddings.trainable_weights)
    print(f"{kind:10} {size:,} weights in the input layer")
