"""Folders of sentence-transformers: what stands in them beside a checkpoint of `transformers`."""

import json
import re
from pathlib import Path
from typing import Any, get_args

from keras_bert_scratch.files import read_json
from keras_bert_scratch.layers.pooling import Pooling

# What sentence-transformers calls the poolings in 1_Pooling/config.json.
_POOLING_FIELDS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def write_modules(
    folder: Path,
    *,
    pooling: Pooling,
    normalize: bool,
    sequence_length: int,
    hidden_dim: int,
    prompts: dict[str, str],
    prompt: str | None,
) -> None:
    """Writes what sentence-transformers reads beside a checkpoint of `transformers`.

    Args:
        folder: The folder of the checkpoint.
        pooling: How the states of a text become one vector.
        normalize: Whether embeddings have length 1.
        sequence_length: Tokens to which texts are truncated.
        hidden_dim: H, the size of an embedding.
        prompts: Prompts by name.
        prompt: The one that is set before every text, or None.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [("2_Normalize", "Normalize")] * normalize
    documents: dict[str, Any] = {
        "modules.json": [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, (path, kind) in enumerate(modules)
        ],
        "sentence_bert_config.json": {"max_seq_length": sequence_length, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden_dim,
            **{field: pooling == name for field, name in _POOLING_FIELDS.items()},
        },
    }
    if prompt is not None or prompts:
        documents["config_sentence_transformers.json"] = _prompt_fields(prompts, prompt)
    for path, _ in modules[1:]:
        (folder / path).mkdir()
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _prompt_fields(prompts: dict[str, str], prompt: str | None) -> dict[str, Any]:
    """Returns what config_sentence_transformers.json says of prompts, one of them the default."""
    if prompt is None:
        return {"prompts": prompts}
    name = next((name for name, text in prompts.items() if text == prompt), "default")
    return {"prompts": {**prompts, name: prompt}, "default_prompt_name": name}


def read_length(folder: Path, max_positions: int) -> int | None:
    """Returns the length that sentence-transformers wrote beside the transformer, if any.

    Args:
        folder: The folder of the checkpoint.
        max_positions: The encoder's positions; larger lengths do not count.
    """
    found = None
    # sentence-transformers 6 leaves the length to the tokenizer; transformers means "any" by 1e30.
    for name, field in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        if (folder / name).exists():
            length = read_json(folder / name).get(field)
            if type(length) is int and 1 <= length <= max_positions:
                found = length
    return found


def read_pooling(folder: Path) -> Pooling | None:
    """Returns the pooling that a checkpoint was trained for, or None if nothing says so.

    Args:
        folder: The folder of the checkpoint.

    Raises:
        ValueError: If a file is damaged, or the pooling cannot be loaded.
    """
    path = folder / "1_Pooling" / "config.json"
    return _read_pooling(path, read_json(path)) if path.exists() else None


def _read_pooling(path: Path, fields: dict[str, Any]) -> Any:
    poolings = [name for field, name in _POOLING_FIELDS.items() if fields.get(field)]
    # sentence-transformers 5 and later write one field instead.
    found = fields.get("pooling_mode") or (poolings[0] if len(poolings) == 1 else poolings)
    if found not in get_args(Pooling):
        raise ValueError(
            f"{path} has the pooling {found!r}; only one of {', '.join(get_args(Pooling))} can be "
            "loaded: choose another checkpoint; a new classifier can read its [CLS] by "
            'pooling="pooler".'
        )
    return found


def read_modules(folder: Path) -> dict[str, Any]:
    """Reads what sentence-transformers wrote beside the checkpoint; its defaults if nothing.

    Args:
        folder: The folder, which may hold a plain checkpoint of `transformers`.

    Returns:
        `transformer`, the folder of the checkpoint; `pooling`, `normalize` and `prompts` as
        `BertSentenceEncoder` takes them; `prompt`, which is set before every text; and
        `lowercase`, whether texts are lower-cased whatever the tokenizer says.

    Raises:
        ValueError: If a file is damaged, or a module or the pooling cannot be loaded.
    """
    settings: dict[str, Any] = {
        "transformer": folder,
        "pooling": "mean",
        "normalize": False,
        "lowercase": False,
        "prompt": "",
        "prompts": {},
    }
    if not (folder / "modules.json").exists():
        return settings
    modules = read_json(folder / "modules.json", list)
    try:
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{folder / 'modules.json'} is not a list of modules ({error!r}): fetch it again."
        ) from error
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"{folder / 'modules.json'} lists {', '.join(kinds)}; only Transformer, Pooling and, "
            "if need be, Normalize can be loaded: choose another checkpoint."
        )
    first, name = modules[0].get("path", ""), modules[1].get("path")
    for path, pattern in ((first, r"(\w[\w.-]*)?"), (name, r"\w[\w.-]*")):
        if not isinstance(path, str) or not re.fullmatch(pattern, path):
            raise ValueError(
                f"{folder / 'modules.json'} has the path {path!r}, which is no folder in its own: "
                "do not use it."
            )
    settings["transformer"] = folder / first
    path = folder / name / "config.json"
    fields = read_json(path)
    settings.update(pooling=_read_pooling(path, fields), normalize=kinds[-1] == "Normalize")
    settings.update(_read_prompts(folder))
    if settings["prompt"] and fields.get("include_prompt", True) is not True:
        raise ValueError(
            f"{path} has include_prompt {fields['include_prompt']!r}, which leaves the prompt's "
            "tokens out of the pooling; only true can be loaded: choose another checkpoint."
        )
    if (settings["transformer"] / "sentence_bert_config.json").exists():
        saved = read_json(settings["transformer"] / "sentence_bert_config.json")
        settings["lowercase"] = bool(saved.get("do_lower_case"))
    return settings


def _read_prompts(folder: Path) -> dict[str, Any]:
    """Reads the prompts, and the one that is set before every text."""
    path = folder / "config_sentence_transformers.json"
    fields = read_json(path) if path.exists() else {}
    prompts, name = fields.get("prompts") or {}, fields.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise ValueError(f"{path} has prompts {prompts!r}, which are no texts by name: mend it.")
    if name is not None and name not in prompts:
        raise ValueError(
            f"{path} has default_prompt_name {name!r}, the prompts are {list(prompts)}: mend it."
        )
    return {"prompts": prompts, "prompt": prompts[name] if name is not None else ""}
