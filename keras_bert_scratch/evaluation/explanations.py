"""Which words an answer came from: integrated gradients, attention roll-out, a check of both.

Axes: S sequence, H hidden, N heads, C classes, W words of the text, P points of a path, n texts.
"""

import dataclasses
import functools
import html
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from scipy.integrate import trapezoid
from scipy.special import expit, softmax
from scipy.stats import binomtest

from keras_bert_scratch.layers.pooling import pool_tokens
from keras_bert_scratch.models.joined import encode_joined
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.text.tokenizer import Encoding
from keras_bert_scratch.text.vocabulary import CONTINUATION

# Shares of deleted words at which the curves of all texts are evaluated, whatever their length.
_FRACTIONS = np.linspace(0, 1, 21)
_RANDOM_ORDERS = 5
# Integrated gradients: the log-odds from which on a color is full; a factor of 7 in the odds.
_FULL_LOG_ODDS = 2.0
# Roll-out: the multiple of an even share from which on it is.
_FULL_SHARES = 4
_ROLLOUT = "attention roll-out"
# Blue for the label, orange against it, which people with any color vision tell apart; the words on
# them stay readable on a light and on a dark page.
_FOR, _AGAINST, _MOST_OPAQUE = "59, 134, 198", "217, 114, 43", 0.62


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What each word of a text did for an answer.

    Attributes:
        method: Name of the method.
        text: The explained text, after the tokenizer's preprocessing.
        label: The explained label.
        spans: Start and end of each of the W words in `text`, in order. Words are BERT's:
            punctuation marks and Chinese characters are words, too.
        scores: With integrated gradients, what each word added to the log-odds of the label, below
            0 if it spoke against; with roll-out, the share of the attention that reached it,
            without direction. *Shape:* (W,).
        completeness_error: With integrated gradients, the relative error of the sum of the scores;
            0 for roll-out.
        probability: Probability of the label; None if it is not known.
    """

    method: str
    text: str
    label: str
    spans: list[tuple[int, int]]
    scores: np.ndarray
    completeness_error: float = 0.0
    probability: float | None = None

    @property
    def words(self) -> list[str]:
        """The W words."""
        return [self.text[start:end] for start, end in self.spans]

    @property
    def full_color(self) -> float:
        """The score whose color is full in all pictures, whatever the text.

        Of log-odds it is 2; of roll-out's shares, which are smaller in longer texts, four times
        what each of the words would have if all had the same.
        """
        return _FULL_SHARES / len(self.spans) if self.method == _ROLLOUT else _FULL_LOG_ODDS

    @property
    def unit(self) -> str:
        """What the scores are, in a few words."""
        if self.method == _ROLLOUT:
            return "share of the attention that reached the word"
        return "what the word adds to the log-odds of the label"

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        return {**dataclasses.asdict(self), "scores": self.scores.tolist(), "words": self.words}

    def to_text(self) -> str:
        """Returns a table with a row for each word."""
        rows = [
            [word, f"{score:+.4f}"] for word, score in zip(self.words, self.scores, strict=True)
        ]
        return f"{self._title()} ({self.method})\n{format_table(['word', 'score'], rows)}\n"

    def to_html(self) -> str:
        """Returns a page with the text on the colors of its scores, and their legend.

        Blue words speak for the label, orange ones, with a dashed line, against it.
        """
        return page(self._title(), f"{self.words_html()}\n{self.legend_html()}")

    def _repr_html_(self) -> str:
        """Returns the view of a notebook."""
        return f"<b>{html.escape(self._title())}</b>{self.words_html()}{self.legend_html()}"

    def words_html(self) -> str:
        """Returns a paragraph of HTML with the text, its words on the colors of their scores."""
        parts, end = [], 0
        for (start, stop), score in zip(self.spans, self.scores, strict=True):
            word = html.escape(self.text[start:stop])
            word = colored(word, float(score), self.full_color)
            parts += [html.escape(self.text[end:start]), word]
            end = stop
        parts.append(html.escape(self.text[end:]))
        return f'<p dir="auto" style="white-space: pre-wrap">{"".join(parts)}</p>'

    def legend_html(self) -> str:
        """Returns a paragraph of HTML that says what the colors mean."""
        limit = self.full_color
        samples = {-limit: "or less", -limit / 2: "", limit / 2: "", limit: "or more"}
        shown = " ".join(
            colored(f"&nbsp;{score:+.2g} {rest}&nbsp;", score, limit)
            for score, rest in samples.items()
            # Roll-out has no direction.
            if score > 0 or self.method != _ROLLOUT
        )
        return f'<p style="font-size: 0.85em">{shown} {self.unit} ({html.escape(self.method)})</p>'

    def _title(self) -> str:
        known = "" if self.probability is None else f", probability {self.probability:.1%}"
        return self.label + known


def page(title: str, content: str) -> str:
    """Returns a page of HTML.

    Args:
        title: The heading, a text.
        content: What stands below it, HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark"><title>Explanation</title></head>\n'
        '<body style="font: 1.1em/1.8 sans-serif; max-width: 40em; margin: 2em auto; '
        'padding: 0 1em; color: CanvasText; background: Canvas">\n'
        f'<main>\n<h1 style="font-size: 1.2em">{html.escape(title)}</h1>\n'
        f"{content}\n</main>\n</body></html>\n"
    )


