"""Texts or pairs -> token ids with offsets, and back: WordPiece as BERT uses it.

This module needs no TensorFlow; `graphs.tokenizer_graph` computes the same ids inside `tf.data` and
SavedModels.
"""

import functools
import html
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

from keras_bert_scratch.files import check_links
from keras_bert_scratch.tables import shortened
from keras_bert_scratch.text.added_tokens import (
    AddedToken,
    Finder,
    check_added_tokens,
    tokens_to_find,
)
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.normalization import (
    BertNormalizer,
    MediaPipeNormalizer,
    Normalization,
    Normalizer,
    Word,
)
from keras_bert_scratch.text.preprocessing import Step, check_steps, step_from_config
from keras_bert_scratch.text.tokenizer_files import (
    read_folder,
    read_tokenizer_json,
    tokenizer_config,
    tokenizer_json,
    write_json,
)
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_sequence_length,
    check_truncation,
    check_window_stride,
    head_and_tail,
    truncated_lengths,
    window_starts,
)
from keras_bert_scratch.text.vocabulary import (
    CLS,
    CONTINUATION,
    SEP,
    SPECIAL_TOKENS,
    Vocabulary,
)

# Spaces that the reference's decoder removes, in its order.
_CLEAN_UP = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
]

# Largest `max_word_length`, and longest words whose tokens are remembered.
_LONGEST_WORD = 10_000
_LONGEST_REMEMBERED = 32

# The settings, which files give, too, with their types or their values.
_TYPES: dict[str, tuple[type, ...]] = {
    "lowercase": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "allow_special_tokens": (bool,),
    "max_word_length": (int,),
}
_VALUES = {"normalization": ("bert", "mediapipe"), "errors": ("replace", "strict")}
# The only settings of MediaPipe's tokenizer.
_MEDIAPIPE = {
    "lowercase": True,
    "strip_accents": False,
    "tokenize_chinese_chars": True,
    "allow_special_tokens": False,
}


class Encoding(NamedTuple):
    """A text, or a pair of texts, as a model reads it.

    Attributes:
        token_ids: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP].
        segment_ids: 0 up to the first [SEP], 1 after it.
        tokens: The tokens of the ids.
        offsets: Start and end of every token in its text, in characters; (0, 0) for [CLS] and
            [SEP]. They refer to the text after `preprocessing`.
        sequence: The text of each token: 0, 1, or None for [CLS] and [SEP].
    """

    token_ids: list[int]
    segment_ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    sequence: list[int | None]

    def __repr__(self) -> str:
        rows: dict[str, list[Any]] = {
            "tokens": self.tokens,
            "ids": self.token_ids,
            "segments": self.segment_ids,
        }
        lines = [
            f"  {name:8} {shortened(' '.join(map(str, row)), 80)}" for name, row in rows.items()
        ]
        return "\n".join([f"<Encoding of {len(self.tokens)} tokens", *lines]) + ">"

    def _repr_html_(self) -> str:
        """Shows each token above its id in a notebook; what is no part of a text is grey."""
        boxes = []
        for token, token_id, segment, sequence in zip(
            self.tokens, self.token_ids, self.segment_ids, self.sequence, strict=True
        ):
            style = "display: inline-block; margin: 2px; padding: 0 4px; text-align: center; "
            style += f"border-bottom: 2px {'dashed' if segment else 'solid'}; "
            style += f"opacity: {0.45 if sequence is None else 1}"
            boxes.append(
                f'<span style="{style}" title="segment {segment}">{html.escape(token)}'
                f'<br><small style="opacity: 0.7">{token_id}</small></span>'
            )
        return (
            f'<div style="font-family: monospace">{"".join(boxes)}<br><small>{len(self.tokens)} '
            "tokens, dashed in the second segment</small></div>"
        )


class _Piece(NamedTuple):
    token_id: int
    start: int
    end: int


