"""Files of tokenizers <-> the arguments of a `WordPieceTokenizer`.

The files are tokenizer.json, or vocab.txt, with tokenizer_config.json, added_tokens.json and
special_tokens_map.json. A setting that would change the ids of a text is either read or refused by
name.
"""

import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from keras_bert_scratch.files import new_file, read_json
from keras_bert_scratch.text.added_tokens import AddedToken, tokens_to_find
from keras_bert_scratch.text.preprocessing import step_from_config
from keras_bert_scratch.text.vocabulary import (
    CLS,
    CONTINUATION,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    Vocabulary,
)

# Classes of transformers that tokenize as BERT's, with or without "Fast" in their names, and those
# that follow tokenizer.json.
_BERT_CLASSES = ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert")
_GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
# Fields that have one value in BERT's tokenizer, and in this package.
_FIXED = {
    "do_basic_tokenize": True,
    "clean_text": True,
    "wordpieces_prefix": CONTINUATION,
    "continuing_subword_prefix": CONTINUATION,
    "never_split": [],
    "add_special_tokens": True,
    "truncation_side": "right",
}
# Fields of tokenizer_config.json, and our arguments; the first ones are read for BERT's classes.
_BERT_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "tokenize_chinese_chars",
}
# Our own fields, which other readers ignore. Special tokens in texts are read only where a folder
# says so here, whatever the default of the reference is.
_OWN_FIELDS = ("allow_special_tokens", "normalization", "max_word_length", "errors")
# Fields of tokenizer.json's normalizer, and our arguments.
_NORMALIZER_FIELDS = {
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "lowercase",
}


def read_folder(folder: Path) -> dict[str, Any]:
    """Reads the tokenizer of a checkpoint's folder.

    Returns:
        Arguments of `WordPieceTokenizer`.

    Raises:
        FileNotFoundError: If the folder has neither tokenizer.json nor vocab.txt.
        ValueError: If a file cannot be used, or has settings that BERT's tokenizer lacks.
    """
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.exists() else {}
    is_bert = _check_config(config, path)
    if (folder / "tokenizer.json").exists():
        found = read_tokenizer_json(folder / "tokenizer.json", needs_frame=not is_bert)
    elif (folder / "vocab.txt").exists():
        found = {"vocabulary": Vocabulary.from_file(folder / "vocab.txt"), "added_tokens": ()}
    else:
        raise FileNotFoundError(
            f"{folder} has neither tokenizer.json nor vocab.txt: name the folder of a BERT "
            "checkpoint."
        )
    names = dict(zip(_OWN_FIELDS, _OWN_FIELDS, strict=True)) | (_BERT_FIELDS if is_bert else {})
    for theirs, ours in names.items():
        # null stands for the default; for accents alone it is a value.
        if theirs in config and (config[theirs] is not None or theirs == "strip_accents"):
            found[ours] = config[theirs]
    steps = config.get("preprocessing", [])
    if not isinstance(steps, list):
        raise ValueError(f"{path} has preprocessing {steps!r}, which is not a list of steps.")
    found["preprocessing"] = map(step_from_config, steps)
    return _with_named_tokens(found, folder, config)


def max_length(folder: Path, max_positions: int) -> int | None:
    """Returns `model_max_length` of tokenizer_config.json if it fits the model, else None."""
    path = folder / "tokenizer_config.json"
    length = read_json(path).get("model_max_length") if path.exists() else None
    # transformers means "any" by 1e30.
    return length if type(length) is int and 2 < length <= max_positions else None


def _check_config(config: dict[str, Any], path: Path) -> bool:
    """Refuses settings that BERT's tokenizer lacks; returns whether `_BERT_FIELDS` are read."""
    name = config.get("tokenizer_class") or "BertTokenizer"
    is_bert = str(name).removesuffix("Fast").removesuffix("Tokenizer") in _BERT_CLASSES
    if not is_bert and name not in _GENERIC_CLASSES:
        raise ValueError(
            f"{path} has tokenizer_class {name!r}, which is not BERT's: use a BERT checkpoint, or "
            "load_encoder, which takes ready ids."
        )
    for field, value in _FIXED.items():
        if config.get(field) not in (None, value):
            raise ValueError(
                f"{path} has {field} {config[field]!r}; only {value!r} is BERT's: use a BERT "
                "checkpoint, or load_encoder, which takes ready ids."
            )
    return is_bert


