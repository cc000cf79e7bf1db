"""A summarizer in transformers' EncoderDecoderModel, both ways: weights, logits, generation."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
import transformers

from keras_bert_scratch.models.beam_search import GREEDY, BeamSearch
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(35))]))
PAD, CLS, SEP = (TOKENIZER.vocabulary.token_to_id(token) for token in ("[PAD]", "[CLS]", "[SEP]"))


@pytest.fixture
def as_torch(as_torch):
    """Returns the function for models without segments."""
    return functools.partial(as_torch, has_segments=False)


@pytest.fixture(scope="module")
def theirs(randomized) -> Any:
    sizes = {
        "vocab_size": 40,
        "num_attention_heads": 3,
        "hidden_size": 12,
        "intermediate_size": 20,
        "max_position_embeddings": 16,
    }
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.BertConfig(num_hidden_layers=3, hidden_act="gelu_new", **sizes),
        transformers.BertConfig(num_hidden_layers=2, **sizes),
        decoder_start_token_id=CLS,
        eos_token_id=SEP,
        pad_token_id=PAD,
    )
    model = randomized(transformers.EncoderDecoderModel(config), scale=1.5)
    with torch.no_grad():
        model.decoder.cls.predictions.bias[SEP] += 5.0  # so that some summaries end early
    return model


@pytest.fixture(scope="module")
def ours(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> BertSummarizer:
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    TOKENIZER.save(folder)
    return BertSummarizer.from_pretrained(folder, summary_length=10)


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "token_ids": rng.integers(5, 40, (6, 12), dtype="int32"),
        "segment_ids": np.zeros((6, 12), "int32"),
        "padding_mask": (np.arange(12) < np.array([[12, 7, 10, 12, 5, 1]]).T).astype("int32"),
        "target_ids": rng.integers(5, 40, (6, 8), dtype="int32"),
    }


@pytest.fixture
def their_logits(as_torch) -> Callable[..., np.ndarray]:
    def run(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
        targets = torch.tensor(batch["target_ids"]).long()
        with torch.no_grad():
            inputs = as_torch(batch)
            return model(**inputs, decoder_input_ids=targets).logits.numpy()

    return run


@pytest.fixture
def written(ours: BertSummarizer, theirs: Any, as_torch) -> Callable[..., np.ndarray]:
    """Returns a function that has both write summaries, and asserts that they are the same."""

    def write(
        batch: dict[str, np.ndarray],
        num_beams: int = 1,
        length_penalty: float = 1.0,
        forbidden_words: tuple[str, ...] = (),
        **options: Any,
    ) -> np.ndarray:
        search = GREEDY if num_beams == 1 else BeamSearch(num_beams, length_penalty)
        found = np.array(ours.generate(batch, search, forbidden_words=forbidden_words, **options))
        forbidden = [TOKENIZER.encode(word).token_ids[1:-1] for word in forbidden_words]
        reference = theirs.generate(
            **as_torch(batch),
            max_length=10,
            num_beams=num_beams,
            do_sample=False,
            length_penalty=length_penalty,
            early_stopping="never" if num_beams > 1 else False,
            bad_words_ids=forbidden or None,
            **options,
        )
        assert_same_tokens(found, reference)
        return found

    return write


@pytest.fixture
def set_bias(
    ours: BertSummarizer, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Returns a function that adds to the bias of both models' heads, for one test."""
    parameter, variable = theirs.decoder.cls.predictions.bias, ours.decoder.head.bias
    own = variable.numpy()

    def assign(added: np.ndarray) -> None:
        bias = (own + added).astype("float32")
        monkeypatch.setattr(parameter, "data", torch.tensor(bias))
        variable.assign(bias)

    yield assign
    variable.assign(own)


def test_logits(
    ours: BertSummarizer, theirs: Any, batch: dict[str, np.ndarray], their_logits
) -> None:
    assert (ours.encoder.config.num_layers, ours.decoder.config.num_layers) == (3, 2)
    np.testing.assert_allclose(ours(batch), their_logits(theirs, batch), rtol=0, atol=1e-5)


