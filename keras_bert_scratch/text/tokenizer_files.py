"""What a folder's tokenizer files say, as the arguments of a `WordPieceTokenizer`, or refused.

Read are tokenizer.json, or vocab.txt, with tokenizer_config.json, added_tokens.json and
special_tokens_map.json. A setting that would change a text's ids is taken over, or refused by name.
"""

from pathlib import Path
from typing import Any

from keras_bert_scratch.files import read_json
from keras_bert_scratch.text.added_tokens import AddedToken
from keras_bert_scratch.text.preprocessing import step_from_config
from keras_bert_scratch.text.vocabulary import CLS, CONTINUATION, SEP, SPECIAL_TOKENS, Vocabulary

# Classes of transformers that tokenize as BERT's does, "Fast" at their ends or not; the last two do
# what tokenizer.json says.
_BERT_CLASSES = ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert")
_GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
# Switches of old versions that have one value here.
_FIXED = {
    "do_basic_tokenize": True,
    "clean_text": True,
    "wordpieces_prefix": CONTINUATION,
    "continuing_subword_prefix": CONTINUATION,
    "never_split": [],
    "add_special_tokens": True,
    "truncation_side": "right",
}


def read_folder(folder: Path) -> dict[str, Any]:
    """Reads the tokenizer of a checkpoint's folder.

    Returns:
        Arguments of `WordPieceTokenizer`.

    Raises:
        FileNotFoundError: If the folder has neither tokenizer.json nor vocab.txt.
        ValueError: If a file cannot be used, or asks for what BERT's tokenizer does not do.
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
    names = {
        "allow_special_tokens": "allow_special_tokens",
        "normalization": "normalization",
        "max_word_length": "max_word_length",
        "errors": "errors",
    }
    if is_bert:
        names |= {
            "do_lower_case": "lowercase",
            "strip_accents": "strip_accents",
            "tokenize_chinese_chars": "tokenize_chinese_chars",
        }
    for theirs, ours in names.items():
        # null is the default, which means something of its own for accents alone.
        if theirs in config and (config[theirs] is not None or theirs == "strip_accents"):
            found[ours] = config[theirs]
    steps = config.get("preprocessing", [])
    if not isinstance(steps, list):
        raise ValueError(f"{path} has preprocessing {steps!r}, which is no list of steps.")
    found["preprocessing"] = map(step_from_config, steps)
    return _with_named_tokens(found, folder, config)


def max_length(folder: Path, max_positions: int) -> int | None:
    """Returns the length to which tokenizer_config.json truncates texts, if a model has as many."""
    path = folder / "tokenizer_config.json"
    length = read_json(path).get("model_max_length") if path.exists() else None
    # transformers means "any" by 1e30.
    return length if type(length) is int and 2 < length <= max_positions else None


def _check_config(config: dict[str, Any], path: Path) -> bool:
    """Refuses what BERT's tokenizer does not do; says whether the class' switches count."""
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
        needs_frame: Whether the file alone says that [CLS] and [SEP] are set around a text.

    Returns:
        Arguments of `WordPieceTokenizer`.

    Raises:
        ValueError: If the file cannot be used, or does something else than BERT's tokenizer.
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
    names = {
        "lowercase": "lowercase",
        "strip_accents": "strip_accents",
        "handle_chinese_chars": "tokenize_chinese_chars",
    }
    switches = {
        ours: normalizer[theirs]
        for theirs, ours in names.items()
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
    """Returns the one step of a sequence of one."""
    if isinstance(step, dict) and step.get("type") == "Sequence":
        inner = step.get(steps)
        if isinstance(inner, list) and len(inner) == 1:
            return inner[0]
    return step


def _check_frame(processor: Any, vocabulary: Vocabulary, path: Path, is_needed: bool) -> None:
    """Refuses a post-processor that does not set [CLS] and [SEP] as BERT does."""
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
    """Returns BERT's post-processor, as tokenizer.json has it."""
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
        raise ValueError(f"{path} has an added token {fields!r}, which is no text: fetch it again.")
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
                f"{path} has {name} {value!r} for {content!r}, which is no truth value."
            )
    special = bool(flags["special"])
    normalized = not special if flags["normalized"] is None else flags["normalized"]
    strips = bool(flags["lstrip"]), bool(flags["rstrip"])
    return AddedToken(content, special, normalized, *strips, is_piece=content in pieces)


