"""The vocabulary: token <-> id, its files and its training."""

import heapq
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_bert_scratch.extras import installation
from keras_bert_scratch.files import new_file, read_json, read_text
from keras_bert_scratch.tables import shortened
from keras_bert_scratch.text.normalization import BertNormalizer

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
# Marks the tokens that continue a word.
CONTINUATION = "##"
# Most characters of a line that are read at once: bounds the memory for files without line breaks.
_LINE_LIMIT = 1 << 20


class Vocabulary:
    """Ordered tokens; a token's id is its position.

    Args:
        tokens: The tokens, continuations of words marked with "##". [PAD], [UNK], [CLS] and [SEP]
            must be among them; [MASK] may be missing until `mask_id` is read.

    Attributes:
        pad_id: Id of [PAD].
        unk_id: Id of [UNK].
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].

    Raises:
        ValueError: If it is empty, a token comes twice, or a special token is missing.

    Example:
        >>> vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", "##s"])
        >>> vocabulary.token_to_id("##s"), vocabulary.id_to_token(4), len(vocabulary)
        (5, 'film', 6)
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        if not self.tokens:
            raise ValueError("The vocabulary is empty: it needs one token a line, such as [PAD].")
        try:
            "".join(self.tokens).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise ValueError(
                f"The vocabulary has a token that is not a text ({error}): remove it."
            ) from error
        self._ids = {token: token_id for token_id, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ValueError(f"The vocabulary has {_duplicates(self.tokens)}: remove all but one.")
        missing = [token for token in (PAD, UNK, CLS, SEP) if token not in self._ids]
        if missing:
            raise ValueError(
                f"The vocabulary of {len(self.tokens)} tokens lacks {', '.join(missing)}: BERT "
                "needs these special tokens, add them."
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (
            self._ids[token] for token in (PAD, UNK, CLS, SEP)
        )

    def token_to_id(self, token: str) -> int:
        """Returns a token's id.

        Raises:
            KeyError: If the vocabulary lacks it.
        """
        if token not in self._ids:
            raise KeyError(f"The vocabulary of {len(self)} tokens lacks {token!r}.")
        return self._ids[token]

    def id_to_token(self, token_id: int) -> str:
        """Returns the token of an id.

        Raises:
            IndexError: If the id is not from 0 to the size of the vocabulary - 1.
        """
        if not 0 <= token_id < len(self):
            raise IndexError(f"Token ids go from 0 to {len(self) - 1}, received {token_id}.")
        return self.tokens[token_id]

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(tuple(self.tokens))

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self):,} tokens: {shortened(' '.join(self.tokens[:40]), 60)}>"

    @property
    def mask_id(self) -> int:
        """Id of [MASK].

        Raises:
            ValueError: If the vocabulary has no [MASK].
        """
        if MASK not in self._ids:
            raise ValueError(
                f"The vocabulary of {len(self)} tokens lacks [MASK], which masked language "
                "modelling needs: add it."
            )
        return self._ids[MASK]

    @property
    def special_tokens(self) -> list[str]:
        """The tokens among [PAD], [UNK], [CLS], [SEP] and [MASK] that the vocabulary has."""
        return [token for token in SPECIAL_TOKENS if token in self._ids]

    @classmethod
    def from_file(cls, path: str | Path) -> "Vocabulary":
        """Reads vocab.txt, a token a line, or the vocabulary inside a tokenizer.json.

        White space at the end of a line does not belong to the token, as in the reference
        (`WordPiece.from_file` of Hugging Face `tokenizers`).

        Args:
            path: A file whose name ends in .json is read as tokenizer.json, any other as vocab.txt.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is empty or too large for a vocabulary, is not UTF-8, has a
                token twice, lacks a special token, or is the tokenizer.json of another model.
        """
        path = Path(path)
        content: Any = read_json(path) if path.suffix == ".json" else read_text(path)
        try:
            if path.suffix == ".json":
                return cls(_tokens_of_tokenizer_json(content))
            # Not splitlines(): U+2028 and the like are tokens of real vocabularies.
            lines = content.removesuffix("\n").split("\n") if content else []
            return cls([line.rstrip() for line in lines])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def to_file(self, path: str | Path) -> None:
        """Writes vocab.txt, one token a line; the id is the line's number, from 0."""
        with new_file(path) as temporary:
            temporary.write_bytes("".join(f"{token}\n" for token in self.tokens).encode())


def _duplicates(tokens: Sequence[str], shown: int = 5) -> str:
    """Describes the tokens that come twice, with their line numbers from 1."""
    first_line: dict[str, int] = {}
    found = []
    for line, token in enumerate(tokens, start=1):
        if first_line.setdefault(token, line) != line:
            found.append(f"{token!r} in lines {first_line[token]} and {line}")
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return f"{len(found)} duplicate entries, {'; '.join(found[:shown])}{more}"


