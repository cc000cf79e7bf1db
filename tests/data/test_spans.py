"""Questions, windows and spans, worked out by hand."""

import json
import logging

import numpy as np
import pytest

from keras_bert_scratch.data.spans import (
    GoldAnswer,
    Question,
    QuestionRows,
    SpanSettings,
    Turn,
    check_asked,
    check_questions,
    joined_history,
    question_rows,
    read_squad,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENS = [*SPECIAL_TOKENS, *"who is ? ann bob born here and there . ##s the".split()]
CONTEXT = "Ann is born here. Bobs there."
SETTINGS = SpanSettings(
    sequence_length=32,
    window_stride=None,
    max_question_length=8,
    max_answer_length=3,
    history_turns=2,
    no_answer_threshold=None,
)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(Vocabulary(TOKENS))


def squad(*qas, context=CONTEXT):
    return {"version": "1.1", "data": [{"paragraphs": [{"context": context, "qas": list(qas)}]}]}


def entry(question="Who is born?", answers=(("Ann", 0),), **fields):
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": "q1", "question": question, "answers": found, **fields}


@pytest.fixture
def write(tmp_path):
    def write(document):
        path = tmp_path / "squad.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
        return path

    return write


class TestReading:
    def test_questions(self, write):
        history = [{"question": "Is Bob there?", "answer": "Bobs"}]
        path = write(
            squad(
                entry(),
                entry("Who?", [("Bobs", 18), ("Bob", 18)], id=7, history=history),
                entry("Is who?", [("Ann", 0)], is_impossible=True),
                {"question": "Who is?"},
            )
        )
        first, second, third, fourth = read_squad(path)
        assert first == Question("Who is born?", CONTEXT, (GoldAnswer("Ann", 0),), id="q1")
        assert second.answers == (GoldAnswer("Bobs", 18), GoldAnswer("Bob", 18))
        assert second.history == (Turn("Is Bob there?", "Bobs"),)
        assert second.id == "7"
        assert third.answers == ()
        assert fourth.id == "data[0].paragraphs[0].qas[3]"

    def test_misplaced_answers_are_listed_and_counted(self, write):
        faulty = [entry(answers=[("Ann", 0), ("Bob", 17)]), entry(answers=[("Ann", -3)])]
        with pytest.raises(ValueError, match="has 2 faults: ") as error:
            read_squad(write(squad(entry(), *faulty)))
        message = str(error.value)
        assert "data[0].paragraphs[0].qas[1] (id q1).answers[1] 'Bob' is not at 17" in message
        assert "where the context has ' Bo'; it occurs first at 18;" in message
        assert "data[0].paragraphs[0].qas[2] (id q1).answers[0] 'Ann' is not at -3" in message
        assert "leave them out with skip_faulty=True" in message

    def test_nothing_faulty_takes_others_along(self, write, caplog):
        document = squad(
            {"question": None, "id": "none"},
            entry(answers=[("Ann", None)], id="nowhere"),
            entry(history=[{"question": "Who?"}], id="unanswered"),
            entry("  ", id="blank"),
            entry(answers=[("Bob", 5)], id="misplaced"),
            entry(answers=[("Ann", 5), ("Ann", 0)], id="half"),
            entry(id="good"),
        )
        document["data"] += [{"title": "of nothing"}, {"paragraphs": [{"qas": []}]}]
        path = write(document)
        with pytest.raises(ValueError, match="has 8 faults: ") as error:
            read_squad(path)
        for name in ("none", "nowhere", "unanswered", "blank", "misplaced", "half"):
            assert f"(id {name})" in str(error.value)
        assert "data[1] has no 'paragraphs'" in str(error.value)
        assert "data[2].paragraphs[0] has no 'context'" in str(error.value)
        with caplog.at_level(logging.WARNING):
            questions = read_squad(path, skip_faulty=True)
        # A question that keeps one of its answers stays.
        assert [question.id for question in questions] == ["half", "good"]
        assert [question.answers for question in questions] == [(GoldAnswer("Ann", 0),)] * 2
        assert "left out 8 faults: data[0].paragraphs[0].qas[0] (id none) has no" in caplog.text

    def test_a_context_shorter_than_its_question(self, write):
        path = write(squad(entry("  Who is born here?  ", [("Ann", 0)]), context="Ann."))
        (question,) = read_squad(path)
        assert question.answers == (GoldAnswer("Ann", 0),)

    @pytest.mark.parametrize(
        ("text", "start", "wanted"),
        [
            (" born here ", 6, ("born here", 7)),  # The blanks stand in the context, too.
            ("born here ", 7, ("born here", 7)),
            ("Ann ", 0, ("Ann", 0)),
            (" Ann", 0, ("Ann", 0)),  # They do not, and the offset is that of the rest.
            ("there. \n", 23, ("there.", 23)),
        ],
    )
    def test_blanks_at_the_ends_of_answers(self, write, text, start, wanted):
        (question,) = read_squad(write(squad(entry(answers=[(text, start)]))))
        assert question.answers == (GoldAnswer(*wanted),)

    @pytest.mark.parametrize(
        "answers", [[{"text": ""}], [{"text": " ", "answer_start": -1}], [], None]
    )
    def test_no_answer(self, write, answers):
        fields = entry()
        fields["answers"] = answers
        assert read_squad(write(squad(fields)))[0].answers == ()
        # As in SQuAD's script, one who found none does not outvote one who found an answer.
        if answers:
            fields["answers"] = [*answers, {"text": "Ann", "answer_start": 0}]
            assert read_squad(write(squad(fields)))[0].answers == (GoldAnswer("Ann", 0),)

    def test_offsets_count_characters_not_surrogates(self, write):
        context = "\U0001f600\U0001f44e Ann is born."
        path = write(squad(entry(answers=[("Ann", 3)]), context=context))
        assert "\\ud83d" in path.read_text()  # JSON writes each as two.
        (question,) = read_squad(path)
        assert context[question.answers[0].start :].startswith("Ann")

    def test_only_the_first_faults_are_named(self, write):
        path = write(squad(*[entry(answers=[("Bob", 0)])] * 12))
        with pytest.raises(ValueError, match=r"12 faults: .*qas\[9\][^…]*; …\. Mend"):
            read_squad(path)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ("{", "is not JSON"),
            ([], "the file has no 'data' that is a list"),
            ({"data": [{}]}, r"data\[0\] has no 'paragraphs' that is a list"),
            ({"data": [{"paragraphs": [{"qas": []}]}]}, "has no 'context' that is a str"),
            (squad({"question": 3}), r"qas\[0\] has no 'question' that is a str"),
            (squad(entry(answers=[("Ann", "0")])), r"answers\[0\] has no 'answer_start' that is"),
            (squad(entry(answers=[("Ann", True)])), "has no 'answer_start' that is a int"),
            (squad([None]), r"qas\[0\] has no 'question' that is a str"),
            (
                squad({**entry(), "history": 3}),
                r"qas\[0\] \(id q1\) has no 'history' that is a list",
            ),
            (squad({**entry(), "history": [3]}), r"\.history\[0\] has no 'question' that is a str"),
            (squad({**entry(), "answers": "Ann"}), r"qas\[0\] .* no 'answers' that is a list"),
            (squad(), "has no questions"),
            (squad(entry("  ")), r"qas\[0\] \(id q1\) has an empty question"),
        ],
    )
    def test_refusals(self, write, document, message):
        with pytest.raises(ValueError, match=message):
            read_squad(write(document))

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            read_squad(tmp_path / "none.json")


