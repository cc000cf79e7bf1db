r"""Optional steps that change raw text before the tokenizer reads it.

A step is a function from text to text with settings that are saved. A `WordPieceTokenizer` takes it
wherever text enters: training, files, SavedModels, LiteRT files. BERT needs no steps; placeholders
help where names and numbers must not be learned, and stop words where texts are longer than the
model.

Steps that replace regular expressions give the same result in Python and in TensorFlow, which has
RE2. They use only what both read alike, so neither look-around nor `\s`, `\w` and `(?i)`, and
their time is linear in the length of a text.

Order matters: repair, then strip, then set placeholders, then remove stop words.
"""

import abc
import dataclasses
import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, TypeVar

from keras_bert_scratch.extras import installation

T = TypeVar("T")

# Characters between words: control characters, spaces, and the punctuation of ASCII, Latin-1,
# typography, Chinese and full width, but not the apostrophes ' and ’.
_BETWEEN = (
    "\x00-&(-/:-@\\[-`{-©«-´¶-¹»-¿×÷\u1680\u2000-\u200a\u200e-‘‚-\u206f⸀-\u2e7f"
    "\u3000-〿！-／：-＠［-｀｛-･\ufeff"
)
_WORD = rf"[^'’{_BETWEEN}]+(?:['’][^'’{_BETWEEN}]+)*"
# Marks the ends of words. Normalization deletes this character, so texts do not need it.
_MARK = "\x00"
# Most steps of a tokenizer, characters of a placeholder, and characters that later steps turn it
# into. They bound how much longer the steps of a stranger's file can make a text.
_MOST_STEPS = 16
_LONGEST_PLACEHOLDER = 20
_MOST_WRITTEN = 50
# Most characters of all stop words together: RE2 has no automaton for twice as many, and is slow.
_MOST_CHARACTERS = 50_000


def _any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)


class Step(abc.ABC):
    """A function from text to text with JSON settings. Subclasses are dataclasses."""

    @abc.abstractmethod
    def __call__(self, text: str) -> str:
        """Changes a text."""

    def get_config(self) -> dict[str, Any]:
        """Returns plain JSON types from which `step_from_config` makes the same step."""
        settings = dataclasses.asdict(self)  # type: ignore[call-overload]
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
        return {"step": type(self).__name__, **plain}


class RegexStep(Step):
    """A step that replaces regular expressions, one after the other."""

    @property
    @abc.abstractmethod
    def replacements(self) -> list[tuple[str, str]]:
        r"""Expressions and their replacements, in which `\1` is the first group."""

    def __call__(self, text: str) -> str:
        """Changes a text."""
        for pattern, replacement in self._compiled:
            text = pattern.sub(replacement, text)
        return text

    @functools.cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], str]]:
        # Word boundaries are ASCII's in RE2.
        return [(re.compile(pattern, re.ASCII), new) for pattern, new in self.replacements]


@dataclasses.dataclass(frozen=True)
class PlaceholderStep(RegexStep):
    """A step that replaces a regular expression by a placeholder with spaces around it.

    Args:
        placeholder: The placeholder, of at most 20 characters.

    Raises:
        TypeError: If the placeholder is not a string.
        ValueError: If the placeholder is too long.
    """

    placeholder: str
    pattern: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.placeholder, str):
            raise TypeError(f"placeholder must be a string, received {self.placeholder!r}.")
        if len(self.placeholder) > _LONGEST_PLACEHOLDER:
            raise ValueError(
                f"placeholder must have at most {_LONGEST_PLACEHOLDER} characters, received "
                f"{len(self.placeholder)}: {self.placeholder[:60]!r}..."
            )

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        escaped = self.placeholder.replace("\\", r"\\")
        return [(self.pattern, f" {escaped} ")]


