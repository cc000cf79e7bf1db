"""The reference tokenizer and real lines."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers


@pytest.fixture(scope="session")
def real_lines() -> list[tuple[str, str]]:
    """Languages and lines, written by hand."""
    with Path(__file__).with_name("lines.tsv").open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file, "excel-tab", quoting=csv.QUOTE_NONE)]


@pytest.fixture(scope="session")
def reference() -> Callable[..., Tokenizer]:
    """Returns a function that makes the reference tokenizer, without added special tokens."""

    def make(
        tokens: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        max_word_length: int = 100,
    ) -> Tokenizer:
        tokenizer = Tokenizer(
            models.WordPiece(
                {token: token_id for token_id, token in enumerate(tokens)},
                unk_token="[UNK]",
                max_input_chars_per_word=max_word_length,
            )
        )
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=lowercase,
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer

    return make