class TestChecks:
    def test_positions_are_named(self):
        good = Question("Who?", CONTEXT)
        with pytest.raises(ValueError, match="1 faults: the question at position 1 has an empty c"):
            check_questions([good, Question("Who?", " ")])
        with pytest.raises(ValueError, match=r"position 0\.answers\[0\] 'Bob' is not at 0"):
            check_questions([Question("Who?", CONTEXT, (GoldAnswer("Bob", 0),))])
        with pytest.raises(TypeError, match="received str at position 1: use Question"):
            check_questions([good, "Who?"])
        with pytest.raises(ValueError, match="There are no questions"):
            check_questions([])
        assert check_questions([good]) == [good]

    def test_answers_are_mended(self):
        answers = (GoldAnswer("", 0), GoldAnswer(" born ", 6), ("Ann", np.int64(0)))
        (found,) = check_questions([Question("Who?", CONTEXT, answers)])
        assert found.answers == (GoldAnswer("born", 7), GoldAnswer("Ann", 0))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"question": None}, r"position 0 \(id 7\) has as question None, which is no string"),
            ({"context": b"Ann"}, "has as context b'Ann', which is no string"),
            ({"history": ("ab",)}, r"history\[0\] is 'ab', not a question and its answer"),
            ({"history": (("a", None),)}, r"has as history\[0\].answer None, which is no string"),
            ({"question": "\t"}, "has an empty question"),
        ],
    )
    def test_what_is_asked(self, changes, message):
        question = Question("Who?", CONTEXT, id="7")._replace(**changes)
        for check in (check_asked, check_questions):
            with pytest.raises(ValueError, match=message):
                check([question])

    def test_answers_of_other_kinds(self):
        for answer in ("ab", {"text": "Ann", "answer_start": 0}, ("Ann", 0.5), None):
            with pytest.raises(ValueError, match=r"answers\[0\] is .*, not a GoldAnswer\(text, st"):
                check_questions([Question("Who?", CONTEXT, (answer,))])

    def test_an_empty_context_may_be_asked_but_not_learned_from(self):
        check_asked([Question("Who?", "", (GoldAnswer("Bob", 7),))])
        check_asked([])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"max_question_length": 29}, "received 29: choose 1 to 28"),
            ({"window_stride": 22}, "window_stride must be from 1 to 21"),
            ({"max_answer_length": 0}, "max_answer_length must be at least 1, received 0"),
            ({"history_turns": -1}, "history_turns must be at least 0, received -1"),
        ],
    )
    def test_settings(self, changes, message):
        SETTINGS.check()
        with pytest.raises(ValueError, match=message):
            SETTINGS._replace(**changes).check()


