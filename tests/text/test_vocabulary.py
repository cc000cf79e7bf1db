"""The vocabulary, its files and its training."""

import json
import random
import re

import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer, models

from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary, train_vocabulary

TOKENS = [*SPECIAL_TOKENS, "film", "##s", "\u2028", "é"]


class TestVocabulary:
    def test_ids_are_positions(self):
        vocabulary = Vocabulary(TOKENS)
        assert len(vocabulary) == 9
        assert vocabulary.token_to_id("##s") == 6
        assert vocabulary.id_to_token(5) == "film"
        assert "film" in vocabulary
        assert "s" not in vocabulary
        ids = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id, vocabulary.sep_id)
        assert (*ids, vocabulary.mask_id) == (0, 1, 2, 3, 4)

    def test_equality(self):
        assert Vocabulary(TOKENS) == Vocabulary(TOKENS)
        assert hash(Vocabulary(TOKENS)) == hash(Vocabulary(TOKENS))
        assert Vocabulary(TOKENS) != Vocabulary(TOKENS[::-1])

    @pytest.mark.parametrize(
        ("tokens", "message"),
        [
            ([], "The vocabulary is empty: it needs one token a line"),
            ([*TOKENS, "film"], "1 duplicate entries, 'film' in lines 6 and 10: remove all but"),
            ([*TOKENS, *TOKENS], "9 duplicate entries, .* and 4 more: remove all but one"),
            (TOKENS[:3], r"The vocabulary of 3 tokens lacks \[SEP\]: BERT needs these"),
            (["a"], r"lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\]: BERT needs these special tok"),
        ],
    )
    def test_refusals(self, tokens, message):
        with pytest.raises(ValueError, match=message):
            Vocabulary(tokens)

    def test_what_it_lacks(self):
        vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        assert vocabulary.special_tokens == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        with pytest.raises(ValueError, match=r"of 4 tokens lacks \[MASK\], which masked language"):
            _ = vocabulary.mask_id
        with pytest.raises(KeyError, match="The vocabulary of 4 tokens lacks 'film'"):
            vocabulary.token_to_id("film")
        for token_id in (-1, 4):
            with pytest.raises(IndexError, match=f"go from 0 to 3, received {token_id}"):
                vocabulary.id_to_token(token_id)


