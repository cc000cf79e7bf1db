"""What is likely to be wrong with a training, said in the log before it costs time.

These are warnings: what cannot work is refused elsewhere. Each names the value, the rule and the
way out.

Axes: n examples, C classes.
"""

import logging
import math
from collections.abc import Sequence

import keras
import numpy as np

from keras_bert_scratch.tables import shortened
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.schedules import WarmupLinearDecay

logger = logging.getLogger(__name__)

# Shares from which on something is said, and the fewest cases of which a share means anything.
_UNKNOWN_SHARE = 0.1
_CUT_SHARE = 0.1
_FEWEST_UNKNOWN = 10
_FEWEST_CUT = 2
_FEWEST_HELD_OUT = 20
# A class is nearly absent if it has fewer examples, and less than a tenth of the largest class.
_FEW_EXAMPLES = 8
_RARE_SHARE = 0.1
# More numbers than these are a scale, unless they are ids, which leave nothing out.
_MOST_NUMBERED_CLASSES = 10
# Labels are as good as free text if there are nearly as many classes as texts.
_FREE_TEXT_SHARE = 0.8
_FEWEST_FREE_TEXT = 20
# Fine-tuning with fewer updates leaves a new head near its random start.
_FEW_STEPS = 50
# With fewer examples somebody is trying things out.
_FEWEST_EXAMPLES = 16
# Texts, and characters of each, that are tokenized again to tell how long texts are, or what is
# unknown in them.
_SAMPLE = 20
_SAMPLE_CHARACTERS = 10_000
_MOST_LISTED = 5


def warn_of_unknown_tokens(
    token_ids: np.ndarray, texts: Sequence[str], tokenizer: WordPieceTokenizer
) -> None:
    """Warns if the vocabulary lacks a large share of the words.

    Args:
        token_ids: The ids of all tokens of all texts.
        texts: The texts, or some of them, for examples.
        tokenizer: The tokenizer.
    """
    vocabulary = tokenizer.vocabulary
    num_unknown = int(np.count_nonzero(token_ids == vocabulary.unk_id))
    frame = (vocabulary.cls_id, vocabulary.sep_id)
    num_tokens = len(token_ids) - sum(int(np.count_nonzero(token_ids == i)) for i in frame)
    if num_unknown < _FEWEST_UNKNOWN or num_unknown <= _UNKNOWN_SHARE * num_tokens:
        return
    words: list[str] = []
    for text in texts[:_SAMPLE]:
        encoding = tokenizer.encode(text[:_SAMPLE_CHARACTERS])
        words += [
            text[slice(*span)]
            for span, token_id in zip(encoding.offsets, encoding.token_ids, strict=True)
            # Preprocessing changes the text to which offsets refer.
            if token_id == vocabulary.unk_id and not tokenizer.preprocessing
        ]
    examples = ", ".join(shortened(repr(word), 20) for word in list(dict.fromkeys(words))[:3])
    logger.warning(
        "%.0f %% of the %s tokens of the texts are unknown to the vocabulary%s: to the model they "
        "are all the same. Choose a checkpoint whose vocabulary has the texts' language and "
        "writing.",
        100 * num_unknown / num_tokens, f"{num_tokens:,}", examples and f", such as {examples}",
    )  # fmt: skip


def warn_of_cut_texts(
    lengths: np.ndarray,
    columns: Sequence[Sequence[str]],
    tokenizer: WordPieceTokenizer,
    *,
    sequence_length: int,
    max_positions: int,
) -> None:
    """Warns if a noticeable share of the texts is longer than what is read of them.

    Args:
        lengths: Number of tokens read of each of the n texts or pairs. *Shape:* (n,).
        columns: The n texts, and the n second texts if there are any.
        tokenizer: The tokenizer.
        sequence_length: Most tokens that are read.
        max_positions: Most tokens that the encoder could read.
    """
    full = np.flatnonzero(lengths >= sequence_length)
    if len(full) < _FEWEST_CUT or len(full) < _CUT_SHARE * len(lengths):
        return
    sample = full[np.linspace(0, len(full) - 1, min(_SAMPLE, len(full))).astype(int)]
    found = np.array([_num_tokens([column[i] for column in columns], tokenizer) for i in sample])
    is_cut = found > sequence_length
    share = is_cut.mean() * len(full) / len(lengths)
    if share < _CUT_SHARE:
        return
    ways = []
    if sequence_length < max_positions:
        ways.append(f"sequence_length takes up to {max_positions}, at more time and memory")
    if len(columns) == 1:
        ways.append('truncation="head_tail" reads both ends, and "windows" all of a text')
    logger.warning(
        "%s of %s texts have more than the %d tokens that are read, in the median about %s: what "
        "follows is not seen. %s.",
        f"About {100 * share:.0f} %", f"{len(lengths):,}", sequence_length,
        f"{np.median(found[is_cut]):,.0f}", "; ".join(ways) or "Shorten them, if it matters",
    )  # fmt: skip


def _num_tokens(texts: Sequence[str], tokenizer: WordPieceTokenizer) -> float:
    """Estimates the number of tokens of a text or a pair by the starts of its parts."""
    total = 1.0
    for text in texts:
        start = text[:_SAMPLE_CHARACTERS]
        # Without [CLS]; [SEP] ends each part.
        total += (len(tokenizer.encode(start).token_ids) - 1) * len(text) / max(len(start), 1)
    return total


