import json
import logging

import keras
import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.data.spans import GoldAnswer, Question, Turn, read_squad
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.question_answerer import BertQuestionAnswerer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

# Of the Stanford Question Answering Dataset 1.1 (CC BY-SA 4.0), Rajpurkar et al. 2016.
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "University_of_Notre_Dame",
            "paragraphs": [
                {
                    "context": "Architecturally, the school has a Catholic character. Atop the "
                    "Main Building's gold dome is a golden statue of the Virgin Mary. Immediately "
                    "in front of the Main Building and facing it, is a copper statue of Christ "
                    'with arms upraised with the legend "Venite Ad Me Omnes".',
                    "qas": [
                        {
                            "id": "1",
                            "question": "What sits on top of the Main Building at Notre Dame?",
                            "answers": [
                                {"text": "a golden statue of the Virgin Mary", "answer_start": 92}
                            ],
                        },
                        {
                            "id": "2",
                            "question": "What is in front of the Notre Dame Main Building?",
                            "answers": [{"text": "a copper statue of Christ", "answer_start": 188}],
                        },
                    ],
                },
                {
                    "context": "The Super Bowl 50 halftime show was headlined by the British rock "
                    "group Coldplay with special guest performers Beyoncé and Bruno Mars.",
                    "qas": [
                        {
                            "id": "3",
                            "question": "Who headlined the halftime show?",
                            "answers": [
                                {"text": "Coldplay", "answer_start": 72},
                                {"text": "the British rock group Coldplay", "answer_start": 49},
                            ],
                        },
                    ],
                },
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("squad") / "squad.json"
    path.write_text(json.dumps(SQUAD), "utf-8")
    return read_squad(path)


@pytest.fixture(scope="module")
def tokenizer(questions):
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789", *",.?'\""]
    pieces = [f"##{letter}" for letter in letters if letter.isalnum()]
    words = sorted({w.lower() for q in questions for w in q.question.strip("?").split()})
    words = [word for word in words if word not in letters]
    return WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *letters, *pieces, *words]))


@pytest.fixture
def make(tokenizer):
    def make(**kwargs):
        keras.utils.set_random_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer.vocabulary),
            num_layers=1,
            num_heads=2,
            hidden_dim=32,
            feed_forward_dim=32,
            max_positions=256,
            dropout=0.0,
            attention_dropout=0.0,
            initializer_range=0.2,
        )
        kwargs = {"sequence_length": 96, "max_question_length": 24, **kwargs}
        return BertQuestionAnswerer(BertEncoder(config), tokenizer, **kwargs)

    return make


