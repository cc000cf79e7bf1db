"""Title: Text to tokens.

Description: How a text becomes a row of whole numbers: normalization, stop words, a vocabulary, and
the longest match.

A network multiplies numbers. The tokenizer turns a text into numbers, one for each *token*: a
frequent word, or a piece of a rare one. All of it happens in plain Python, and again in a graph of
TensorFlow operations that gives the same numbers inside `tf.data` and in exports.
"""

from pathlib import Path

from keras_bert_scratch import Vocabulary, WordPieceTokenizer, tokenizer_graph
from keras_bert_scratch.evaluation.plots import plot_tokens
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.text.normalization import BertNormalizer
from keras_bert_scratch.text.preprocessing import RemoveStopWords, StripHtml, stop_words
from keras_bert_scratch.text.vocabulary import train_vocabulary

"""
## Normalization

Words that a reader takes for the same should be the same. BERT's rules look at one character at a
time: control characters go, every kind of white space becomes a space, capitals become small,
accents are dropped, and punctuation marks and Chinese characters become words of their own.
"""

normalizer = BertNormalizer(lowercase=True, strip_accents=True, tokenize_chinese_chars=True)
for text in ["A Café, naïve!", "two\u00a0words\u200b", "看电影 tonight"]:
    print([word.text for word in normalizer.words(text)])

"""
What a character becomes stands in a table, so the same rules run in every engine:

```python
# keras_bert_scratch/text/normalization.py
characters = "".join(table.lower_case.get(ord(c), c) for c in characters)
is_alone = flags & _CJK and self.tokenize_chinese_chars
```

## Steps before it

Texts from the web need more: markup removed, addresses replaced, or frequent words left out. Such
steps are saved with the model, so that a server applies them, too.

Most lists of stop words hold "not". For a question like *good or bad?* that is the one word which
must stay:
"""

step = RemoveStopWords(stop_words("english"))
print(step("The film was not good"))

keep_negations = RemoveStopWords(set(stop_words("english")) - {"no", "not", "nor"})
print(keep_negations("The film was not good"))
print(StripHtml()("Fish &amp; chips<br/>for 3 < 5"))

"""
BERT reads whole sentences and weighs words by itself: it seldom needs stop words removed. Measure
before you do.

## A vocabulary

A vocabulary is a list of tokens; the number of a token is its place in the list. It is learned from
text: it starts with single characters, and again and again joins the two tokens that stand side by
side most often. Tokens that continue a word start with `##`.
"""

text = "low lower lowest slow slower slowest new newer newest\n" * 20
Path("corpus.txt").write_text(text)
learned = train_vocabulary(["corpus.txt"], size=40)
print(learned.tokens)

"""
The first five are special: `[PAD]` fills up short texts, `[UNK]` stands for what the vocabulary
cannot spell, `[CLS]` opens every text, `[SEP]` closes it, and `[MASK]` hides a word in pretraining.

## The longest match

A word is split from its start: take the longest token that fits, go on behind it, and give up
(`[UNK]`) where nothing fits. With pencil and paper: *slowest* in the vocabulary below.
"""

tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "slow", "s", "##s", "##est", "##e"]
vocabulary = Vocabulary(tokens)


def longest_match(word, vocabulary):
    """Splits a word greedily into the longest tokens."""
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                found.append(prefix + word[start:end])
                break
        else:
            return ["[UNK]"]
        start = end
    return found


for word in ["slowest", "films", "slower"]:
    print(word, longest_match(word, set(tokens)))

"""
*slow* is longer than *s*, so it comes first; *##est* is longer than *##e*. *slower* would need
*##r*, which is not there: the whole word becomes `[UNK]`.

The package's loop is the same, but tries only the lengths that tokens have:

```python
# keras_bert_scratch/text/tokenizer.py
for length in self._token_lengths[start > 0]:
    end = start + length
    if end <= len(word) and prefix + word[start:end] in self.pieces:
        break
else:
    return [(self.vocabulary.unk_id, len(word))]
```

## All together

`encode` does all of it, and remembers where each token stood in the text. These *offsets* are what
later colours a word by what it did for an answer.
"""

tokenizer = WordPieceTokenizer(vocabulary)
text = "Slowest films!"
encoding = tokenizer.encode(text)
rows = [
    [token, str(token_id), repr(text[start:end])]
    for token, token_id, (start, end) in zip(
        encoding.tokens, encoding.token_ids, encoding.offsets, strict=True
    )
]
print(format_table(["token", "id", "in the text"], rows))

plot_tokens(encoding)

"""
Inside `tf.data`, and in a SavedModel on a server without Keras, the same rules run as a graph:
"""

graph = tokenizer_graph(tokenizer)
batch = graph(["Slowest films!", "a film"], sequence_length=8)
print(batch["token_ids"].numpy())
print(batch["padding_mask"].numpy())

"""
Short texts are padded with `[PAD]`, and `padding_mask` says which tokens are real. These rows are
what [the input layer](02_input_layer.md) reads.
"""