@dataclasses.dataclass(frozen=True)
class RepairUnicode(Step):
    """Brings equal-looking characters to one form, and optionally repairs wrong decoding.

    It runs in Python only: LiteRT predictors run it, and exports to SavedModel refuse it.

    Args:
        form: Unicode's normalization form: "NFC" joins letters and their marks, "NFKC" also
            replaces compatibility characters, such as ligatures and full-width letters.
        mojibake: Also repair UTF-8 that was decoded otherwise, such as "cafÃ©"; needs ftfy.

    Raises:
        ValueError: If the form is unknown.
        ImportError: If `mojibake` is True and ftfy is not installed.

    Example:
        >>> RepairUnicode("NFKC")("ﬁlm")
        'film'
    """

    form: Literal["NFC", "NFKC"] = "NFC"
    mojibake: bool = False

    def __post_init__(self) -> None:
        if self.form not in ("NFC", "NFKC"):
            raise ValueError(f"form must be 'NFC' or 'NFKC', received {self.form!r}.")
        if self.mojibake:
            try:
                import ftfy  # noqa: F401
            except ImportError as error:
                raise ImportError(
                    "mojibake=True needs ftfy, which is not installed: "
                    f"{installation('preprocessing')}; or omit it."
                ) from error

    def __call__(self, text: str) -> str:
        """Changes a text."""
        if self.mojibake:
            import ftfy

            text = ftfy.fix_encoding(text)
        return unicodedata.normalize(self.form, text)


@dataclasses.dataclass(frozen=True)
class StripHtml(RegexStep):
    """Replaces tags, comments, scripts and styles by spaces, and six entities by their characters.

    As in a browser, an unclosed comment, script or style extends to the end of the text, and a "<"
    without a letter behind it is text. A ">" within an attribute ends its tag. The entities are
    `&lt;`, `&gt;`, `&quot;`, `&apos;` (also `&#39;` and `&#x27;`), `&nbsp;` and `&amp;`.

    Example:
        >>> StripHtml()("Fish &amp; chips<br/>for 3 < 5")
        'Fish & chips for 3 < 5'
    """

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        blocks = [
            rf"<{name}(?:[^0-9A-Za-z](?s:.*?)</{name}[^<>]*>|[^0-9A-Za-z](?s:.*))"
            for name in (_any_case("script"), _any_case("style"))
        ]
        return [
            ("<!--(?:(?s:.*?)-->|(?s:.*))", " "),
            *((block, " ") for block in blocks),
            ("<[/!?]?[A-Za-z][^<>]*>", " "),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", '"'),
            ("&(?:apos|#39|#[xX]27);", "'"),
            ("&nbsp;", " "),
            # The last one: its result is text, not an entity.
            ("&amp;", "&"),
        ]


@dataclasses.dataclass(frozen=True)
class ReplaceUrls(PlaceholderStep):
    """Replaces web addresses that start with http://, https:// or www.

    An address ends at a space, at a character beyond ASCII, or before closing punctuation.

    Args:
        placeholder: The replacement, with spaces around it. The default is one token of BERT's
            English vocabularies.

    Example:
        >>> ReplaceUrls()("See https://keras.io/api.")
        'See  url .'
    """

    placeholder: str = "url"
    # Printable ASCII without the quotation mark, < and >; the last character is no punctuation.
    pattern = (
        rf"\b(?:{_any_case('http')}[sS]?://|{_any_case('www')}\.)"
        r"[!#-;=?-~]*[#-&*+/-9=@-Z\\^-z|~-]"
    )


@dataclasses.dataclass(frozen=True)
class ReplaceUsers(PlaceholderStep):
    """Replaces mentions such as @someone; the @ of an e-mail address stays.

    Args:
        placeholder: The replacement, with spaces around it.

    Example:
        >>> ReplaceUsers()("@keras_team thanks")
        ' user  thanks'
    """

    placeholder: str = "user"
    pattern = r"\B@[0-9A-Za-z_]+"


@dataclasses.dataclass(frozen=True)
class ReplaceNumbers(PlaceholderStep):
    """Replaces ASCII numbers, with the points and commas inside them, also within words.

    Args:
        placeholder: The replacement, with spaces around it.

    Example:
        >>> ReplaceNumbers()("1,234.50 at 5pm")
        ' number  at  number pm'
    """

    placeholder: str = "number"
    pattern = "[0-9]+(?:[.,][0-9]+)*"