def _tokens_of_tokenizer_json(content: dict[str, Any]) -> list[str]:
    """Returns the tokens of a tokenizer.json in the order of their ids."""
    model = content.get("model")
    if not isinstance(model, dict):
        raise ValueError("it has no model: it may be damaged, fetch it again.")
    kind = model.get("type")
    # Files of early versions of `tokenizers` lack the type.
    if kind is None and "continuing_subword_prefix" in model:
        kind = "WordPiece"
    if kind != "WordPiece":
        raise ValueError(
            f"the tokenizer.json is of the model type {kind!r}, only 'WordPiece' is BERT's: use a "
            "checkpoint with a WordPiece tokenizer, or load_encoder, which takes ready ids."
        )
    if (prefix := model.get("continuing_subword_prefix", CONTINUATION)) != CONTINUATION:
        raise ValueError(
            f"continuations of words are marked with {prefix!r}, BERT marks with '##'."
        )
    if (unknown := model.get("unk_token", UNK)) != UNK:
        raise ValueError(f"the unknown token is {unknown!r}, BERT's is '[UNK]'.")
    try:
        ids: dict[str, int] = dict(model["vocab"])
        ids.update({token["content"]: token["id"] for token in content.get("added_tokens") or []})
        tokens = sorted(ids, key=ids.__getitem__)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"its vocab and added_tokens do not give every token an id ({error!r}): it may be "
            "damaged, fetch it again."
        ) from error
    if sorted(ids.values()) != list(range(len(tokens))):
        raise ValueError(f"the ids of its {len(tokens)} tokens are not 0 to {len(tokens) - 1}.")
    return tokens


def train_vocabulary(
    files: Sequence[str | Path],
    size: int,
    *,
    min_frequency: int = 2,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Vocabulary:
    """Learns a WordPiece vocabulary from raw text with Hugging Face's `tokenizers`.

    The files are read twice, a line at a time: for their characters, then for their words. Memory
    grows with the number of different words, not with the size of the files. The same files give
    the same vocabulary: the trainer breaks ties by the numbers of characters, which are random
    unless it gets the characters in a fixed order, as here.

    Args:
        files: UTF-8 text files.
        size: Most tokens, including the special ones. At most half of them are single characters,
            the most frequent ones.
        min_frequency: How often a character or a pair of tokens must occur to become a token.
        lowercase: See `WordPieceTokenizer`, which will use the vocabulary.
        strip_accents: See `WordPieceTokenizer`.
        tokenize_chinese_chars: See `WordPieceTokenizer`.
        progress: Called with the stage, "characters" or "words", and the share of the bytes that
            is read, from 0 to 1.

    Returns:
        The vocabulary: special tokens, characters, then longer tokens by their frequency.

    Raises:
        ModuleNotFoundError: If `tokenizers` is not installed.
        ValueError: If there are no files, they hold no text or are not UTF-8, or `size` is too
            small for characters.
    """
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Training a vocabulary needs the package tokenizers: {installation('vocabulary')}."
        ) from error
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("There are no files to train a vocabulary from: give at least one.")
    room = (size - len(SPECIAL_TOKENS)) // 2
    if room < 1:
        raise ValueError(f"size must be {len(SPECIAL_TOKENS) + 2} or more, received {size}.")
    strips = lowercase if strip_accents is None else strip_accents
    normalizer = BertNormalizer(lowercase, strips, tokenize_chinese_chars)
    counts = Counter[str]()
    for line in _read_lines(paths, "characters", progress):
        counts.update(line)
    starts, continuations = _alphabet(counts, normalizer, room, min_frequency)
    if not starts:
        raise ValueError(
            f"The {len(paths)} files hold no character {min_frequency} times or more: they are too "
            "small to train a vocabulary from."
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *starts, *continuations],
        initial_alphabet=starts,
        limit_alphabet=len(starts),
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strips,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(_read_lines(paths, "words", progress), trainer)
    ids = tokenizer.get_vocab()
    return Vocabulary(sorted(ids, key=ids.__getitem__))


def _read_lines(
    paths: Sequence[Path], stage: str, progress: Callable[[str, float], None] | None
) -> Iterator[str]:
    total = sum(path.stat().st_size for path in paths) or 1
    done = 0
    for path in paths:
        with path.open("rb") as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            number = 0
            try:
                while line := text.readline(_LINE_LIMIT):
                    number += 1
                    yield line
                    if progress and number % 1000 == 0:
                        progress(stage, (done + file.tell()) / total)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} is not UTF-8 ({error.reason} near line {number + 1}): convert it."
                ) from error
        done += path.stat().st_size
    if progress:
        progress(stage, 1.0)


def _alphabet(
    counts: Counter[str], normalizer: BertNormalizer, room: int, min_frequency: int
) -> tuple[list[str], list[str]]:
    """Chooses the tokens of one character: those that start a word, and those that continue it."""
    normalized = Counter[str]()
    alone: set[str] = set()
    for character, count in counts.items():
        new = normalizer.replace(ord(character))
        alone.update(new.split() if new.startswith(" ") else ())
        for part in new.replace(" ", ""):
            normalized[part] += count
    frequent = [c for c, count in normalized.items() if count >= min_frequency]
    kept = sorted(heapq.nsmallest(room, frequent, key=lambda c: (-normalized[c], c)))
    return kept, [CONTINUATION + character for character in kept if character not in alone]
