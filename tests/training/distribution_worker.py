"""One process of a training, started by test_distribution.py with its settings as JSON.

Prints a line of JSON: what it learned, which examples it was given, the error that ended it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary
from keras_bert_scratch.training.distribution import distribution_strategy, shard, state_hash
from keras_bert_scratch.training.optimizers import adamw, bert_optimizer
from keras_bert_scratch.training.resuming import ExactResume

WORDS = "a the very really good great bad awful film movie".split()
BATCH_SIZE = 8
OPTIMIZERS = {
    # Norms that clip in nearly all steps.
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.1),
    "adamw": lambda: adamw(1e-3, total_steps=50, clip_norm=0.1),
    # Three batches for an update, so that an epoch of 10, or of 4, ends between two.
    "accumulating sgd": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, global_clipnorm=0.1, gradient_accumulation_steps=3
    ),
    "accumulating adamw": lambda: bert_optimizer(
        "adamw", 1e-3, total_steps=50, clip_norm=0.1, gradient_accumulation=3
    ),
}


def examples(number: int) -> tuple[list[str], list[str]]:
    """Texts that all differ in length or words, and labels that follow from a word."""
    rng = np.random.default_rng(1)
    texts: dict[str, None] = {}
    while len(texts) < number:
        texts[" ".join(rng.choice(WORDS, size=rng.integers(2, 14)))] = None
    return list(texts), ["negative" if "bad" in text else "positive" for text in texts]


def make(optimizer: str = "sgd", dropout: float = 0.0) -> BertClassifier:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = BertConfig(
        vocab_size=len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        feed_forward_dim=32,
        max_positions=32,
        initializer_range=0.2,
        dropout=dropout,
        attention_dropout=dropout,
    )
    model = BertClassifier(
        BertEncoder(config), ["negative", "positive"], WordPieceTokenizer(Vocabulary(vocabulary))
    )
    model.compile(OPTIMIZERS[optimizer]())
    return model


class Slowly(keras.callbacks.Callback):
    """Says which epoch has ended, and gives the test time to do something about it."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.file.write_text(str(epoch))
        time.sleep(1)


def given(model: BertClassifier, strategy: tf.distribute.Strategy, texts: list[str]) -> Any:
    """Returns the examples that this process is given in two epochs, as their token ids."""
    batches = model.batches(texts, batch_size=BATCH_SIZE, seed=3)
    epochs = []
    for batches.epoch in (0, 1):
        rows: list[list[int]] = []
        for (inputs,) in shard(batches.dataset(), strategy):
            for value in strategy.experimental_local_results(inputs["token_ids"]):
                rows += [[i for i in row if i] for row in value.numpy().tolist()]
        epochs.append(rows)
    return epochs


def run(settings: dict[str, Any]) -> dict[str, Any]:
    keras.utils.clear_session()
    if settings.get("distribute") == "two CPUs":
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = distribution_strategy(settings.get("distribute"))
    keras.utils.set_random_seed(settings.get("seed", 0))
    texts, labels = examples(settings.get("examples", 73))
    with strategy.scope():
        model = make(settings["optimizer"], settings.get("dropout", 0.0))
        resume = ExactResume(settings["checkpoint"], {})
        resume.restore(model)
    result: dict[str, Any] = {"start": resume.epochs_done}
    if settings.get("look"):
        result["given"] = given(model, strategy, texts)
    callbacks = [resume]
    if "progress" in settings:
        callbacks.append(Slowly(settings["progress"]))
    model.fit(
        texts,
        labels,
        batch_size=settings.get("batch_size", BATCH_SIZE),
        epochs=settings.get("epochs", 5),
        initial_epoch=resume.epochs_done,
        validation_data=(texts[:13], labels[:13]),
        callbacks=callbacks,
        verbose=0,
    )
    return {
        **result,
        "updates": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "history": resume.history,
        "hash": state_hash(model),
        "weights": {v.path: keras.ops.convert_to_numpy(v).tolist() for v in model.weights},
        "logits": model.predict(texts[:5], verbose=0).tolist(),
    }


if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()
    if "two CPUs" in sys.argv[1]:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    settings = json.loads(sys.argv[1])
    try:
        result = run(settings)
        result["then"] = [run(settings | changes) for changes in settings.get("then", [])]
        print(json.dumps(result))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        raise
