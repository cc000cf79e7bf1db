from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.models.beam_search import GREEDY, BeamSearch
from keras_bert_scratch.models.decoder import BertDecoder

START, END, PAD = 1, 2, 0


@pytest.fixture
def decoder(tiny_config: Any) -> BertDecoder:
    keras.utils.set_random_seed(0)
    decoder = BertDecoder(tiny_config)
    rng = np.random.default_rng(0)
    # Far from the usual initial values, so that all of them show.
    for weight in decoder.weights:
        is_scale = "gamma" in weight.path
        weight.assign(rng.normal(1.0 if is_scale else 0.0, 0.4, weight.shape))
    return decoder


@pytest.fixture
def encoded() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "sequence_output": rng.normal(size=(3, 6, 8)).astype("float32"),
        "padding_mask": (np.arange(6) < np.array([[6], [4], [1]])).astype("int32"),
    }


@pytest.fixture
def token_ids() -> np.ndarray:
    return np.random.default_rng(2).integers(30, size=(3, 7), dtype="int32")


def test_a_token_sees_none_that_follow(decoder, encoded, token_ids):
    logits = np.array(decoder({"token_ids": token_ids, **encoded}))
    changed = token_ids.copy()
    changed[:, 4:] = (changed[:, 4:] + 1) % 30
    again = np.array(decoder({"token_ids": changed, **encoded}))
    np.testing.assert_array_equal(logits[:, :4], again[:, :4])
    assert (np.abs(logits[:, 4:] - again[:, 4:]).max(axis=-1) > 1e-3).all()


def test_what_the_mask_hides_does_not_matter(decoder, encoded, token_ids):
    logits = np.array(decoder({"token_ids": token_ids, **encoded}))
    hidden = encoded["padding_mask"] == 0
    states = np.where(hidden[:, :, None], 5.0, encoded["sequence_output"])
    again = decoder({"token_ids": token_ids, **encoded, "sequence_output": states})
    np.testing.assert_allclose(logits, again, atol=1e-5)
    states = np.where(hidden[:, :, None], encoded["sequence_output"], 5.0)
    other = np.array(decoder({"token_ids": token_ids, **encoded, "sequence_output": states}))
    assert np.abs(logits - other).max() > 1e-3


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_cached_decoding_equals_uncached(decoder, encoded, token_ids, position_embedding):
    fields = {**decoder.config.to_dict(), "position_embedding": position_embedding}
    other = BertDecoder.from_config({"config": fields})
    by_path = {weight.path.split("/", 1)[1]: weight for weight in decoder.weights}
    for weight in other.weights:
        weight.assign(by_path[weight.path.split("/", 1)[1]])
    at_once = np.array(other({"token_ids": token_ids, **encoded}))
    memory, cache = other.memory(**encoded), other.empty_cache(3, 7)
    for position in range(7):
        logits, cache = other.step(token_ids[:, position], position, cache, memory)
        np.testing.assert_allclose(logits, at_once[:, position], atol=1e-5)


def test_continuations_of_one_text_share_its_memory(decoder, encoded, token_ids):
    memory, cache = decoder.memory(**encoded), decoder.empty_cache(6, 7)
    tokens = np.arange(6, dtype="int32")
    shared, _ = decoder.step(tokens, 0, cache, memory)
    repeated = {name: np.repeat(array, 2, axis=0) for name, array in encoded.items()}
    alone, _ = decoder.step(tokens, 0, cache, decoder.memory(**repeated))
    np.testing.assert_allclose(shared, alone, atol=1e-6)


def generate(decoder, encoded, sampler=GREEDY, length=9, **options):
    ids = {"start_id": START, "end_id": END, "pad_id": PAD}
    return np.array(decoder.generate(**encoded, sampler=sampler, length=length, **ids, **options))


def test_greedy_generation_is_the_argmax_of_uncached_logits(decoder, encoded):
    tokens = generate(decoder, encoded)
    for row in range(3):
        so_far = [START]
        states = {name: array[row : row + 1] for name, array in encoded.items()}
        while len(so_far) < 9 and so_far[-1] != END:
            logits = decoder({"token_ids": np.array([so_far]), **states})[0, -1]
            so_far.append(int(np.argmax(logits)))
        assert tokens[row].tolist() == so_far + [PAD] * (9 - len(so_far))


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("sampler", [GREEDY, BeamSearch(3)], ids=["greedy", "beams"])
def test_the_same_in_a_graph_of_any_batch(decoder, encoded, sampler, num_layers):
    """Grappler rewrites loops by what is in them, not always rightly."""
    decoder.blocks = decoder.blocks[:num_layers]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 8), tf.float32),
            tf.TensorSpec((None, None), tf.int32),
        ]
    )
    def graph(sequence_output, padding_mask):
        states = {"sequence_output": sequence_output, "padding_mask": padding_mask}
        ids = {"start_id": START, "end_id": END, "pad_id": PAD}
        return decoder.generate(**states, sampler=sampler, length=9, no_repeat_ngram_size=2, **ids)

    expected = generate(decoder, encoded, sampler, no_repeat_ngram_size=2)
    np.testing.assert_array_equal(graph(**encoded), expected)
    # Nothing that a stock server may lack.
    operations = {op.type for op in graph.get_concrete_function().graph.get_operations()}
    functions = graph.get_concrete_function().graph.as_graph_def().library.function
    operations |= {node.op for function in functions for node in function.node_def}
    assert not {name for name in operations if name.startswith("Xla")}


def test_ngrams_come_once(decoder, encoded):
    decoder.head.bias.assign(np.where(np.isin(np.arange(30), [5, 6]), 50.0, 0.0))  # 5 and 6 only
    free, blocked = (
        generate(decoder, encoded, length=12, no_repeat_ngram_size=n)[:, 1:] for n in (0, 2)
    )
    pairs = [list(zip(row[:-1].tolist(), row[1:].tolist(), strict=True)) for row in blocked]
    assert set(free.ravel().tolist()) <= {5, 6}
    for row in pairs:
        written = [pair for pair in row if PAD not in pair]
        assert len(set(written)) == len(written)


def test_a_token_costs_one_position(decoder, encoded, monkeypatch):
    """Counts what the feed-forward layers of all blocks are given, in eager mode."""
    positions = []
    for block in decoder.blocks:
        monkeypatch.setattr(
            block.feed_forward.expand,
            "call",
            lambda x, call=block.feed_forward.expand.call: positions.append(x.shape[1]) or call(x),
        )
    decoder.head.bias.assign(np.where(np.arange(30) == END, -1e6, 0.0))  # never ends
    generate(decoder, encoded, length=9)
    assert positions == [1] * (8 * len(decoder.blocks))


def test_samplers_of_keras_nlp(decoder, encoded):
    from keras_hub.samplers import TopPSampler  # all of them have one `__call__`

    draws = [generate(decoder, encoded, TopPSampler(seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0][:, 0] == START).all()
    for row in draws[0].tolist():
        assert END not in row or set(row[row.index(END) + 1 :]) <= {PAD}


def test_config_round_trip(decoder):
    again = BertDecoder.from_config(decoder.get_config())
    assert again.get_config() == decoder.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in decoder.weights]