class TestFiles:
    def test_vocab_txt_round_trip(self, tmp_path):
        Vocabulary(TOKENS).to_file(tmp_path / "vocab.txt")
        assert (tmp_path / "vocab.txt").read_bytes() == "".join(f"{t}\n" for t in TOKENS).encode()
        assert Vocabulary.from_file(tmp_path / "vocab.txt").tokens[:7] == TOKENS[:7]

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_lines_are_read_as_the_reference_reads_them(self, tmp_path, newline, end):
        path = tmp_path / "vocab.txt"
        lines = [*SPECIAL_TOKENS, "film", "##s ", "a\u2028b", "\u0085x", "é"]
        path.write_bytes((newline.join(lines) + end).encode())
        theirs = models.WordPiece.read_file(str(path))
        assert Vocabulary.from_file(path).tokens == sorted(theirs, key=theirs.get)

    def tokenizer_json(self, tmp_path, **model):
        content = json.loads(
            Tokenizer(models.WordPiece({t: i for i, t in enumerate(TOKENS)})).to_str()
        )
        content["model"].update(model)
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return tmp_path / "tokenizer.json"

    def test_tokenizer_json(self, tmp_path):
        assert Vocabulary.from_file(self.tokenizer_json(tmp_path)).tokens == TOKENS

    def test_tokenizer_json_with_added_tokens(self, tmp_path):
        tokenizer = Tokenizer(
            models.WordPiece({t: i for i, t in enumerate(TOKENS)}, unk_token="[UNK]")
        )
        tokenizer.add_tokens(["[new]", "film"])
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        assert Vocabulary.from_file(tmp_path / "tokenizer.json").tokens == [*TOKENS, "[new]"]

    def test_tokenizer_json_of_early_versions_names_no_type(self, tmp_path):
        path = self.tokenizer_json(tmp_path)
        content = json.loads(path.read_text())
        del content["model"]["type"]
        path.write_text(json.dumps(content))
        assert Vocabulary.from_file(path).tokens == TOKENS

    @pytest.mark.parametrize("kind", ["BPE", "Unigram", "WordLevel"])
    def test_another_kind_of_model(self, tmp_path, kind):
        model = {
            "BPE": models.BPE({"a": 0}, []),
            "Unigram": models.Unigram([("a", 0.0)], 0),
            "WordLevel": models.WordLevel({"a": 0}, unk_token="a"),
        }[kind]
        Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
        message = rf"tokenizer\.json: .*model type '{kind}', only 'WordPiece' is BERT's: use a"
        with pytest.raises(ValueError, match=message):
            Vocabulary.from_file(tmp_path / "tokenizer.json")

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ({"continuing_subword_prefix": "@@"}, "are marked with '@@', BERT marks with '##'"),
            ({"unk_token": "<unk>"}, r"the unknown token is '<unk>', BERT's is '\[UNK\]'"),
            ({"vocab": {"[PAD]": 0, "a": 2}}, "the ids of its 2 tokens are not 0 to 1"),
        ],
    )
    def test_another_wordpiece(self, tmp_path, model, message):
        path = self.tokenizer_json(tmp_path, **model)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{message}"):
            Vocabulary.from_file(path)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("vocab.txt", b"", "The vocabulary is empty"),
            ("vocab.txt", b"[PAD]\n\xff\n", r"is not UTF-8 \(invalid start byte at byte 6\)"),
            ("vocab.txt", b"[PAD]\n[PAD]\n", r"'\[PAD\]' in lines 1 and 2"),
            ("vocab.txt", b"[PAD]\n[UNK]\nfilm\n", r"lacks \[CLS\], \[SEP\]"),
            (
                "vocab.txt",
                b"[PAD]\n" * 2_000_000,
                "has 12000000 bytes, and at most 10000000 are read",
            ),
            ("tokenizer.json", b"{", r"is not JSON \(.*\): fetch it again"),
            ("tokenizer.json", b"[]", "holds list, not an object"),
            # Found by benchmarks/fuzzing.py.
            ("tokenizer.json", b"{" * 100_000, "is not JSON"),
            ("tokenizer.json", b'{"model": []}', "it has no model"),
            ("tokenizer.json", b'{"model": {"type": ["x"]}}', r"of the model type \['x'\]"),
            *(
                (
                    "tokenizer.json",
                    b'{"model": {"type": "WordPiece"%s}, "added_tokens": %s}' % contents,
                    "its vocab and added_tokens do not give every token an id",
                )
                for contents in (
                    (b"", b"null"),
                    (b', "vocab": 3', b"null"),
                    (b', "vocab": {"a": "0", "b": 1}', b"null"),
                    (b', "vocab": {"a": null, "b": 1}', b"null"),
                    (b', "vocab": {"a": 0}', b'[{"id": 1}]'),
                    (b', "vocab": {"a": 0}', b'[{"id": 1, "content": []}]'),
                    (b', "vocab": {"a": 0}', b'[["b"]]'),
                )
            ),
            (
                "tokenizer.json",
                b'{"model": {"type": "WordPiece", "vocab": {"\\ud800": 0}}}',
                "has a token that is not a text .*surrogates not allowed",
            ),
            (
                "tokenizer.json",
                b'{"model": {"type": "WordPiece", "vocab": {}}, "added_tokens":'
                b' [{"content": 3, "id": 0}]}',
                "has a token that is not a text .*int found",
            ),
        ],
    )
    def test_damaged_files(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            Vocabulary.from_file(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


# Pairs of letters with different counts, so that there are no ties.
WORDS = {"abab": 40, "abc": 23, "cab": 11, "dd": 7, "é": 5, "中": 3, "ef": 1}


class TestTraining:
    @pytest.fixture
    def corpus(self, tmp_path):
        """A file with the words of WORDS, shuffled into lines."""
        words = [word for word, count in WORDS.items() for _ in range(count)]
        random.Random(0).shuffle(words)
        path = tmp_path / "corpus.txt"
        lines = (" ".join(words[i : i + 7]) for i in range(0, len(words), 7))
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def test_by_hand(self, corpus):
        # a and b occur 114 times, c 34, d 14, e 6 with the accent gone, 中 3; f occurs once.
        # CJK characters are words of their own, so they have no continuation.
        characters = [*"abcde中", *(f"##{c}" for c in "abcde")]
        # a ##b occurs 63 times, then ##a ##b 51 times, in abab and cab.
        assert train_vocabulary([corpus], 18).tokens == [
            *SPECIAL_TOKENS,
            *characters,
            "ab",
            "##ab",
        ]

    def test_equals_the_trainer_of_the_reference(self, corpus, tmp_path):
        theirs = BertWordPieceTokenizer()
        theirs.train([str(corpus)], vocab_size=24, min_frequency=2, show_progress=False)
        ours = train_vocabulary([corpus], 24)

        # The reference numbers characters in a random order, and keeps all rare ones.
        def merged(tokens):
            return [t for t in tokens if len(t.removeprefix("##")) > 1 and t[0] != "["]

        expected = sorted(theirs.get_vocab(), key=theirs.get_vocab().get)
        assert merged(ours.tokens)
        assert merged(ours.tokens) == merged(expected)[: len(merged(ours.tokens))]

    def test_same_files_same_vocabulary(self, tmp_path):
        rng = random.Random(0)
        # Short words of few letters have many equal counts.
        words = ["".join(rng.choices("abcdéж", k=rng.randrange(1, 6))) for _ in range(3000)]
        (tmp_path / "corpus.txt").write_text(" ".join(words), encoding="utf-8")
        found = [train_vocabulary([tmp_path / "corpus.txt"], 200) for _ in range(5)]
        assert len(found[0]) == 200
        assert all(vocabulary == found[0] for vocabulary in found)

    def test_files_are_one_corpus(self, corpus, tmp_path):
        lines = corpus.read_text("utf-8").split("\n")
        parts = [tmp_path / "1.txt", tmp_path / "2.txt"]
        parts[0].write_text("\n".join(lines[:4]), "utf-8")
        parts[1].write_text("\n".join(lines[4:]), "utf-8")
        assert train_vocabulary(parts, 20) == train_vocabulary([corpus], 20)

    @pytest.mark.parametrize(
        ("min_frequency", "present", "absent"),
        [(1, {"e", "##f", "ef"}, set()), (2, {"e", "中"}, {"##f", "ef"}), (7, {"d"}, {"e", "中"})],
    )
    def test_min_frequency(self, corpus, min_frequency, present, absent):
        tokens = set(train_vocabulary([corpus], 100, min_frequency=min_frequency).tokens)
        assert present <= tokens
        assert not absent & tokens

    @pytest.mark.parametrize(
        ("switches", "expected"),
        [
            ({}, {"e", "a", "中"}),
            ({"lowercase": False}, {"é", "É", "A", "中"}),
            ({"strip_accents": False}, {"é", "a", "中"}),
            ({"tokenize_chinese_chars": False}, {"e", "a", "中", "##中", "中中"}),
        ],
    )
    def test_switches(self, tmp_path, switches, expected):
        (tmp_path / "corpus.txt").write_text("é É A 中中 " * 9, "utf-8")
        tokens = set(train_vocabulary([tmp_path / "corpus.txt"], 50, **switches).tokens)
        continuations = {f"##{token}" for token in expected if len(token) == 1} - {"##中"}
        assert tokens - continuations == {*SPECIAL_TOKENS, *expected}

    def test_rare_characters_are_left_out_where_room_is_short(self, corpus):
        # (9 - 5) // 2: two characters, and their continuations.
        tokens = train_vocabulary([corpus], 9).tokens
        assert tokens == [*SPECIAL_TOKENS, "a", "b", "##a", "##b"]

    def test_special_tokens_in_the_text_are_words(self, tmp_path):
        (tmp_path / "corpus.txt").write_text("[MASK] " * 9, "utf-8")
        tokens = train_vocabulary([tmp_path / "corpus.txt"], 50).tokens
        assert "mask" in tokens
        assert len(tokens) == len(set(tokens))

    def test_progress(self, corpus):
        calls = []
        train_vocabulary([corpus], 20, progress=lambda *call: calls.append(call))
        assert [stage for stage, share in calls if share == 1.0] == ["characters", "words"]

    def test_lines_longer_than_the_buffer(self, tmp_path, monkeypatch):
        monkeypatch.setattr("keras_bert_scratch.text.vocabulary._LINE_LIMIT", 10)
        (tmp_path / "corpus.txt").write_text("aa bb " * 1000, "utf-8")
        tokens = train_vocabulary([tmp_path / "corpus.txt"], 50).tokens
        assert {"aa", "bb"} <= set(tokens)

    @pytest.mark.parametrize(
        ("content", "size", "message"),
        [
            (None, 20, "There are no files to train a vocabulary from: give at least one."),
            (b"a a", 6, "size must be 7 or more, received 6"),
            (b"", 20, "hold no"),
            (b" \n\x00\n", 20, "hold no"),
            (b"a b c", 20, "hold no"),
            (b"a a\n\xff\n", 20, r"corpus.txt is not UTF-8 \(invalid start byte near line 1\)"),
        ],
    )
    def test_refusals(self, tmp_path, content, size, message):
        files = []
        if content is not None:
            (tmp_path / "corpus.txt").write_bytes(content)
            files = [tmp_path / "corpus.txt"]
        with pytest.raises(ValueError, match=message):
            train_vocabulary(files, size)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="none.txt"):
            train_vocabulary([tmp_path / "none.txt"], 20)


def test_repr():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"token{n}" for n in range(2000))]
    assert repr(Vocabulary(tokens)) == (
        "<Vocabulary of 2,004 tokens: [PAD] [UNK] [CLS] [SEP] token0 token1 token2 token3 token4 …>"
    )
