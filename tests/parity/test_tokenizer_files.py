"""Tokenizer files as transformers writes them: the same ids and offsets, or refused by name."""

import tempfile
from pathlib import Path

import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_bert_scratch import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS

WORDS = "a b ##b ab film Film < user > [ ] e é É 你 !".split()
CONTENTS = ["<user>", "Film", "film", "ab", "bb", "[ENT]", "É", "你好", "a b", "SEP", "##b", "new"]
PARTS = [*CONTENTS, *SPECIAL_TOKENS, "<USER>", "e\u0301", "好", " ", "\n", "\u3000", "\0", "x", "B"]

added_tokens = st.builds(
    transformers.AddedToken,
    st.sampled_from(CONTENTS),
    single_word=st.sampled_from([False] * 9 + [True]),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    normalized=st.booleans(),
    special=st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    switches=st.fixed_dictionaries(
        {
            "do_lower_case": st.booleans(),
            "strip_accents": st.sampled_from([True, False, None]),
            "tokenize_chinese_chars": st.booleans(),
            "model_max_length": st.sampled_from([16, 512, int(1e30)]),
        }
    ),
    added=st.lists(added_tokens, max_size=4, unique_by=lambda token: token.content),
    extra=st.lists(st.sampled_from(["[E1]", "[E2]"]), max_size=2, unique=True),
    texts=st.lists(
        st.lists(st.sampled_from(PARTS), max_size=8).map("".join), min_size=5, max_size=5
    ),
)
def test_the_same_ids_and_offsets_or_refused(switches, added, extra, texts) -> None:
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *WORDS])}
    theirs = transformers.BertTokenizer(vocab=vocabulary, **switches)
    theirs.add_tokens(added)
    theirs.add_special_tokens({"additional_special_tokens": extra})
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        refused = None
        try:
            ours = WordPieceTokenizer.from_directory(folder, allow_special_tokens=True)
        except ValueError as error:
            refused = str(error)
        if refused:
            assert "single_word" in refused or "are found in the same texts" in refused
            return
        ours.save(Path(folder) / "again")
        again = transformers.AutoTokenizer.from_pretrained(Path(folder) / "again")
    # transformers takes an empty second text for none.
    pairs = [*((text, None) for text in texts), (texts[0], texts[1] or "a")]
    for text, pair in pairs:
        found = ours.encode(text, pair)
        for reference in (theirs, again):
            expected = reference(text, pair, return_offsets_mapping=True)
            assert found.token_ids == expected["input_ids"]
            assert found.segment_ids == expected["token_type_ids"]
            assert found.offsets == expected["offset_mapping"]