def _is_plain_special(token: AddedToken) -> bool:
    """Whether a token is one of BERT's own, found as all of them are."""
    return token.content in SPECIAL_TOKENS and token[2:5] == (False, False, False)


def _with_named_tokens(found: dict[str, Any], folder: Path, config: dict[str, Any]) -> dict:
    """Adds what stands beside tokenizer.json or vocab.txt, and checks the special tokens' names."""
    vocabulary, pieces = found["vocabulary"], set(found["vocabulary"].tokens)
    tokens = list(vocabulary.tokens)
    added = {token.content: token for token in found["added_tokens"]}
    path = folder / "tokenizer_config.json"
    special: list[Any] = []
    places = [(path, config)]
    if (folder / "special_tokens_map.json").exists():
        path = folder / "special_tokens_map.json"
        places.append((path, read_json(path)))
    for path, fields in places:
        for name, ours in zip(_NAMES, SPECIAL_TOKENS, strict=True):
            theirs = fields.get(name)
            theirs = theirs.get("content") if isinstance(theirs, dict) else theirs
            if theirs not in (None, ours):
                raise ValueError(
                    f"{path} has {name} {theirs!r}, BERT's is {ours!r}: use a BERT checkpoint, or "
                    "load_encoder, which takes ready ids."
                )
        for name in ("additional_special_tokens", "extra_special_tokens"):
            values = fields.get(name) or []
            special += values.values() if isinstance(values, dict) else values

    numbered: list[tuple[Any, Any, Path]] = []
    decoder = config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise ValueError(f"{path} has added_tokens_decoder {decoder!r}, which is no object.")
    numbered += [(number, fields, path) for number, fields in decoder.items()]
    if (folder / "added_tokens.json").exists():
        path = folder / "added_tokens.json"
        names = {*map(str, special), *SPECIAL_TOKENS}
        numbered += [
            (number, {"content": content, "special": content in names}, path)
            for content, number in read_json(path).items()
        ]
    try:
        numbered.sort(key=lambda entry: int(entry[0]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has an added token without an id ({error}).") from error
    for number, fields, path in numbered:
        token = _added_token(fields, pieces, path)
        if token.content not in tokens:
            tokens.append(token.content)
        if tokens.index(token.content) != int(number):
            raise ValueError(
                f"{path} gives {token.content!r} the id {number}, the vocabulary has "
                f"{tokens.index(token.content)}: use the files of one checkpoint."
            )
        added.setdefault(token.content, token)
    for fields in special:
        token = _added_token(fields, pieces, path)
        token = token._replace(special=True, normalized=token.normalized and "normalized" in fields)
        if token.content not in tokens:
            tokens.append(token.content)
        added.setdefault(token.content, token)

    own = config.get("added_tokens")
    if own is not None:
        # Ours, which keeps what no other field says.
        added = {token["content"]: AddedToken(**token) for token in own}
    added = {name: token for name, token in added.items() if not _is_plain_special(token)}
    if config.get("split_special_tokens") and any(token.special for token in added.values()):
        raise ValueError(
            f"{folder / 'tokenizer_config.json'} has split_special_tokens true and the special "
            f"tokens {[t.content for t in added.values() if t.special]}, which would be text: set "
            "it to false, or remove them."
        )
    vocabulary = vocabulary if len(tokens) == len(vocabulary) else Vocabulary(tokens)
    return {**found, "vocabulary": vocabulary, "added_tokens": list(added.values())}
