"""One process of a training, started by test_distribution.py with its settings as JSON.

Prints a line of JSON: what it learned, which examples it was given, the error that ended it.
"""

import functools
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
from keras_bert_scratch.data.spans import GoldAnswer, Question
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.question_answerer import BertQuestionAnswerer
from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary
from keras_bert_scratch.training.distribution import distribution_strategy, shard, state_hash
from keras_bert_scratch.training.losses import CosineSimilarityLoss
from keras_bert_scratch.training.optimizers import adamw, bert_optimizer
from keras_bert_scratch.training.resuming import ExactResume

WORDS = "a the very really good great bad awful film movie".split()
BATCH_SIZE = 8
STRATEGY = functools.cache(distribution_strategy)  # a process joins a cluster once
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


def make(optimizer: str = "sgd", dropout: float = 0.0, task: str = "classifier") -> Any:
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
    tokenizer, encoder = WordPieceTokenizer(Vocabulary(vocabulary)), BertEncoder(config)
    options: dict[str, Any] = {}
    if task == "classifier":
        model = BertClassifier(encoder, ["negative", "positive"], tokenizer)
    elif task == "tagger":
        model = BertTokenClassifier(encoder, ["O", "B-film", "I-film"], tokenizer)
    elif task == "answerer":
        model = BertQuestionAnswerer(
            encoder, tokenizer, sequence_length=12, max_question_length=3, max_answer_length=3
        )
    elif task == "summarizer":
        model = BertSummarizer(encoder, BertDecoder(config), tokenizer, summary_length=16)
    elif task == "sentence encoder":
        model = BertSentenceEncoder(encoder, tokenizer)
        options["loss"] = CosineSimilarityLoss()
    else:
        model = BertPretrainer(encoder, tokenizer)
    model.compile(OPTIMIZERS[optimizer](), **options)
    return model


def data(task: str, texts: list[str], labels: list[str]) -> tuple[Any, Any]:
    """Returns what `fit` takes for a task."""
    if task == "tagger":
        words = [text.split() for text in texts]
        return words, [["B-film" if word == "film" else "O" for word in row] for row in words]
    if task == "answerer":
        questions = []
        for number, text in enumerate(texts):
            word = text.split()[number % 2]
            answer = GoldAnswer(word, text.index(word))
            questions.append(Question("film", text, answers=(answer,)))
        return questions, None
    if task == "summarizer":
        return texts, [" ".join(text.split()[: 1 + len(text) % 7]) for text in texts]
    if task == "sentence encoder":
        pair = (texts, texts[::-1])
        return pair, [len(text) / 100 for text in texts]
    if task == "pretrainer":
        return pretraining_batches(len(texts)), None
    return texts, labels


def pretraining_batches(number: int) -> tf.data.Dataset:
    """Draws batches whose rows have one to three masked positions."""
    rng = np.random.default_rng(2)
    ids = rng.integers(5, 5 + len(WORDS), (number, 9), dtype="int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    inputs["masked_positions"] = np.tile(np.array([1, 4, 7], "int32"), (number, 1))
    labels = {"masked_language_model": ids[:, [1, 4, 7]], "next_sentence": ids[:, 0] % 2}
    weights = {
        "masked_language_model": (np.arange(3) < rng.integers(1, 4, (number, 1))).astype("float32"),
        "next_sentence": np.ones(number, "float32"),
    }
    return tf.data.Dataset.from_tensor_slices((inputs, labels, weights)).batch(BATCH_SIZE)


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
        strategy = STRATEGY(settings.get("distribute"))
    keras.utils.set_random_seed(settings.get("seed", 0))
    texts, labels = examples(settings.get("examples", 73))
    task = settings.get("task", "classifier")
    x, y = data(task, texts, labels)
    held_out_x, held_out_y = data(task, texts[:13], labels[:13])
    with strategy.scope():
        model = make(settings["optimizer"], settings.get("dropout", 0.0), task)
        resume = ExactResume(settings["checkpoint"], {})
        resume.restore(model)
    result: dict[str, Any] = {"start": resume.epochs_done}
    if settings.get("look"):
        result["given"] = given(model, strategy, texts)
    callbacks = [resume]
    if "progress" in settings:
        callbacks.append(Slowly(settings["progress"]))
    model.fit(
        x,
        y,
        **({} if task == "pretrainer" else {"batch_size": settings.get("batch_size", BATCH_SIZE)}),
        epochs=settings.get("epochs", 5),
        initial_epoch=resume.epochs_done,
        validation_data=held_out_x if held_out_y is None else (held_out_x, held_out_y),
        callbacks=callbacks,
        verbose=0,
    )
    if task in ("tagger", "answerer"):
        result["evaluated"] = model.evaluate(x, y)
    if task == "summarizer":
        result["evaluated"] = {"summary": model.summarize(texts[:2])}
    if task == "classifier":
        result["logits"] = model.predict(texts[:5], verbose=0).tolist()
    return {
        **result,
        "updates": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "history": resume.history,
        "hash": state_hash(model),
        "weights": {v.path: keras.ops.convert_to_numpy(v).tolist() for v in model.weights},
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
