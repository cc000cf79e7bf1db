"""The questions and lexical answers of the benchmark, by hand; nothing is fetched or trained."""

import random

from keras_bert_scratch.data.spans import GoldAnswer, Question, Turn

DOCUMENT = ["Sales of cars rose by 5% in May.", "Ministers praised the rise of 9% in July."]
REWORDINGS = {
    "sales": ["turnover"],
    "cars": ["vehicles"],
    "rose": ["climbed"],
    "ministers": ["officials"],
    "praised": ["lauded"],
    "rise": ["growth"],
}
COMMON = {"of", "by", "in", "the"}


def test_spans_of_all_kinds(benchmark):
    text = "On 5 May 2004 Mayor Tony Blair spent £3.5bn, or 20.5%, on 1,200 ships."
    assert [span[:2] for span in benchmark.spans(text)] == [
        ("when", "5 May 2004"),
        ("who or what", "Mayor Tony Blair"),
        ("how much money", "£3.5bn"),
        ("what percentage", "20.5%"),
        ("how many", "1,200"),
    ]
    assert all(text[s.start :].startswith(s.text) for s in benchmark.spans(text))


def test_synonyms_are_those_of_the_most_frequent_sense(benchmark, tmp_path):
    files = {
        # "purchase" is a verb more often than a noun; "buy" has a rarer second sense.
        "cntlist.rev": "buy%2:40:00:: 1 9\npurchase%1:04:00:: 1 2\npurchase%2:40:00:: 1 3\n"
        "buy%2:40:02:: 2 1\n",
        "data.noun": "00000001 04 n 02 purchase 0 acquisition 0 000 | something bought\n",
        "index.noun": "purchase n 1 0 1 1 00000001\n",
        "data.verb": "00000002 40 v 02 buy 0 purchase 0 000 | pay for\n"
        "00000003 40 v 02 buy 0 bribe 0 000 | make illegal payments\n",
        "index.verb": "buy v 2 0 2 2 00000002 00000003\npurchase v 1 0 1 1 00000002\n",
        "verb.exc": "bought buy\n",
    }
    for name in ("noun", "verb", "adj", "adv"):
        for file in (f"data.{name}", f"index.{name}", f"{name}.exc"):
            (tmp_path / file).write_text(files.get(file, ""))
    (tmp_path / "cntlist.rev").write_text(files["cntlist.rev"])
    words = ["acquisition", "bought", "buying", "bribe", "purchase", "purchases", "ship"]
    # "buy" itself is none of the words that may be used.
    assert benchmark.synonyms(tmp_path, words) == {"bought": ["purchase"], "buying": ["purchase"]}


def test_other_forms_share_a_stem(benchmark):
    forms = benchmark.other_forms(["claims", "claimed", "claim", "ships", "bed", "beds"])
    assert forms == {
        "claims": ["claim", "claimed"],
        "claimed": ["claim", "claims"],
        "claim": ["claimed", "claims"],
    }


def test_answers_are_the_only_ones_of_their_kind_in_a_sentence_but_not_in_the_context(benchmark):
    first, following = benchmark.make_questions([DOCUMENT], REWORDINGS, COMMON, 0)
    answers = {"5%": 22, "May": 28, "9%": 63, "July": 69}
    assert {question.context for question in first + following} == {" ".join(DOCUMENT)}
    assert sorted(q.answers for q in first) == sorted(
        (GoldAnswer(*answer),) for answer in answers.items()
    )
    for question in first:
        is_date = question.answers[0].text in ("May", "July")
        assert question.question.startswith("when " if is_date else "what percentage ")
    pairs = {"5%": "May", "May": "5%", "9%": "July", "July": "9%"}
    assert {q.history[0].answer: q.answers[0].text for q in following} == pairs
    for question in following:
        is_date = question.answers[0].text in ("May", "July")
        assert question.question == ("And when?" if is_date else "And what percentage?")
        assert question.answers[0].start == answers[question.answers[0].text]
        assert question.history[0].question in {q.question for q in first}

    # A single date is not asked for, nor are two dates in one sentence.
    for ending in ("at home.", "in July, not June."):
        document = [DOCUMENT[0], DOCUMENT[1].replace("in July.", ending)]
        first, following = benchmark.make_questions([document], REWORDINGS, COMMON, 0)
        dates = ["May"] if "July" in ending else []
        assert {q.answers[0].text for q in first} == {"5%", "9%", *dates}
        assert len(following) == 2 * len(dates)


def test_hints_keep_one_word_and_reword_the_others(benchmark):
    for seed in range(9):
        hints = benchmark.hints(DOCUMENT[0], REWORDINGS, COMMON, random.Random(seed))
        kept = [word for word in hints if word in DOCUMENT[0].lower()]
        assert len(kept) == 1
        both = [("sales", "turnover"), ("cars", "vehicles"), ("rose", "climbed")]
        assert all(hint in pair for hint, pair in zip(hints, both, strict=True))


def test_sliding_window_by_hand(benchmark):
    question = Question("who sings?", "Ann sings and then Bob is out")

    def weight(word):
        return float(word in ("ann", "sings", "bob"))

    # "Ann" and "sings" stand within three words, as many as answer and question have; no other
    # window has more than two that count.
    assert benchmark.sliding_window(question, weight) == "Ann"


def test_best_span_by_hand(benchmark):
    context = f"In May they met {'then met ' * 10}until Tony Blair praised sales in July."
    follow_up = Question("And when?", context, (), (Turn("who climbs sale?", "none"),))

    def answer(question, told_kind):
        return benchmark.best_span(question, lambda stem: 1.0, told_kind=told_kind)

    # The stem of "sales" is in reach of the name and of July, not of May.
    assert answer(follow_up, told_kind=False) == "Tony Blair"
    assert answer(follow_up, told_kind=True) == "July"
    # Without history every date is as good.
    assert answer(follow_up._replace(history=()), told_kind=True) == "May"
