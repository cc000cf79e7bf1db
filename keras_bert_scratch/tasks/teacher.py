"""What a pretraining learns from a larger sentence encoder: its vectors of texts and of tokens.

Axes: V vocabulary, H hidden, W width of the teacher's vectors.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint
from keras_bert_scratch.checkpoints.sentence_transformers import read_modules
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.files import new_file
from keras_bert_scratch.serving.engines import EngineName
from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
from keras_bert_scratch.text.vocabulary import CONTINUATION, SPECIAL_TOKENS, Vocabulary

logger = logging.getLogger(__name__)

# Texts whose vectors are computed together, and kept when a run is stopped.
_PIECE = 1024


class Teacher:
    """The vectors of a sentence encoder, computed once and kept in a folder.

    Args:
        name: The encoder, as `BertSentenceEncoder.from_pretrained` takes it.
        engine: What computes the vectors, see `BertSentenceEncoder.encode`.
        sequence_length: Tokens of a text that are read, if the encoder has so many positions.
        folder: Where vectors are kept, as float16.

    Example:
        >>> teacher = Teacher("minilm", "keras", 128, Path("vectors"))
        >>> teacher.vectors(["A door opened.", "Rain fell."]).shape
        (2, 384)
    """

    def __init__(self, name: str, engine: EngineName, sequence_length: int, folder: Path) -> None:
        self.name, self.engine, self.folder = name, engine, folder
        checkpoint = open_checkpoint(read_modules(find_checkpoint(name))["transformer"])
        self.dim = checkpoint.config.hidden_dim
        self.sequence_length = min(sequence_length, checkpoint.config.max_positions)
        self.weights_hash = weights_hash(checkpoint.folder)

    @functools.cached_property
    def encoder(self) -> BertSentenceEncoder:
        """The teacher itself, which is loaded if there is anything to compute."""
        return BertSentenceEncoder.from_pretrained(self.name, sequence_length=self.sequence_length)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the vectors of texts, in pieces that a stopped run keeps. *Shape:* (n, W)."""
        pieces = [np.zeros((0, self.dim), "float16")]
        for start in range(0, len(texts), _PIECE):
            piece = texts[start : start + _PIECE]
            asked = [[self.weights_hash, self.engine, self.sequence_length], piece]
            name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
            file = self.folder / f"{name}.npy"
            if not file.exists():
                logger.info("The teacher reads texts %d to %d.", start, start + len(piece))
                made = self.encoder.encode(piece, verbose=0, engine=self.engine)
                self.folder.mkdir(parents=True, exist_ok=True)
                with new_file(file) as temporary, temporary.open("wb") as opened:
                    np.save(opened, made.astype("float16"))
            pieces.append(np.load(file))
        return np.concatenate(pieces)

    def token_embeddings(self, vocabulary: Vocabulary, config: BertConfig) -> np.ndarray:
        """Returns the main components of the teacher's vectors of single tokens.

        Their standard deviation is that of new embeddings. NaN is what the teacher does not know:
        special tokens, and components beyond its own.

        Args:
            vocabulary: The student's; what continues a word is read without its mark.
            config: The student's.

        Returns:
            *Shape:* (V, H).
        """
        is_word = np.array([token not in SPECIAL_TOKENS for token in vocabulary.tokens])
        words = np.array(vocabulary.tokens)[is_word].tolist()
        vectors = self.vectors([w.removeprefix(CONTINUATION) or w for w in words])
        centered = vectors.astype("float64") - vectors.mean(axis=0, dtype="float64")
        # eigh sorts the directions by their variance, the largest last.
        directions = np.linalg.eigh(centered.T @ centered)[1][:, ::-1]
        components = centered @ directions[:, : config.hidden_dim]
        components *= config.initializer_range / components.std()
        table = np.full((len(vocabulary), config.hidden_dim), np.nan, "float32")
        table[is_word, : components.shape[1]] = components
        return table


def weights_hash(folder: Path) -> str:
    """Returns the sha256 of a checkpoint's files of weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin") or ".ckpt" in path.name:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