def read_tokenizer_json(path: Path, *, needs_frame: bool = False) -> dict[str, Any]:
    """Reads tokenizer.json, or a file like it.

    Args:
        path: The file.
        needs_frame: Refuse files without the post-processor that adds [CLS] and [SEP].

    Returns:
        Arguments of `WordPieceTokenizer`.

    Raises:
        ValueError: If the file cannot be used, or describes another tokenizer than BERT's.
    """
    vocabulary, content = Vocabulary.from_file(path), read_json(path)
    normalizer = _only(content.get("normalizer"), "normalizers")
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    if kind != "BertNormalizer" or normalizer.get("clean_text") not in (None, True):
        raise ValueError(
            f"{path} normalizes by {kind!r}, only 'BertNormalizer' with clean_text is BERT's: use "
            "a BERT checkpoint."
        )
    splitter = _only(content.get("pre_tokenizer"), "pretokenizers")
    kind = splitter.get("type") if isinstance(splitter, dict) else None
    if kind != "BertPreTokenizer":
        raise ValueError(
            f"{path} splits words by {kind!r}, only 'BertPreTokenizer' is BERT's: use a BERT "
            "checkpoint."
        )
    _check_frame(content.get("post_processor"), vocabulary, path, needs_frame)
    truncation = content.get("truncation")
    if isinstance(truncation, dict) and truncation.get("direction") not in (None, "Right"):
        raise ValueError(
            f"{path} truncates texts at the side {truncation['direction']!r}; remove its "
            'truncation, and load the model with truncation="tail".'
        )
    switches = {
        ours: normalizer[theirs]
        for theirs, ours in _NORMALIZER_FIELDS.items()
        if normalizer.get(theirs) is not None
    }
    pieces = content["model"]["vocab"]
    added = [_added_token(fields, pieces, path) for fields in content.get("added_tokens") or ()]
    return {
        "vocabulary": vocabulary,
        **switches,
        "max_word_length": content["model"].get("max_input_chars_per_word", 100),
        "added_tokens": [token for token in added if not _is_plain_special(token)],
    }


def _only(step: Any, steps: str) -> Any:
    """Returns the step of a sequence of one step; any other value as it is."""
    if isinstance(step, dict) and step.get("type") == "Sequence":
        inner = step.get(steps)
        if isinstance(inner, list) and len(inner) == 1:
            return inner[0]
    return step


def _check_frame(processor: Any, vocabulary: Vocabulary, path: Path, is_needed: bool) -> None:
    """Refuses a post-processor that does not add [CLS] and [SEP] as BERT does."""
    if processor is None and not is_needed:
        return
    cls, sep = (CLS, vocabulary.cls_id), (SEP, vocabulary.sep_id)
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind == "BertProcessing":
        found = [processor.get("cls"), processor.get("sep")]
        is_right = found == [list(cls), list(sep)]
    elif kind == "TemplateProcessing":
        template = frame_template(vocabulary)
        is_right = all(processor.get(name) == part for name, part in template.items())
    else:
        is_right = False
    if not is_right:
        raise ValueError(
            f"{path} has the post_processor {kind!r}, which does not make [CLS] text [SEP] and "
            "[CLS] text [SEP] pair [SEP] of the vocabulary's ids, as BERT does: use a BERT "
            "checkpoint."
        )


def frame_template(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns BERT's post-processor in the form of tokenizer.json."""
    cls, sep = ({"SpecialToken": {"id": token, "type_id": 0}} for token in (CLS, SEP))
    single = [cls, {"Sequence": {"id": "A", "type_id": 0}}, sep]
    second = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": SEP, "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *second],
        "special_tokens": {
            token: {"id": token, "ids": [vocabulary.token_to_id(token)], "tokens": [token]}
            for token in (CLS, SEP)
        },
    }


def _added_token(fields: Any, pieces: Any, path: Path) -> AddedToken:
    """Turns an entry of a file into an added token."""
    content = fields.get("content") if isinstance(fields, dict) else fields
    if not isinstance(content, str):
        raise ValueError(
            f"{path} has an added token {fields!r}, which is not a text: fetch it again."
        )
    if not isinstance(fields, dict):
        return AddedToken(content, special=True, normalized=False, is_piece=content in pieces)
    flags = {name: fields.get(name) for name in ("special", "normalized", "lstrip", "rstrip")}
    if fields.get("single_word"):
        raise ValueError(
            f"{path} has the added token {content!r} with single_word, which is not supported: set "
            "it to false, if the token stands alone in your texts."
        )
    for name, value in flags.items():
        if not isinstance(value, bool | None):
            raise ValueError(
                f"{path} has {name} {value!r} for {content!r}, which is neither true nor false."
            )
    special = bool(flags["special"])
    normalized = not special if flags["normalized"] is None else flags["normalized"]
    strips = bool(flags["lstrip"]), bool(flags["rstrip"])
    return AddedToken(content, special, normalized, *strips, is_piece=content in pieces)


def _is_plain_special(token: AddedToken) -> bool:
    """Returns whether a token is one of BERT's own with the flags that it has by default."""
    return token.content in SPECIAL_TOKENS and token[2:5] == (False, False, False)


