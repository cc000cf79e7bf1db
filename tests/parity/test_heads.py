"""Question answering and tagging, live against transformers."""

import numpy as np
import pytest
import torch
import transformers

from keras_bert_scratch.data.spans import GoldAnswer, Question, QuestionRows
from keras_bert_scratch.tasks.question_answerer import BertQuestionAnswerer
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier

CONTEXT = "A really great film, the café 电影 ! " * 2
QUESTION = "the very bad movies?"


@pytest.fixture
def answerer(two_layer_classifier):
    texts = two_layer_classifier()
    return BertQuestionAnswerer(texts.encoder, texts.tokenizer, max_question_length=10)


@pytest.fixture
def tagger(two_layer_classifier):
    texts = two_layer_classifier()
    return BertTokenClassifier(texts.encoder, ["O", "B-x", "I-x"], texts.tokenizer)


@pytest.fixture
def load(load_there):
    def load_both(kind, folder):
        return load_there(kind, folder), transformers.AutoTokenizer.from_pretrained(folder)

    return load_both


def test_question_answering_logits_loss_and_weights(answerer, tmp_path, load):
    answerer.save_pretrained(tmp_path / "saved")
    theirs, tokenizer = load("BertForQuestionAnswering", tmp_path / "saved")
    context = CONTEXT.strip()[:40].strip()
    encoded = tokenizer(QUESTION, context, return_tensors="pt")
    start = context.index("film")
    question = Question(QUESTION, context, (GoldAnswer("film", start),))
    inputs, labels = answerer.batches([question]).batch(np.array([0]))
    length = encoded["input_ids"].shape[1]
    assert inputs["token_ids"][0, :length].tolist() == encoded["input_ids"][0].tolist()
    assert inputs["segment_ids"][0, :length].tolist() == encoded["token_type_ids"][0].tolist()
    assert labels[0].tolist() == [encoded.char_to_token(0, start, 1)] * 2
    with torch.no_grad():
        outputs = theirs(
            **encoded,
            start_positions=torch.tensor(labels[:, 0]).long(),
            end_positions=torch.tensor(labels[:, 1]).long(),
        )
    cut = {name: array[:, :length] for name, array in inputs.items()}
    ours = np.array(answerer(cut))
    np.testing.assert_allclose(ours[:, 0], outputs.start_logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours[:, 1], outputs.end_logits.numpy(), atol=1e-5)
    answerer.compile("sgd", run_eagerly=True)
    loss = answerer.evaluate(cut, labels, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(float(outputs.loss), rel=1e-5)


def test_question_answering_head_is_loaded(answerer, tmp_path, load):
    answerer.save_pretrained(tmp_path / "ours")
    theirs, tokenizer = load("BertForQuestionAnswering", tmp_path / "ours")
    torch.nn.init.normal_(theirs.qa_outputs.weight)
    torch.nn.init.normal_(theirs.qa_outputs.bias)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    again = BertQuestionAnswerer.from_pretrained(tmp_path / "theirs")
    np.testing.assert_array_equal(again.head.logits.kernel, theirs.qa_outputs.weight.detach().T)
    np.testing.assert_array_equal(again.head.logits.bias, theirs.qa_outputs.bias.detach())


@pytest.mark.parametrize("seed", range(5))
def test_n_best_spans_as_transformers_decodes_them(answerer, seed):
    from transformers.pipelines.document_question_answering import select_starts_ends

    context = "a really great film , the very bad movie . a good film"
    settings = answerer.settings._replace(sequence_length=32, max_answer_length=4)
    row = QuestionRows(answerer.tokenizer, Question("the film", context), settings)
    (token_ids,), (segment_ids,) = row.token_ids, row.segment_ids
    logits = np.random.default_rng(seed).normal(size=(2, len(token_ids)), scale=2.0)
    # 1 where a token cannot be in the answer.
    p_mask = 1 - np.array([segment_ids])
    p_mask[0, -1] = 1
    starts, ends, scores, _ = select_starts_ends(
        logits[:1].copy(), logits[1:].copy(), p_mask, None, top_k=10, max_answer_len=4
    )
    found = row.predict([logits], n_best=10)
    offsets = answerer.tokenizer.encode("the film", context).offsets
    expected = [context[offsets[s][0] : offsets[e][1]] for s, e in zip(starts, ends, strict=True)]
    assert [span.text for span in found.n_best] == expected
    # Theirs is the product of two softmaxes, ours their product's share among valid spans.
    ratios = [span.probability for span in found.n_best] / scores
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def test_tagging_logits_loss_and_weights(tagger, tmp_path, load):
    tagger.save_pretrained(tmp_path / "saved")
    theirs, tokenizer = load("BertForTokenClassification", tmp_path / "saved")
    assert theirs.config.id2label == {0: "O", 1: "B-x", 2: "I-x"}
    words = ["Good", "films", "!", "caf\u00e9", "bad-movie", "电影"]
    tags = ["B-x", "I-x", "O", "B-x", "O", "B-x"]
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    word_ids = encoded.word_ids(0)
    # The recipe of transformers' run_ner.py labels first pieces only.
    firsts = [
        -100 if word is None or word == before else tagger.labels.index(tags[word])
        for before, word in zip([None, *word_ids], word_ids, strict=False)
    ]
    inputs, ours = next(iter(tagger.dataset(tagger.batches([words], [tags]))))
    length = len(firsts)
    assert inputs["token_ids"].numpy()[0, :length].tolist() == encoded["input_ids"][0].tolist()
    labels = np.where(ours[0, :length] == -1, -100, ours[0, :length])
    others = [n for n in range(length) if labels[n] != firsts[n]]
    assert [firsts[n] for n in others] == [-100] * 3
    # Ours labels the other words of BERT, too.
    pieces = [words[word_ids[n]][slice(*encoded.token_to_chars(n))] for n in others]
    assert list(zip(pieces, labels[others], strict=True)) == [("-", 0), ("movie", 0), ("影", 2)]
    with torch.no_grad():
        outputs = theirs(**encoded, labels=torch.tensor(labels[None]).long())
    logits = np.array(tagger(inputs))[:, :length]
    np.testing.assert_allclose(logits, outputs.logits.numpy(), atol=1e-5)
    tagger.compile("sgd", run_eagerly=True)
    loss = tagger.evaluate(inputs, ours, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(float(outputs.loss), rel=1e-5)


def test_tagging_head_is_loaded(tagger, tmp_path, load):
    tagger.save_pretrained(tmp_path / "ours")
    theirs, tokenizer = load("BertForTokenClassification", tmp_path / "ours")
    torch.nn.init.normal_(theirs.classifier.weight)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    again = BertTokenClassifier.from_pretrained(tmp_path / "theirs")
    np.testing.assert_array_equal(again.head.logits.kernel, theirs.classifier.weight.detach().T)
