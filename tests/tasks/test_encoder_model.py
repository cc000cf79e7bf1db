import pytest

from keras_bert_scratch import BertClassifier


@pytest.fixture
def model(tiny_classifier):
    return tiny_classifier()


TOKENIZER = "<WordPieceTokenizer of 24 tokens>"


def test_summary(model, capsys):
    model.summary()
    shown = capsys.readouterr().out
    assert "bert_encoder" in shown
    assert "(None, None, 16)" in shown
    assert "(None, 2)" in shown
    assert shown.splitlines()[-2:] == [
        f" Tokenizer: {TOKENIZER}",
        " Labels: negative, positive (2)",
    ]


def test_summary_takes_the_arguments_of_keras(model):
    printed = []
    model.summary(80, None, printed.append, True, True, None)
    assert "Trainable" in printed[0]
    assert "block_0 (EncoderBlock)" in printed[0]
    assert printed[-1] == " Labels: negative, positive (2)"


def test_repr(model):
    lines = repr(model).splitlines()
    assert lines[0] == f"<BertClassifier name={model.name}"
    assert lines[1].startswith("  encoder    <BertEncoder name=bert_encoder")
    assert lines[2:] == [f"  tokenizer  {TOKENIZER}", "  labels     negative, positive (2)>"]


def test_without_a_tokenizer_and_with_many_labels(model):
    labels = [f"label {n}" for n in range(1000)]
    lines = repr(BertClassifier(model.encoder, labels)).splitlines()
    assert lines[2] == "  tokenizer  None"
    assert lines[3].startswith("  labels     label 0, label 1, ")
    assert lines[3].endswith("… (1000)>")
    assert max(map(len, lines)) < 110
