"""Documents and sentences."""

from pathlib import Path

import pytest

from keras_bert_scratch.data.documents import read_documents, split_sentences


@pytest.mark.parametrize(
    ("document", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Wrapped\nlines. And\nmore.", ["Wrapped\nlines.", "And\nmore."]),
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
