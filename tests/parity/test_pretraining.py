"""Pretraining heads and Google's checkpoints, live against transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import (
    NEXT_SENTENCE,
    encoder_weights,
    masked_language_model_weights,
    pooler_weights,
)
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(35))]))


def their_config(**fields: Any) -> Any:
    return transformers.BertConfig(
        vocab_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        hidden_size=12,
        intermediate_size=20,
        max_position_embeddings=16,
        **fields,
    )


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = np.array([12, 7, 10])
    return {
        # transformers gives the row of its padding token, 0, no gradient.
        "token_ids": rng.integers(1, 40, (3, 12), dtype="int32"),
        "segment_ids": rng.integers(2, size=(3, 12), dtype="int32"),
        "padding_mask": (np.arange(12) < lengths[:, None]).astype("int32"),
        "masked_positions": np.array([[1, 4, 11], [0, 2, 6], [9, 3, 5]], "int32"),
    }


def at_positions(logits: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    positions = batch["masked_positions"][..., None]
    return np.take_along_axis(logits.detach().numpy(), positions, axis=1)


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    TOKENIZER.save(folder)


def assert_close(ours: Any, theirs: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=0, atol=atol)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_both_heads(
    activation: str, batch: dict[str, np.ndarray], tmp_path: Path, as_torch, randomized, load_there
) -> None:
    theirs = randomized(transformers.BertForPreTraining(their_config(hidden_act=activation)))
    save(theirs, tmp_path / "theirs")
    model = BertPretrainer.from_pretrained(tmp_path / "theirs")
    expected = theirs(**as_torch(batch))
    outputs = model(batch)
    assert_close(outputs["masked_language_model"], at_positions(expected.prediction_logits, batch))
    assert_close(outputs["next_sentence"], expected.seq_relationship_logits.detach())

    # And back: nothing missing, nothing unexpected, every weight the same.
    model.save_pretrained(tmp_path / "ours")
    weights = load_there("BertForPreTraining", tmp_path / "ours").state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(weights[name], tensor), name


def test_masked_language_model_alone(
    batch: dict[str, np.ndarray], tmp_path: Path, as_torch, randomized, load_there
) -> None:
    theirs = randomized(transformers.BertForMaskedLM(their_config()))
    save(theirs, tmp_path / "theirs")
    model = BertPretrainer.from_pretrained(tmp_path / "theirs")
    assert model.next_sentence is None
    logits = model(batch)["masked_language_model"]
    assert_close(logits, at_positions(theirs(**as_torch(batch)).logits, batch))
    model.save_pretrained(tmp_path / "ours")
    again = load_there("BertForMaskedLM", tmp_path / "ours")
    assert_close(logits, at_positions(again(**as_torch(batch)).logits, batch))


def test_loss_and_gradients(
    batch: dict[str, np.ndarray], tmp_path: Path, as_torch, randomized, assert_same_gradients
) -> None:
    """All slots are used, so that the fixed denominator is the number of masked positions."""
    theirs = randomized(transformers.BertForPreTraining(their_config()))
    save(theirs, tmp_path)
    model = BertPretrainer.from_pretrained(tmp_path)
    masked_ids = np.array([[7, 8, 9], [10, 11, 12], [13, 14, 15]], "int32")
    follows = np.array([0, 1, 1], "int32")
    labels = np.full((3, 12), -100)
    np.put_along_axis(labels, batch["masked_positions"], masked_ids, axis=1)
    expected = theirs(
        **as_torch(batch),
        labels=torch.tensor(labels).long(),
        next_sentence_label=torch.tensor(follows).long(),
    )
    expected.loss.backward()

    model.compile("sgd")
    truth = {"masked_language_model": masked_ids, "next_sentence": follows}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=truth, y_pred=model(batch))
    assert_close(loss, expected.loss.detach())
    rows = (
        *encoder_weights(model.encoder.config),
        *pooler_weights(model.encoder.config),
        *masked_language_model_weights(model.encoder.config),
        *NEXT_SENTENCE,
    )
    gradients = tape.gradient(loss, [at(model, row.ours).value for row in rows])
    assert_same_gradients(rows, gradients, theirs, atol=1e-6)


def test_fill_mask(tmp_path: Path, randomized) -> None:
    theirs = randomized(transformers.BertForMaskedLM(their_config()))
    save(theirs, tmp_path)
    pipeline = transformers.pipeline(
        "fill-mask",
        model=theirs,
        tokenizer=transformers.BertTokenizer.from_pretrained(tmp_path, split_special_tokens=False),
        top_k=3,
    )
    model = BertPretrainer.from_pretrained(tmp_path)
    text = "w3 [MASK] w17 w5 [MASK] w9"
    for ours, reference in zip(model.fill_mask(text, top_k=3), pipeline(text), strict=True):
        assert list(ours) == [guess["token_str"] for guess in reference]
        assert_close(list(ours.values()), [guess["score"] for guess in reference])


def write_google_checkpoint(folder: Path, theirs: Any) -> None:
    """Writes a checkpoint as google-research/bert's TensorFlow 1 code does, by its own names."""
    config = theirs.config
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {
        "bert/embeddings/word_embeddings": (config.vocab_size, hidden),
        "bert/embeddings/position_embeddings": (config.max_position_embeddings, hidden),
        "bert/embeddings/token_type_embeddings": (config.type_vocab_size, hidden),
        "bert/embeddings/LayerNorm/gamma": (hidden,),
        "bert/embeddings/LayerNorm/beta": (hidden,),
        "bert/pooler/dense/kernel": (hidden, hidden),
        "bert/pooler/dense/bias": (hidden,),
        "cls/predictions/transform/dense/kernel": (hidden, hidden),
        "cls/predictions/transform/dense/bias": (hidden,),
        "cls/predictions/transform/LayerNorm/gamma": (hidden,),
        "cls/predictions/transform/LayerNorm/beta": (hidden,),
        "cls/predictions/output_bias": (config.vocab_size,),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
    }
    for n in range(config.num_hidden_layers):
        layer = f"bert/encoder/layer_{n}"
        for part in ("self/query", "self/key", "self/value", "output/dense"):
            shapes[f"{layer}/attention/{part}/kernel"] = (hidden, hidden)
            shapes[f"{layer}/attention/{part}/bias"] = (hidden,)
        shapes[f"{layer}/intermediate/dense/kernel"] = (hidden, inner)
        shapes[f"{layer}/intermediate/dense/bias"] = (inner,)
        shapes[f"{layer}/output/dense/kernel"] = (inner, hidden)
        shapes[f"{layer}/output/dense/bias"] = (hidden,)
        for part in ("attention/output", "output"):
            shapes[f"{layer}/{part}/LayerNorm/gamma"] = (hidden,)
            shapes[f"{layer}/{part}/LayerNorm/beta"] = (hidden,)
    rng = np.random.default_rng(0)
    compat = tf.compat.v1
    with tf.Graph().as_default(), compat.Session() as session:
        for name, shape in shapes.items():
            values = rng.normal(0, 0.3, shape) + name.endswith("gamma")
            compat.get_variable(name, initializer=values.astype("float32"))
            # What the optimizer leaves beside every weight.
            compat.get_variable(f"{name}/adam_m", initializer=np.zeros(shape, "float32"))
        compat.get_variable("global_step", initializer=np.int64(7))
        session.run(compat.global_variables_initializer())
        compat.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    fields = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    fields += ("intermediate_size", "hidden_act", "hidden_dropout_prob", "type_vocab_size")
    fields += ("attention_probs_dropout_prob", "max_position_embeddings", "initializer_range")
    document = {name: getattr(config, name) for name in fields}
    (folder / "bert_config.json").write_text(json.dumps(document))
    TOKENIZER.vocabulary.to_file(folder / "vocab.txt")


