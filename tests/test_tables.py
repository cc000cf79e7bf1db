from keras_bert_scratch.tables import format_table, html_table, shortened


def test_the_first_column_stands_left_the_others_right():
    assert format_table(["", "n"], [["a", "10"], ["bcd", "5"]]) == "      n\na    10\nbcd   5"


def test_wide_and_combining_characters_keep_the_columns():
    # 电影 takes four columns of a terminal; "e" and its accent take one.
    lines = format_table(["", "n"], [["电影", "1"], ["e\u0301", "2"]]).splitlines()
    assert lines == ["      n", "电影  1", "e\u0301     2"]


def test_shortened():
    assert shortened("a long text", 7) == "a long…"
    assert shortened("a\n\tlong  text ", 11) == "a long text"


def test_html_is_escaped():
    assert html_table(["", "<b>"], [["a & b", '"1"']], "a<b").partition(">")[2] == (
        "<caption>a&lt;b</caption><tr><th></th><th>&lt;b&gt;</th></tr>"
        "<tr><td>a &amp; b</td><td>&quot;1&quot;</td></tr></table>"
    )
