"""Documents and sentences."""

import json
import logging
import textwrap
from pathlib import Path

import pytest

from keras_bert_scratch.data.documents import detect_lines, read_documents, split_sentences

# Jane Austen, Pride and Prejudice.
PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be on "
    "his first entering a neighbourhood, this truth is so well fixed in the minds of the "
    "surrounding families, that he is considered as the rightful property of some one or other of "
    "their daughters. “My dear Mr. Bennet,” said his lady to him one day, “have you heard that "
    "Netherfield Park is let at last?”"
)
VERSE = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;"""


@pytest.mark.parametrize(
    ("document", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("A line\nand its next. And\n\nmore. ", ["A line", "and its next.", "And", "more."]),
        # Without capitals every full stop ends a sentence, but for those of abbreviations.
        ("he came . mr. bennet left . so ?", ["he came .", "mr. bennet left .", "so ?"]),
        ("यह एक है। यह दो है॥", ["यह एक है।", "यह दो है॥"]),
        ("کیا؟! ہاں۔ «نہیں۔» اور", ["کیا؟!", "ہاں۔", "«نہیں۔»", "اور"]),
        ("ሰላም። ደህና ነህ፧", ["ሰላም።", "ደህና ነህ፧"]),
        ("Բարև։ Ինչպես ես։", ["Բարև։", "Ինչպես ես։"]),
        ("បាទ។ ទេ៕", ["បាទ។", "ទេ៕"]),
        ("是吗？！iPhone。", ["是吗？！", "iPhone。"]),
        ("Really‽ Yes!! No?! Ok…", ["Really‽", "Yes!!", "No?!", "Ok…"]),
        ("He left (at last). She stayed.", ["He left (at last).", "She stayed."]),
        ('"Go!" he said. "Why?" She went.', ['"Go!" he said.', '"Why?"', "She went."]),
        ("Mr. Bennet and Dr. A. Smith met.", ["Mr. Bennet and Dr. A. Smith met."]),
        ("Tea, milk, etc. were sold. So?", ["Tea, milk, etc. were sold.", "So?"]),
        ("It cost 3.50 pounds...  Too much.", ["It cost 3.50 pounds...", "Too much."]),
        ("他走了。“好！”她说。", ["他走了。", "“好！”", "她说。"]),
        ("no end", ["no end"]),
        ("  \n ", []),
    ],
)
def test_sentences(document: str, sentences: list[str]) -> None:
    assert split_sentences(document) == sentences


def test_blank_lines_separate_the_documents_of_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeff\n\n A b.\r\nC.\n \t\nÄ.\n\n\n".encode())
    assert list(read_documents(file)) == ["A b.\nC.", "Ä."]


@pytest.mark.parametrize(
    "text",
    [
        "the cat sat\nit was glad\nit went on\n\na dog came\nit barked.\n",
        "the cat sat on the mat .\nit was happy .\nit went .\n\na dog came by .\nit barked .\n",
        "Stocks fall in Asia\nElection: what now\nThe weather\n\nBank raises rates\nMore to come\n",
        "أين هو؟\nذهب إلى السوق.\nعاد\n\nنعم؟\nلا.\n",
        "他走了\n她不知道他去了哪里\n没有人知道\n\n一只狗来了\n它叫了\n",
        "他走了。\n“你去哪里，”她问。\n没有人知道。\n\n一只狗来了！\n它叫了。\n",
    ],
    ids=["no capitals", "tokenized", "headlines", "Arabic", "Chinese, bare", "Chinese"],
)
def test_one_sentence_a_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(text, encoding="utf-8")
    assert [split_sentences(document) for document in read_documents(file)] == [
        document.strip().split("\n") for document in text.split("\n\n")
    ]


@pytest.mark.parametrize("width", [40, 60, 72, 100])
@pytest.mark.parametrize("is_lowercase", [False, True])
def test_wrapped_prose_is_joined(tmp_path: Path, width: int, is_lowercase: bool) -> None:
    prose = PROSE.lower() if is_lowercase else PROSE
    wrapped = "\n\n".join([textwrap.fill(prose, width, initial_indent="  ")] * 2)
    file = tmp_path / "a.txt"
    file.write_text(wrapped, encoding="utf-8")
    documents = list(read_documents(file))
    assert documents == [prose, prose]
    assert len(split_sentences(prose)) == 3
    rows = tmp_path / "a.jsonl"
    rows.write_text(json.dumps({"text": wrapped}))
    (row,) = read_documents(rows)
    assert row.split() == wrapped.split()
    assert [s.strip() for s in split_sentences(row)] == 2 * split_sentences(prose)


def test_wrapped_chinese_is_joined() -> None:
    prose = "他走了。“好！”她说，然后就离开了这个地方。没有人知道她去了哪里，也没有人再提起她。"
    assert detect_lines(["\n".join(textwrap.wrap(prose, 12))]) == "wrapped"


def test_lines_that_are_not_full_are_not_wrapped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert detect_lines([VERSE], "sonnet.txt") == "sentences"
    # "Shall … day?" alone of the five before the last ends as a sentence does.
    assert "sonnet.txt: line breaks are taken for the ends of sentences" in caplog.text
    assert "20 % end a sentence" in caplog.text
    assert caplog.records[0].levelno == logging.INFO
    assert detect_lines(["One line.", "And one."]) == "sentences"


def test_what_is_close_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    # All lines are full, none is continued by a small letter.
    detect_lines(["A Street\nIn London.", "A Man And\nHis Horse."], "a.txt")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "100 % of the lines are full, 0 % are continued by a small letter" in caplog.text


def test_what_lines_are_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("One\ntwo.\n\nThree.")
    assert list(read_documents(file, lines="wrapped")) == ["One two.", "Three."]
    assert list(read_documents(file, lines="sentences")) == ["One\ntwo.", "Three."]
    with pytest.raises(ValueError, match="lines must be one of auto, sentences, wrapped; received"):
        list(read_documents(file, lines="words"))


def test_rows_are_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"body": "A b.\\n\\nC."}\n{"body": "D."}\n')
    assert list(read_documents(file, "body")) == ["A b.\n\nC.", "D."]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file .*gone.txt: check the path"):
        list(read_documents(tmp_path / "gone.txt"))
    (tmp_path / "latin.txt").write_bytes(b"ok\n" * 9 + b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"latin.txt is not UTF-8 \(.* line 0\): convert it"):
        list(read_documents(tmp_path / "latin.txt"))