def warn_of_labels(counts: np.ndarray, labels: Sequence[str], num_examples: int) -> None:
    """Warns of classes with hardly an example, and of labels that look like no classes.

    Args:
        counts: Number of training examples of each class. *Shape:* (C,).
        labels: Names of the C classes.
        num_examples: n; an example may have several classes.
    """
    num_used = int(np.count_nonzero(counts))
    if num_examples >= _FEWEST_FREE_TEXT and num_used >= _FREE_TEXT_SHARE * num_examples:
        logger.warning(
            "There are %d classes for %d texts, such as %s: labels that are nearly all different "
            "cannot be learned. Check that the labels are the right column.",
            num_used, num_examples, _named(labels),
        )  # fmt: skip
        return
    if _is_scale(labels):
        logger.warning(
            "The labels are %d numbers, such as %s: as classes they have no order, and an answer "
            'that is near counts as wrong. For a number out, give one label: labels=["rating"].',
            len(labels), _named(labels),
        )  # fmt: skip
    rare = np.flatnonzero((counts < _FEW_EXAMPLES) & (counts <= _RARE_SHARE * counts.max()))
    if len(rare):
        listed = ", ".join(f"{labels[i]!r} ({counts[i]:.0f})" for i in rare[:_MOST_LISTED])
        more = f" and {len(rare) - _MOST_LISTED} more" if len(rare) > _MOST_LISTED else ""
        logger.warning(
            "Of %d classes, %d are nearly absent from the training examples, with the number of "
            "each: %s%s. They will hardly be answered: give more examples of them, weigh them "
            "with class_weight, or leave them out.",
            len(labels), len(rare), listed, more,
        )  # fmt: skip


def _named(labels: Sequence[str]) -> str:
    return ", ".join(shortened(repr(label), 40) for label in labels[:3])


def _is_scale(labels: Sequence[str]) -> bool:
    """Whether class names are numbers on a scale, rather than ids or a few grades."""
    try:
        values = sorted(float(label) for label in labels)
    except ValueError:
        return False
    if not np.isfinite(values).all() or len(values) < 3:
        return False
    if any(value % 1 for value in values):
        return True
    leaves_some_out = values[-1] - values[0] >= len(values)
    return len(values) > _MOST_NUMBERED_CLASSES and leaves_some_out


def warn_of_steps(
    num_batches: int, num_examples: int, optimizer: keras.optimizers.Optimizer
) -> None:
    """Warns of a training with too few updates, or with a schedule that does not fit it.

    Args:
        num_batches: Batches of all epochs of the training.
        num_examples: n.
        optimizer: The model's optimizer.
    """
    if num_examples < _FEWEST_EXAMPLES:
        return
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    num_steps = num_batches // (optimizer.gradient_accumulation_steps or 1)
    first = int(keras.ops.convert_to_numpy(optimizer.iterations))
    last = first + num_steps
    schedule = optimizer._learning_rate
    is_known = isinstance(schedule, WarmupLinearDecay)
    total, warmup = (schedule.total_steps, schedule.warmup_steps) if is_known else (math.inf, 0)
    if last <= warmup:
        logger.warning(
            "fit ends after %d updates, and the schedule's warm-up takes %d of its total_steps=%d: "
            "the learning rate never reaches its peak. Compile with total_steps=%d, or train for "
            "more epochs.",
            last, warmup, total, last,
        )  # fmt: skip
    elif first >= total:
        logger.warning(
            "fit begins at update %d, where the schedule of total_steps=%d has ended: the learning "
            "rate is 0, and nothing is learned. Compile again before fit.",
            first, total,
        )  # fmt: skip
    elif last > 1.5 * total:
        logger.warning(
            "fit ends after %d updates, and the schedule after total_steps=%d: from there on the "
            "learning rate is 0, and nothing is learned. Compile with total_steps=%d, or train for "
            "fewer epochs.",
            last, total, last,
        )  # fmt: skip
    elif num_steps < _FEW_STEPS and not first:
        logger.warning(
            "fit makes %d updates of the weights, and fine-tuning takes some hundred: train for "
            "more epochs, or in smaller batches.",
            num_steps,
        )  # fmt: skip


def warn_of_guessing(accuracy: float, counts: np.ndarray, labels: Sequence[str]) -> None:
    """Warns if a classifier is no better than the answer that is right most often.

    The difference has to be larger than one standard error of that answer's accuracy.

    Args:
        accuracy: Share of right answers on held-out texts; the best of all epochs.
        counts: Number of held-out texts of each class. *Shape:* (C,).
        labels: Names of the C classes.
    """
    num_examples = counts.sum()
    if num_examples < _FEWEST_HELD_OUT or not np.count_nonzero(counts) > 1:
        return
    commonest = int(counts.argmax())
    share = counts[commonest] / num_examples
    if accuracy > share + np.sqrt(share * (1 - share) / num_examples):
        return
    logger.warning(
        "The accuracy on %d held-out texts is %.1f %%, no better than always answering %r "
        "(%.1f %%): the model has not learned to tell the classes apart. Check that texts and "
        "labels belong together; then try more epochs, more examples, another learning rate, or "
        "another checkpoint, such as minilm.",
        num_examples, 100 * accuracy, labels[commonest], 100 * share,
    )  # fmt: skip