@dataclasses.dataclass(frozen=True)
class AddPrompt(RegexStep):
    """Puts a prompt, such as "query: ", before every text, as some sentence encoders need.

    Args:
        prompt: The prompt, including the space that follows it.

    Example:
        >>> AddPrompt("query: ")("a film")
        'query: a film'
    """

    prompt: str

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        return [(r"\A", self.prompt.replace("\\", r"\\"))]


def stop_words(language: str = "english") -> list[str]:
    """Returns frequent words with little meaning: NLTK's list, or scikit-learn's for English.

    NLTK's list is used where NLTK and its data (`nltk.download("stopwords")`) are installed. Both
    lists hold "not": for sentiment, remove it from the list.

    Args:
        language: The language, by NLTK's name.

    Raises:
        ValueError: If there is no list for the language.

    Example:
        >>> keep_negations = RemoveStopWords(set(stop_words()) - {"no", "not", "nor"})
    """
    words = _by_nltk(lambda nltk: nltk.corpus.stopwords.words(language))
    if words is None and language == "english":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        words = ENGLISH_STOP_WORDS
    if words is None:
        raise ValueError(
            f"There is no list of stop words for {language!r}: scikit-learn has 'english' only; "
            'for NLTK\'s, pip install nltk and nltk.download("stopwords"), or give your own words.'
        )
    return sorted(word for word in words if re.fullmatch(_WORD, word))


@dataclasses.dataclass(frozen=True)
class RemoveStopWords(RegexStep):
    """Removes whole words, in any case and with either apostrophe (' or ’).

    Words are separated by spaces and punctuation, and may have apostrophes inside. Languages that
    are written without spaces, such as Chinese, must be split before.

    Args:
        words: The words to remove. They are saved with the model, so that a server needs no list.

    Raises:
        TypeError: If `words` is a string.
        ValueError: If there are no words, one is not a single word, or they have more than 50,000
            characters together.

    Example:
        >>> RemoveStopWords(["the", "of"])("The Lord of the Rings, off the shelf")
        ' Lord   Rings, off  shelf'
    """

    words: Iterable[str] = dataclasses.field(default_factory=stop_words)

    def __post_init__(self) -> None:
        if isinstance(self.words, str):
            raise TypeError(
                f"words must be a list, received {self.words!r}: stop_words({self.words!r}) finds "
                "the list of a language."
            )
        words = tuple(sorted(set(self.words)))
        object.__setattr__(self, "words", words)
        wrong = [word for word in words if not re.fullmatch(_WORD, word)]
        if wrong or not words:
            raise ValueError(
                "Stop words are one word each, without spaces and punctuation, received "
                f"{wrong or 'none'}: remove these, or omit the step."
            )
        if (size := sum(map(len, words))) > _MOST_CHARACTERS:
            raise ValueError(
                f"Stop words have at most {_MOST_CHARACTERS} characters together, received {size} "
                f"in {len(words)} words: keep the most frequent ones."
            )

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        # Letters with the same upper case, such as both small sigmas.
        variants: dict[str, set[str]] = {}
        for small in self._upper_case:
            upper = chr(self._upper_case[small])
            variants.setdefault(upper, {upper}).add(chr(small))
        upper_words = sorted({word.translate(self._upper_case) for word in self.words})
        patterns = [
            "".join(_one_of(variants.get(letter, {letter})) for letter in word)
            for word in upper_words
        ]
        return [
            (r"\x00", ""),
            (f"({_WORD})", rf"{_MARK}\1{_MARK}"),
            (rf"\x00(?:{'|'.join(patterns)})\x00", ""),
            (r"\x00", ""),
        ]

    def __call__(self, text: str) -> str:
        """Changes a text."""

        # The same as the replacements, but faster: Python tries alternatives one by one.
        def keep(word: re.Match[str]) -> str:
            is_stop_word = word[0].translate(self._upper_case) in self._upper_words
            return "" if is_stop_word else word[0]

        return re.sub(_WORD, keep, text.replace(_MARK, ""))

    @functools.cached_property
    def _upper_case(self) -> dict[int, int]:
        """Maps letters of the words to their upper case, if that is one letter, and ’ to '."""
        upper = {letter: letter.upper() for word in self.words for letter in word.lower() + word}
        return {ord(k): ord(v) for k, v in upper.items() if len(v) == 1} | {ord("’"): ord("'")}

    @functools.cached_property
    def _upper_words(self) -> frozenset[str]:
        return frozenset(word.translate(self._upper_case) for word in self.words)


