"""Real weights, live against transformers: fetches the demo's checkpoint."""

import numpy as np
import pytest
import torch
import transformers

from keras_bert_scratch import BertEncoder, WordPieceTokenizer
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint, load_encoder
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

pytestmark = pytest.mark.slow

TEXTS = [
    "a film to remember",
    "An Über-café, naïve & déjà vu! " * 12,
    "这部电影太棒了，值得再看。",
    "one word after another " * 40,
]
PAIRS = ["or not?", "", "一 二", "the end"]


def test_every_hidden_state_and_the_pooled_output(as_torch) -> None:
    checkpoint = find_checkpoint("minilm")
    ours: BertEncoder = load_encoder(checkpoint)
    theirs = transformers.BertModel.from_pretrained(checkpoint).eval()
    inputs = tokenizer_graph(WordPieceTokenizer.from_directory(checkpoint))(
        TEXTS, PAIRS, sequence_length=128
    )
    found = ours(inputs, return_hidden_states=True)
    with torch.no_grad():
        expected = theirs(**as_torch(inputs), output_hidden_states=True)
    is_token = inputs["padding_mask"].numpy()[..., None]
    for one, other in zip(found["hidden_states"], expected.hidden_states, strict=True):
        np.testing.assert_allclose(one * is_token, other.numpy() * is_token, atol=1e-5)
    np.testing.assert_allclose(found["pooled_output"], expected.pooler_output.numpy(), atol=1e-5)