def test_history_stands_before_the_question():
    history = [Turn("a?", "b"), Turn("c?", ""), Turn("e?", "f")]
    assert joined_history(history, 2) == "c?  e? f"
    assert joined_history(history, 9) == "a? b c?  e? f"
    assert joined_history(history, 0) == joined_history([], 2) == ""


class TestRows:
    def test_one_window(self, tokenizer):
        question = Question("Who is born?", CONTEXT, (GoldAnswer("Bob", 18),))
        rows = QuestionRows(tokenizer, question, SETTINGS)
        tokens = "[CLS] who is born ? [SEP] ann is born here . bob ##s there . [SEP]".split()
        assert [[TOKENS[i] for i in row] for row in rows.token_ids] == [tokens]
        assert rows.segment_ids == [[0] * 6 + [1] * 10]
        assert rows.labels().tolist() == [[11, 11]]
        # A start within a token is that token's, and so is an end.
        inside = question._replace(answers=(GoldAnswer("obs the", 19),))
        assert QuestionRows(tokenizer, inside, SETTINGS).labels().tolist() == [[11, 13]]
        assert QuestionRows(tokenizer, Question("Who?", CONTEXT), SETTINGS).labels().tolist() == [
            [0, 0]
        ]

    def test_windows(self, tokenizer):
        # "who", [CLS] and two [SEP] leave 6 of 10; 9 tokens, half a window on: 0-5, 3-8.
        question = Question("Who", CONTEXT, (GoldAnswer("here. Bob", 12),))
        settings = SETTINGS._replace(sequence_length=10, max_question_length=1)
        rows = QuestionRows(tokenizer, question, settings)
        assert [len(row) for row in rows.token_ids] == [10, 10]
        assert [TOKENS[row[3]] for row in rows.token_ids] == ["ann", "here"]
        assert rows.labels().tolist() == [[3 + 3, 3 + 5], [3 + 0, 3 + 2]]
        # Cut off by the first window's end: only the second window has the answer.
        longer = question._replace(answers=(GoldAnswer("here. Bobs", 12),))
        assert QuestionRows(tokenizer, longer, settings).labels().tolist() == [[0, 0], [3, 6]]

    def test_the_history_gives_way_first_then_the_questions_end(self, tokenizer):
        question = Question("Who is born?", CONTEXT, history=(Turn("Is Ann there?", "here"),))
        for length, wanted in {
            6: ["?", "here", "who", "is", "born", "?"],
            4: ["who", "is", "born", "?"],
            3: ["who", "is", "born"],
        }.items():
            settings = SETTINGS._replace(max_question_length=length)
            rows = QuestionRows(tokenizer, question, settings)
            end = rows.token_ids[0].index(TOKENS.index("[SEP]"))
            assert [TOKENS[i] for i in rows.token_ids[0][1:end]] == wanted
            assert rows.num_cut == max(4 - length, 0)

    def test_long_questions_are_counted(self, tokenizer, caplog):
        questions = [Question("Who is born here?", CONTEXT), Question("Who?", CONTEXT)]
        question_rows(tokenizer, questions, SETTINGS._replace(max_question_length=2))
        assert "1 of 2 questions are longer than max_question_length=2 tokens, and lost 3" in (
            caplog.text
        )

    def test_blanks_and_deleted_characters_around_an_answer(self, tokenizer):
        """A label never reaches to the tokens beside the answer."""
        context = "Ann \u200b is \u200bborn here."
        for text, start in ((" \u200b is ", 3), ("is", 6), ("is \u200b", 6), ("\u200bborn", 9)):
            assert context[start : start + len(text)] == text
            question = Question("Who?", context, (GoldAnswer(text, start),))
            column = 5 if "is" in text else 6  # [CLS] who ? [SEP] ann is born
            assert QuestionRows(tokenizer, question, SETTINGS).labels().tolist() == [[column] * 2]

    def test_contexts_are_tokenized_once(self, tokenizer, monkeypatch):
        texts = []
        encode = WordPieceTokenizer.encode
        monkeypatch.setattr(
            WordPieceTokenizer,
            "encode",
            lambda self, text: texts.append(text) or encode(self, text),
        )
        questions = [Question("Who?", CONTEXT), Question("Is?", CONTEXT), Question("Who?", "Bob.")]
        rows = question_rows(tokenizer, questions, SETTINGS)
        assert texts.count(CONTEXT) == 1
        assert len(rows) == 3
        assert rows[1].token_ids == QuestionRows(tokenizer, questions[1], SETTINGS).token_ids


