"""The recipe of a pretraining: from text files to an encoder with its vocabulary and weights."""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.data.documents import Lines, read_documents
from keras_bert_scratch.data.shards import (
    ShardedExamples,
    ShardSettings,
    sorted_sources,
    write_shards,
)
from keras_bert_scratch.extras import check_installed
from keras_bert_scratch.files import new_file, read_text
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.engines import EngineName
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.teacher import Teacher, weights_hash
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary, train_vocabulary
from keras_bert_scratch.training.distribution import (
    check_batch_size,
    check_workers_agree,
    chief_first,
    is_chief,
)
from keras_bert_scratch.training.optimizers import bert_optimizer
from keras_bert_scratch.training.resuming import ExactResume

logger = logging.getLogger(__name__)

# Clark et al. 2020, "ELECTRA", section 3.1.
_REPLACED_TOKENS_WEIGHT = 50.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of the training with batches of one shape.

    With several phases, sequences become longer or batches larger in the course of the training.

    Args:
        sequence_length: S.
        batch_size: Examples of an update.
        steps: Updates.
    """

    sequence_length: int
    batch_size: int
    steps: int


class _RecipeLoader(yaml.SafeLoader):
    """Reads YAML without aliases: a few lines of them can stand for more than the memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None,
                None,
                f"the alias *{event.anchor} is not read: write out what it stands for",
                event.start_mark,
            )
        return super().compose_node(parent, index)


