"""`keras-bert-scratch vocabulary`: train, then inspect."""

import json

import pytest
from tokenizers import Tokenizer

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("The films, the Film!\n" * 30, encoding="utf-8")
    return path


def test_train_writes_vocab_txt(corpus, tmp_path, run):
    output = tmp_path / "vocab.txt"
    printed = run("vocabulary", "train", corpus, "--output", output, "--size", 60)
    vocabulary = Vocabulary.from_file(output)
    assert {"the", "film", "films"} <= set(vocabulary.tokens)
    assert vocabulary.tokens[:5] == list(SPECIAL_TOKENS)
    assert printed == f"{output}: {len(vocabulary)} tokens\n"


def test_train_writes_tokenizer_json(corpus, tmp_path, run):
    output = tmp_path / "tokenizer.json"
    run("vocabulary", "train", corpus, "--output", output, "--cased", "--min-frequency", 40)
    reference = Tokenizer.from_file(str(output))
    # "film" in both words, but "Film" only 30 times.
    assert reference.encode("The films").tokens[:2] == ["[CLS]", "[UNK]"]
    assert reference.token_to_id("Film") is None


def test_progress_goes_to_a_terminal_only(corpus, tmp_path, capsys):
    assert main(["vocabulary", "train", str(corpus), "--output", f"{tmp_path}/vocab.txt"]) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def vocabulary_file(tmp_path):
    path = tmp_path / "small.txt"
    Vocabulary([*SPECIAL_TOKENS, "film", "a", "##s", "!"]).to_file(path)
    return path


def test_inspect_as_json(vocabulary_file, tmp_path, run):
    (tmp_path / "texts.txt").write_bytes(b"Films! a zzz\nfilm\n")
    command = ["vocabulary", "inspect", vocabulary_file, tmp_path / "texts.txt"]
    # Words: films, !, a, zzz and film; pieces: 2, 1, 1, [UNK] and 1.
    assert json.loads(run(*command, "--longest", 2, "--json")) == {
        "num_texts": 2,
        "num_words": 5,
        "num_pieces": 6,
        "coverage": 3 / 5,
        "unknown_share": 1 / 6,
        "pieces_per_word": 6 / 5,
        "longest_tokens": ["film", "!"],
    }


def test_inspect_reads_standard_input_and_cased(vocabulary_file, run, stdin):
    stdin(b"film FILM\n")
    lines = run("vocabulary", "inspect", vocabulary_file, "--cased").splitlines()
    assert "words that are one   50.00%" in lines
    assert "pieces that are UNK  50.00%" in lines
    assert "pieces a word        1.000" in lines


def test_inspect_reads_a_folder(tiny_classifier, corpus, tmp_path, run):
    tiny_classifier().tokenizer.save(tmp_path / "checkpoint")
    found = json.loads(run("vocabulary", "inspect", tmp_path / "checkpoint", corpus, "--json"))
    # The ##s stands in the vocabulary: "films" is two pieces.
    assert found["pieces_per_word"] == pytest.approx(7 / 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.txt", "--output", "v.txt"], "none.txt"),
        (["train", "empty.txt", "--output", "v.txt"], "The 1 files hold no character 2 times"),
        (["train", "empty.txt", "--output", "v.txt", "--size", "5"], "size must be 7 or more"),
        (["train", "latin.txt", "--output", "v.txt"], "latin.txt is not UTF-8"),
        (["inspect", "small.txt", "empty.txt"], "The 0 texts have no words"),
        (["inspect", "empty.txt", "small.txt"], "empty.txt: The vocabulary is empty"),
        (["inspect", ".", "small.txt"], "has neither tokenizer.json nor vocab.txt"),
    ],
)
def test_refusals(arguments, message, vocabulary_file, tmp_path, run, monkeypatch):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes("é é".encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    assert message in run("vocabulary", *arguments, status=1)
    assert not (tmp_path / "v.txt").exists()


def test_needs_neither_tensorflow_nor_keras(vocabulary_file, corpus, without_tensorflow):
    code = (
        "from keras_bert_scratch.cli.main import main\n"
        f"assert main(['vocabulary', 'inspect', {str(vocabulary_file)!r}, {str(corpus)!r}]) == 0"
    )
    without_tensorflow(code)