class TestPrediction:
    def test_nothing_is_asked(self, tokenizer):
        rows = QuestionRows(
            tokenizer, Question("\u200b", CONTEXT, history=(Turn("a", "b"),)), SETTINGS
        )
        found = rows.predict([np.zeros((2, 14))])
        assert (found.answer.text, found.n_best, found.no_answer_probability) == ("", [], 1.0)

    def rows(self, tokenizer, **changes):
        question = Question("Who", CONTEXT)
        return QuestionRows(tokenizer, question, SETTINGS._replace(**changes))

    def test_by_hand(self, tokenizer):
        # Row: [CLS] who [SEP] ann is born here . bob ##s there . [SEP]
        logits = np.full((2, 13), -50.0)
        logits[:, 0] = 1.0
        logits[0, [1, 3, 8]] = 9.0, 2.0, 3.0  # Questions' tokens are no answers.
        logits[1, [3, 4, 9]] = 1.0, 2.0, 0.5
        found = self.rows(tokenizer).predict([logits], n_best=3)
        # Ann is: 2 + 2; Bobs: 3 + 0.5; Ann: 2 + 1.
        assert [(span.text, span.score) for span in found.n_best] == [
            ("Ann is", 4.0),
            ("Bobs", 3.5),
            ("Ann", 3.0),
        ]
        assert (found.n_best[1].start, found.n_best[1].end) == (18, 22)
        total = sum(np.exp(score) for score in (4.0, 3.5, 3.0))
        for span in found.n_best:
            assert span.probability == pytest.approx(np.exp(span.score) / total)
        assert found.answer == found.n_best[0]
        assert found.no_answer_score == 2.0 - 4.0
        assert found.no_answer_probability == pytest.approx(np.exp(2) / (np.exp(2) + total))

    def test_ends_before_starts_and_long_answers_do_not_count(self, tokenizer):
        logits = np.full((2, 13), -50.0)
        logits[0, 6] = logits[1, 3] = logits[1, 9] = 5.0  # Back by 3 tokens; 4 tokens, of 3.
        logits[1, 8] = 1.0
        assert self.rows(tokenizer).predict([logits]).answer.text == "here. Bob"
        found = self.rows(tokenizer, max_answer_length=4).predict([logits])
        assert found.answer.text == "here. Bobs"

    @pytest.mark.parametrize(("threshold", "text"), [(None, "Ann"), (1.0, "Ann"), (0.9, "")])
    def test_threshold(self, tokenizer, threshold, text):
        logits = np.full((2, 13), -50.0)
        logits[:, 0] = 2.0
        logits[0, 3], logits[1, 3] = 2.0, 1.0
        found = self.rows(tokenizer, no_answer_threshold=threshold).predict([logits])
        assert found.no_answer_score == 1.0
        assert found.answer.text == text
        assert found.n_best[0].text == "Ann"
        if not text:
            assert found.answer[:4] == ("", 0, 0, 4.0)

    def test_a_start_counts_in_one_window_and_none_least(self, tokenizer):
        settings = {"sequence_length": 10, "max_question_length": 1}
        rows = self.rows(tokenizer, **settings)
        # Windows ann is born here . bob | here . bob ##s there .; "here" is the first's, bob the
        # second's (the overlap of 3 is parted after its second token).
        logits = [np.full((2, 10), -50.0) for _ in range(2)]
        logits[0][:, 0], logits[1][:, 0] = 3.0, 1.0
        logits[0][:, 8] = 9.0  # bob in the first window
        logits[1][:, 3] = 9.0  # here in the second
        logits[1][:, 5] = 2.0  # bob in the second
        found = rows.predict(logits, n_best=1)
        assert (found.answer.text, found.answer.score) == ("Bob", 4.0)
        assert found.no_answer_score == 2.0 - 4.0

    def test_padding_is_not_read(self, tokenizer):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(2, 13))
        padded = np.pad(logits, ((0, 0), (0, 3)), constant_values=99.0)
        rows = self.rows(tokenizer)
        assert rows.predict([padded]) == rows.predict([logits])
        assert sum(s.probability for s in rows.predict([logits], n_best=99).n_best) == (
            pytest.approx(1.0)
        )

    def test_nothing_to_answer_from(self, tokenizer):
        rows = QuestionRows(tokenizer, Question("Who", "\u200b"), SETTINGS)
        found = rows.predict([np.zeros((2, 4))])
        assert (found.answer.text, found.n_best, found.no_answer_probability) == ("", [], 1.0)


