"""Title: Beyond.

Description: Smaller and larger models, other optimizers, privacy, robustness, and texts that are
longer than 512 tokens.

Each section is a switch on what the other chapters built.
"""

import keras
import numpy as np

from keras_bert_scratch import (
    AdversarialTraining,
    BertClassifier,
    BertConfig,
    BertEncoder,
    DifferentialPrivacy,
    Distiller,
    adamw,
    bert_optimizer,
    freeze_layers,
    keep_layers,
)
from keras_bert_scratch.evaluation.stress import typos

texts = ["a good film", "a bad film", "a great story", "an awful story"] * 16
labels = ["positive", "negative"] * 32
NAMES = ["negative", "positive"]


def new_classifier():
    """Returns tiny-en with a new head."""
    keras.utils.set_random_seed(0)
    return BertClassifier.from_pretrained("tiny-en", labels=NAMES, sequence_length=32)


"""
## Larger models

The presets are the sizes of the BERT papers; only a config tells them apart. All tasks take any of
them.
"""

for name in ["tiny", "mini", "small", "base", "large"]:
    config = BertConfig.preset(name)
    h, f, layers = config.hidden_dim, config.feed_forward_dim, config.num_layers
    tables = (config.vocab_size + config.max_positions + config.num_segments) * h
    weights = tables + layers * (4 * h * h + 2 * h * f + 9 * h + f) + 2 * h + h * h + h
    print(f"{name:6} {layers:3} layers, {h:5} wide {weights / 1e6:8.1f} million weights")

"""
The sum is that of chapter 4: tables, 12 H² a block, biases and norms. For the smallest, count:
"""

tiny = BertEncoder(BertConfig.preset("tiny"))
print(f"{tiny.count_params() / 1e6:.1f} million")

"""
For more than one GPU or machine, see [scale](../how_to/scale.md); for longer texts, the same page
has ModernBERT's architecture, whose memory grows with the length and not its square.

## Smaller models

Keep some layers, and let a larger model teach what is left (Hinton et al. 2015): the student learns
the teacher's probabilities, which say more than a label.
"""

teacher = new_classifier()
teacher.compile(adamw(1e-3, total_steps=20))
teacher.fit(texts, labels, epochs=5, verbose=0)

student = BertClassifier(keep_layers(teacher.encoder, [0]), NAMES, teacher.tokenizer)
distiller = Distiller(student, teacher)
distiller.compile(adamw(1e-3, total_steps=20))
distiller.fit(texts, labels, epochs=5, verbose=0)
print(f"{teacher.count_params():,} -> {student.count_params():,} weights")
print(student.classify(["a great film"]))

"""
## Other optimizers

AdamW is the default. LAMB is for large batches, Lion keeps one moment instead of two, Muon makes
the updates of matrices orthogonal, and schedule-free needs no plan of the rate. Their figures on
film reviews are in the [benchmarks](../benchmarks.md#optimizers).
"""

RATES = {"adamw": 1e-3, "lamb": 2e-3, "lion": 1e-4, "muon": 1e-3}  # tiny: {"lion": 1e-4}

for name, rate in RATES.items():
    model = new_classifier()
    model.compile(bert_optimizer(name, rate, total_steps=10))
    history = model.fit(texts, labels, epochs=5, verbose=0)
    print(f"{name:6} loss {history.history['loss'][0]:.3f} -> {history.history['loss'][-1]:.3f}")

"""
## Privacy

A model may repeat what it was trained on. Differentially private training clips what each text can
change, and adds noise: whoever sees the weights cannot tell whether one text was in the training.
ε says how well; [what it guarantees](../privacy.md), and what not.
"""

private = new_classifier()
freeze_layers(private.encoder, 2)
step = DifferentialPrivacy(epsilon=8.0, delta=1e-2)
private.compile(keras.optimizers.Adam(1e-3), training_step=step)
private.fit(texts, labels, batch_size=16, epochs=2, verbose=0)
print(f"epsilon spent: {step.to_dict()['epsilon']:.2f}")

"""
## Robustness

Adversarial training moves each text's embeddings a little in the worst direction, and learns from
that, too. Whether it helps against typos is for a measurement: on film reviews it gained
[half a point](../benchmarks.md#adversarial-training).
"""

robust = new_classifier()
robust.compile(adamw(1e-3, total_steps=20), training_step=AdversarialTraining(radius=0.1))
robust.fit(texts, labels, epochs=5, verbose=0)
misspelt = [typos("a really great story with a good ending", seed) for seed in range(3)]
for text, probability in zip(misspelt, robust.probabilities(misspelt)[:, 1], strict=True):
    print(f"{probability:.2f} {text}")

"""
## Other senses

The encoder's blocks do not ask where their vectors come from; pictures cut into patches and sounds
cut into windows of time are sequences, too. The package reads text: what there is so far is the
block, which takes any sequence of vectors.
"""

patches = np.random.default_rng(0).normal(size=(1, 9, 128)).astype("float32")  # 3 x 3 of a picture
print(tiny.blocks[0](patches).shape)
