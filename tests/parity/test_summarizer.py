"""A summarizer in transformers' EncoderDecoderModel, both ways: weights, logits, generation."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_scratch.models.beam_search import GREEDY, BeamSearch
from keras_bert_scratch.tasks.summarizer import BertSummarizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run `make parity`")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: run `make parity`"
)
pytestmark = pytest.mark.parity

TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(35))]))
PAD, CLS, SEP = (TOKENIZER.vocabulary.token_to_id(token) for token in ("[PAD]", "[CLS]", "[SEP]"))


@pytest.fixture(scope="module")
def theirs() -> Any:
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
    model = transformers.EncoderDecoderModel(config)
    torch.manual_seed(0)
    with torch.no_grad():
        # Far from the usual initial values, so that all of them show.
        for name, weight in model.named_parameters():
            mean = 1.0 if "LayerNorm.weight" in name else 0.0
            weight.normal_(mean, 1.5 * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.3)
        model.decoder.cls.predictions.bias[SEP] += 5.0  # so that some summaries end early
    return model.eval()


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


def as_torch(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "input_ids": torch.tensor(batch["token_ids"]).long(),
        "attention_mask": torch.tensor(batch["padding_mask"]).long(),
    }


def their_logits(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    targets = torch.tensor(batch["target_ids"]).long()
    with torch.no_grad():
        return model(**as_torch(batch), decoder_input_ids=targets).logits.numpy()


def test_logits(ours: BertSummarizer, theirs: Any, batch: dict[str, np.ndarray]) -> None:
    assert (ours.encoder.config.num_layers, ours.decoder.config.num_layers) == (3, 2)
    np.testing.assert_allclose(ours(batch), their_logits(theirs, batch), rtol=0, atol=1e-5)


def test_and_back(
    ours: BertSummarizer, theirs: Any, batch: dict[str, np.ndarray], tmp_path: Path
) -> None:
    ours.save_pretrained(tmp_path / "ours")
    again, report = transformers.EncoderDecoderModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    weights = again.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    np.testing.assert_allclose(ours(batch), their_logits(again.eval(), batch), rtol=0, atol=1e-5)
    # A model saved by us generates there without further settings.
    reference = again.generate(**as_torch(batch), max_length=10, num_beams=1, do_sample=False)
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
def test_greedy(ours: BertSummarizer, theirs: Any, batch: dict[str, np.ndarray], n: int) -> None:
    reference = theirs.generate(
        **as_torch(batch), max_length=10, num_beams=1, do_sample=False, no_repeat_ngram_size=n
    )
    found = np.array(ours.generate(batch, GREEDY, no_repeat_ngram_size=n))
    assert_same_tokens(found, reference)


@pytest.mark.parametrize("num_beams", [2, 4])
def test_beams(
    ours: BertSummarizer, theirs: Any, batch: dict[str, np.ndarray], num_beams: int
) -> None:
    is_ended: set[bool] = set()
    for length_penalty in (0.0, 0.7, 1.0, 2.0):
        reference = theirs.generate(
            **as_torch(batch),
            max_length=10,
            num_beams=num_beams,
            length_penalty=length_penalty,
            early_stopping="never",
        )
        found = np.array(ours.generate(batch, BeamSearch(num_beams, length_penalty)))
        assert_same_tokens(found, reference)
        is_ended |= set((found == SEP).any(axis=1).tolist())
    assert is_ended == {True, False}  # both by [SEP] and by the length


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("num_beams", [2, 4])
def test_beams_without_repeated_ngrams(
    ours: BertSummarizer,
    theirs: Any,
    batch: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    num_beams: int,
    n: int,
) -> None:
    # A few probable tokens, so that n-grams come again.
    bias = theirs.decoder.cls.predictions.bias.detach().numpy().copy()
    bias[5:11] += 3.0
    monkeypatch.setattr(theirs.decoder.cls.predictions.bias, "data", torch.tensor(bias))
    own = ours.decoder.head.bias.numpy()
    ours.decoder.head.bias.assign(bias)
    for seed in range(4):
        batch["token_ids"] = np.random.default_rng(seed).integers(5, 40, (6, 12), dtype="int32")
        reference = theirs.generate(
            **as_torch(batch),
            max_length=10,
            num_beams=num_beams,
            early_stopping="never",
            no_repeat_ngram_size=n,
        )
        found = np.array(ours.generate(batch, BeamSearch(num_beams), no_repeat_ngram_size=n))
        assert_same_tokens(found, reference)
    ours.decoder.head.bias.assign(own)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("min_length", [0, 4, 10])
def test_least_length_and_forbidden_words(
    ours: BertSummarizer,
    theirs: Any,
    batch: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    num_beams: int,
    min_length: int,
) -> None:
    # Words are more probable than special tokens.
    own = theirs.decoder.cls.predictions.bias.detach().numpy().copy()
    bias = own + np.where((np.arange(40) >= 5) | (np.arange(40) == SEP), 5.0, 0.0).astype("float32")
    monkeypatch.setattr(theirs.decoder.cls.predictions.bias, "data", torch.tensor(bias))
    ours.decoder.head.bias.assign(bias)
    sampler = GREEDY if num_beams == 1 else BeamSearch(num_beams)
    free = np.array(ours.generate(batch, sampler, min_length=10))
    # What would be written: single tokens, and two and three in a row.
    written = [row[1 : 1 + n].tolist() for row, n in zip(free, (1, 2, 3, 2, 1, 3), strict=True)]
    words = [" ".join(f"w{i - 5}" for i in ids if i >= 5) for ids in written]
    words = [word for word in words if word]
    ids = [TOKENIZER.encode(word).token_ids[1:-1] for word in words]
    assert {len(sequence) for sequence in ids} >= {1, 2}
    for number in (0, 1, len(words)):
        reference = theirs.generate(
            **as_torch(batch),
            max_length=10,
            num_beams=num_beams,
            do_sample=False,
            min_length=min_length,
            bad_words_ids=ids[:number] or None,
            early_stopping="never" if num_beams > 1 else False,
        )
        found = np.array(
            ours.generate(
                batch, sampler, min_length=min_length, forbidden_words=tuple(words[:number])
            )
        )
        assert_same_tokens(found, reference)
        if min_length == 10:
            assert np.array_equal(found, free) == (number == 0)
    ours.decoder.head.bias.assign(own)


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