def run_squad(logits, tokenizer, question, settings, n_best):
    """Is `write_predictions` of google-research/bert's run_squad.py, in its loops and names."""
    query = tokenizer.encode(question.question).token_ids[1:-1][: settings.max_question_length]
    context = tokenizer.encode(question.context)
    all_doc_tokens = list(zip(context.token_ids, context.offsets, strict=True))[1:-1]
    room = settings.sequence_length - len(query) - 3
    doc_spans, start_offset = [], 0
    while True:
        length = min(len(all_doc_tokens) - start_offset, room)
        doc_spans.append((start_offset, length))
        if start_offset + length == len(all_doc_tokens):
            break
        start_offset += settings.window_stride
    prelim, null = [], np.inf
    for span_index, (doc_start, length) in enumerate(doc_spans):
        start_logits, end_logits = logits[span_index]
        null = min(null, start_logits[0] + end_logits[0])
        for start in range(length):
            position, best_score, best = doc_start + start, None, None
            for other, (other_start, other_length) in enumerate(doc_spans):
                end = other_start + other_length - 1
                if other_start <= position <= end:
                    score = min(position - other_start, end - position) + 0.01 * other_length
                    if best_score is None or score > best_score:
                        best_score, best = score, other
            if best != span_index:
                continue
            for end in range(start, min(length, start + settings.max_answer_length)):
                first = len(query) + 2
                score = start_logits[first + start] + end_logits[first + end]
                begin = all_doc_tokens[position][1][0]
                stop = all_doc_tokens[doc_start + end][1][1]
                prelim.append((score, question.context[begin:stop]))
    prelim.sort(key=lambda item: -item[0])
    return [text for _, text in prelim[:n_best]], null


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_run_squad_on_random_logits(tokenizer, seed):
    rng = np.random.default_rng(seed)
    # Four windows of 13 tokens, all full: run_squad.py takes the end of a context, where a window
    # may be short, for a lack of context.
    words = rng.choice(["Ann", "Bob", "is", "born", "here", "."], size=37)
    question = Question("Who is born ?", " ".join(words))
    settings = SETTINGS._replace(sequence_length=20, window_stride=8)
    rows = QuestionRows(tokenizer, question, settings)
    assert [len(row) for row in rows.token_ids] == [20] * 4
    logits = [rng.normal(size=(2, len(row))) for row in rows.token_ids]
    texts, null = run_squad(logits, tokenizer, question, settings, 20)
    found = rows.predict(logits, n_best=20)
    assert [span.text for span in found.n_best] == texts
    assert found.no_answer_score == pytest.approx(null - found.n_best[0].score)
