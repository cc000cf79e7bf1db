"""Writes the golden exports of tests/golden/exports: LiteRT files as version 0.1.0 wrote them.

    python tests/golden/make_exports.py

They show that later versions load them. Run it to add a task, not to bring the files up to date.
Beside them, `answers.json` has the texts, and what the models answered.
"""

import json
from pathlib import Path

import keras

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertEncoder,
    BertQuestionAnswerer,
    BertSentenceEncoder,
    BertTokenClassifier,
    Vocabulary,
    WordPieceTokenizer,
)

HERE = Path(__file__).parent / "exports"
TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the very really good bad film movie , . ##s".split()
TEXTS = ["a good film", "The very bad movie, really. " * 4, "Über films"]


def main() -> None:
    """Writes the files."""
    keras.utils.set_random_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        feed_forward_dim=12,
        max_positions=16,
        initializer_range=0.4,
    )
    encoder, tokenizer = BertEncoder(config), WordPieceTokenizer(Vocabulary(TOKENS))
    classifier = BertClassifier(encoder, ["bad", "good"], tokenizer)
    embedder = BertSentenceEncoder(encoder, tokenizer)
    tagger = BertTokenClassifier(encoder, ["O", "B-x"], tokenizer, window_stride=4)
    answerer = BertQuestionAnswerer(encoder, tokenizer, max_question_length=4, max_answer_length=3)
    pairs = (TEXTS[::-1], TEXTS)
    answers = {
        "classifier": classifier.probabilities(TEXTS).tolist(),
        "sentence_encoder": embedder.encode(TEXTS, verbose=0).tolist(),
        "tagger": [rows.tolist() for rows in tagger.probabilities(TEXTS)],
        "answerer": answerer.probabilities(pairs).tolist(),
    }
    for name, model in zip(answers, (classifier, embedder, tagger, answerer), strict=True):
        model.export(HERE / f"{name}.tflite", format="litert")
    (HERE / "answers.json").write_text(json.dumps({"texts": TEXTS, "answers": answers}))


if __name__ == "__main__":
    main()