def score_color(score: float, full: float) -> tuple[str, float]:
    """Returns the color of a score, as red, green and blue, and how opaque it is.

    Args:
        score: The score.
        full: The score whose color is full.

    Example:
        >>> score_color(-1.0, 2.0)
        ('217, 114, 43', 0.31)
    """
    share = min(abs(score) / full, 1) if full else 0.0
    return _FOR if score > 0 else _AGAINST, _MOST_OPAQUE * share


def colored(escaped: str, score: float, full: float) -> str:
    """Returns HTML on the color of a score; below 0 it has a dashed line."""
    color, opacity = score_color(score, full)
    line = "; border-bottom: 2px dashed" if score < 0 and opacity > _MOST_OPAQUE / 10 else ""
    return (
        f'<span title="{score:+.4f}" style="background: rgba({color}, '
        f'{opacity:.2f}){line}">{escaped}</span>'
    )


# === Integrated gradients ===
def integrated_gradients(
    model: Any, text: str, label: str | None = None, *, num_points: int = 64
) -> Explanation:
    """Distributes an answer over the words (Sundararajan et al. 2017, equation 1).

    The scores explain the log-odds of the label, log(p / (1 - p)), minus those of the same text
    with [MASK] for every token. The path between the two is a straight line in the output of the
    embeddings, the integral along it a Gauss-Legendre quadrature. The scores add up to the
    difference of the log-odds ("completeness"), but for `completeness_error`.

    Args:
        model: A `BertClassifier` with a tokenizer, on Keras' TensorFlow backend.
        text: One text.
        label: One of the model's labels; by default the most probable.
        num_points: P, the points where the gradient is computed: more make the error smaller.

    Raises:
        RuntimeError: If Keras runs on another backend.
        ValueError: If the model lacks the label, or the text has no word or is too long for the
            model.

    Example:
        >>> explanation = integrated_gradients(model, "a film to remember")
        >>> dict(zip(explanation.words, explanation.scores.round(2), strict=True))
        {'a': 0.05, 'film': -0.1, 'to': 0.2, 'remember': 2.7}
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Integrated gradients are TensorFlow's, and Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow, or use explain_by_rollout."
        )
    encoding, shown, inputs = _encode(model, text)
    class_id, probability = answer(model, inputs, label)
    is_text = np.array(encoding.sequence) == 0
    masked = np.where(is_text, model.tokenizer.vocabulary.mask_id, inputs["token_ids"])
    embedded, baseline = (
        model.encoder.embeddings(ids, inputs["segment_ids"])
        for ids in (inputs["token_ids"], masked)
    )
    # Points and weights for the interval from -1 to 1, mapped to that from 0 to 1.
    points, weights = np.polynomial.legendre.leggauss(num_points)
    shares = tf.constant((points + 1)[:, None, None] / 2, embedded.dtype)
    path = baseline + shares * (embedded - baseline)  # (P, S, H)
    with tf.GradientTape() as tape:
        tape.watch(path)
        log_odds = _log_odds(model, path, inputs["padding_mask"], class_id)
    gradient = tf.tensordot(tf.constant(weights / 2, path.dtype), tape.gradient(log_odds, path), 1)
    by_token = keras.ops.convert_to_numpy(tf.reduce_sum((embedded - baseline) * gradient, -1))[0]

    ends = tf.concat([baseline, embedded], 0)
    before, after = _log_odds(model, ends, inputs["padding_mask"], class_id).numpy()
    error = abs(by_token.sum() - (after - before)) / max(abs(after - before), 1e-12)
    spans, scores = by_word(encoding, by_token)
    return Explanation(
        "integrated gradients",
        shown,
        model.labels[class_id],
        spans,
        scores,
        completeness_error=float(error),
        probability=probability,
    )


def _log_odds(model: Any, embedded: Any, padding_mask: np.ndarray, class_id: int) -> Any:
    """Computes a label's log-odds, (P,), from the output of the embeddings, (P, S, H)."""
    outputs = encode_joined(model.encoder, embedded, None, padding_mask)
    features = model.pooled(outputs, {"padding_mask": padding_mask})
    return label_log_odds(model, model.head(features), class_id)


