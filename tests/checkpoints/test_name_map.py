"""The table of weight names is complete and can be read both ways."""

from types import SimpleNamespace

from keras_bert_scratch.checkpoints.huggingface import _at
from keras_bert_scratch.checkpoints.name_map import CLASSIFIER, POOLER, encoder_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.heads import ClassificationHead
from keras_bert_scratch.models.encoder import BertEncoder


def test_every_weight_has_one_row(tiny_config: BertConfig) -> None:
    head = ClassificationHead(num_classes=3)
    head.build((None, tiny_config.hidden_dim))
    root = SimpleNamespace(encoder=BertEncoder(tiny_config), head=head)
    rows = (*encoder_weights(tiny_config.num_layers), *POOLER, *CLASSIFIER)
    named = [id(_at(root, row.ours)) for row in rows]
    assert sorted(named) == sorted(map(id, [*root.encoder.weights, *head.weights]))
    assert len({row.huggingface for row in rows}) == len(rows)


def test_kernels_and_nothing_else_are_transposed() -> None:
    for row in (*encoder_weights(1), *POOLER, *CLASSIFIER):
        assert row.transpose == row.ours.endswith(".kernel")
