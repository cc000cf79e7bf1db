"""How a tokenizer fits texts: unknown and split words, and what a phone would read otherwise."""

from collections.abc import Iterable
from typing import NamedTuple

from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import CONTINUATION, SPECIAL_TOKENS


class VocabularyStatistics(NamedTuple):
    """How a vocabulary fits texts.

    Attributes:
        num_texts: Texts read.
        num_words: Words after normalization, punctuation marks included.
        num_pieces: Tokens that they became.
        coverage: Share of the words that are tokens as a whole.
        unknown_share: Share of the pieces that are [UNK].
        pieces_per_word: Mean number of tokens a word.
        longest_tokens: The vocabulary's longest tokens, the longest first.
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
        num_longest: How many of the longest tokens to name.

    Raises:
        ValueError: If the texts have no words.
    """
    num_texts = num_words = num_pieces = num_whole = num_unknown = 0
    unk_id = tokenizer.vocabulary.unk_id
    for text in texts:
        num_texts += 1
        for pieces in tokenizer.words(text):
            num_words += 1
            num_pieces += len(pieces)
            is_unknown = pieces == [unk_id]
            num_unknown += is_unknown
            num_whole += len(pieces) == 1 and not is_unknown
    if not num_words:
        raise ValueError(f"The {num_texts} texts have no words: there is nothing to measure.")
    tokens = [t for t in tokenizer.vocabulary.tokens if t not in SPECIAL_TOKENS]
    return VocabularyStatistics(
        num_texts=num_texts,
        num_words=num_words,
        num_pieces=num_pieces,
        coverage=num_whole / num_words,
        unknown_share=num_unknown / num_pieces,
        pieces_per_word=num_pieces / num_words,
        longest_tokens=sorted(tokens, key=lambda t: (-len(t.removeprefix(CONTINUATION)), t))[
            :num_longest
        ],
    )


class PhoneDifferences(NamedTuple):
    """How many texts MediaPipe's on-device tokenizer would tokenize otherwise.

    Attributes:
        num_texts: Texts compared.
        num_different: Those with other ids.
        examples: The first of them.
    """

    num_texts: int
    num_different: int
    examples: list[str]


def phone_differences(
    tokenizer: WordPieceTokenizer, texts: Iterable[str], *, num_examples: int = 5
) -> PhoneDifferences:
    """Tells how many texts MediaPipe's on-device tokenizer would tokenize otherwise.

    Args:
        tokenizer: What the model is trained with.
        texts: A corpus.
        num_examples: Most texts to return.
    """
    phone = WordPieceTokenizer(
        tokenizer.vocabulary, normalization="mediapipe", errors=tokenizer.errors
    )
    num_texts, num_different = 0, 0
    examples: list[str] = []
    for text in texts:
        num_texts += 1
        if tokenizer.encode(text).token_ids != phone.encode(text).token_ids:
            num_different += 1
            if len(examples) < num_examples:
                examples.append(text)
    return PhoneDifferences(num_texts, num_different, examples)
