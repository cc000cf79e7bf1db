r"""Optional steps on raw text before the tokenizer, for control over whole words.

A step is a function from text to text that knows its own settings, so that a `WordPieceTokenizer`
carries it to every place where text enters: training, files, SavedModels, LiteRT files. BERT needs
none of them; placeholders help where names and numbers must not be learned, and stop words where
texts are longer than the model.

Steps that replace regular expressions are the same in Python and in TensorFlow, whose expressions
are RE2's: they use what both read alike, so neither look-around nor `\s`, `\w` and `(?i)`, and
repeat no search, so that no text takes them more than time proportional to its length.

Order matters: repair, then strip, then set placeholders, then remove stop words.
"""

import abc
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import tensorflow as tf

T = TypeVar("T")

# Between words: control characters, spaces, and the punctuation of ASCII, Latin-1, typography,
# Chinese and full width. The apostrophes ' and ’ are not among them.
_BETWEEN = (
    "\x00-&(-/:-@\\[-`{-©«-´¶-¹»-¿×÷\u1680\u2000-\u200a\u200e-‘‚-\u206f⸀-\u2e7f"
    "\u3000-〿！-／：-＠［-｀｛-･\ufeff"
)
_WORD = rf"[^'’{_BETWEEN}]+(?:['’][^'’{_BETWEEN}]+)*"
# Marks the ends of words. Normalization deletes it, so a text loses nothing with its own ones.
_MARK = "\x00"


class Step(abc.ABC):
    """A function from text to text with settings that JSON can hold. Subclasses are dataclasses."""

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
        r"""Expressions and what takes their place, where `\1` is the first group."""

    def __call__(self, text: str) -> str:
        """Changes a text."""
        for pattern, replacement in self._compiled:
            text = pattern.sub(replacement, text)
        return text

    @functools.cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], str]]:
        # Word boundaries are ASCII's in RE2.
        return [(re.compile(pattern, re.ASCII), new) for pattern, new in self.replacements]

    def graph(self, texts: "tf.Tensor") -> "tf.Tensor":
        """Changes texts with core TensorFlow operations.

        Args:
            texts: Strings of valid UTF-8. *Shape:* (B,)

        Returns:
            Strings. *Shape:* (B,)
        """
        import tensorflow as tf

        for pattern, replacement in self.replacements:
            texts = tf.strings.regex_replace(texts, pattern, replacement)
        return texts


@dataclasses.dataclass(frozen=True)
class RepairUnicode(Step):
    """Brings equal-looking characters to one form, and optionally undoes wrong decoding.

    It runs in Python only: an export to SavedModel is refused, a LiteRT predictor runs it.

    Args:
        form: Unicode's normalization form: "NFC" joins letters and their marks, "NFKC" also
            replaces compatibility characters, such as ligatures and full-width letters.
        mojibake: Also mend UTF-8 that was read as another encoding, such as "cafÃ©", by ftfy.

    Raises:
        ValueError: If the form is none of the two.
        ImportError: If `mojibake` is on and ftfy is not installed.

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
                    'pip install "keras_bert_scratch[preprocessing]", or leave it off.'
                ) from error

    def __call__(self, text: str) -> str:
        """Changes a text."""
        if self.mojibake:
            import ftfy

            text = ftfy.fix_encoding(text)
        return unicodedata.normalize(self.form, text)


@dataclasses.dataclass(frozen=True)
class StripHtml(RegexStep):
    """Replaces tags, comments, scripts and styles by spaces, and reads six entities.

    As in a browser, what is not closed reaches to the end of the text; a "<" that no letter follows
    is text. The entities are those that HTML itself needs: `&lt;`, `&gt;`, `&quot;`, `&apos;` (also
    `&#39;` and `&#x27;`), `&nbsp;` and `&amp;`. A ">" within an attribute ends its tag.

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
            # Last: what it brings forth is text.
            ("&amp;", "&"),
        ]