def their_conversion(folder: Path, theirs: Any) -> Any:
    """Is the converter that transformers shipped until version 4 (load_tf_weights_in_bert)."""
    reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
    for name in reader.get_variable_to_shape_map():
        parts = name.split("/")
        if parts[-1] in ("adam_m", "adam_v", "global_step"):
            continue
        array = reader.get_tensor(name)
        pointer = theirs
        for part in parts:
            scope = part.rsplit("_", 1) if part.startswith("layer_") else [part]
            if scope[0] in ("kernel", "gamma", "output_weights"):
                pointer = pointer.weight
            elif scope[0] in ("output_bias", "beta"):
                pointer = pointer.bias
            else:
                pointer = getattr(pointer, scope[0])
            if len(scope) > 1:
                pointer = pointer[int(scope[1])]
        if part.endswith("_embeddings"):
            pointer = pointer.weight
        elif part == "kernel":
            array = array.T
        assert pointer.shape == array.shape, name
        pointer.data = torch.from_numpy(array.copy())
    theirs.tie_weights()
    return theirs.eval()


def test_google_checkpoint(
    batch: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture, as_torch
) -> None:
    theirs = transformers.BertForPreTraining(their_config())
    write_google_checkpoint(tmp_path, theirs)
    their_conversion(tmp_path, theirs)
    model = BertPretrainer.from_pretrained(tmp_path)
    assert caplog.text == ""  # nothing new, nothing left over
    expected = theirs(**as_torch(batch))
    outputs = model(batch)
    assert_close(outputs["masked_language_model"], at_positions(expected.prediction_logits, batch))
    assert_close(outputs["next_sentence"], expected.seq_relationship_logits.detach())

    classifier = BertClassifier.from_pretrained(tmp_path, labels=["a", "b"])
    pooled = classifier.encoder(batch)["pooled_output"]
    assert_close(pooled, theirs.bert(**as_torch(batch)).pooler_output.detach())


def test_a_model_made_here_loads_there(
    tiny_config: Any, random_inputs: Callable, tmp_path: Path, as_torch, load_there
) -> None:
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(25))])
    model = BertPretrainer(BertEncoder(tiny_config), WordPieceTokenizer(vocabulary))
    model.save_pretrained(tmp_path)
    theirs = load_there("BertForPreTraining", tmp_path)
    inputs = random_inputs(tiny_config)
    inputs["masked_positions"] = np.array([[0, 6], [1, 2], [0, 0]], "int32")
    expected = theirs(**as_torch(inputs))
    outputs = model(inputs)
    assert_close(outputs["masked_language_model"], at_positions(expected.prediction_logits, inputs))
    assert_close(outputs["next_sentence"], expected.seq_relationship_logits.detach())