def nltk_sentences(text: str) -> list[str]:
    """Splits a text into sentences by NLTK, or by a simple rule where NLTK is not installed.

    NLTK also needs its data (`nltk.download("punkt_tab")`). By the simple rule, a sentence ends at
    a line break, after ".", "!", "?" or "…" (and closing quotes or brackets) before white space,
    and after "。", "！" or "？"; abbreviations end sentences, too.

    Args:
        text: The text.

    Example:
        >>> nltk_sentences("It works. Does it? Yes!")
        ['It works.', 'Does it?', 'Yes!']
    """
    sentences = _by_nltk(lambda nltk: nltk.sent_tokenize(text))
    if sentences is None:
        closing = "[\"'”’»)\\]]*"
        ended = re.sub(rf"([.!?…]{closing})\s+|([。！？][”’」』）]*)", "\\1\\2\n", text)
        sentences = ended.splitlines()
    return [sentence.strip() for sentence in sentences if sentence.strip()]


_STEPS: dict[str, type[Step]] = {
    step.__name__: step
    for step in (
        RepairUnicode,
        StripHtml,
        ReplaceUrls,
        ReplaceUsers,
        ReplaceNumbers,
        RemoveStopWords,
        AddPrompt,
    )
}


def step_from_config(config: dict[str, Any]) -> Step:
    """Makes the step that `get_config` described.

    Raises:
        ValueError: If there is no such step, or it has other settings.
    """
    settings = dict(config) if isinstance(config, dict) else {"step": config}
    name = settings.pop("step", None)
    if not isinstance(name, str) or name not in _STEPS:
        raise ValueError(
            f"Unknown preprocessing step {name!r}: this version has {', '.join(_STEPS)}."
        )
    try:
        step = _STEPS[name](**settings)
        step("")  # Compiles its expressions.
    except (TypeError, AttributeError) as error:
        raise ValueError(f"The settings of {name} are refused: {error}.") from error
    return step


def check_steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Returns the steps as a tuple.

    Raises:
        TypeError: If a step is not one of this module; no other can be saved with a model.
        ValueError: If there are more than 16 steps, or later ones lengthen a placeholder too much.
    """
    steps = tuple(itertools.islice(steps, _MOST_STEPS + 1))
    if len(steps) > _MOST_STEPS:
        raise ValueError(
            f"preprocessing takes at most {_MOST_STEPS} steps, received more: omit repeated ones."
        )
    for step in steps:
        if type(step) not in _STEPS.values():
            raise TypeError(
                f"preprocessing takes the steps {', '.join(_STEPS)}, received {step!r}: other "
                "functions could not be saved with the model; apply them to the texts before."
            )
    for number, step in enumerate(steps):
        written = f" {step.placeholder} " if isinstance(step, PlaceholderStep) else ""
        for later in steps[number + 1 :]:
            # Each could multiply the length of what the one before it wrote.
            written = later(written)
            if len(written) > _MOST_WRITTEN:
                raise ValueError(
                    f"Later steps of preprocessing turn the placeholder of {step!r} into more than "
                    f"{_MOST_WRITTEN} characters: choose another placeholder, or another order."
                )
    return steps


def _by_nltk(ask: Callable[[Any], T]) -> T | None:
    """Returns NLTK's answer, or None if NLTK or its data are not installed."""
    try:
        import nltk

        return ask(nltk)
    except (ImportError, LookupError, OSError):
        # A missing word list raises OSError.
        return None


def _one_of(letters: set[str]) -> str:
    escaped = "".join(map(re.escape, sorted(letters)))
    return f"[{escaped}]" if len(letters) > 1 else escaped
