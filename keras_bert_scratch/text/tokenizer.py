"""Texts or pairs -> token ids with offsets, and back: WordPiece as BERT uses it.

This module needs no TensorFlow; `WordPieceTokenizer.graph` imports it for the same ids inside
`tf.data` and SavedModels.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from keras_bert_scratch.files import check_links, new_file
from keras_bert_scratch.text.added_tokens import AddedToken, Finder, check_added_tokens
from keras_bert_scratch.text.normalization import (
    BertNormalizer,
    MediaPipeNormalizer,
    Normalization,
    Normalizer,
    Word,
)
from keras_bert_scratch.text.preprocessing import Step, check_steps, step_from_config
from keras_bert_scratch.text.tokenizer_files import (
    frame_template,
    read_folder,
    read_tokenizer_json,
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
    UNK,
    Vocabulary,
)

if TYPE_CHECKING:
    from keras_bert_scratch.text.graphs.tokenizer_graph import Engine, TokenizerGraph

# What the reference's decoder closes up, in its order.
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

# Largest `max_word_length`, and of the words whose tokens are remembered.
_LONGEST_WORD = 10_000
_LONGEST_REMEMBERED = 32

# Kinds of the arguments that files give.
_SWITCHES: dict[str, tuple[type, ...]] = {
    "lowercase": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "allow_special_tokens": (bool,),
    "max_word_length": (int,),
}


class Encoding(NamedTuple):
    """A text, or a pair of them, as a model reads it. S is the number of tokens.

    Attributes:
        token_ids: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP].
        segment_ids: 0 up to the first [SEP], 1 after it.
        tokens: The tokens of the ids.
        offsets: Start and end of every token in the text it came from, in characters; (0, 0) for
            [CLS] and [SEP]. The text is the raw one, or what `preprocessing` made of it.
        sequence: Which text a token came from: 0, 1, or None for [CLS] and [SEP].
    """

    token_ids: list[int]
    segment_ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    sequence: list[int | None]


class _Piece(NamedTuple):
    token_id: int
    start: int
    end: int


class WordPieceTokenizer:
    """BERT's tokenizer, with the ids and offsets of Hugging Face `tokenizers`.

    Args:
        vocabulary: The tokens.
        lowercase: Lower-case the text ("uncased" models).
        strip_accents: Decompose and drop accents; None does what `lowercase` says.
        tokenize_chinese_chars: Make every CJK character a word.
        allow_special_tokens: Let "[MASK]" and the like in a text stand for the special tokens, as
            the reference does. By default they are text: strangers could inject them.
        normalization: "bert", or "mediapipe" for what MediaPipe's on-device tokenizer does.
        max_word_length: Words of more characters become [UNK]; with "mediapipe", of more bytes. At
            most 10,000.
        errors: What happens to bytes that are not UTF-8: "replace" as `bytes.decode` does, or
            "strict" to refuse them.
        preprocessing: Steps that change every text before anything else, see `preprocessing.py`.
        added_tokens: Tokens of the vocabulary that are found in a text as they stand, see
            `added_tokens.py`; or dicts of their fields. [CLS], [SEP] and the like need not be
            among them, and are found only with `allow_special_tokens`.

    Raises:
        TypeError: If a step of `preprocessing` is none.
        ValueError: If an argument is none of the named ones.

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
        self.normalizer = self._make_normalizer()
        self.added_tokens = self._check_added_tokens(list(added_tokens))

    def _make_normalizer(self) -> Normalizer:
        for name, kinds in _SWITCHES.items():
            # Of the kind itself: a truth value is an int, too.
            if type(value := getattr(self, name)) not in kinds:
                raise ValueError(
                    f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, received "
                    f"{value!r}."
                )
        if self.normalization not in ("bert", "mediapipe"):
            raise ValueError(
                f"normalization must be 'bert' or 'mediapipe', received {self.normalization!r}."
            )
        if self.errors not in ("replace", "strict"):
            raise ValueError(f"errors must be 'replace' or 'strict', received {self.errors!r}.")
        longest = max(map(len, self.vocabulary.special_tokens))
        if not longest <= self.max_word_length <= _LONGEST_WORD:
            raise ValueError(
                f"max_word_length must be from {longest}, the length of a special token, to "
                f"{_LONGEST_WORD}, received {self.max_word_length}: BERT has 100."
            )
        if self.normalization == "bert":
            strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
            return BertNormalizer(self.lowercase, strip_accents, self.tokenize_chinese_chars)
        fixed = (self.lowercase, bool(self.strip_accents), self.tokenize_chinese_chars)
        if fixed != (True, False, True) or self.allow_special_tokens:
            raise ValueError(
                "normalization='mediapipe' lower-cases ASCII, keeps accents, splits CJK characters "
                "and never reads special tokens, and cannot do otherwise: received lowercase="
                f"{self.lowercase}, strip_accents={self.strip_accents}, tokenize_chinese_chars="
                f"{self.tokenize_chinese_chars}, allow_special_tokens={self.allow_special_tokens}; "
                "leave them at their defaults."
            )
        return MediaPipeNormalizer()

    def _check_added_tokens(self, tokens: list[Any]) -> tuple[AddedToken, ...]:
        if tokens and not isinstance(self.normalizer, BertNormalizer):
            raise ValueError(
                f"normalization={self.normalization!r} knows no added tokens, received {tokens}: "
                "leave them out, or use normalization='bert'."
            )
        if not isinstance(self.normalizer, BertNormalizer):
            return ()
        return check_added_tokens(tokens, self.vocabulary, self.normalizer)

    @property
    def special_tokens(self) -> list[str]:
        """The vocabulary's special tokens, and those added that `decode` may leave out."""
        added = [token.content for token in self.added_tokens if token.special]
        return list(dict.fromkeys([*self.vocabulary.special_tokens, *added]))

    @functools.cached_property
    def pieces(self) -> dict[str, int]:
        """The tokens that words may be split into, and their ids."""
        found_whole = {token.content for token in self.added_tokens if not token.is_piece}
        return {
            token: token_id
            for token_id, token in enumerate(self.vocabulary.tokens)
            if token not in found_whole or token in SPECIAL_TOKENS
        }

    @functools.cached_property
    def finders(self) -> tuple[Finder, Finder] | None:
        """What finds tokens in raw texts, and in normalized ones; None if nothing is found."""
        if not self.added_tokens and not self.allow_special_tokens:
            return None
        normalizer = self.normalizer
        assert isinstance(normalizer, BertNormalizer)
        special = [AddedToken(token, True, False) for token in self.vocabulary.special_tokens]
        # What a file says of a special token comes after, and so before, our own.
        known = {token.content: token for token in (*special, *self.added_tokens)}.values()
        raw = {token.content: token for token in known if not token.normalized}
        normalized = {
            normalizer.normalized(token.content).text: token for token in known if token.normalized
        }
        return tuple(  # type: ignore[return-value]
            Finder(
                tokens,
                ()
                if self.allow_special_tokens
                else [
                    sought for sought, token in tokens.items() if token.content in SPECIAL_TOKENS
                ],
            )
            for tokens in (raw, normalized)
        )

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
            sequence_length: Tokens, [CLS] and [SEP] included, to which the texts are truncated, the
                longest first; None does not truncate.
            truncation: Which tokens of a long text stay, see `head_and_tail`; of a pair, "head".

        Raises:
            ValueError: If `sequence_length` has no room for [CLS] and [SEP], the texts cannot be
                truncated so, or bytes that are not UTF-8 are to be refused.
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

    def encode_windows(
        self, text: str | bytes, *, sequence_length: int, window_stride: int | None = None
    ) -> list[Encoding]:
        """Turns a text into windows that slide over all of it, each [CLS] tokens [SEP].

        Args:
            text: The text.
            sequence_length: Tokens of a window, [CLS] and [SEP] included; the last may have fewer.
            window_stride: Tokens from the start of a window to the start of the next, see
                `check_window_stride`.

        Raises:
            ValueError: If the windows are too short, or the stride does not fit them.
        """
        room = check_sequence_length(sequence_length, 1)
        stride = check_window_stride(window_stride, room)
        pieces = self._pieces(text)
        starts = window_starts(len(pieces), room, stride)
        return [self._frame([pieces[start : start + room]]) for start in starts]

    def _frame(self, pieces: list[list[_Piece]]) -> Encoding:
        """Sets [CLS] and [SEP] around the pieces of a text or a pair."""
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
            token_ids: Ids, padding included.
            skip_special_tokens: Leave out [CLS], [SEP], [PAD], [UNK], [MASK], and added tokens that
                are special.

        Raises:
            IndexError: If an id is not one of the vocabulary.
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
        """Splits a text into tokens: those found as they stand, then the others."""
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
        """Splits a part of a text, which starts there, into tokens."""
        assert isinstance(self.normalizer, BertNormalizer)
        if not finder.contents:
            return self._match_words(self.normalizer.words(text), start)
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
        """Splits the words of a part of a text, which starts there, into tokens."""
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
        """Returns the token ids of every word; special and added tokens are plain text."""
        words = self.normalizer.words(self._read(text))
        return [[token_id for token_id, _ in self._match(word.text)] for word in words]

    def _match(self, word: str) -> list[tuple[int, int]]:
        """Returns the id of each token of a word, and the position in the word after it."""
        if self.normalizer.word_length(word) > self.max_word_length:
            return [(self.vocabulary.unk_id, len(word))]
        # Long words seldom come again, and texts of strangers could fill the memory with them.
        is_short = len(word) <= _LONGEST_REMEMBERED
        return self._remembered_matches(word) if is_short else self._longest_matches(word)

    @functools.cached_property
    def _remembered_matches(self) -> Callable[[str], list[tuple[int, int]]]:
        # Few different words make up most of a text.
        return functools.lru_cache(maxsize=1 << 16)(self._longest_matches)

    @functools.cached_property
    def _token_lengths(self) -> tuple[list[int], list[int]]:
        """Lengths of the tokens that may start a word, and of those that may go on with it."""
        starts = {len(token) for token in self.pieces}
        tokens = (token for token in self.pieces if token.startswith(CONTINUATION))
        rests = {len(token) - len(CONTINUATION) for token in tokens}
        return sorted(starts - {0}, reverse=True), sorted(rests - {0}, reverse=True)

    def _longest_matches(self, word: str) -> list[tuple[int, int]]:
        """Splits a word greedily into the longest tokens (Wu et al. 2016, section 4.1)."""
        matches = []
        start = 0
        while start < len(word):
            prefix = CONTINUATION if start else ""
            # Lengths of tokens alone: the time grows with the word, not with its square.
            for length in self._token_lengths[start > 0]:
                end = start + length
                if end <= len(word) and prefix + word[start:end] in self.pieces:
                    break
            else:
                return [(self.vocabulary.unk_id, len(word))]
            matches.append((self.pieces[prefix + word[start:end]], end))
            start = end
        return matches

    def graph(self, engine: "Engine" = "fast") -> "TokenizerGraph":
        """Returns the same tokenizer for `tf.data`, `tf.function` and SavedModels.

        Args:
            engine: "fast" uses tensorflow-text; "core" uses core TensorFlow operations only, for
                SavedModels that a stock server loads.
        """
        from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

        return tokenizer_graph(self, engine)

    def get_config(self) -> dict[str, Any]:
        """Returns plain JSON types from which `from_config` makes the same tokenizer."""
        return {
            "vocabulary": self.vocabulary.tokens,
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "allow_special_tokens": self.allow_special_tokens,
            "normalization": self.normalization,
            "max_word_length": self.max_word_length,
            "errors": self.errors,
            "preprocessing": [step.get_config() for step in self.preprocessing],
            "added_tokens": [token._asdict() for token in self.added_tokens],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WordPieceTokenizer":
        """Makes the tokenizer that `get_config` described.

        Raises:
            ValueError: If it describes none.
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
        # Copies and pickles are made without the caches, of which graphs cannot be pickled.
        return type(self).from_config, (self.get_config(),)

    @classmethod
    def from_directory(cls, path: str | Path, **overrides: Any) -> "WordPieceTokenizer":
        """Reads the tokenizer of a checkpoint's folder.

        The vocabulary comes from tokenizer.json, or else vocab.txt. The switches come from
        tokenizer_config.json, and what that leaves open from tokenizer.json; lower-casing is on
        where neither speaks of it.

        Args:
            path: The folder.
            **overrides: Arguments of the class that replace those read.

        Raises:
            FileNotFoundError: If the folder has none of the two files.
            ValueError: If a file cannot be used, see `Vocabulary.from_file`, or leads out of the
                folder, see `files.check_links`.
        """
        folder = Path(path)
        check_links(folder)
        return cls(**{**read_folder(folder), **overrides})

    @classmethod
    def from_file(cls, path: str | Path, **overrides: Any) -> "WordPieceTokenizer":
        """Reads tokenizer.json, or vocab.txt, which says nothing of the switches.

        Args:
            path: A file whose name ends in .json is read as tokenizer.json, any other as vocab.txt.
            **overrides: Arguments of the class that replace those read.

        Raises:
            ValueError: If the file cannot be used, see `Vocabulary.from_file`, or normalizes in
                another way than BERT.
        """
        path = Path(path)
        if path.suffix == ".json":
            return cls(**{**read_tokenizer_json(path), **overrides})
        return cls(Vocabulary.from_file(path), **overrides)

    def save(self, directory: str | Path) -> None:
        """Writes vocab.txt, tokenizer.json and tokenizer_config.json into a folder.

        transformers' `AutoTokenizer` and `tokenizers` read the same behaviour from them. They know
        neither `normalization="mediapipe"` nor `preprocessing`: then there is no tokenizer.json,
        and only `from_directory` reads the behaviour back.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.to_file(folder / "vocab.txt")
        if self._is_known_to_the_reference:
            self.to_file(folder / "tokenizer.json")
        else:
            # One of an earlier tokenizer would be read before vocab.txt.
            (folder / "tokenizer.json").unlink(missing_ok=True)
        _write_json(folder / "tokenizer_config.json", self._tokenizer_config())

    def to_file(self, path: str | Path) -> None:
        """Writes tokenizer.json if the name ends in .json, else vocab.txt.

        Raises:
            ValueError: If a tokenizer.json cannot say what this tokenizer does.
        """
        path = Path(path)
        if path.suffix != ".json":
            self.vocabulary.to_file(path)
        elif self._is_known_to_the_reference:
            _write_json(path, self._tokenizer_json())
        else:
            raise ValueError(
                f"{path.name} cannot express normalization={self.normalization!r} with "
                f"{len(self.preprocessing)} steps of preprocessing, only BERT's own: save a folder."
            )

    @property
    def _is_known_to_the_reference(self) -> bool:
        return self.normalization == "bert" and not self.preprocessing

    def _tokenizer_config(self) -> dict[str, Any]:
        special = {
            f"{name}_token": token
            for name, token in zip(
                ("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS, strict=True
            )
            if token in self.vocabulary
        }
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            # The reference has one switch for [SEP] and the like, and for those that were added.
            "split_special_tokens": not self.allow_special_tokens
            and not any(token.special for token in self.added_tokens),
            **special,
            # These are ours; other readers pass over them. Special tokens are read from texts only
            # where a folder says so by our name, whatever the reference's default is.
            "allow_special_tokens": self.allow_special_tokens,
            "normalization": self.normalization,
            "max_word_length": self.max_word_length,
            "errors": self.errors,
            "preprocessing": [step.get_config() for step in self.preprocessing],
            **(
                {"added_tokens": [token._asdict() for token in self.added_tokens]}
                if self.added_tokens
                else {}
            ),
        }

    def _tokenizer_json(self) -> dict[str, Any]:
        # Of the same flags as the reference's, but for those that say otherwise.
        special = [AddedToken(token, True, False) for token in self.vocabulary.special_tokens]
        added = {token.content: token for token in (*special, *self.added_tokens)}
        ids = {token: self.vocabulary.token_to_id(token) for token in added}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": token_id,
                    "content": token,
                    "single_word": False,
                    "lstrip": added[token].lstrip,
                    "rstrip": added[token].rstrip,
                    "normalized": added[token].normalized,
                    "special": added[token].special,
                }
                for token, token_id in sorted(ids.items(), key=lambda item: item[1])
            ],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": self.tokenize_chinese_chars,
                "strip_accents": self.strip_accents,
                "lowercase": self.lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": frame_template(self.vocabulary),
            "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": UNK,
                "continuing_subword_prefix": CONTINUATION,
                "max_input_chars_per_word": self.max_word_length,
                "vocab": self.pieces,
            },
        }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