def label_log_odds(model: Any, logits: Any, class_id: int) -> Any:
    """Returns a label's log-odds, log(p / (1 - p)).

    Args:
        model: A `BertClassifier`.
        logits: *Shape:* (B, C).
        class_id: Number of the label.

    Returns:
        *Shape:* (B,).
    """
    logits = logits / model.temperature
    if model.multi_label:
        return logits[:, class_id]
    # Of the p of a softmax.
    others = [c for c in range(len(model.labels)) if c != class_id]
    return logits[:, class_id] - keras.ops.logsumexp(keras.ops.take(logits, others, -1), axis=-1)


# === Attention roll-out ===
def attention_rollout(attention: Sequence[Any]) -> np.ndarray:
    """Follows the attention through all layers (Abnar and Zuidema 2020, section 3).

    The residual carries half of each position past the attention: with the mean A of its heads, a
    layer passes on A / 2 + I / 2, and successive layers the product of these.

    Args:
        attention: Probabilities of every layer, the first first. *Shape:* (N, S, S) each.

    Returns:
        Shares of the input positions (columns) in the positions of the last layer (rows); rows add
        up to 1. *Shape:* (S, S).

    Example:
        >>> attention_rollout([np.array([[[0.0, 1.0], [0.0, 1.0]]])])  # all look at the second
        array([[0.5, 0.5],
               [0. , 1. ]])
    """
    layers = [np.mean(layer, axis=0) / 2 for layer in attention]
    layers = [layer + np.eye(len(layer)) / 2 for layer in layers]
    return functools.reduce(lambda below, layer: layer @ below, layers)


def explain_by_rollout(model: Any, text: str) -> Explanation:
    """Finds the words that reached what the head reads: [CLS], or all tokens (`attention_rollout`).

    The scores add up to less than 1: the rest stays with [CLS] and [SEP]. They say where attention
    went, not for which label; check them with `faithfulness` before believing them.

    Args:
        model: A `BertClassifier` with a tokenizer.
        text: One text.

    Raises:
        ValueError: If the text has no word, or is too long for the model.
    """
    encoding, shown, inputs = _encode(model, text)
    attention = model.encoder(inputs, return_attention=True)["attention"]
    rollout = attention_rollout([keras.ops.convert_to_numpy(layer)[0] for layer in attention])
    shares = rollout[0]
    if model.pooling != "pooler":
        shares = keras.ops.convert_to_numpy(
            pool_tokens(rollout[np.newaxis], inputs["padding_mask"], model.pooling)
        )[0]
    spans, scores = by_word(encoding, shares)
    class_id, probability = answer(model, inputs, None)
    label = model.labels[class_id]
    return Explanation(_ROLLOUT, shown, label, spans, scores, probability=probability)


