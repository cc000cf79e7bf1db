"""How a tokenizer fits texts: split and unknown words; what MediaPipe would read differently."""

from collections.abc import Iterable
from typing import NamedTuple

from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import CONTINUATION, SPECIAL_TOKENS


class VocabularyStatistics(NamedTuple):
    """How a vocabulary fits texts.

    Attributes:
        num_texts: Texts read.
        num_words: Words after normalization, punctuation marks included.
        num_pieces: Tokens of the words.
        coverage: Share of the words that are one token, and not [UNK].
        unknown_share: Share of the pieces that are [UNK].
        pieces_per_word: Mean number of tokens per word.
        longest_tokens: The longest tokens of the vocabulary, from the longest on.
    """

    num_texts: int
    num_words: int
    num_pieces: int
    coverage: float
    unknown_share: float
    pieces_per_word: float
    longest_tokens: list[str]


def vocabulary_statistics(
    tokenizer: WordPieceTokenizer, texts: Iterable[str | bytes], *, num_longest: int = 10
) -> VocabularyStatistics:
    """Measures how a tokenizer's vocabulary fits texts.

    Args:
        tokenizer: The tokenizer with its vocabulary.
        texts: Any number of texts; they are read once.
        num_longest: Number of the longest tokens to return.

    Raises:
        ValueError: If the texts have no words.
    """
    num_texts = num_words = num_pieces = num_whole = num_unknown = 0
    unknown = [tokenizer.vocabulary.unk_id]
    for text in texts:
        num_texts += 1
        for pieces in tokenizer.words(text):
            num_words += 1
            num_pieces += len(pieces)
            num_unknown += pieces == unknown
            num_whole += len(pieces) == 1 and pieces != unknown
    if not num_words:
        raise ValueError(f"The {num_texts} texts have no words: there is nothing to measure.")
    tokens = [token for token in tokenizer.vocabulary.tokens if token not in SPECIAL_TOKENS]
    tokens.sort(key=lambda token: (-len(token.removeprefix(CONTINUATION)), token))
    return VocabularyStatistics(
        num_texts=num_texts,
        num_words=num_words,
        num_pieces=num_pieces,
        coverage=num_whole / num_words,
        unknown_share=num_unknown / num_pieces,
        pieces_per_word=num_pieces / num_words,
        longest_tokens=tokens[:num_longest],
    )


class PhoneDifferences(NamedTuple):
    """Texts that MediaPipe's on-device tokenizer tokenizes differently.

    Attributes:
        num_texts: Texts compared.
        num_different: Those with other ids.
        examples: The first five of them.
    """

    num_texts: int
    num_different: int
    examples: list[str]


def phone_differences(tokenizer: WordPieceTokenizer, texts: Iterable[str]) -> PhoneDifferences:
    """Compares a tokenizer with MediaPipe's on-device tokenizer.

    Args:
        tokenizer: The tokenizer with which the model is trained.
        texts: A corpus.
    """
    phone = WordPieceTokenizer(
        tokenizer.vocabulary, normalization="mediapipe", errors=tokenizer.errors
    )
    num_texts, different = 0, []
    for text in texts:
        num_texts += 1
        if tokenizer.encode(text).token_ids != phone.encode(text).token_ids:
            different.append(text)
    return PhoneDifferences(num_texts, len(different), different[:5])