@dataclasses.dataclass(frozen=True)
class ReplaceUrls(RegexStep):
    """Replaces web addresses that start with http://, https:// or www.

    An address ends at a space, at a character beyond ASCII, or before closing punctuation.

    Args:
        placeholder: What takes their place, with spaces around it. The default is one token of
            BERT's English vocabularies.

    Example:
        >>> ReplaceUrls()("See https://keras.io/api.")
        'See  url .'
    """

    placeholder: str = "url"

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        start = rf"\b(?:{_any_case('http')}[sS]?://|{_any_case('www')}\.)"
        # Printable ASCII without the quotation mark, < and >; the last one is no punctuation.
        rest = r"[!#-;=?-~]*[#-&*+/-9=@-Z\\^-z|~-]"
        return [(start + rest, _spaced(self.placeholder))]


@dataclasses.dataclass(frozen=True)
class ReplaceUsers(RegexStep):
    """Replaces mentions such as @someone; the @ of an e-mail address stays.

    Args:
        placeholder: What takes their place, with spaces around it.

    Example:
        >>> ReplaceUsers()("@keras_team thanks")
        ' user  thanks'
    """

    placeholder: str = "user"

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        return [(r"\B@[0-9A-Za-z_]+", _spaced(self.placeholder))]


@dataclasses.dataclass(frozen=True)
class ReplaceNumbers(RegexStep):
    """Replaces runs of ASCII digits, with the points and commas between them, also within words.

    Args:
        placeholder: What takes their place, with spaces around it.

    Example:
        >>> ReplaceNumbers()("1,234.50 at 5pm")
        ' number  at  number pm'
    """

    placeholder: str = "number"

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        return [("[0-9]+(?:[.,][0-9]+)*", _spaced(self.placeholder))]


@dataclasses.dataclass(frozen=True)
class AddPrompt(RegexStep):
    """Sets a prompt before every text, such as "query: ", as sentence encoders are trained with.

    Args:
        prompt: The prompt, with the space that follows it.

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
    """Returns frequent words that carry little: NLTK's, or else scikit-learn's for English.

    NLTK's list is used where NLTK and its data (`nltk.download("stopwords")`) are installed. Both
    lists hold "not": for sentiment, leave it in the text.

    Args:
        language: As NLTK names it.

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
            'for NLTK\'s, pip install nltk and nltk.download("stopwords"), or give words of your '
            "own."
        )
    return sorted(word for word in words if re.fullmatch(_WORD, word))


@dataclasses.dataclass(frozen=True)
class RemoveStopWords(RegexStep):
    """Removes whole words, in whatever case and with whichever apostrophe they are written.

    A word is what stands between spaces and punctuation, with the apostrophes inside it. Chinese
    and the like, written without spaces, must be split before.

    Args:
        words: Which to remove. The words themselves are saved with the model, so that it does not
            matter what is installed where it is served.

    Raises:
        TypeError: If `words` is a string.
        ValueError: If there is none, or one is not a single word.

    Example:
        >>> RemoveStopWords(["the", "of"])("The Lord of the Rings, off the shelf")
        ' Lord   Rings, off  shelf'
    """

    words: Iterable[str] = dataclasses.field(default_factory=stop_words)

    def __post_init__(self) -> None:
        if isinstance(self.words, str):
            raise TypeError(
                f"words is a list of words, received {self.words!r}: stop_words({self.words!r}) "
                "finds the list of a language."
            )
        words = tuple(sorted(set(self.words)))
        object.__setattr__(self, "words", words)
        wrong = [word for word in words if not re.fullmatch(_WORD, word)]
        if wrong or not words:
            raise ValueError(
                "Stop words are one word each, without spaces and punctuation, received "
                f"{wrong or 'none'}: remove these, or leave the step out."
            )

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """See `RegexStep`."""
        # What has the same upper case, such as both small sigmas.
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

        # The same as the replacements: Python would try hundreds of alternatives one by one.
        def keep(word: re.Match[str]) -> str:
            is_stop_word = word[0].translate(self._upper_case) in self._upper_words
            return "" if is_stop_word else word[0]

        return re.sub(_WORD, keep, text.replace(_MARK, ""))

    @functools.cached_property
    def _upper_case(self) -> dict[int, int]:
        """Letters of the words -> their upper case, where that is one letter; ’ -> '."""
        upper = {letter: letter.upper() for word in self.words for letter in word.lower() + word}
        return {ord(k): ord(v) for k, v in upper.items() if len(v) == 1} | {ord("’"): ord("'")}

    @functools.cached_property
    def _upper_words(self) -> frozenset[str]:
        return frozenset(word.translate(self._upper_case) for word in self.words)