def attention_of(model: Any, text: str) -> tuple[list[np.ndarray], list[str]]:
    """Computes the attention of all heads for a text.

    Args:
        model: A task with a tokenizer, such as a `BertClassifier`.
        text: One text.

    Returns:
        The probabilities of every layer, *shape:* (N, S, S), and the S tokens.

    Raises:
        ValueError: If the text has no word, or is too long for the model.

    Example:
        >>> attention, tokens = attention_of(model, "a film to remember")
    """
    encoding, _, inputs = _encode(model, text)
    layers = model.encoder(inputs, return_attention=True)["attention"]
    return [keras.ops.convert_to_numpy(layer)[0] for layer in layers], encoding.tokens


# === From texts to tokens, and from tokens to words ===
def _encode(model: Any, text: str) -> tuple[Encoding, str, dict[str, np.ndarray]]:
    """Returns a text's encoding, the text that the offsets refer to, and the model's inputs."""
    tokenizer = model.check_tokenizer()
    encoding = tokenizer.encode(text)
    length = len(encoding.token_ids)
    if length < 3:
        raise ValueError(f"The text {text!r} has no word that could be explained: give another.")
    if length > model.sequence_length:
        raise ValueError(
            f"The text has {length} tokens, and the model reads {model.sequence_length} at once: "
            "explain a part of it."
        )
    shown = functools.reduce(lambda shown, step: step(shown), tokenizer.preprocessing, text)
    inputs = {
        "token_ids": np.array([encoding.token_ids], "int32"),
        "segment_ids": np.array([encoding.segment_ids], "int32"),
        "padding_mask": np.ones((1, length), "int32"),
    }
    return encoding, shown, inputs


def answer(model: Any, inputs: dict[str, np.ndarray], label: str | None) -> tuple[int, float]:
    """Returns the id and the probability of a label, by default of the most probable."""
    logits = keras.ops.convert_to_numpy(model(inputs))[0].astype("float64") / model.temperature
    probabilities = expit(logits) if model.multi_label else softmax(logits)
    if label is None:
        class_id = int(np.argmax(logits))
    elif label in model.labels:
        class_id = model.labels.index(label)
    else:
        raise ValueError(
            f"Unknown label {label!r}: the model's labels are {', '.join(model.labels)}."
        )
    return class_id, float(probabilities[class_id])


