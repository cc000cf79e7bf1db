"""Real weights, live against transformers: fetches the demo's checkpoint, so it is run by name.

.venv/bin/python -m pytest tests/parity/test_minilm.py -m slow
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from keras_bert_scratch import BertEncoder, WordPieceTokenizer
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run `make parity`")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: run `make parity`"
)
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "sentiment.py"
TEXTS = [
    "a film to remember",
    "An Über-café, naïve & déjà vu! " * 12,
    "这部电影太棒了，值得再看。",
    "one word after another " * 40,
]
PAIRS = ["or not?", "", "一 二", "the end"]


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    spec = importlib.util.spec_from_file_location("sentiment", EXAMPLE)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fetch_checkpoint()


def test_every_hidden_state_and_the_pooled_output(checkpoint: Path) -> None:
    ours: BertEncoder = load_encoder(checkpoint)
    theirs = transformers.BertModel.from_pretrained(checkpoint).eval()
    inputs = tokenizer_graph(WordPieceTokenizer.from_directory(checkpoint))(
        TEXTS, PAIRS, sequence_length=128
    )
    found = ours(inputs, return_hidden_states=True)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(inputs["token_ids"].numpy()).long(),
            token_type_ids=torch.tensor(inputs["segment_ids"].numpy()).long(),
            attention_mask=torch.tensor(inputs["padding_mask"].numpy()).long(),
            output_hidden_states=True,
        )
    is_token = inputs["padding_mask"].numpy()[..., None]
    for one, other in zip(found["hidden_states"], expected.hidden_states, strict=True):
        np.testing.assert_allclose(one * is_token, other.numpy() * is_token, atol=1e-5)
    np.testing.assert_allclose(found["pooled_output"], expected.pooler_output.numpy(), atol=1e-5)