def split_sentences(text: str, language: str = "english") -> list[str]:
    """Splits a text into sentences.

    By NLTK where it and its data (`nltk.download("punkt_tab")`) are installed. Otherwise a sentence
    ends with a line, after ".", "!", "?" or "…" (and closing quotes or brackets) before white
    space, and after "。", "！" or "？": abbreviations end sentences, too.

    Args:
        text: The text.
        language: As NLTK names it.

    Example:
        >>> split_sentences("It works. Does it? Yes!")
        ['It works.', 'Does it?', 'Yes!']
    """
    sentences = _by_nltk(lambda nltk: nltk.sent_tokenize(text, language))
    if sentences is None:
        closing = "[\"'”’»)\\]]*"
        ended = re.sub(rf"([.!?…]{closing})\s+|([。！？][”’」』）]*)", "\\1\\2\n", text)
        sentences = ended.splitlines()
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def split_words(text: str, language: str = "english") -> list[str]:
    """Splits a text into words and punctuation.

    By NLTK where it and its data (`nltk.download("punkt_tab")`) are installed. Otherwise words are
    those of `RemoveStopWords`, and every other character but white space stands alone. NLTK splits
    contractions ("do", "n't").

    Args:
        text: The text.
        language: As NLTK names it.

    Example:
        >>> split_words("Stop, now!")
        ['Stop', ',', 'now', '!']
    """
    words = _by_nltk(lambda nltk: nltk.word_tokenize(text, language))
    return re.findall(rf"{_WORD}|\S", text) if words is None else words


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
        ValueError: If it is none of this module's, or has other settings.
    """
    settings = dict(config) if isinstance(config, dict) else {"step": config}
    name = settings.pop("step", None)
    if not isinstance(name, str) or name not in _STEPS:
        raise ValueError(
            f"Unknown preprocessing step {name!r}: this version has {', '.join(_STEPS)}."
        )
    try:
        step = _STEPS[name](**settings)
        step("")  # Steps compile their expressions when they are first used.
    except (TypeError, AttributeError) as error:
        raise ValueError(f"The settings of {name} are refused: {error}.") from error
    return step


def check_steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Returns the steps as a tuple.

    Raises:
        TypeError: If one is not a step of this module, with which alone a model can be saved.
    """
    steps = tuple(steps)
    for step in steps:
        if type(step) not in _STEPS.values():
            raise TypeError(
                f"preprocessing takes the steps {', '.join(_STEPS)}, received {step!r}: other "
                "functions could not be saved with the model; apply them to the texts before."
            )
    return steps


def _by_nltk(ask: Callable[[Any], T]) -> T | None:
    """Asks NLTK; None if it, or the data it needs, is not installed."""
    try:
        import nltk

        return ask(nltk)
    except (ImportError, LookupError, OSError):
        # A word list that NLTK's data lacks is an OSError.
        return None


def _any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)


def _one_of(letters: set[str]) -> str:
    escaped = "".join(map(re.escape, sorted(letters)))
    return f"[{escaped}]" if len(letters) > 1 else escaped


def _spaced(placeholder: str) -> str:
    escaped = placeholder.replace("\\", r"\\")
    return f" {escaped} "
