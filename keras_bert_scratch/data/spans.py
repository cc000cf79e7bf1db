"""Questions about a context, and the spans of it that answer them (SQuAD).

A question is read with its context as [CLS] question [SEP] context [SEP]; a long context is read in
overlapping windows. Previous turns of a conversation are put before the question.

Axes: S sequence.
"""

import contextlib
import json
import logging
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.data.readers import existing_file, listed
from keras_bert_scratch.data.windows import token_windows
from keras_bert_scratch.text.tokenizer import Encoding, WordPieceTokenizer
from keras_bert_scratch.text.truncation import check_window_stride

logger = logging.getLogger(__name__)

# An error lists this many faults.
_FAULTS_LISTED = 10


class GoldAnswer(NamedTuple):
    """A true answer: its text, and where it starts in the context, in characters."""

    text: str
    start: int


class Turn(NamedTuple):
    """A question that was asked before, and its answer."""

    question: str
    answer: str


class Question(NamedTuple):
    """A question about a context.

    Attributes:
        question: The question.
        context: The text that may hold the answer.
        answers: True answers, the first of which is learned; none if the context has no answer.
        history: Previous turns about the same context, oldest first: questions and their answers.
        id: Id of the question in its file.
    """

    question: str
    context: str
    answers: tuple[GoldAnswer, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    id: str = ""


class SpanAnswer(NamedTuple):
    """A possible answer.

    Attributes:
        text: The characters of the context from `start` to `end`; empty for no answer.
        start: Position of its first character.
        end: Position after its last character.
        score: The sum of the logits of its start and its end.
        probability: Probability that this is the answer, if the context has one.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


class Prediction(NamedTuple):
    """The answer of a model.

    Attributes:
        answer: The best answer, or the empty one.
        n_best: The best spans, best first.
        no_answer_score: The score of no answer minus that of the best span.
        no_answer_probability: Probability that the context does not answer the question.
    """

    answer: SpanAnswer
    n_best: list[SpanAnswer]
    no_answer_score: float
    no_answer_probability: float


class SpanSettings(NamedTuple):
    """How questions are read and answered.

    Attributes:
        sequence_length: Tokens of a window, the question and [CLS] and [SEP] included.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of the tokens of context in a window.
        max_question_length: Most tokens of the question and its history. A long question keeps its
            first tokens, and the history before it its last.
        max_answer_length: Most tokens of an answer.
        history_turns: Number of previous turns that are read.
        no_answer_threshold: There is no answer if `no_answer_score` exceeds this; None always
            answers.
    """

    sequence_length: int
    window_stride: int | None
    max_question_length: int
    max_answer_length: int
    history_turns: int
    no_answer_threshold: float | None

    def check(self) -> None:
        """Refuses settings that do not fit together.

        Raises:
            ValueError: If one does not fit; the message names it.
        """
        room = self.sequence_length - 3 - self.max_question_length
        if self.max_question_length < 1 or room < 1:
            raise ValueError(
                f"max_question_length must leave room for [CLS], two [SEP] and the context in "
                f"sequence_length {self.sequence_length}, received {self.max_question_length}: "
                f"choose 1 to {self.sequence_length - 4}."
            )
        check_window_stride(self.window_stride, room)
        if self.max_answer_length < 1:
            raise ValueError(
                f"max_answer_length must be at least 1, received {self.max_answer_length}."
            )
        if self.history_turns < 0:
            raise ValueError(f"history_turns must be at least 0, received {self.history_turns}.")


# === Reading ===
def read_squad(path: str | Path, *, skip_faulty: bool = False) -> list[Question]:
    """Reads a JSON file in the format of SQuAD 1.1 or 2.0.

    A question has no answer where `is_impossible` is true, `answers` is empty or missing, or the
    answers' texts are empty. Spaces at the ends of an answer are removed from its span. A question
    may also have a `history`: a list of objects with `question` and `answer`.

    Args:
        path: The file.
        skip_faulty: Whether to leave out what is faulty, such as an answer that is not at its
            offset, and log it; by default the file is refused.

    Returns:
        The questions, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such JSON, or has faults; the message counts them and names the
            first by position and id.

    Example:
        >>> answers = [{"text": "in Bath", "answer_start": 11}]
        >>> question = {"id": "1", "question": "Where did she live?", "answers": answers}
        >>> paragraph = {"context": "Jane lived in Bath.", "qas": [question]}
        >>> data = {"data": [{"title": "Jane", "paragraphs": [paragraph]}]}
        >>> _ = Path("train.json").write_text(json.dumps(data))
        >>> read_squad("train.json")[0].answers
        (GoldAnswer(text='in Bath', start=11),)
    """
    path = existing_file(path)
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch it again.") from None
    try:
        articles = _get("the file", document, "data", list)
    except _FaultError as fault:
        raise ValueError(f"{path}: {fault}.") from None
    questions: list[Question] = []
    faults: list[str] = []
    for a, article in enumerate(articles):
        with _noted(faults):
            for p, paragraph in enumerate(_get(f"data[{a}]", article, "paragraphs", list)):
                with _noted(faults):
                    place = f"data[{a}].paragraphs[{p}]"
                    context = _get(place, paragraph, "context", str)
                    for q, entry in enumerate(_get(place, paragraph, "qas", list)):
                        with _noted(faults):
                            question = _question(f"{place}.qas[{q}]", context, entry, faults)
                            questions += [question] if question else []
    if faults:
        shown = listed(faults, "; ", _FAULTS_LISTED)
        if not skip_faulty:
            raise ValueError(
                f"{path} has {len(faults)} faults: {shown}. Mend them, or leave them out with "
                "skip_faulty=True."
            )
        logger.warning("%s: left out %d faults: %s.", path, len(faults), shown)
    if not questions:
        raise ValueError(f"{path} has no questions: it needs at least one.")
    return questions


class _FaultError(Exception):
    """A fault in a file; its text says where and what."""


@contextlib.contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Adds a fault to the list, and continues."""
    try:
        yield
    except _FaultError as fault:
        faults.append(str(fault))


def _question(place: str, context: str, entry: Any, faults: list[str]) -> Question | None:
    """Returns a question with its good answers, or None; adds its faults to the list."""
    if isinstance(entry, dict) and "id" in entry:
        place += f" (id {entry['id']})"
    question = _get(place, entry, "question", str)
    answers = []
    # Files to be answered have none; questions without an answer may have plausible ones.
    if entry.get("answers") is not None and not entry.get("is_impossible"):
        for n, answer in enumerate(_get(place, entry, "answers", list)):
            at = f"{place}.answers[{n}]"
            text = _get(at, answer, "text", str)
            # An answer without text is no answer, wherever it is said to start.
            start = _get(at, answer, "answer_start", int) if text.strip() else 0
            answers.append(GoldAnswer(text, start))
    turns = _get(place, entry, "history", list) if entry.get("history") is not None else []
    history = tuple(
        Turn(*(_get(f"{place}.history[{n}]", turn, key, str) for key in Turn._fields))
        for n, turn in enumerate(turns)
    )
    found, misplaced = _mended(
        place,
        Question(question, context, tuple(answers), history, str(entry.get("id", place))),
    )
    unfit = _unfit(place, found)
    faults += misplaced + unfit
    # A question that loses all its answers would be taken for one that has none.
    return None if unfit or (misplaced and not found.answers) else found


def _get(place: str, record: Any, key: str, kind: type) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _FaultError(
            f"{place} has no {key!r} that is a {kind.__name__}: is it of SQuAD's format, "
            "data[].paragraphs[] with context and qas[]?"
        )
    return value


# === Checks ===
def check_questions(questions: Sequence[Question]) -> list[Question]:
    """Checks questions to train on.

    Returns:
        The questions, without spaces at the ends of their answers, and without empty answers.

    Raises:
        ValueError: If there are none, a question or context is empty, or an answer is not at its
            offset; the message counts the faults and names their positions.
        TypeError: If one is not a `Question`.
    """
    if not questions:
        raise ValueError("There are no questions: give at least one.")
    mended, faults = [], []
    for position, question in enumerate(questions):
        place = _place(position, question)
        found, misplaced = _mended(place, question)
        faults += misplaced + _unfit(place, found)
        mended.append(found)
    _refuse(faults)
    return mended


def check_asked(questions: Sequence[Question]) -> None:
    """Checks questions to answer. Their context may be empty: it has no answer.

    Raises:
        ValueError: If a question is empty, or a part of one is not a string; the message counts the
            faults and names their positions.
        TypeError: If one is not a `Question`.
    """
    faults = []
    for position, question in enumerate(questions):
        faults += _unfit(_place(position, question), question, names=("question",))
    _refuse(faults)


def _place(position: int, question: Any) -> str:
    if not isinstance(question, Question):
        raise TypeError(
            f"Questions are of the class Question, received {type(question).__name__} at "
            f"position {position}: use Question(question, context)."
        )
    identity = f" (id {question.id})" if question.id else ""
    return f"the question at position {position}{identity}"


def _refuse(faults: list[str]) -> None:
    if faults:
        shown = listed(faults, "; ", _FAULTS_LISTED)
        raise ValueError(f"{len(faults)} faults: {shown}. Mend them, or leave them out.")


def _unfit(
    place: str, question: Question, names: Sequence[str] = ("question", "context")
) -> list[str]:
    """Names what a question lacks: a part that is a string, or one of `names` that is not empty."""
    strings = {"question": question.question, "context": question.context}
    for n, turn in enumerate(question.history):
        if not isinstance(turn, tuple | list) or len(turn) != 2:
            return [f"{place}.history[{n}] is {turn!r}, not a question and its answer"]
        strings |= {
            f"history[{n}].{key}": text for key, text in zip(Turn._fields, turn, strict=True)
        }
    for name, text in strings.items():
        if not isinstance(text, str):
            return [f"{place} has as {name} {text!r}, which is no string"]
    return [f"{place} has an empty {name}" for name in names if not strings[name].strip()][:1]


def _mended(place: str, question: Question) -> tuple[Question, list[str]]:
    """Returns a question with its answers that are at their offsets, and names the others.

    Spaces at the ends of an answer are removed from its span. The offset may be that of the spaces
    before it, or of the text itself. Answers without a text are left out.
    """
    good, faults = [], []
    for n, answer in enumerate(question.answers):
        try:
            text, start = answer
            blanks = text[: len(text) - len(text.lstrip())]
            text, start = text.strip(), operator.index(start)
        except (TypeError, ValueError, AttributeError):
            faults.append(f"{place}.answers[{n}] is {answer!r}, not a GoldAnswer(text, start)")
            continue
        if not text:
            continue
        context = question.context if isinstance(question.context, str) else ""
        inward = start + len(blanks) if context.startswith(blanks, max(start, 0)) else start
        if start >= 0 and context.startswith(text, inward):
            good.append(GoldAnswer(text, inward))
            continue
        there = context[max(start, 0) : max(start, 0) + len(text)]
        first = context.find(text)
        where = f"it occurs first at {first}" if first >= 0 else "it does not occur there"
        faults.append(
            f"{place}.answers[{n}] {text!r} is not at {start}, where the context has {there!r}; "
            f"{where}"
        )
    return question._replace(answers=tuple(good)), faults


# === Questions as rows of a model ===
def joined_history(history: Sequence[tuple[str, str]], history_turns: int) -> str:
    """Joins the last turns of a conversation to the text that is put before a question.

    Args:
        history: Previous questions and answers, oldest first.
        history_turns: Number of turns to read.

    Example:
        >>> joined_history([Turn("Who?", "Ann"), Turn("When?", "Today")], 1)
        'When? Today'
    """
    turns = history[max(len(history) - history_turns, 0) :]
    return " ".join(part for turn in turns for part in turn)


class QuestionRows:
    """A question as rows of a model: windows over its context, each with the question before it.

    A question that is too long keeps its first tokens (google-research/bert, run_squad.py). The
    history before it gets the room that is left, and keeps its last tokens.

    Args:
        tokenizer: The tokenizer.
        question: The question, with its history.
        settings: How it is read.
        context: The encoding of its context; computed by default.

    Attributes:
        token_ids: The token ids of every row.
        segment_ids: The segment ids of every row: 0 up to the first [SEP], 1 after it.
        num_cut: Number of the question's tokens that were cut off.
    """

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        question: Question,
        settings: SpanSettings,
        context: Encoding | None = None,
    ) -> None:
        self._question = question
        self._settings = settings
        asked_ids = tokenizer.encode(question.question).token_ids[1:-1]
        self._is_asked = bool(asked_ids)
        self.num_cut = max(len(asked_ids) - settings.max_question_length, 0)
        asked_ids = asked_ids[: settings.max_question_length]
        if history := joined_history(question.history, settings.history_turns):
            before = tokenizer.encode(history).token_ids[1:-1]
            left = settings.max_question_length - len(asked_ids)
            asked_ids = [*before[max(len(before) - left, 0) :], *asked_ids]
        encoding = context or tokenizer.encode(question.context)
        ids, self._offsets = encoding.token_ids[1:-1], encoding.offsets[1:-1]
        cls, sep = tokenizer.vocabulary.cls_id, tokenizer.vocabulary.sep_id
        head = [cls, *asked_ids, sep]
        self._first = len(head)  # The column of a row's first token of the context.
        room = settings.sequence_length - len(head) - 1
        stride = check_window_stride(settings.window_stride, room)
        self._starts, self._owner = token_windows(len(ids), room, stride)
        windows = [ids[start : start + room] for start in self._starts]
        self.token_ids = [[*head, *window, sep] for window in windows]
        self.segment_ids = [[0] * len(head) + [1] * (len(window) + 1) for window in windows]

    def labels(self) -> np.ndarray:
        """Finds the first true answer in every row.

        Returns:
            The columns of its first and of its last token; 0, the column of [CLS], where a row does
            not hold the whole answer. *Shape:* (rows, 2), int32.
        """
        labels = np.zeros((len(self.token_ids), 2), "int32")
        if not self._question.answers or not self._offsets:
            return labels
        answer = self._question.answers[0]
        starts, ends = np.array(self._offsets).T
        # The first and the last token that hold a character of the answer.
        first = int(np.searchsorted(ends, answer.start, side="right"))
        last = int(np.searchsorted(starts, answer.start + len(answer.text))) - 1
        for row, (start, ids) in enumerate(zip(self._starts, self.token_ids, strict=True)):
            end = start + len(ids) - self._first - 1
            if start <= first <= last < end:
                labels[row] = np.array([first, last]) - start + self._first
        return labels

    def predict(self, logits: Sequence[np.ndarray], n_best: int = 20) -> Prediction:
        """Finds the best spans.

        A span's score is the logit of its start plus that of its end (Devlin et al. 2018, section
        4.2), in the window with the most context around its start (google-research/bert,
        run_squad.py, `_check_is_max_context`); probabilities are the softmax of all spans' scores.
        The score of no answer is that of [CLS], the lowest of all windows (section 4.3).

        Args:
            logits: Logits of starts and ends for every row. *Shape:* (2, S or more) each.
            n_best: Most spans to return.
        """
        longest = self._settings.max_answer_length
        scores, places = [], []
        for row, start in enumerate(self._starts):
            length = len(self.token_ids[row]) - self._first - 1
            of_starts, of_ends = logits[row][:, self._first : self._first + length]
            # Column n is for spans of n + 1 tokens.
            ends = np.pad(of_ends, (0, longest), constant_values=-np.inf)
            reach = np.arange(length)[:, None] + np.arange(longest)
            is_mine = self._owner[start : start + length] == row
            of_spans = np.where(is_mine[:, None], of_starts[:, None] + ends[reach], -np.inf)
            scores.append(of_spans.ravel().astype("float64"))
            places.append(start * longest + np.arange(of_spans.size))
        score, place = np.concatenate(scores), np.concatenate(places)
        none = min(float(row[0, 0] + row[1, 0]) for row in logits)
        nothing = SpanAnswer("", 0, 0, none, 0.0)
        if not self._is_asked or not np.isfinite(score).any():
            return Prediction(nothing, [], np.inf, 1.0)
        total = float(np.logaddexp.reduce(score))
        best = np.argsort(-score, kind="stable")[:n_best]
        spans = []
        for index in best[np.isfinite(score[best])]:
            first, more = divmod(int(place[index]), longest)
            start, end = self._offsets[first][0], self._offsets[first + more][1]
            text = self._question.context[start:end]
            probability = float(np.exp(score[index] - total))
            spans.append(SpanAnswer(text, start, end, float(score[index]), probability))
        no_answer_score = none - spans[0].score
        threshold = self._settings.no_answer_threshold
        is_answered = threshold is None or no_answer_score <= threshold
        return Prediction(
            spans[0] if is_answered else nothing,
            spans,
            no_answer_score,
            float(np.exp(none - np.logaddexp(none, total))),
        )


def question_rows(
    tokenizer: WordPieceTokenizer, questions: Sequence[Question], settings: SpanSettings
) -> list[QuestionRows]:
    """Turns questions into rows, and logs how many questions were too long.

    Questions that follow one another often share a context.
    """
    rows: list[QuestionRows] = []
    context: str | None = None
    encoding = None
    for question in questions:
        if encoding is None or question.context != context:
            context, encoding = question.context, tokenizer.encode(question.context)
        rows.append(QuestionRows(tokenizer, question, settings, encoding))
    if cut := [row.num_cut for row in rows if row.num_cut]:
        logger.warning(
            "%d of %d questions are longer than max_question_length=%d tokens, and lost %d tokens "
            "at their ends.",
            len(cut),
            len(rows),
            settings.max_question_length,
            sum(cut),
        )
    return rows
