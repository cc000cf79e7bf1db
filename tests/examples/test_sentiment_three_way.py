from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example(load_script):
    with pytest.MonkeyPatch.context() as patch:
        # As Python does for a script, so that it finds the one beside it.
        patch.syspath_prepend(EXAMPLES)
        return load_script("examples/sentiment_three_way.py")


@pytest.fixture(scope="module")
def checkpoint(tiny_classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three_way") / "checkpoint"
    tiny_classifier(["a", "b"], {"max_positions": 64}).save_pretrained(folder)
    return folder


def test_goes_the_whole_way(example, checkpoint, reviews, capsys):
    # Twelve reviews without an adjective are neutral, 48 are not.
    texts = reviews[0] + [
        f"{article} {adverb} {noun}"
        for article in ("a", "the")
        for adverb in ("", "very", "really")
        for noun in ("film", "movie")
    ]
    ratings = [3.0 if label == "positive" else -2.0 for label in reviews[1]] + [0.5] * 12
    report = example.main(checkpoint, texts * 2, ratings * 2, "focal", epochs=1)
    printed = capsys.readouterr().out
    assert "120 snippets: 48 negative, 24 neutral, 48 positive" in printed
    assert printed.count(report.to_text()) >= 1
    assert "As trained (balance: focal)" in printed
    assert "Score against rating: correlation" in printed
    assert [row["support"] for row in report.per_class.values()] == [10, 5, 9]
    assert report.confusion_matrix.shape == (3, 3)