def by_word(
    encoding: Encoding, by_token: np.ndarray, sequence: int = 0
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Adds up the scores of a word's tokens.

    Args:
        encoding: The tokens of a text, or of a pair.
        by_token: Scores. *Shape:* (S,).
        sequence: 0 for the words of the first text, 1 for those of the second.

    Returns:
        The spans of the W words, and their scores, *shape:* (W,).
    """
    spans: list[tuple[int, int]] = []
    scores: list[float] = []
    for token, (start, end), found, score in zip(
        encoding.tokens, encoding.offsets, encoding.sequence, by_token.tolist(), strict=True
    ):
        if found != sequence:
            continue
        # A character such as ½ may become several tokens with the same offsets.
        if spans and (token.startswith(CONTINUATION) or start < spans[-1][1]):
            spans[-1] = (spans[-1][0], end)
            scores[-1] += score
        else:
            spans.append((start, end))
            scores.append(score)
    return spans, np.array(scores)


# === Faithfulness ===
@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """How fast the answers fall when the most important words are deleted first.

    Attributes:
        fractions: Shares of the words that are deleted. *Shape:* (21,).
        curve: Mean probability of the explained label, in the order of the explanations.
            *Shape:* (21,).
        random_curve: The same in random order. *Shape:* (21,).
        areas: Area below the curve of each text; smaller is better. *Shape:* (n,).
        random_areas: The same, the mean of several random orders. *Shape:* (n,).
    """

    fractions: np.ndarray
    curve: np.ndarray
    random_curve: np.ndarray
    areas: np.ndarray
    random_areas: np.ndarray

    @property
    def p_value(self) -> float:
        """The probability of so uneven a split if the order did not matter (sign test)."""
        below = int(np.sum(self.areas < self.random_areas))
        differing = int(np.sum(self.areas != self.random_areas))
        return float(binomtest(below, differing).pvalue) if differing else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        fields = {name: values.tolist() for name, values in dataclasses.asdict(self).items()}
        return {**fields, "p_value": self.p_value}

    def to_text(self) -> str:
        """Returns the mean areas in a sentence."""
        below = int(np.sum(self.areas < self.random_areas))
        return (
            f"area below the deletion curve {self.areas.mean():.4f}, in random order "
            f"{self.random_areas.mean():.4f}; smaller on {below} of {len(self.areas)} texts, "
            f"p = {self.p_value:.2g} (sign test)\n"
        )


def faithfulness(
    probabilities: Callable[[Any], np.ndarray],
    labels: Sequence[str],
    explanations: Sequence[Explanation],
    *,
    seed: int = 0,
) -> Faithfulness:
    """Deletes words from texts, the most important first, and at random (Samek et al. 2017).

    If an explanation names the deciding words, the probability of its label falls faster than by
    chance. Words are deleted from the text, which is then classified like any other.

    Args:
        probabilities: Returns the probability of every class for texts, (number of texts, C).
        labels: The C labels, in their order.
        explanations: n explanations, one for each text.
        seed: Seed of the random orders.

    Raises:
        ValueError: If there is no explanation.

    Example:
        >>> explanations = [integrated_gradients(model, text) for text in texts]
        >>> result = faithfulness(model.probabilities, model.labels, explanations)
        >>> result.areas.mean(), result.random_areas.mean()
        (0.41, 0.68)
    """
    if not explanations:
        raise ValueError("There are no explanations: give one for each of at least one text.")
    generator = np.random.default_rng(seed)
    texts: list[str] = []
    for explanation in explanations:
        orders = [np.argsort(-explanation.scores, kind="stable")]
        orders += [generator.permutation(len(explanation.spans)) for _ in range(_RANDOM_ORDERS)]
        texts += [text for order in orders for text in _deletions(explanation, order)]
    answers = iter(probabilities(texts))
    curves, random_curves = [], []
    for explanation in explanations:
        gone = np.linspace(0, 1, len(explanation.spans) + 1)
        class_id = labels.index(explanation.label)
        first, *others = (
            np.interp(_FRACTIONS, gone, [next(answers)[class_id] for _ in gone])
            for _ in range(1 + _RANDOM_ORDERS)
        )
        curves.append(first)
        random_curves.append(np.mean(others, axis=0))
    return Faithfulness(
        _FRACTIONS,
        np.mean(curves, axis=0),
        np.mean(random_curves, axis=0),
        trapezoid(curves, _FRACTIONS),
        trapezoid(random_curves, _FRACTIONS),
    )


def _deletions(explanation: Explanation, order: np.ndarray) -> list[str]:
    """Returns the text without the first k words of an order, for k from 0 to W."""
    texts = [explanation.text]
    for k in range(1, len(order) + 1):
        kept, end = [], 0
        for start, stop in sorted(explanation.spans[i] for i in order[:k]):
            kept.append(explanation.text[end:start])
            end = stop
        texts.append("".join(kept) + explanation.text[end:])
    return texts