class TestFit:
    def test_blanks_around_answers_do_not_move_their_labels(self, make, questions):
        wider = [
            q._replace(
                answers=(
                    GoldAnswer(f" {q.answers[0].text} ", q.answers[0].start - 1),
                    *q.answers[1:],
                )
            )
            for q in questions
        ]
        for question in wider:
            answer = question.answers[0]
            assert question.context[answer.start :].startswith(answer.text[:-1])
        model = make()
        for ours, theirs in zip(
            model.batches(questions).dataset(), model.batches(wider).dataset(), strict=True
        ):
            np.testing.assert_array_equal(ours[1], theirs[1])

    def test_answers_that_fit_into_no_window_are_counted(self, make, questions, caplog):
        make().batches(questions)
        assert caplog.text == ""
        long = questions[0]._replace(answers=(GoldAnswer(questions[0].context, 0),))
        make().batches([questions[1], long])
        assert "1 of 2 answers fit into no window whole, the first of them that of question 1" in (
            caplog.text
        )

    def test_overfits_real_examples_over_windows(self, make, questions, caplog):
        model = make()
        model.compile(keras.optimizers.Adam(1e-2))
        assert model.evaluate(questions)["exact_match"] < 100.0
        with caplog.at_level(logging.WARNING):
            history = model.fit(
                questions, epochs=60, batch_size=8, verbose=0, validation_data=questions
            )
        assert "Gradients do not exist" not in caplog.text
        assert history.history["val_loss"][-1] < history.history["val_loss"][0]
        assert model.evaluate(questions) == {"exact_match": 100.0, "f1": 100.0}
        first = questions[0]
        answer = model.answer(first.question, first.context)
        assert answer.text == "a golden statue of the Virgin Mary"
        assert first.context[answer.start : answer.end] == answer.text
        assert 0 < answer.probability <= 1

    def test_the_loss_is_the_mean_of_start_and_end(self, make, questions):
        model = make(sequence_length=256)
        model.compile("sgd", run_eagerly=True)
        dataset = model.dataset(model.batches(questions[2:]))
        inputs, labels = next(iter(dataset))
        logits = np.asarray(model(inputs), "float64")[0]
        log = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        loss = -(log[0, labels[0, 0]] + log[1, labels[0, 1]]) / 2
        found = model.evaluate(dataset, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(loss, rel=1e-5)
        assert found["accuracy"] in (0.0, 0.5, 1.0)


class TestAnswers:
    def test_padding_and_batches_do_not_matter(self, make, questions):
        model = make()
        together = model.predict(questions, batch_size=2)
        for question, found in zip(questions, together, strict=True):
            alone = model.predict([question])[0]
            assert alone.answer.text == found.answer.text
            assert alone.answer.score == pytest.approx(found.answer.score, abs=1e-5)
        inputs = next(iter(model.dataset(model.batches(questions))))[0]
        logits = model.predict(dict(inputs), verbose=0)
        assert logits.shape == (len(inputs["token_ids"]), 2, inputs["token_ids"].shape[1])
        assert logits[inputs["padding_mask"].numpy()[:, None].repeat(2, 1) == 0].max() < -40

    def test_history_changes_the_input(self, make, questions):
        model = make(history_turns=1)
        question, context = questions[0].question, questions[0].context
        scores = [
            model.answer(question, context, history).score
            for history in ([], [("Who?", "Mary")], [("What?", "It"), ("Who?", "Mary")])
        ]
        assert scores[0] != scores[1] == scores[2]
        without = make(history_turns=0)
        assert without.answer(question, context, [("Who?", "Mary")]).score == scores[0]

    def test_no_answer(self, make, questions):
        model = make()
        unanswered = [Question("Who won?", questions[2].context)]
        threshold = model.tune_no_answer([*questions, *unanswered])
        assert model.no_answer_threshold == threshold
        figures = model.evaluate([*questions, *unanswered])
        assert figures["f1"] >= 25.0  # What never answering gives.
        assert {"has_answer_f1", "no_answer_f1"} <= set(figures)
        model.no_answer_threshold = -1e9
        found = model.predict(questions)
        assert [prediction.answer.text for prediction in found] == [""] * 3
        assert all(prediction.n_best[0].text for prediction in found)

    def test_contexts_shorter_than_their_questions(self, make):
        model = make()
        assert model.answer("  Who is in front of the Main Building?  ", "Mary").text in "Mary"
        assert model.answer("What?", "x").text == "x"
        for nothing in ("", " \n", "\u200b"):
            assert model.answer("Who?", nothing)[:3] == ("", 0, 0)
        assert model.predict([]) == []
        assert model.probabilities(([], [])).shape == (0, 2)

    def test_a_padded_question_is_the_question(self, make, questions):
        model = make()
        question, context = questions[0].question, questions[0].context
        assert model.answer(f" \t{question}\n ", context) == model.answer(question, context)
        turns = [("Who?", "Mary")]
        history = [(f" {asked} ", f"{answer} ") for asked, answer in turns]
        assert model.answer("Where?", context, history) == model.answer("Where?", context, turns)
        assert model.answer("Where?", context, [("", "")]) == model.answer("Where?", context)

    def test_n_best(self, make, questions):
        found = make().predict(questions, n_best=3)[0]
        assert len(found.n_best) == 3
        assert found.n_best[0].score >= found.n_best[1].score >= found.n_best[2].score


class TestRefusals:
    def test_questions(self, make, questions):
        model = make()
        with pytest.raises(ValueError, match="position 0 has an empty question"):
            model.answer("", "Mary")
        with pytest.raises(TypeError, match="received str at position 0: use Question"):
            model.predict(["Who?"])
        misplaced = [questions[2]._replace(answers=(GoldAnswer("Coldplay", 3),))]
        with pytest.raises(ValueError, match=r"\(id 3\)\.answers\[0\] 'Coldplay' is not at 3"):
            model.batches(misplaced)
        # Whose answers are to be found, true ones do not matter.
        assert model.predict(misplaced)
        with pytest.raises(ValueError, match="position 0 has an empty context"):
            model.batches([Question("Who?", " ")])
        with pytest.raises(
            ValueError, match=r"history\[0\] is 'ab', not a question and its answer"
        ):
            model.answer("Who?", "Mary", ["ab"])
        with pytest.raises(ValueError, match="received y of type list: leave it out"):
            model.batches(questions, ["Mary"])

    def test_lengths(self, make):
        with pytest.raises(ValueError, match="max_question_length must leave room"):
            make(max_question_length=93)


class TestSaving:
    def test_what_is_given_comes_before_what_is_saved(self, make, tmp_path):
        model = make(window_stride=20, no_answer_threshold=1.5, max_answer_length=7)
        model.save_pretrained(tmp_path / "saved")
        again = BertQuestionAnswerer.from_pretrained(
            tmp_path / "saved", history_turns=4, no_answer_threshold=None
        )
        expected = model.settings._replace(history_turns=4, no_answer_threshold=None)
        assert again.settings == expected

    def test_a_new_head_on_another_checkpoint(self, tiny_classifier, tmp_path, caplog):
        tiny_classifier().save_pretrained(tmp_path / "texts")
        with caplog.at_level(logging.WARNING):
            model = BertQuestionAnswerer.from_pretrained(tmp_path / "texts")
        assert "Newly initialized, to be trained: the head" in caplog.text
        answer = model.answer("film", "a very good film", [Turn("good", "film")])
        assert answer.text in "a very good film"