def test_and_back(
    ours: BertSummarizer,
    theirs: Any,
    batch: dict[str, np.ndarray],
    tmp_path: Path,
    as_torch,
    load_there,
    their_logits,
) -> None:
    ours.save_pretrained(tmp_path / "ours")
    again = load_there("EncoderDecoderModel", tmp_path / "ours")
    weights = again.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    np.testing.assert_allclose(ours(batch), their_logits(again, batch), rtol=0, atol=1e-5)
    # A model saved by us generates there without further settings.
    inputs = as_torch(batch)
    reference = again.generate(**inputs, max_length=10, num_beams=1, do_sample=False)
    assert_same_tokens(ours.generate(batch), reference)


def assert_same_tokens(ours: Any, reference: Any) -> None:
    reference = reference.numpy()
    # Their beam search fills up with [SEP] instead of [PAD] where the id of [PAD] is 0.
    is_end = reference == SEP
    reference = np.where(np.cumsum(is_end, axis=1) - is_end > 0, PAD, reference)
    missing = ours.shape[1] - reference.shape[1]
    padded = np.pad(reference, ((0, 0), (0, missing)), constant_values=PAD)
    np.testing.assert_array_equal(ours, padded)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_greedy(batch: dict[str, np.ndarray], n: int, written) -> None:
    written(batch, no_repeat_ngram_size=n)


@pytest.mark.parametrize("num_beams", [2, 4])
def test_beams(batch: dict[str, np.ndarray], num_beams: int, written) -> None:
    is_ended: set[bool] = set()
    for length_penalty in (0.0, 0.7, 1.0, 2.0):
        found = written(batch, num_beams, length_penalty)
        is_ended |= set((found == SEP).any(axis=1).tolist())
    assert is_ended == {True, False}  # both by [SEP] and by the length


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("num_beams", [2, 4])
def test_beams_without_repeated_ngrams(
    batch: dict[str, np.ndarray], num_beams: int, n: int, written, set_bias
) -> None:
    # A few probable tokens, so that n-grams come again.
    set_bias(np.where((np.arange(40) >= 5) & (np.arange(40) < 11), 3.0, 0.0))
    for seed in range(4):
        batch["token_ids"] = np.random.default_rng(seed).integers(5, 40, (6, 12), dtype="int32")
        written(batch, num_beams, no_repeat_ngram_size=n)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("min_length", [0, 4, 10])
def test_least_length_and_forbidden_words(
    batch: dict[str, np.ndarray], num_beams: int, min_length: int, written, set_bias
) -> None:
    # Words are more probable than special tokens.
    set_bias(np.where((np.arange(40) >= 5) | (np.arange(40) == SEP), 5.0, 0.0))
    free = written(batch, num_beams, min_length=10)
    # What would be written: single tokens, and two and three in a row.
    starts = [row[1 : 1 + n].tolist() for row, n in zip(free, (1, 2, 3, 2, 1, 3), strict=True)]
    words = [" ".join(f"w{i - 5}" for i in ids if i >= 5) for ids in starts]
    words = [word for word in words if word]
    assert {len(word.split()) for word in words} >= {1, 2}
    for number in (0, 1, len(words)):
        forbidden = tuple(words[:number])
        found = written(batch, num_beams, forbidden_words=forbidden, min_length=min_length)
        if min_length == 10:
            assert np.array_equal(found, free) == (number == 0)


def test_warm_start_from_an_encoder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keras.utils.set_random_seed(0)
    config = transformers.BertConfig(
        vocab_size=40,
        num_hidden_layers=3,
        num_attention_heads=3,
        hidden_size=12,
        intermediate_size=20,
        max_position_embeddings=16,
    )
    theirs = transformers.BertForMaskedLM(config)
    theirs.save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path)
    model = BertSummarizer.from_pretrained(tmp_path, summary_length=8, num_decoder_layers=2)
    assert "the decoder's cross-attention" in caplog.text
    weights = theirs.state_dict()
    layer = "bert.encoder.layer.1.attention.self.query.weight"
    for network in (model.encoder, model.decoder):
        query = network.blocks[1].attention.query.kernel
        np.testing.assert_array_equal(query, weights[layer].numpy().T)
        embeddings = network.embeddings.token.embeddings
        np.testing.assert_array_equal(embeddings, weights["bert.embeddings.word_embeddings.weight"])
    head = weights["cls.predictions.transform.dense.weight"].numpy().T
    np.testing.assert_array_equal(model.decoder.head.dense.kernel, head)
