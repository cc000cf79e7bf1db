"""What is frozen or adapted, by number; tasks: tests/tasks/test_state.py."""

import dataclasses

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.state import set_state, state_config


def test_numbers_are_those_of_files_saved_before(tiny_config: BertConfig) -> None:
    """Fails on the day that Keras orders layers otherwise: then files need their own order."""
    config = dataclasses.replace(tiny_config, num_layers=1)
    encoder, copy = BertEncoder(config), BertEncoder(config)
    encoder.embeddings.token.trainable = False
    block = encoder.blocks[0]
    block.attention.trainable = False
    block.attention.key.trainable = True  # within a frozen layer
    block.feed_forward.expand.enable_lora(2, lora_alpha=3)
    encoder.pooler.dense.bias.trainable = False
    state = {
        "lora": [[12, 2, 3]],
        "frozen_layers": [6, 15, 16, 17, 18, 20],
        "frozen_weights": [0, 5, 6, 9, 10, 11, 12, 15, 24],
    }
    assert state_config(encoder) == {"state": state}
    set_state(copy, state)
    assert state_config(copy) == {"state": state}
    assert copy.blocks[0].attention.key.trainable
