import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from keras_bert_scratch.evaluation.duplicates import find_duplicates

FILM = "a film to remember, if only for the wrong reasons"


def positions(found):
    return [(pair.position, pair.other_position) for pair in found.pairs]


def test_leaks_exact_and_near():
    held_out = ["nothing like it", f"{FILM.upper()} ", f"{FILM}!!", "dull"]
    found = find_duplicates(held_out, ["other words entirely", FILM])
    assert positions(found) == [(1, 1), (2, 1)]
    assert found.pairs[0].similarity == 1.0
    assert 0.9 <= found.pairs[1].similarity < 1
    assert (found.num_texts, found.num_exact) == (4, 1)


def test_within_a_set_both_of_a_pair_are_found_and_no_text_itself():
    assert positions(find_duplicates([FILM, "dull", FILM])) == [(0, 2), (2, 0)]
    assert positions(find_duplicates(["one", "two"])) == []
    assert find_duplicates(["alone"]).pairs == []


def test_similarity_is_the_cosine():
    first, second = FILM, FILM.replace("wrong", "right")
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform([first, second])
    cosine = float((vectors[0] @ vectors[1].T).toarray()[0, 0])
    (pair, _) = find_duplicates([first, second], threshold=0.5).pairs
    assert pair.similarity == pytest.approx(cosine, abs=1e-5)
    assert find_duplicates([first, second], threshold=cosine + 0.01).pairs == []


def test_the_same_words_in_another_order_are_not_the_same_text():
    (pair, _) = find_duplicates(["dogs bite men", "men bite dogs"]).pairs
    assert 0.99 < pair.similarity < 1


def test_pairs_are_joined():
    found = find_duplicates((["who?"], ["me"]), (["who?", "who?"], ["you there", "me"]))
    assert positions(found) == [(0, 1)]


def test_text_and_json():
    found = find_duplicates([FILM, "dull"], [FILM])
    summary, header, row = found.to_text().splitlines()
    assert summary == "1 exact and 0 near duplicates (similarity 0.9 or more) of 2 texts"
    assert header.split() == ["text", "similarity", "other", "text"]
    assert row == f"{FILM}        1.00  {FILM}"
    assert found.to_dict()["pairs"][0]["other_text"] == FILM
    assert found.to_dict()["num_exact"] == 1


def test_most_of_planted_copies_are_found():
    # Twenty words drawn from two hundred: copies lose one of them, others share some by chance.
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefghij"), 6)) for _ in range(200)]
    texts = [list(generator.choice(words, 20)) for _ in range(60)]
    copies = [" ".join(text[:10] + text[11:]) for text in texts[:20]]
    found = find_duplicates(copies, [" ".join(text) for text in texts])
    assert sorted(positions(found)) == [(i, i) for i in range(20)]
    others = find_duplicates(copies, [" ".join(text) for text in texts[20:]])
    assert others.pairs == []


def test_threshold():
    with pytest.raises(ValueError, match="threshold must be above 0 and at most 1, received 0"):
        find_duplicates(["a", "b"], threshold=0)