def _with_named_tokens(found: dict[str, Any], folder: Path, config: dict[str, Any]) -> dict:
    """Adds the tokens of the files beside tokenizer.json or vocab.txt."""
    vocabulary: Vocabulary = found["vocabulary"]
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    added = {token.content: token for token in found["added_tokens"]}
    special = list(_special_tokens(folder, config))
    for number, fields, path in _numbered_tokens(folder, config, [f for f, _ in special]):
        token = _added_token(fields, vocabulary, path)
        if (token_id := ids.setdefault(token.content, len(ids))) != number:
            raise ValueError(
                f"{path} gives {token.content!r} the id {number}, the vocabulary has {token_id}: "
                "use the files of one checkpoint."
            )
        added.setdefault(token.content, token)
    for fields, path in special:
        token = _added_token(fields, vocabulary, path)
        token = token._replace(special=True, normalized=token.normalized and "normalized" in fields)
        ids.setdefault(token.content, len(ids))
        added.setdefault(token.content, token)
    if (own := config.get("added_tokens")) is not None:
        # Written by us, with flags that no other field has.
        added = {token["content"]: AddedToken(**token) for token in own}
    tokens = [token for token in added.values() if not _is_plain_special(token)]
    as_text = [token.content for token in tokens if token.special]
    if config.get("split_special_tokens") and as_text:
        raise ValueError(
            f"{folder / 'tokenizer_config.json'} has split_special_tokens true and the special "
            f"tokens {as_text}, which would be text: set it to false, or remove them."
        )
    if len(ids) > len(vocabulary):
        vocabulary = Vocabulary([*ids])
    return {**found, "vocabulary": vocabulary, "added_tokens": tokens}


def _special_tokens(folder: Path, config: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    """Yields special tokens beyond BERT's with their files; refuses other names of BERT's own."""
    files = {folder / "tokenizer_config.json": config}
    if (path := folder / "special_tokens_map.json").exists():
        files[path] = read_json(path)
    for path, fields in files.items():
        for name, ours in zip(_NAMES, SPECIAL_TOKENS, strict=True):
            theirs = fields.get(name)
            theirs = theirs.get("content") if isinstance(theirs, dict) else theirs
            if theirs not in (None, ours):
                raise ValueError(
                    f"{path} has {name} {theirs!r}, BERT's is {ours!r}: use a BERT checkpoint, or "
                    "load_encoder, which takes ready ids."
                )
        for name in ("additional_special_tokens", "extra_special_tokens"):
            tokens = fields.get(name) or []
            tokens = [*tokens.values()] if isinstance(tokens, dict) else tokens
            if not isinstance(tokens, list):
                raise ValueError(f"{path} has {name} {tokens!r}, which is not a list of tokens.")
            yield from ((token, path) for token in tokens)


def _numbered_tokens(
    folder: Path, config: dict[str, Any], special: list[Any]
) -> list[tuple[int, Any, Path]]:
    """Returns the added tokens that files give an id, by their ids, with their files."""
    path = folder / "tokenizer_config.json"
    decoder = config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise ValueError(f"{path} has added_tokens_decoder {decoder!r}, which is not an object.")
    numbered = [(number, fields, path) for number, fields in decoder.items()]
    if (path := folder / "added_tokens.json").exists():
        names = {*map(str, special), *SPECIAL_TOKENS}
        numbered += [
            (number, {"content": content, "special": content in names}, path)
            for content, number in read_json(path).items()
        ]
    try:
        return sorted(((int(n), *rest) for n, *rest in numbered), key=itemgetter(0))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{folder} has an added token without an id ({error}).") from error


def tokenizer_config(config: dict[str, Any]) -> dict[str, Any]:
    """Turns the config of a tokenizer into a tokenizer_config.json."""
    added = config["added_tokens"]
    allows = config["allow_special_tokens"]
    return {
        "tokenizer_class": "BertTokenizer",
        **{theirs: config[ours] for theirs, ours in _BERT_FIELDS.items()},
        # The reference has one switch for [SEP] and the like and for added special tokens.
        "split_special_tokens": not allows and not any(token["special"] for token in added),
        **{
            name: token
            for name, token in zip(_NAMES, SPECIAL_TOKENS, strict=True)
            if token in config["vocabulary"]
        },
        **{name: config[name] for name in (*_OWN_FIELDS, "preprocessing")},
        **({"added_tokens": added} if added else {}),
    }


def tokenizer_json(config: dict[str, Any], pieces: Mapping[str, int]) -> dict[str, Any]:
    """Turns the config of a tokenizer, and its tokens for words, into a tokenizer.json."""
    vocabulary = Vocabulary(config["vocabulary"])
    added = [AddedToken(**token) for token in config["added_tokens"]]
    entries = [
        {
            "id": vocabulary.token_to_id(token.content),
            "content": token.content,
            "single_word": False,
            "lstrip": token.lstrip,
            "rstrip": token.rstrip,
            "normalized": token.normalized,
            "special": token.special,
        }
        for token in tokens_to_find(vocabulary, added)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(entries, key=itemgetter("id")),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            **{theirs: config[ours] for theirs, ours in _NORMALIZER_FIELDS.items()},
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": frame_template(vocabulary),
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNK,
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": config["max_word_length"],
            "vocab": pieces,
        },
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file of a tokenizer."""
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
