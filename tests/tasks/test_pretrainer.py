"""The pretrainer: its losses by hand, its answers, and what it writes and reads."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from keras_bert_scratch.training.optimizers import bert_optimizer
from keras_bert_scratch.training.privacy import DifferentialPrivacy

WORDS = "paris is the capital of france . it lies in ##s a b c d e f g h i j k l m n".split()
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *WORDS]))
assert len(TOKENIZER.vocabulary) == 30


@pytest.fixture
def model(tiny_config: BertConfig) -> BertPretrainer:
    keras.utils.set_random_seed(0)
    config = BertConfig.from_dict({**tiny_config.to_dict(), "initializer_range": 0.3})
    return BertPretrainer(BertEncoder(config), TOKENIZER)


@pytest.fixture
def batch() -> tuple[dict[str, Any], ...]:
    rng = np.random.default_rng(0)
    inputs = {
        "token_ids": rng.integers(5, 30, (4, 9), dtype="int32"),
        "segment_ids": np.repeat([[0] * 4 + [1] * 5], 4, axis=0).astype("int32"),
        "padding_mask": np.ones((4, 9), "int32"),
        "masked_positions": rng.integers(9, size=(4, 3), dtype="int32"),
    }
    labels = {
        "masked_language_model": rng.integers(5, 30, (4, 3), dtype="int32"),
        "next_sentence": np.array([0, 1, 1, 0], "int32"),
    }
    weights = {
        "masked_language_model": np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], "float32"),
        "next_sentence": np.ones(4, "float32"),
    }
    return inputs, labels, weights


def log_softmax(logits: Any) -> np.ndarray:
    logits = np.array(logits, "float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_losses_and_metrics_of_a_batch_by_hand(
    model: BertPretrainer, batch: tuple[dict[str, Any], ...]
) -> None:
    inputs, labels, weights = batch
    logits = model(inputs)
    masked = log_softmax(logits["masked_language_model"])
    entropies = np.array(
        [[-masked[b, p, labels["masked_language_model"][b, p]] for p in range(3)] for b in range(4)]
    )
    used = [entropies[0, 0], entropies[0, 1], entropies[0, 2]]
    used += [entropies[1, 0], entropies[1, 1], entropies[2, 0]]
    follows = log_softmax(logits["next_sentence"])
    next_loss = -(follows[0, 0] + follows[1, 1] + follows[2, 1] + follows[3, 0]) / 4
    hits = [
        np.argmax(masked[b, p]) == labels["masked_language_model"][b, p]
        for b, p in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0))
    ]
    model.compile("sgd")
    logs = model.evaluate(inputs, labels, sample_weight=weights, verbose=0, return_dict=True)
    # The denominator is all 4 x 3 slots, whatever number of them is used.
    assert logs["masked_language_model_loss"] == pytest.approx(sum(used) / 12, rel=1e-5)
    assert logs["next_sentence_loss"] == pytest.approx(next_loss, rel=1e-5)
    assert logs["loss"] == pytest.approx(sum(used) / 12 + next_loss, rel=1e-5)
    # Accuracy and perplexity are of the masked positions alone.
    perplexity = np.exp(sum(used) / 6)
    assert logs["masked_language_model_perplexity"] == pytest.approx(perplexity, rel=1e-5)
    assert logs["masked_language_model_accuracy"] == pytest.approx(sum(hits) / 6)
    follow_hits = np.argmax(follows, -1) == labels["next_sentence"]
    assert logs["next_sentence_accuracy"] == pytest.approx(follow_hits.mean())


def test_accumulated_gradients_are_those_of_the_large_batch(
    tiny_config: BertConfig, batch: tuple[dict[str, Any], ...]
) -> None:
    """Rows have 3, 2, 1 and no masked positions: a denominator of their own would show."""
    results = []
    for accumulation in (1, 2):
        keras.utils.set_random_seed(0)
        config = {**tiny_config.to_dict(), "dropout": 0.0, "attention_dropout": 0.0}
        model = BertPretrainer(BertEncoder(BertConfig.from_dict(config)))
        model.compile(
            bert_optimizer(
                "adamw", 0.1, total_steps=2, warmup_ratio=0.0, gradient_accumulation=accumulation
            )
        )
        inputs, labels, weights = batch
        history = model.fit(
            inputs,
            labels,
            sample_weight=weights,
            batch_size=4 // accumulation,
            shuffle=False,
            verbose=0,
        )
        results.append((history.history["loss"][0], model.get_weights()))
    # Adam's first step is of the gradient's sign: compare where it is not rounding alone.
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    close = [np.isclose(a, b, atol=1e-3) for a, b in zip(results[0][1], results[1][1], strict=True)]
    assert np.mean(np.concatenate([c.ravel() for c in close])) > 0.97


def test_it_learns_to_fill_masks(model: BertPretrainer) -> None:
    encoding = TOKENIZER.encode("paris is the capital of france.")
    ids = np.array([encoding.token_ids] * 8, "int32")
    inputs = {
        "token_ids": np.where(np.arange(9) == 4, TOKENIZER.vocabulary.mask_id, ids),
        "segment_ids": 0 * ids,
        "padding_mask": 0 * ids + 1,
        "masked_positions": np.full((8, 1), 4, "int32"),
    }
    labels = {"masked_language_model": ids[:, 4:5], "next_sentence": ids[:, 0] * 0}
    model.compile(bert_optimizer("adamw", 0.01, total_steps=40))
    model.fit(inputs, labels, batch_size=8, epochs=30, verbose=0)
    (guesses,) = model.fill_mask("Paris is the [MASK] of France.")
    assert len(guesses) == 5
    assert next(iter(guesses)) == "capital"
    assert guesses["capital"] > 0.5
    assert list(guesses.values()) == sorted(guesses.values(), reverse=True)
    assert len(model.fill_mask("[MASK] is [MASK]", top_k=2)) == 2


def test_private_pretraining_is_refused(model: BertPretrainer) -> None:
    privacy = DifferentialPrivacy(noise_multiplier=1.0, delta=1e-5)
    with pytest.raises(ValueError, match="a DifferentialPrivacy: .* fine-tune a BertClassifier"):
        model.compile("sgd", training_step=privacy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Paris is the capital.", r"The text has no \[MASK\]: write it where"),
        ("[MASK]" + " a" * 14, "The text has 17 tokens, the model reads 16: shorten it"),
    ],
)
def test_fill_mask_refuses(model: BertPretrainer, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.fill_mask(text)


def test_an_encoder_goes_on_to_other_tasks(
    model: BertPretrainer,
    batch: tuple[dict[str, Any], ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model.save_pretrained(tmp_path / "model")
    # The heads stay behind.
    classifier = BertClassifier.from_pretrained(tmp_path / "model", labels=["a", "b"])
    np.testing.assert_array_equal(
        classifier.encoder(batch[0])["sequence_output"],
        model.encoder(batch[0])["sequence_output"],
    )
    # And a checkpoint without heads gets new ones.
    classifier.save_pretrained(tmp_path / "classifier")
    caplog.clear()
    fresh = BertPretrainer.from_pretrained(tmp_path / "classifier", next_sentence=True)
    assert "Newly initialized, to be trained: masked_language_model.dense.kernel" in caplog.text
    assert fresh(batch[0])["next_sentence"].shape == (4, 2)


def test_the_teachers_head_by_hand(
    tiny_config: BertConfig, batch: tuple[dict[str, Any], ...]
) -> None:
    inputs, labels, weights = batch
    inputs["padding_mask"][1, 4:] = 0
    model = BertPretrainer(BertEncoder(tiny_config), TOKENIZER, next_sentence=False, teacher_dim=3)
    outputs = model(inputs)
    states = np.array(model.encoder(inputs)["sequence_output"], "float64")
    mask = inputs["padding_mask"][:, :, None]
    means = (states * mask).sum(axis=1) / mask.sum(axis=1)
    kernel, bias = (np.array(w, "float64") for w in model.teacher_vector.weights)
    found = means @ kernel + bias
    np.testing.assert_allclose(outputs["teacher_vector"], found, atol=1e-5)

    wanted = np.random.default_rng(1).normal(size=(4, 3))
    model.compile("sgd", loss_weights={"masked_language_model": 0.0, "teacher_vector": 2.0})
    labels = {"masked_language_model": labels["masked_language_model"], "teacher_vector": wanted}
    weights = {
        "masked_language_model": weights["masked_language_model"],
        "teacher_vector": np.ones(4, "float32"),
    }
    logs = model.test_on_batch(inputs, labels, weights, return_dict=True)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = ((found * wanted).sum(axis=1) / lengths).mean()
    assert logs["teacher_vector_cosine"] == pytest.approx(cosine, abs=1e-5)
    assert logs["loss"] == pytest.approx(-2 * cosine, abs=1e-5)


def test_without_the_head_for_hidden_tokens(tiny_config: BertConfig, tmp_path: Path) -> None:
    heads = {"masked_language_model": False, "next_sentence": False, "teacher_dim": 3}
    model = BertPretrainer(BertEncoder(tiny_config), TOKENIZER, **heads)
    with pytest.raises(ValueError, match="make it with masked_language_model=True"):
        model.fill_mask("paris is [MASK]")
    model.save_pretrained(tmp_path / "m")
    encoder = BertSentenceEncoder.from_pretrained(tmp_path / "m")
    assert (encoder.pooling, encoder.normalize) == ("mean", False)
    texts = ["paris is the capital", "a b c"]
    wanted = BertSentenceEncoder(model.encoder, TOKENIZER, normalize=False).encode(texts)
    np.testing.assert_allclose(encoder.encode(texts), wanted, atol=1e-6)
    assert BertClassifier.from_pretrained(tmp_path / "m", labels=["a", "b"]).pooling == "mean"
    with pytest.raises(ValueError, match="A pretrainer needs a head"):
        BertPretrainer(BertEncoder(tiny_config), **{**heads, "teacher_dim": None})


def test_replaced_tokens_by_hand(
    tiny_config: BertConfig, batch: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    inputs, labels, weights = batch
    true_ids = inputs["token_ids"].copy()
    # The second text has padding, and two of its slots are not used.
    inputs["padding_mask"][1, 6:] = 0
    inputs["masked_positions"] = np.array([[1, 4, 8], [3, 0, 0], [2, 3, 7], [1, 5, 6]], "int32")
    is_hidden = np.zeros((4, 9), bool)
    np.put_along_axis(is_hidden, inputs["masked_positions"], True, axis=1)
    is_hidden[:, 0] = False
    inputs["token_ids"][is_hidden] = TOKENIZER.vocabulary.mask_id
    config = BertConfig.from_dict({**tiny_config.to_dict(), "initializer_range": 0.3})
    model = BertPretrainer(BertEncoder(config), TOKENIZER, next_sentence=False, generator_layers=1)
    # The generator is sure of one token.
    model.masked_language_model.bias.assign(np.eye(30)[17] * 1e4)
    outputs = {name: np.array(value) for name, value in model(inputs).items()}
    read = np.where(is_hidden, 17, true_ids)
    np.testing.assert_array_equal(outputs["replaced_tokens"][..., 1], read)
    of_numpy = model({name: value.astype("int64") for name, value in inputs.items()})
    np.testing.assert_array_equal(of_numpy["replaced_tokens"][..., 1], read)

    states = np.array(model.encoder({**inputs, "token_ids": read})["sequence_output"])
    logits = np.array(
        model.replaced_tokens.logit(
            keras.activations.gelu(model.replaced_tokens.dense(states), approximate=False)
        )
    )[..., 0]
    np.testing.assert_allclose(outputs["replaced_tokens"][..., 0], logits, atol=1e-5)

    labels = {**labels, "replaced_tokens": true_ids}
    weights = {**weights, "replaced_tokens": inputs["padding_mask"].astype("float32")}
    heads = {"masked_language_model": 0.0, "replaced_tokens": 2.0}
    model.compile("sgd", loss_weights=heads)
    logs = model.test_on_batch(
        inputs,
        *({name: values[name] for name in heads} for values in (labels, weights)),
        return_dict=True,
    )
    is_replaced, is_token = read != true_ids, inputs["padding_mask"] == 1
    losses = np.logaddexp(0, np.where(is_replaced, -logits, logits))
    # As of hidden tokens: the sum of what counts, over all places.
    assert logs["loss"] == pytest.approx(2 * losses[is_token].sum() / 36, rel=1e-4)
    is_right = (logits > 0) == is_replaced
    assert logs["replaced_tokens_accuracy"] == pytest.approx(is_right[is_token].mean())

    model.save_pretrained(tmp_path / "m")
    saved = BertEncoder.from_pretrained(tmp_path / "m")
    np.testing.assert_allclose(
        saved({**inputs, "token_ids": read})["sequence_output"], states, atol=1e-6
    )
    copy = BertPretrainer.from_config(model.get_config())
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]


def test_guesses_are_drawn(tiny_config: BertConfig) -> None:
    """Each token as often as the generator finds it probable."""
    model = BertPretrainer(
        BertEncoder(tiny_config), TOKENIZER, next_sentence=False, generator_layers=1
    )
    shares = np.array([0.5, 0.25, 0.25])
    logits = np.full((2000, 1, 30), -1e9, "float32")
    logits[..., 5:8] = np.log(shares)
    inputs = {
        "token_ids": np.full((2000, 2), 9, "int32"),
        "masked_positions": np.ones((2000, 1), "int32"),
    }
    read = np.array(model._with_guesses(inputs, keras.ops.convert_to_tensor(logits)))
    assert (read[:, 0] == 9).all()
    found = np.bincount(read[:, 1], minlength=30)[5:8] / 2000
    np.testing.assert_allclose(found, shares, atol=4 * (0.25 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"next_sentence": True}, "received True and True: a generator guesses hidden tokens"),
        (
            {"masked_language_model": False, "next_sentence": False, "teacher_dim": 3},
            "needs masked",
        ),
    ],
)
def test_heads_that_do_not_go_with_a_generator(
    tiny_config: BertConfig, heads: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"generator_layers is 1, which .*{message}"):
        BertPretrainer(BertEncoder(tiny_config), generator_layers=1, **heads)
