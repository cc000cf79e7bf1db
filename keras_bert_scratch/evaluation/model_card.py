"""The model card of a task: README.md with the Hugging Face hub's metadata."""

from collections.abc import Mapping
from typing import Any

from keras_bert_scratch.evaluation.baseline import BaselineComparison
from keras_bert_scratch.evaluation.classification import ClassificationReport

# For each task the hub's name, the library beside this one that reads the folder, and an example.
_TASKS = {
    "BertClassifier": ("text-classification", "transformers", 'model.classify(["a text"])'),
    "ColumnClassifier": (
        "tabular-classification",
        "keras",
        "model.classify(table)  # a dict of columns, or a table of pandas",
    ),
    "BertTokenClassifier": ("token-classification", "transformers", 'model.find_spans(["a text"])'),
    "BertQuestionAnswerer": (
        "question-answering",
        "transformers",
        'model.answer("a question?", "a text with the answer")',
    ),
    "BertSentenceEncoder": (
        "sentence-similarity",
        "sentence-transformers",
        'model.encode(["a text"])',
    ),
    "BertSummarizer": ("summarization", "transformers", 'model.summarize(["a long text"])'),
    "BertPretrainer": ("fill-mask", "transformers", 'model.fill_mask("a [MASK] text")'),
}


def model_card(
    model: Any,
    *,
    name: str | None = None,
    report: ClassificationReport | None = None,
    baseline: BaselineComparison | None = None,
    data: str = "held-out examples",
    training: Mapping[str, Any] | None = None,
    license: str | None = None,
    language: str | list[str] | None = None,
    base_model: str | None = None,
) -> str:
    """Returns a model card in Markdown (Mitchell et al. 2019), its metadata in front.

    The hub reads from the metadata which task and library a model is for, and its figures. What is
    not given is left out, above all the license.

    Args:
        model: A task, such as a `BertClassifier`.
        name: Name of the model; by default the task's.
        report: Figures on held-out examples, or None.
        baseline: The comparison with a baseline on the same examples, or None.
        data: What the held-out examples are.
        training: How it was trained, by the names of the settings; or None.
        license: The hub's name of the license, such as "apache-2.0".
        language: ISO 639 code of the texts' language, or a list of them.
        base_model: Id on the hub of the checkpoint that the training started from.

    Raises:
        TypeError: If the model is not a task.

    Example:
        >>> print(model_card(model, report=report, license="mit", language="en"))
    """
    from huggingface_hub import EvalResult, ModelCardData

    # A distiller is saved as its student.
    model = getattr(model, "student", model)
    task = next((base.__name__ for base in type(model).__mro__ if base.__name__ in _TASKS), None)
    if task is None:
        raise TypeError(
            f"model_card describes a task, received {type(model).__name__}: give one of "
            f"{', '.join(_TASKS)}."
        )
    pipeline, library, example = _TASKS[task]
    name = name or model.name
    figures = {} if report is None else {"accuracy": report.accuracy, "f1": report.macro_f1}
    metadata = ModelCardData(
        language=language,
        license=license,
        library_name=library,
        tags=["keras", "keras_bert_scratch", "bert"],
        base_model=base_model,
        metrics=list(figures) or None,
        pipeline_tag=pipeline,
        model_name=name if figures else None,
        eval_results=[
            EvalResult(
                task_type=pipeline,
                dataset_type="held-out",
                dataset_name=data,
                metric_type=metric,
                metric_value=round(value, 6),
                metric_name="macro F1" if metric == "f1" else metric,
            )
            for metric, value in figures.items()
        ]
        or None,
    )
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {_escaped(name)}",
        _description(model, task),
        f"```python\nfrom keras_bert_scratch import {task}\n\n"
        f'model = {task}.from_pretrained("this folder, or its id on the hub")\n{example}\n```',
    ]
    if report is not None:
        parts += ["## Figures", _figures(report, baseline, data)]
    if training:
        rows = [[_escaped(key), _escaped(str(value))] for key, value in training.items()]
        parts += ["## Training", _table(["setting", "value"], rows)]
    parts += [
        "## Limits",
        "Use it for texts like those that it was trained and measured on; the figures say nothing "
        "about others.",
    ]
    return "\n\n".join(parts) + "\n"


def _description(model: Any, task: str) -> str:
    config, vocabulary = model.encoder.config, model.check_tokenizer().vocabulary
    case = "lower-cased" if model.tokenizer.lowercase else "cased"
    layers = "1 layer" if config.num_layers == 1 else f"{config.num_layers} layers"
    text = (
        f"A `{task}` of keras_bert_scratch: {layers} of {config.num_heads} heads, "
        f"{config.hidden_dim} wide, {model.count_params():,} weights; {len(vocabulary):,} tokens, "
        f"{case}."
    )
    # Pretraining reads tokens, of whatever number.
    if length := getattr(model, "sequence_length", None):
        text += f" It reads {length} tokens at once."
    labels: Any = getattr(model, "labels", None)
    if getattr(model, "is_score", False):
        text += f"\n\nIt answers with a number, {_escaped(labels[0])}."
    elif labels:
        text += f"\n\nIts labels: {', '.join(map(_escaped, labels))}."
    if getattr(model, "multi_label", False):
        text += " A text may have any number of them."
    return text


def _figures(report: ClassificationReport, baseline: BaselineComparison | None, data: str) -> str:
    rows = [
        ["accuracy", f"{report.accuracy:.4f}", report.interval_text("accuracy")],
        ["macro F1", f"{report.macro_f1:.4f}", report.interval_text("macro_f1")],
    ]
    if baseline is not None:
        other = baseline.report
        rows += [
            ["TF-IDF + logistic regression: accuracy", f"{other.accuracy:.4f}",
             other.interval_text("accuracy")],
            ["TF-IDF + logistic regression: macro F1", f"{other.macro_f1:.4f}",
             other.interval_text("macro_f1")],
        ]  # fmt: skip
    header = [f"on {report.num_examples} examples ({_escaped(data)})", "", "95 % interval"]
    classes = [
        [_escaped(label), *(f"{found[key]:.4f}" for key in ("precision", "recall", "f1")),
         str(found["support"])]
        for label, found in report.per_class.items()
    ]  # fmt: skip
    warnings = "".join(f"**Warning:** {_escaped(warning)}\n\n" for warning in report.warnings)
    return (
        f"{warnings}{_table(header, rows)}\n\n"
        f"{_table(['class', 'precision', 'recall', 'F1', 'examples'], classes)}"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    """Returns a text that Markdown shows as it is, in one line."""
    text = " ".join(str(text).split())
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return text
