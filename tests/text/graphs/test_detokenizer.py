import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.graphs.detokenizer import DetokenizerGraph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS = "a film ##s ##ing don n't ' s ##' m . , ! ? ##. ( ) über 电 ##影 do not ve 've".split()
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *WORDS]))


def test_equals_decode_on_random_tokens():
    ids = np.random.default_rng(0).integers(len(TOKENIZER.vocabulary), size=(500, 9), dtype="int32")
    found = [text.decode() for text in DetokenizerGraph(TOKENIZER)(tf.constant(ids)).numpy()]
    assert found == [TOKENIZER.decode(row) for row in ids]