class WordPieceTokenizer:
    """BERT's tokenizer, with the ids and offsets of Hugging Face `tokenizers`.

    Args:
        vocabulary: The tokens.
        lowercase: Lower-case the text ("uncased" models).
        strip_accents: Decompose and drop accents; None means the value of `lowercase`.
        tokenize_chinese_chars: Make every CJK character a word.
        allow_special_tokens: Read "[MASK]" and the like in a text as the special tokens, as the
            reference does. By default they are plain text, since strangers could inject them.
        normalization: "bert", or "mediapipe" for the rules of MediaPipe's on-device tokenizer.
        max_word_length: Words of more characters (bytes with "mediapipe") become [UNK]. At most
            10,000.
        errors: How bytes that are not UTF-8 are handled: "replace" as `bytes.decode` does, or
            "strict" to refuse them.
        preprocessing: Steps that change every text before anything else, see `preprocessing.py`.
        added_tokens: Tokens of the vocabulary that are found in a text before it is split into
            words, see `added_tokens.py`; or dicts of their fields. [CLS], [SEP] and the like need
            not be among them, and are found only with `allow_special_tokens`.

    Raises:
        TypeError: If `preprocessing` holds anything but steps.
        ValueError: If an argument has another value than those named.

    Example:
        >>> vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", "##s", "!"])
        >>> encoding = WordPieceTokenizer(vocabulary).encode("Films!")
        >>> encoding.tokens, encoding.offsets
        (['[CLS]', 'film', '##s', '!', '[SEP]'], [(0, 0), (0, 4), (4, 5), (5, 6), (0, 0)])
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        allow_special_tokens: bool = False,
        normalization: Normalization = "bert",
        max_word_length: int = 100,
        errors: Literal["replace", "strict"] = "replace",
        preprocessing: Iterable[Step] = (),
        added_tokens: Iterable[AddedToken | Mapping[str, Any]] = (),
    ) -> None:
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.allow_special_tokens = allow_special_tokens
        self.normalization = normalization
        self.max_word_length = max_word_length
        self.errors = errors
        self.preprocessing = check_steps(preprocessing)
        self._check_settings()
        self.normalizer: Normalizer = MediaPipeNormalizer()
        self.added_tokens: tuple[AddedToken, ...] = ()
        added_tokens = list(added_tokens)
        if normalization == "bert":
            strips = lowercase if strip_accents is None else strip_accents
            self.normalizer = BertNormalizer(lowercase, strips, tokenize_chinese_chars)
            self.added_tokens = check_added_tokens(added_tokens, vocabulary, self.normalizer)
        elif added_tokens:
            raise ValueError(
                f"normalization={normalization!r} knows no added tokens, received {added_tokens}: "
                "omit them, or use normalization='bert'."
            )

    def _check_settings(self) -> None:
        for name, types in _TYPES.items():
            # Not isinstance(): a bool is an int, too.
            if type(value := getattr(self, name)) not in types:
                raise ValueError(
                    f"{name} must be {' or '.join(kind.__name__ for kind in types)}, received "
                    f"{value!r}."
                )
        for name, values in _VALUES.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(
                    f"{name} must be {' or '.join(map(repr, values))}, received {value!r}."
                )
        longest = max(map(len, self.vocabulary.special_tokens))
        if not longest <= self.max_word_length <= _LONGEST_WORD:
            raise ValueError(
                f"max_word_length must be from {longest}, the length of a special token, to "
                f"{_LONGEST_WORD}, received {self.max_word_length}: BERT has 100."
            )
        received = {name: getattr(self, name) for name in _MEDIAPIPE}
        differing = [name for name in received if bool(received[name]) != _MEDIAPIPE[name]]
        if self.normalization == "mediapipe" and differing:
            raise ValueError(
                "normalization='mediapipe' lower-cases ASCII, keeps accents, splits CJK characters "
                "and never reads special tokens, received "
                f"{', '.join(f'{name}={received[name]}' for name in differing)}: omit these."
            )

    def __repr__(self) -> str:
        config = self.get_config()
        defaults = WordPieceTokenizer(Vocabulary(SPECIAL_TOKENS)).get_config()
        changes = "".join(
            f", {name}={shortened(repr(value), 60)}"
            for name, value in config.items()
            if name != "vocabulary" and value != defaults[name]
        )
        return f"<WordPieceTokenizer of {len(self.vocabulary):,} tokens{changes}>"

    @property
    def special_tokens(self) -> list[str]:
        """The vocabulary's special tokens, and the added tokens that `decode` may skip."""
        added = [token.content for token in self.added_tokens if token.special]
        return list(dict.fromkeys([*self.vocabulary.special_tokens, *added]))

    @functools.cached_property
    def pieces(self) -> dict[str, int]:
        """The tokens into which words may be split, and their ids."""
        found_whole = {token.content for token in self.added_tokens if not token.is_piece}
        return {
            token: token_id
            for token_id, token in enumerate(self.vocabulary.tokens)
            if token not in found_whole or token in SPECIAL_TOKENS
        }

    @functools.cached_property
    def finders(self) -> tuple[Finder, Finder] | None:
        """The finders of tokens in raw and in normalized texts; None if nothing is to be found."""
        if not self.added_tokens and not self.allow_special_tokens:
            return None
        normalizer = self.normalizer
        assert isinstance(normalizer, BertNormalizer)
        tokens = tokens_to_find(self.vocabulary, self.added_tokens)
        raw = {token.content: token for token in tokens if not token.normalized}
        normalized = {
            normalizer.normalized(token.content).text: token for token in tokens if token.normalized
        }
        as_text = () if self.allow_special_tokens else SPECIAL_TOKENS
        return Finder(raw, as_text), Finder(normalized, as_text)

    def encode(
        self,
        text: str | bytes,
        pair: str | bytes | None = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation = "head",
    ) -> Encoding:
        """Turns a text, or a pair, into the ids of [CLS] text [SEP] (pair [SEP]).

        Args:
            text: The text.
            pair: The second text.
            sequence_length: Most tokens, [CLS] and [SEP] included; the longer text of a pair is
                truncated first. None does not truncate.
            truncation: Which tokens of a long text stay, see `head_and_tail`; "head" for pairs.

        Raises:
            ValueError: If `sequence_length` has no room for [CLS] and [SEP], the texts cannot be
                truncated so, or a text is not UTF-8 and `errors` is "strict".
        """
        pieces = [self._pieces(part) for part in (text, pair) if part is not None]
        check_truncation(truncation, len(pieces))
        if sequence_length is not None:
            room = check_sequence_length(sequence_length, len(pieces))
            head, tail = head_and_tail(truncation, room)
            if len(pieces) > 1:
                lengths = truncated_lengths([len(part) for part in pieces], room)
                pieces = [part[:length] for part, length in zip(pieces, lengths, strict=True)]
            elif len(pieces[0]) > room:
                pieces = [pieces[0][:head] + pieces[0][len(pieces[0]) - tail :]]
        return self._frame(pieces)

    @overload
    def __call__(
        self,
        text: str | bytes,
        pair: str | bytes | None = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation = "head",
    ) -> Encoding: ...

    @overload
    def __call__(
        self,
        text: Any,
        pair: Any = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation = "head",
    ) -> list[Encoding]: ...

    def __call__(
        self,
        text: Any,
        pair: Any = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation = "head",
    ) -> Encoding | list[Encoding]:
        """Encodes a text or a pair as `encode` does, or each of a column of texts.

        Args:
            text: A text; or n texts, in any container that `text.columns.text_columns` takes.
            pair: The second text, or n of them.
            sequence_length: See `encode`.
            truncation: See `encode`.

        Returns:
            An `Encoding`; for a column a list of n.

        Raises:
            TypeError: If a column holds anything but strings.
            ValueError: If the columns differ in length, or `encode` refuses a text.

        Example:
            >>> tokenizer(["a film", "films"], sequence_length=8)[1].tokens
            ['[CLS]', 'films', '[SEP]']
        """
        if isinstance(text, str | bytes):
            return self.encode(text, pair, sequence_length=sequence_length, truncation=truncation)
        texts, pairs = text_columns(text if pair is None else (text, pair))
        settings: dict[str, Any] = {"sequence_length": sequence_length, "truncation": truncation}
        if pairs is None:
            return [self.encode(text, **settings) for text in texts]
        return [
            self.encode(text, pair, **settings) for text, pair in zip(texts, pairs, strict=True)
        ]

    def encode_windows(
        self, text: str | bytes, *, sequence_length: int, window_stride: int | None = None
    ) -> list[Encoding]:
        """Turns a text into windows that slide over all of it, each [CLS] tokens [SEP].

        Args:
            text: The text.
            sequence_length: Tokens of a window, [CLS] and [SEP] included; the last window may have
                fewer.
            window_stride: Tokens from the start of a window to the start of the next, see
                `check_window_stride`.

        Raises:
            ValueError: If the windows are too short, or the stride does not fit.
        """
        room = check_sequence_length(sequence_length, 1)
        stride = check_window_stride(window_stride, room)
        pieces = self._pieces(text)
        starts = window_starts(len(pieces), room, stride)
        return [self._frame([pieces[start : start + room]]) for start in starts]

    def _frame(self, pieces: list[list[_Piece]]) -> Encoding:
        """Puts [CLS] and [SEP] around the pieces of a text or a pair."""
        cls, sep = (_Piece(self.vocabulary.token_to_id(token), 0, 0) for token in (CLS, SEP))
        framed: list[tuple[_Piece, int, int | None]] = [(cls, 0, None)]
        for segment, part in enumerate(pieces):
            framed += [(piece, segment, segment) for piece in part]
            framed.append((sep, segment, None))
        return Encoding(
            token_ids=[piece.token_id for piece, _, _ in framed],
            segment_ids=[segment for _, segment, _ in framed],
            tokens=[self.vocabulary.tokens[piece.token_id] for piece, _, _ in framed],
            offsets=[(piece.start, piece.end) for piece, _, _ in framed],
            sequence=[sequence for _, _, sequence in framed],
        )

    def decode(self, token_ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Joins tokens to a text, as the reference's WordPiece decoder with `cleanup=True`.

        Args:
            token_ids: Ids; they may include padding.
            skip_special_tokens: Skip [CLS], [SEP], [PAD], [UNK], [MASK], and special added tokens.

        Raises:
            IndexError: If the vocabulary has no such id.
        """
        tokens = [self.vocabulary.id_to_token(int(token_id)) for token_id in token_ids]
        if skip_special_tokens:
            special = set(self.special_tokens)
            tokens = [token for token in tokens if token not in special]
        parts: list[str] = []
        for token in tokens:
            if parts:
                token = token[2:] if token.startswith(CONTINUATION) else f" {token}"
            for spaced, joined in _CLEAN_UP:
                token = token.replace(spaced, joined)
            parts.append(token)
        return "".join(parts)

    def _pieces(self, text: str | bytes) -> list[_Piece]:
        """Splits a text into tokens: finds the added tokens, then splits the rest into words."""
        text = self._read(text)
        if self.finders is None:
            return self._match_words(self.normalizer.words(text), 0)
        raw, normalized = self.finders
        pieces: list[_Piece] = []
        for start, end, token in raw.split(text):
            if token is not None:
                pieces.append(self._piece(token, start, end))
            else:
                pieces += self._split_normalized(text[start:end], start, normalized)
        return pieces

    def _split_normalized(self, text: str, start: int, finder: Finder) -> list[_Piece]:
        """Splits the part of a text that starts at `start` into tokens."""
        assert isinstance(self.normalizer, BertNormalizer)
        normalized, origins = self.normalizer.normalized(text)
        pieces = []
        for first, last, token in finder.split(normalized):
            if token is not None:
                ends = origins[first], origins[last - 1] + 1
                pieces.append(self._piece(token, start + ends[0], start + ends[1]))
            else:
                part = Word(normalized[first:last], origins[first:last])
                pieces += self._match_words(self.normalizer.split(part), start)
        return pieces

    def _piece(self, token: AddedToken, start: int, end: int) -> _Piece:
        return _Piece(self.vocabulary.token_to_id(token.content), start, end)

    def _read(self, text: str | bytes) -> str:
        try:
            if isinstance(text, bytes):
                text = text.decode(errors=self.errors)
            elif self.errors == "strict":
                text.encode()
        except UnicodeError as error:
            raise ValueError(
                f"The text is not valid UTF-8 ({error}): repair it, or use a tokenizer with "
                'errors="replace".'
            ) from error
        for step in self.preprocessing:
            text = step(text)
        return text

    def _match_words(self, words: Iterable[Word], start: int) -> list[_Piece]:
        """Splits the words of the part of a text that starts at `start` into tokens."""
        pieces = []
        for word, origins in words:
            first = 0
            for token_id, last in self._match(word):
                pieces.append(
                    _Piece(token_id, start + origins[first], start + origins[last - 1] + 1)
                )
                first = last
        return pieces

    def words(self, text: str | bytes) -> list[list[int]]:
        """Returns the token ids of every word; special and added tokens count as plain text."""
        words = self.normalizer.words(self._read(text))
        return [[token_id for token_id, _ in self._match(word.text)] for word in words]

    def _match(self, word: str) -> list[tuple[int, int]]:
        """Returns the id of each token of a word, and the position in the word after it."""
        # Long words seldom repeat, and texts of strangers could fill the memory with them.
        is_short = len(word) <= _LONGEST_REMEMBERED
        return self._remembered_matches(word) if is_short else self._longest_matches(word)

    @functools.cached_property
    def _remembered_matches(self) -> Callable[[str], list[tuple[int, int]]]:
        # Few different words make up most of a text.
        return functools.lru_cache(maxsize=1 << 16)(self._longest_matches)

    @functools.cached_property
    def _token_lengths(self) -> tuple[list[int], list[int]]:
        """Lengths of the tokens that may start a word, and of those that may continue it."""
        starts = {len(token) for token in self.pieces}
        tokens = (token for token in self.pieces if token.startswith(CONTINUATION))
        rests = {len(token) - len(CONTINUATION) for token in tokens}
        return sorted(starts - {0}, reverse=True), sorted(rests - {0}, reverse=True)

    def _longest_matches(self, word: str) -> list[tuple[int, int]]:
        """Splits a word greedily into the longest tokens (Wu et al. 2016, section 4.1)."""
        if self.normalizer.word_length(word) > self.max_word_length:
            return [(self.vocabulary.unk_id, len(word))]
        matches = []
        start = 0
        while start < len(word):
            prefix = CONTINUATION if start else ""
            # Only the lengths that tokens have: the time is linear in the word's length.
            for length in self._token_lengths[start > 0]:
                end = start + length
                if end <= len(word) and prefix + word[start:end] in self.pieces:
                    break
            else:
                return [(self.vocabulary.unk_id, len(word))]
            matches.append((self.pieces[prefix + word[start:end]], end))
            start = end
        return matches

    def get_config(self) -> dict[str, Any]:
        """Returns plain JSON types from which `from_config` makes the same tokenizer."""
        return {
            "vocabulary": self.vocabulary.tokens,
            **{name: getattr(self, name) for name in (*_TYPES, *_VALUES)},
            "preprocessing": [step.get_config() for step in self.preprocessing],
            "added_tokens": [token._asdict() for token in self.added_tokens],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WordPieceTokenizer":
        """Makes the tokenizer that `get_config` described.

        Raises:
            ValueError: If the config does not describe a tokenizer.
        """
        try:
            vocabulary = Vocabulary(config["vocabulary"])
            preprocessing = map(step_from_config, config.get("preprocessing", ()))
            return cls(**{**config, "vocabulary": vocabulary, "preprocessing": preprocessing})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The config is not one that a tokenizer's get_config made ({error!r})."
            ) from error

    def __reduce__(self) -> tuple[Callable[..., "WordPieceTokenizer"], tuple[dict[str, Any]]]:
        # Copies and pickles omit the caches, which cannot be pickled.
        return type(self).from_config, (self.get_config(),)

    @classmethod
    def from_directory(cls, path: str | Path, **overrides: Any) -> "WordPieceTokenizer":
        """Reads the tokenizer of a checkpoint's folder.

        The vocabulary is that of tokenizer.json, or else of vocab.txt. Settings are those of
        tokenizer_config.json, then of tokenizer.json, then the defaults of the class.

        Args:
            path: The folder.
            **overrides: Arguments of the class that replace those read.

        Raises:
            FileNotFoundError: If the folder has neither tokenizer.json nor vocab.txt.
            ValueError: If a file cannot be used, see `Vocabulary.from_file`, or is a link out of
                the folder, see `files.check_links`.
        """
        folder = Path(path)
        check_links(folder)
        return cls(**{**read_folder(folder), **overrides})

    @classmethod
    def from_file(cls, path: str | Path, **overrides: Any) -> "WordPieceTokenizer":
        """Reads tokenizer.json, or vocab.txt, which has the vocabulary alone.

        Args:
            path: A file whose name ends in .json is read as tokenizer.json, any other as vocab.txt.
            **overrides: Arguments of the class that replace those read.

        Raises:
            ValueError: If the file cannot be used, see `Vocabulary.from_file`, or normalizes
                otherwise than BERT.
        """
        path = Path(path)
        if path.suffix == ".json":
            return cls(**{**read_tokenizer_json(path), **overrides})
        return cls(Vocabulary.from_file(path), **overrides)

    def save(self, directory: str | Path) -> None:
        """Writes vocab.txt, tokenizer.json and tokenizer_config.json into a folder.

        transformers' `AutoTokenizer` and `tokenizers` read the same behaviour from them. They have
        neither `normalization="mediapipe"` nor `preprocessing`: a tokenizer with these writes no
        tokenizer.json, and only `from_directory` reads it back.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.to_file(folder / "vocab.txt")
        if self._is_known_to_the_reference:
            self.to_file(folder / "tokenizer.json")
        else:
            # That of an earlier tokenizer would be read before vocab.txt.
            (folder / "tokenizer.json").unlink(missing_ok=True)
        write_json(folder / "tokenizer_config.json", tokenizer_config(self.get_config()))

    def to_file(self, path: str | Path) -> None:
        """Writes tokenizer.json if the name ends in .json, else vocab.txt.

        Raises:
            ValueError: If a tokenizer.json cannot express what this tokenizer does.
        """
        path = Path(path)
        if path.suffix != ".json":
            self.vocabulary.to_file(path)
        elif self._is_known_to_the_reference:
            write_json(path, tokenizer_json(self.get_config(), self.pieces))
        else:
            raise ValueError(
                f"{path.name} cannot express normalization={self.normalization!r} with "
                f"{len(self.preprocessing)} steps of preprocessing, only BERT's own rules: save a "
                "folder."
            )

    @property
    def _is_known_to_the_reference(self) -> bool:
        return self.normalization == "bert" and not self.preprocessing
