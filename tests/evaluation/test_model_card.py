import types

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from keras_bert_scratch.evaluation.baseline import compare_with_baseline
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.model_card import _TASKS, model_card


def front_matter(card):
    start, metadata, text = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(metadata), text


@pytest.fixture
def report():
    scores = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    return evaluate_classification([0, 1, 1, 1], scores, ["negative", "positive"])


def test_metadata_for_the_hub(tiny_classifier, report):
    card = model_card(
        tiny_classifier(),
        name="films",
        report=report,
        data="held_out.csv",
        license="mit",
        language="en",
        base_model="me/minilm",
    )
    metadata, _ = front_matter(card)
    (entry,) = metadata.pop("model-index")
    assert metadata == {
        "base_model": "me/minilm",
        "language": "en",
        "library_name": "transformers",
        "license": "mit",
        "metrics": ["accuracy", "f1"],
        "pipeline_tag": "text-classification",
        "tags": ["keras", "keras_bert_scratch", "bert"],
    }
    assert entry["name"] == "films"
    (result,) = entry["results"]
    assert result["task"] == {"type": "text-classification"}
    assert result["dataset"]["name"] == "held_out.csv"
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("accuracy", 0.75),
        ("f1", pytest.approx(report.macro_f1, abs=1e-6)),
    ]
    # The hub's own client reads it back.
    data = ModelCard(card).data
    assert data.eval_results[0].metric_value == 0.75


def test_what_is_not_known_is_left_out(tiny_classifier):
    metadata, text = front_matter(model_card(tiny_classifier()))
    assert set(metadata) == {"library_name", "pipeline_tag", "tags"}
    assert "## Figures" not in text
    assert "## Training" not in text


def test_the_text(tiny_classifier, report):
    texts, ids = ["good", "bad", "good film", "bad film"], [0, 1, 0, 1]
    baseline = compare_with_baseline((texts, ids), (texts, ids), np.eye(2)[ids], ["a", "b"])
    model = tiny_classifier(["negative", "posi|tive <b>"])
    card = model_card(
        model,
        name="films",
        report=report,
        baseline=baseline,
        training={"learning_rate": 3e-5, "epochs": 3},
    )
    _, text = front_matter(card)
    assert "# films\n" in text
    assert f"1 layer of 2 heads, 16 wide, {model.count_params():,} weights; 24 tokens" in text
    assert "It reads 32 tokens at once." in text
    assert "Its labels: negative, posi\\|tive \\<b\\>." in text
    assert "| accuracy | 0.7500 |" in text
    assert "| TF-IDF + logistic regression: accuracy | 1.0000 |" in text
    assert "| learning\\_rate | 3e-05 |" in text
    # All rows of a table have as many cells as its header.
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        cells = {row.replace("\\|", "").count("|") for row in table}
        assert len(cells) == 1


def test_warnings_stand_above_the_figures(tiny_classifier):
    report = evaluate_classification([0, 1] * 10, [[0.9, 0.1]] * 20, ["negative", "positive"])
    card = model_card(tiny_classifier(), report=report)
    assert card.index("**Warning:** All 20 predictions are") < card.index("| accuracy |")


def test_every_task_has_an_example_that_it_understands():
    import keras_bert_scratch

    for name, (_, _, example) in _TASKS.items():
        task = getattr(keras_bert_scratch, name)
        method = example.removeprefix("model.").split("(")[0]
        assert callable(getattr(task, method))
        assert callable(task.push_to_hub)


def test_a_subclass_is_of_its_task_and_a_distiller_of_its_student(tiny_classifier):
    model = tiny_classifier()
    distiller = types.SimpleNamespace(student=model)
    assert model_card(distiller) == model_card(model)
    kind = type(model)
    model.__class__ = type("Mine", (kind,), {})
    assert "A `BertClassifier` of" in model_card(model)


def test_refuses_what_is_no_task():
    with pytest.raises(TypeError, match="describes a task, received SimpleNamespace: give one of"):
        model_card(types.SimpleNamespace())