@dataclasses.dataclass(frozen=True)
class PretrainingRecipe:
    """All that a pretraining depends on; the same recipe gives the same weights.

    Args:
        train: Files of text to train on; may have wildcards. See `data.documents.read_documents`.
        held_out: Files of text to evaluate on.
        phases: What is trained, in order.
        learning_rate: The peak.
        evaluate_every: Updates from one evaluation, and checkpoint, to the next.
        vocabulary: A vocab.txt, or the size of a vocabulary to learn from `train`.
        encoder: Fields of `BertConfig`; `preset` names a size. The vocabulary sets `vocab_size`.
        start: A checkpoint to go on from, as `from_pretrained` takes it (domain adaptation), in
            place of `vocabulary` and `encoder`: its sizes, tokenizer, weights and heads are used.
            Heads that it lacks are new, and a warning says so.
        teacher: A sentence encoder to learn from beside hidden tokens, as
            `BertSentenceEncoder.from_pretrained` takes it: the mean of a text's states is to point
            where its vector does. Each document is then an example; a phase leaves out those
            longer than its sequences. A new encoder's token embeddings start as the main
            components of the teacher's vectors of the tokens. `next_sentence` must be false.
        teacher_engine: What computes the teacher's vectors, see `BertSentenceEncoder.encode`.
        teacher_weight: Weight of the teacher's loss, a cosine, beside hidden tokens'.
        next_sentence: Whether to train on pairs and next-sentence prediction, or full sentences.
        repeats: How often the text is cut into examples, each time at other places.
        masking_rate: Share of the tokens to hide. With a teacher it may be 0: the vectors alone are
            learned, for about half the time.
        whole_words: Whether to hide the tokens of a word together.
        static_masking: Whether to hide the same tokens each time.
        generator_layers: With a number, as many layers of a generator guess the hidden tokens, and
            the encoder tells of every token whether it was replaced: see `BertPretrainer`. Static
            masking and next sentences do not go with it, nor ModernBERT.
        lowercase: Whether to lower-case the text; by default yes, or as the checkpoint in `start`.
        text_column: Column of the text, in files that have columns.
        lines: What a line break within a document is: "sentences", "wrapped", or "auto" to tell it
            from the text, and log it. See `data.documents.read_documents`.
        optimizer: One of `training.optimizers.bert_optimizer`.
        warmup_ratio: Share of the updates in which the rate rises.
        weight_decay: Decay of matrices and tables.
        gradient_accumulation: Parts in which the gradients of a batch are computed.
        dtype: Dtype of the computation, such as `"mixed_bfloat16"`.
        steps_per_execution: Updates that run in one call of the compiled function.
        seed: Seed of everything that is drawn.
        deterministic: Whether to use TensorFlow's deterministic operations, which make two runs
            equal to the last bit.

    Raises:
        ValueError: If a value is refused, or the values do not fit together.

    Example:
        >>> recipe = PretrainingRecipe(
        ...     train=["corpus.txt"],
        ...     held_out=["held_out.txt"],
        ...     vocabulary=8000,
        ...     encoder={"preset": "tiny"},
        ...     phases=[Phase(sequence_length=128, batch_size=32, steps=10_000)],
        ...     learning_rate=1e-3,
        ...     evaluate_every=500,
        ... )
        >>> recipe.masking_rate
        0.15
    """

    train: Sequence[str]
    held_out: Sequence[str]
    phases: Sequence[Phase]
    learning_rate: float
    evaluate_every: int
    vocabulary: int | str | None = None
    encoder: dict[str, Any] | None = None
    start: str | None = None
    teacher: str | None = None
    teacher_engine: EngineName = "keras"
    teacher_weight: float = 10.0
    next_sentence: bool = True
    repeats: int = 1
    masking_rate: float = 0.15
    whole_words: bool = True
    static_masking: bool = False
    generator_layers: int = 0
    lowercase: bool | None = None
    text_column: str = "text"
    lines: Lines = "auto"
    optimizer: str = "adamw"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    gradient_accumulation: int = 1
    dtype: str = "float32"
    steps_per_execution: int = 1
    seed: int = 0
    deterministic: bool = True

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("phases is empty: name at least one.")
        whole = {
            name: getattr(self, name)
            for name in (
                "evaluate_every",
                "repeats",
                "gradient_accumulation",
                "steps_per_execution",
            )
        }
        for number, phase in enumerate(self.phases):
            whole |= {f"phases[{number}].{k}": v for k, v in dataclasses.asdict(phase).items()}
        for name, value in whole.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}.")
        if type(self.generator_layers) is not int or self.generator_layers < 0:
            raise ValueError(
                f"generator_layers must be 0 or a positive integer, received "
                f"{self.generator_layers!r}."
            )
        self._check_start()
        if self.teacher is not None and self.next_sentence:
            raise ValueError(
                f"teacher is {self.teacher!r} and next_sentence is true, but a teacher's vectors "
                "are of single documents: set next_sentence to false."
            )
        if not (0 < self.masking_rate < 1 or (self.masking_rate == 0 and self.teacher)):
            raise ValueError(
                f"masking_rate must be between 0 and 1, received {self.masking_rate!r}; 0 needs a "
                "teacher, whose vectors are then all that is learned."
            )
        if not self.teacher_weight > 0:
            raise ValueError(f"teacher_weight must be above 0, received {self.teacher_weight!r}.")
        config = self.config(vocab_size=1)
        if self.next_sentence and config.architecture != "bert":
            raise ValueError(
                "next_sentence is true, but the encoder's architecture is "
                f"{config.architecture!r}, which transformers pretrains by masked tokens alone: "
                "set it to false."
            )
        self._check_generator(config)
        longest = config.max_positions
        for number, phase in enumerate(self.phases):
            if phase.sequence_length > longest:
                raise ValueError(
                    f"phases[{number}].sequence_length is {phase.sequence_length}, but the encoder "
                    f"has {longest} positions: shorten it, or raise encoder.max_positions."
                )
            if phase.steps % self.evaluate_every:
                raise ValueError(
                    f"phases[{number}].steps must be a multiple of evaluate_every, received "
                    f"{phase.steps} and {self.evaluate_every}."
                )
            if phase.batch_size % self.gradient_accumulation:
                raise ValueError(
                    f"phases[{number}].batch_size must be a multiple of gradient_accumulation, "
                    f"received {phase.batch_size} and {self.gradient_accumulation}."
                )
        # The optimizer checks its own arguments.
        self.make_optimizer()

    def _check_generator(self, config: BertConfig) -> None:
        """Refuses what does not go with a generator."""
        against = {
            "next_sentence is true": self.next_sentence,
            "static_masking is true, which hides the true tokens": self.static_masking,
            "masking_rate is 0": not self.masking_rate,
            f"the encoder's architecture is {config.architecture!r}": config.architecture != "bert",
        }
        for fact, holds in against.items():
            if self.generator_layers and holds:
                raise ValueError(
                    f"generator_layers is {self.generator_layers}, and {fact}: leave one of them."
                )

    def _check_start(self) -> None:
        """Refuses a recipe that does not say what to start from, or says it twice."""
        if self.start is None:
            if missing := [n for n in ("vocabulary", "encoder") if getattr(self, n) is None]:
                raise ValueError(
                    f"the recipe lacks {' and '.join(missing)}: add them, or name a checkpoint to "
                    "go on from as start."
                )
            return
        if self.vocabulary is not None:
            raise ValueError(
                f"start is {self.start!r}, which has its own vocabulary, and vocabulary is "
                f"{self.vocabulary!r}: leave it out."
            )
        saved, fields = self.checkpoint.config.to_dict(), self.encoder or {}
        for name, value in fields.items():
            if name not in saved or saved[name] != value:
                theirs = f"{saved[name]!r} in" if name in saved else "no size of"
                raise ValueError(
                    f"encoder.{name} is {value!r}, but {theirs} the checkpoint {self.start}, which "
                    "sets all sizes: leave it out."
                )
        lowercase = WordPieceTokenizer.from_directory(self.checkpoint.folder).lowercase
        if self.lowercase not in (None, lowercase):
            raise ValueError(
                f"lowercase is {self.lowercase}, but {lowercase} in the checkpoint {self.start}: "
                "leave it out."
            )

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint to go on from."""
        assert self.start is not None
        return open_checkpoint(self.start)

    @classmethod
    def from_yaml(cls, path: str | Path, *, start: str | None = None) -> "PretrainingRecipe":
        """Reads a recipe; the paths in it start from its folder.

        Args:
            path: The file.
            start: The checkpoint to go on from, for a recipe that names none.

        Raises:
            FileNotFoundError: If there is no such file, or no file that it names.
            ValueError: If it is not YAML, or a field is missing, unknown or refused.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"There is no recipe {path}: check the path.")
        text = read_text(path)
        try:
            fields = yaml.load(text, _RecipeLoader)
        # ValueError is of dates and numbers that there are not.
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"{path} is not YAML: {error}") from error
        except RecursionError:
            raise ValueError(
                f"{path} is nested too deeply: a recipe has lists and fields of three levels."
            ) from None
        try:
            _check_fields(cls, fields, "the recipe")
            if start is not None and fields.get("start") is not None:
                raise ValueError(
                    f"it starts from {fields['start']!r}, and {start!r} is asked for: name one."
                )
            for phase in fields["phases"]:
                _check_fields(Phase, phase, "a phase")
            folder = path.parent
            vocabulary = fields.get("vocabulary")
            named = fields.get("start")
            if isinstance(named, str) and (folder / named).is_dir():
                named = str(folder / named)
            return cls(
                **{
                    **fields,
                    "train": _files(folder, fields["train"]),
                    "held_out": _files(folder, fields["held_out"]),
                    "vocabulary": str(folder / vocabulary)
                    if isinstance(vocabulary, str)
                    else vocabulary,
                    "start": start or named,
                    "phases": [Phase(**phase) for phase in fields["phases"]],
                }
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is refused: {error}") from error

    def config(self, vocab_size: int) -> BertConfig:
        """Returns the encoder's config; `vocab_size` is ignored if there is a checkpoint."""
        if self.start is not None:
            return self.checkpoint.config
        fields = {**(self.encoder or {}), "vocab_size": vocab_size}
        if "preset" in fields:
            return BertConfig.preset(fields.pop("preset"), **fields)
        return BertConfig.from_dict(fields)

    def make_optimizer(self) -> keras.optimizers.Optimizer:
        """Returns the optimizer, with a schedule over all phases."""
        return bert_optimizer(
            self.optimizer,
            self.learning_rate,
            total_steps=sum(phase.steps for phase in self.phases),
            warmup_ratio=self.warmup_ratio,
            weight_decay=self.weight_decay,
            gradient_accumulation=self.gradient_accumulation,
            # That of google-research/bert; the others have Keras' in fine-tuning, too.
            **({"epsilon": 1e-6} if self.optimizer == "adamw" else {}),
        )


def pretrain(
    recipe: PretrainingRecipe,
    output: str | Path,
    *,
    num_processes: int = 1,
    strategy: tf.distribute.Strategy | None = None,
) -> BertPretrainer:
    r"""Pretrains an encoder, or goes on from a checkpoint on other text.

    Called again after it was stopped, it goes on exactly.

    Args:
        recipe: What to do.
        output: The folder of the run. In it, `model` is the result, a checkpoint for
            `from_pretrained`, and history.json its curves; `logs` is for TensorBoard.
        num_processes: Files of text that are made into examples at the same time.
        strategy: What `training.distribution.distribution_strategy` returns. With several workers,
            the first makes the examples while the others wait; workers that share no disk with it
            make them again, and need a copy of its checkpoint to go on.

    Returns:
        The model.

    Raises:
        ValueError: If the text is too little, or the folder holds the run of another recipe; with
            a strategy, also if the workers' recipes or texts differ, `steps_per_execution` is above
            1, or the replicas cannot share a batch, or a part of one, evenly.
        WorkerLostError: If another worker stopped.

    Example:
        >>> text = "A door opened. A man came in. He sat down.\n\nRain fell. The river rose.\n"
        >>> _ = Path("corpus.txt").write_text(text)
        >>> recipe = PretrainingRecipe(
        ...     train=["corpus.txt"],
        ...     held_out=["corpus.txt"],
        ...     start="tiny-en-1",
        ...     phases=[Phase(sequence_length=32, batch_size=2, steps=1)],
        ...     learning_rate=1e-4,
        ...     evaluate_every=1,
        ...     deterministic=False,
        ... )
        >>> model = pretrain(recipe, "run")
        >>> len(model.fill_mask("A man opened the [MASK]."))
        1
    """
    check_installed("tensorboard", "tensorboard", "Logging the curves of a pretraining")
    output = Path(output)
    strategy = strategy or tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1 and recipe.steps_per_execution > 1:
        raise ValueError(
            f"steps_per_execution is {recipe.steps_per_execution}, which does not work under "
            "tf.distribute: set it to 1."
        )
    for phase in recipe.phases:
        check_batch_size(phase.batch_size, strategy, recipe.gradient_accumulation)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    with chief_first(strategy):
        tokenizer = _tokenizer(recipe, output)
        teacher = _teacher(recipe, output / "teacher")
        vectors = None if teacher is None else _vectors(recipe, teacher)
        shards = {
            length: _shards(recipe, output, tokenizer, vectors, length, num_processes)
            for length in {phase.sequence_length: None for phase in recipe.phases}
        }
    fingerprint = _fingerprint(recipe, teacher, shards)
    check_workers_agree(strategy, {"recipe or texts": fingerprint})
    with strategy.scope():
        model = _model(recipe, tokenizer, teacher)
        model.compile(
            recipe.make_optimizer(),
            steps_per_execution=recipe.steps_per_execution,
            loss_weights=_loss_weights(recipe, model),
        )
        resume = ExactResume(output / "checkpoint.safetensors", fingerprint)
        resume.restore(model)

    callbacks = [keras.callbacks.TensorBoard(output / "logs")] if is_chief(strategy) else []
    _fit_phases(model, recipe, shards, resume, callbacks)
    with chief_first(strategy):
        if is_chief(strategy):
            with new_file(output / "history.json") as temporary:
                temporary.write_text(json.dumps(resume.history, indent=1) + "\n", encoding="utf-8")
            if not (output / "model").exists():
                model.save_pretrained(output / "model")
    return model


def _fit_phases(
    model: BertPretrainer,
    recipe: PretrainingRecipe,
    shards: dict[int, tuple[ShardedExamples, ShardedExamples]],
    resume: ExactResume,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Trains what is left of each phase, in order."""
    masking: dict[str, Any] = {
        "masking_rate": recipe.masking_rate,
        "whole_words": recipe.whole_words,
        "replaced_tokens": recipe.generator_layers > 0,
    }
    batches_per_epoch = recipe.evaluate_every * recipe.gradient_accumulation
    last_epoch = 0
    for number, phase in enumerate(recipe.phases):
        first_epoch, last_epoch = last_epoch, last_epoch + phase.steps // recipe.evaluate_every
        if resume.epochs_done >= last_epoch:
            continue
        train, held_out = shards[phase.sequence_length]
        batch_size = phase.batch_size // recipe.gradient_accumulation
        seed = recipe.seed + number
        start = (resume.epochs_done - first_epoch) * batches_per_epoch
        model.fit(
            train.training(batch_size, seed=seed, start=start, **masking),
            epochs=last_epoch,
            initial_epoch=resume.epochs_done,
            steps_per_epoch=batches_per_epoch,
            validation_data=held_out.evaluation(batch_size, seed=seed, **masking),
            shuffle=False,  # the dataset is
            callbacks=[resume, *callbacks],
            verbose=2,
        )


def _model(
    recipe: PretrainingRecipe, tokenizer: WordPieceTokenizer, teacher: Teacher | None
) -> BertPretrainer:
    """Makes the model, with new weights or with those of a checkpoint."""
    heads: dict[str, Any] = {
        "masked_language_model": recipe.masking_rate > 0,
        "next_sentence": recipe.next_sentence,
        "teacher_dim": None if teacher is None else teacher.dim,
        "generator_layers": recipe.generator_layers,
    }
    if recipe.start is not None:
        logger.info("Going on from %s.", recipe.start)
        return BertPretrainer.from_pretrained(recipe.checkpoint.folder, dtype=recipe.dtype, **heads)
    config = recipe.config(len(tokenizer.vocabulary))
    encoder = BertEncoder(config, dtype=recipe.dtype)
    if teacher is not None:
        table = encoder.embeddings.token.embeddings
        known = teacher.token_embeddings(tokenizer.vocabulary, config)
        table.assign(np.where(np.isnan(known), keras.ops.convert_to_numpy(table), known))
    return BertPretrainer(encoder, tokenizer, dtype=recipe.dtype, **heads)


def _teacher(recipe: PretrainingRecipe, folder: Path) -> Teacher | None:
    if recipe.teacher is None:
        return None
    longest = max(phase.sequence_length for phase in recipe.phases)
    return Teacher(recipe.teacher, recipe.teacher_engine, longest, folder)


def _vectors(recipe: PretrainingRecipe, teacher: Teacher) -> dict[str, list[np.ndarray]]:
    """Returns the teacher's vectors of the documents of each file, in the order of the shards."""
    return {
        part: [
            teacher.vectors(list(read_documents(path, recipe.text_column, lines=recipe.lines)))
            for path in sorted_sources(sources)
        ]
        for part, sources in (("train", recipe.train), ("held_out", recipe.held_out))
    }


def _loss_weights(recipe: PretrainingRecipe, model: BertPretrainer) -> dict[str, float] | None:
    """Returns how much each head's loss counts, or None if all are alike."""
    special = {"teacher_vector": recipe.teacher_weight, "replaced_tokens": _REPLACED_TOKENS_WEIGHT}
    losses = model.default_loss()
    if not special.keys() & losses:
        return None
    return {name: special.get(name, 1.0) for name in losses}


def _tokenizer(recipe: PretrainingRecipe, output: Path) -> WordPieceTokenizer:
    """Takes that of the checkpoint, reads the vocabulary, or learns it once and keeps it."""
    if recipe.start is not None:
        return WordPieceTokenizer.from_directory(recipe.checkpoint.folder)
    lowercase = recipe.lowercase is not False
    if isinstance(recipe.vocabulary, str):
        return WordPieceTokenizer(Vocabulary.from_file(recipe.vocabulary), lowercase=lowercase)
    assert recipe.vocabulary is not None
    file = output / f"vocabulary-{recipe.vocabulary}.txt"
    if not file.exists():
        logger.info("Learning a vocabulary of %d tokens.", recipe.vocabulary)
        text = output / ".text.txt"
        try:
            with text.open("w", encoding="utf-8") as plain:
                for path in recipe.train:
                    # Line breaks do not change the words.
                    documents = read_documents(path, recipe.text_column, lines="sentences")
                    plain.writelines(f"{document}\n" for document in documents)
            train_vocabulary([text], recipe.vocabulary, lowercase=lowercase).to_file(file)
        finally:
            text.unlink(missing_ok=True)
    return WordPieceTokenizer(Vocabulary.from_file(file), lowercase=lowercase)


def _shards(
    recipe: PretrainingRecipe,
    output: Path,
    tokenizer: WordPieceTokenizer,
    vectors: dict[str, list[np.ndarray]] | None,
    sequence_length: int,
    num_processes: int,
) -> tuple[ShardedExamples, ShardedExamples]:
    """Makes the examples to train on and those held out, as far as they are not there yet."""
    both = []
    for part, sources in (("train", recipe.train), ("held_out", recipe.held_out)):
        settings = ShardSettings(
            sequence_length=sequence_length,
            next_sentence=recipe.next_sentence,
            repeats=recipe.repeats if part == "train" else 1,
            seed=recipe.seed,
            static_masking=recipe.masking_rate if recipe.static_masking else None,
            whole_words=recipe.whole_words,
            text_column=recipe.text_column,
            lines=recipe.lines,
            teacher_dim=None if vectors is None else vectors[part][0].shape[1],
        )
        folder = output / "shards" / f"{part}-{sequence_length}"

        def report(done: int, all_shards: int, part: str = part) -> None:
            logger.info(
                "Examples of %d tokens, %s: %d of %d files.",
                sequence_length,
                part,
                done,
                all_shards,
            )

        write_shards(
            sources,
            folder,
            tokenizer,
            settings,
            num_processes=num_processes,
            progress=report,
            vectors=None if vectors is None else vectors[part],
        )
        both.append(ShardedExamples(folder, tokenizer.vocabulary))
    train, held_out = both
    return train, held_out


def _fingerprint(
    recipe: PretrainingRecipe,
    teacher: Teacher | None,
    shards: dict[int, tuple[ShardedExamples, ShardedExamples]],
) -> dict[str, Any]:
    """Returns what the weights depend on: the recipe, with the contents in place of the paths."""
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    for name in ("train", "held_out", "vocabulary", "text_column"):
        del fields[name]
    if teacher is None:
        # Runs of before there were teachers, or generators, go on.
        for name in ("teacher", "teacher_engine", "teacher_weight"):
            del fields[name]
    else:
        # The rest follows from the examples.
        fields["teacher"] = teacher.weights_hash
    if not recipe.generator_layers:
        del fields["generator_layers"]
    if recipe.start is not None:
        fields["start"] = weights_hash(recipe.checkpoint.folder)
    fields["phases"] = {str(number): phase for number, phase in enumerate(fields["phases"])}
    fields["examples"] = {
        f"{part}-{length}": hashlib.sha256(
            json.dumps(examples.index, sort_keys=True).encode()
        ).hexdigest()
        for length, pair in shards.items()
        for part, examples in zip(("train", "held_out"), pair, strict=True)
    }
    return fields


def _check_fields(made: type, fields: Any, what: str) -> None:
    if not isinstance(fields, dict):
        raise ValueError(f"{what} must be fields and their values, received {fields!r}.")
    known = {field.name: field for field in dataclasses.fields(made)}
    unknown = sorted(map(str, set(fields) - set(known)))
    missing = [
        name
        for name, field in known.items()
        if field.default is dataclasses.MISSING and name not in fields
    ]
    if unknown or missing:
        problems = [f"does not know {', '.join(unknown)}"] if unknown else []
        problems += [f"lacks {', '.join(missing)}"] if missing else []
        raise ValueError(f"{what} {' and '.join(problems)}; its fields are {', '.join(known)}.")


def _files(folder: Path, patterns: str | Sequence[str]) -> list[str]:
    files: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        absolute = Path(pattern).is_absolute()
        base = Path(Path(pattern).anchor) if absolute else folder
        relative = str(Path(pattern).relative_to(base)) if absolute else pattern
        found = sorted(base.glob(relative))
        if not found:
            raise FileNotFoundError(f"There is no file {folder / pattern}: check the recipe.")
        files += map(str, found)
    return files
