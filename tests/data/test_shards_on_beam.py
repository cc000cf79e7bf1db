"""Apache Beam writes the same bytes as one process does."""

from pathlib import Path

import numpy as np
import pytest

from keras_bert_scratch.data.shards import ShardSettings, write_shards
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

pytestmark = pytest.mark.beam

TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *"abcdefgh", "."]))


def test_the_same_bytes_on_the_direct_runner(tmp_path: Path) -> None:
    pytest.importorskip("apache_beam")
    from keras_bert_scratch.data.shards_on_beam import write_shards_with_beam

    rng = np.random.default_rng(0)
    sources = []
    for name in ("one", "two", "three"):
        documents = (
            " ".join(f"{' '.join(rng.choice(list('ABCDEFGH'), 6))}." for _ in range(5))
            for _ in range(6)
        )
        sources.append(tmp_path / f"{name}.txt")
        sources[-1].write_text("\n\n".join(documents))
    settings = ShardSettings(sequence_length=16, repeats=2, static_masking=0.15)
    write_shards(sources, tmp_path / "here", TOKENIZER, settings)
    write_shards_with_beam(sources[::-1], tmp_path / "beam", TOKENIZER, settings)
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("here", "beam")
    )
    assert len(here) == 7
    assert there == here
