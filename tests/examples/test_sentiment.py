import pytest


@pytest.fixture(scope="module")
def sentiment(load_script):
    return load_script("examples/sentiment.py")


@pytest.fixture
def checkpoint(tiny_classifier, tmp_path):
    model = tiny_classifier(["a", "b"], {"max_positions": 64})
    model.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.slow(minutes=1)
def test_goes_the_whole_way(sentiment, checkpoint, reviews, tmp_path, capsys):
    texts, labels = reviews
    output = tmp_path / "output"
    accuracy = sentiment.main(checkpoint, texts, labels, output, epochs=1)
    printed = capsys.readouterr().out
    assert f"Accuracy on held-out snippets: {accuracy:.2%}" in printed
    # Three exports, each asked about the held-out texts.
    assert printed.count("of the labels are the model's") == 3
    assert {path.name for path in output.iterdir()} == {
        "report",
        "checkpoint",
        "saved_model",
        "model.tflite",
        "model_int8.tflite",
    }


def test_refuses_to_overwrite_before_any_work(sentiment, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not empty: remove it"):
        sentiment.main(tmp_path / "none", [], [], tmp_path)


def test_the_split_is_stratified_and_always_alike(sentiment):
    labels = ["negative"] * 30 + ["positive"] * 20
    texts = [f"text {i}" for i in range(50)]
    train, held_out = sentiment.split(texts, labels)
    assert (train, held_out) == sentiment.split(texts, labels)
    assert [held_out[1].count(label) for label in sentiment.LABELS] == [6, 4]
    assert sorted(train[0] + held_out[0]) == sorted(texts)
