"""What holds for every task: one run each, as KerasHub's `run_task_test`."""

import importlib
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertEncoder,
    BertPretrainer,
    BertQuestionAnswerer,
    BertSentenceEncoder,
    BertSummarizer,
    BertTokenClassifier,
    ColumnClassifier,
    Distiller,
    InBatchContrastiveLoss,
    Vocabulary,
    WordPieceTokenizer,
    enable_lora,
    freeze_layers,
)
from keras_bert_scratch.data.spans import GoldAnswer, Question
from keras_bert_scratch.models.decoder import BertDecoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel

WORDS = "a the very really good great bad awful film movie .".split()
TOKENIZER = WordPieceTokenizer(
    Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s"])
)
TEXTS = ["a good film", "the very bad movie . a really awful film", "great", "an awful film"]
TAGS = [["B-x" if word == "film" else "O" for word in text.split()] for text in TEXTS]
QUESTIONS = [
    Question("the film", text, (GoldAnswer("a", text.index("a")),)) for text in TEXTS if "a" in text
]
ROWS = np.random.default_rng(0).integers(5, 16, (4, 9), dtype="int32")
MASKED = {
    "token_ids": ROWS,
    "segment_ids": 0 * ROWS,
    "padding_mask": 0 * ROWS + 1,
    "masked_positions": ROWS[:, :2] % 9,
}
TABLE = {
    "title": TEXTS,
    "price": [1.5, None, 4.0, -2.0],
    "shop": ["north", "south", None, "elsewhere"],
}
COLUMNS = {
    "title": {"kind": "text"},
    "price": {"kind": "number", "mean": 1.0, "scale": 2.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
}
SPENT = {"noise_multiplier": 1.0, "sampling_probability": 0.5, "steps": 3}


class Case(NamedTuple):
    """A task, every argument of its own, what it learns from, and how it answers."""

    task: type[EncoderModel]
    arguments: dict[str, Any]
    data: tuple[Any, ...]
    answer: Callable[[Any], Any]
    # The class of transformers that reads its checkpoint.
    architecture: str
    loss: Any = "auto"

    def make(
        self,
        num_layers: int = 1,
        tokenizer: WordPieceTokenizer | None = TOKENIZER,
        vocab_size: int = len(TOKENIZER.vocabulary),
        **changes: Any,
    ) -> Any:
        keras.utils.set_random_seed(0)
        config = BertConfig(
            vocab_size=vocab_size,
            num_layers=num_layers,
            num_heads=2,
            hidden_dim=8,
            feed_forward_dim=12,
            max_positions=24,
            # Wide enough for the answers to differ.
            initializer_range=0.3,
        )
        parts = {"encoder": BertEncoder(config), "tokenizer": tokenizer}
        if self.task is BertSummarizer:
            parts["decoder"] = BertDecoder(config)
        return self.task(**parts, **{**self.arguments, **changes})

    def fitted(self) -> Any:
        model = self.make()
        model.compile(keras.optimizers.Adam(0.01), self.loss, run_eagerly=True)
        model.fit(*self.data, batch_size=2, verbose=0)
        return model


CLASSIFIER: dict[str, Any] = {
    "labels": ["bad", "good"],
    "sequence_length": 7,
    "truncation": "windows",
    "window_stride": 3,
    "aggregation": "max",
    "multi_label": False,
    "pooling": "pooler",
    "temperature": 2.0,
    "privacy_spent": [SPENT],
}


def predict(model: BertClassifier) -> Any:
    return model.predict(TEXTS, verbose=0)


def classifier(y: Any, **changes: Any) -> Case:
    arguments = {**CLASSIFIER, **changes}
    pools = arguments["pooling"] != "pooler"
    architecture = "BertModel" if pools else "BertForSequenceClassification"
    return Case(BertClassifier, arguments, (TEXTS, y), predict, architecture)


CASES = {
    "classifier": classifier(["good", "bad", "good", "bad"]),
    "several labels": classifier(
        [["x"], ["x", "y"], [], ["y"]], labels=["x", "y"], multi_label=True, pooling="mean"
    ),
    "score": classifier([1.0, 2.5, 3.0, 0.0], labels=["stars"]),
    "columns": Case(
        ColumnClassifier,
        {
            "labels": ["bad", "good"],
            "columns": COLUMNS,
            "column_dropout": 0.0,
            "patch_dropout": 0.5,
        },
        (TABLE, ["good", "bad", "good", "bad"]),
        lambda model: model.predict(TABLE, verbose=0),
        "BertModel",
    ),
    "tagger": Case(
        BertTokenClassifier,
        {"labels": ["O", "B-x", "I-x"], "sequence_length": 7, "window_stride": 3},
        ([text.split() for text in TEXTS], TAGS),
        lambda model: model.predict(TEXTS),
        "BertForTokenClassification",
    ),
    "answerer": Case(
        BertQuestionAnswerer,
        {
            "sequence_length": 12,
            "window_stride": 3,
            "max_question_length": 4,
            "max_answer_length": 5,
            "history_turns": 3,
            "no_answer_threshold": 1.5,
        },
        (QUESTIONS,),
        lambda model: model.predict(QUESTIONS),
        "BertForQuestionAnswering",
    ),
    "sentence encoder": Case(
        BertSentenceEncoder,
        {"pooling": "cls", "normalize": False, "sequence_length": 9, "prompts": {"q": "a "}},
        ((TEXTS, TEXTS[::-1]),),
        lambda model: model.encode(TEXTS, verbose=0),
        "BertModel",
        InBatchContrastiveLoss(),
    ),
    "summarizer": Case(
        BertSummarizer,
        {"sequence_length": 9, "summary_length": 6},
        (TEXTS, ["a film", "bad", "great", "awful"]),
        lambda model: model.summarize(TEXTS),
        "EncoderDecoderModel",
    ),
    **{
        name: Case(
            BertPretrainer,
            {
                "masked_language_model": True,
                "next_sentence": next_sentence,
                "teacher_dim": None,
                "generator_layers": 0,
            },
            (MASKED, {name: y for name, y in labels.items() if next_sentence or "mask" in name}),
            lambda model: model.fill_mask("a [MASK] film"),
            architecture,
        )
        for labels in [{"masked_language_model": ROWS[:, :2], "next_sentence": np.arange(4) % 2}]
        for name, next_sentence, architecture in (
            ("pretrainer", True, "BertForPreTraining"),
            ("masked language model", False, "BertForMaskedLM"),
        )
    },
}


ON_EXAMPLES = ["classifier", "columns", "tagger", "answerer", "sentence encoder", "summarizer"]


def of(names: Any) -> Any:
    # Columns share the classifier's code: `make slow` runs theirs.
    slow = {"columns": [pytest.mark.slow]}
    cases = [pytest.param(CASES[name], id=name, marks=slow.get(name, [])) for name in names]
    return pytest.mark.parametrize("case", cases)


every_case = of(CASES)
every_task = of([*ON_EXAMPLES, "pretrainer"])
every_task_on_examples = of(ON_EXAMPLES)


def test_no_task_is_forgotten() -> None:
    folder = Path(inspect.getfile(EncoderModel)).parent
    tasks = {
        member
        for path in folder.glob("[a-z]*.py")
        for _, member in inspect.getmembers(
            importlib.import_module(f"keras_bert_scratch.tasks.{path.stem}"), inspect.isclass
        )
        # Bases and the Distiller are not registered, since nobody saves them.
        if issubclass(member, EncoderModel)
        and keras.saving.get_registered_name(member) == f"keras_bert_scratch>{member.__name__}"
    }
    assert tasks == {case.task for case in CASES.values()}


@every_case
def test_summary_knows_every_shape(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.make().summary()
    shown = capsys.readouterr().out
    assert " ? " not in shown
    assert "(None, None, " in shown
    assert shown.splitlines()[-2 if "Labels" in shown else -1].startswith(" Tokenizer: <Word")


# === Saved and loaded ===
@every_case
def test_config_holds_every_argument(case: Case) -> None:
    parameters = set(inspect.signature(case.task).parameters)
    assert set(case.arguments) == parameters - {"encoder", "decoder", "tokenizer", "kwargs"}
    config = case.make(name="mine").get_config()
    assert config == {**config, **case.arguments, "name": "mine"}
    assert case.task.from_config(json.loads(json.dumps(config))).get_config() == config


@every_case
def test_keras_file(case: Case, tmp_path: Path) -> None:
    model = case.fitted()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_equal(case.answer(loaded), case.answer(model))
    assert loaded.evaluate(*case.data, verbose=0) == model.evaluate(*case.data, verbose=0)
    for theirs, ours in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    loaded.fit(*case.data, verbose=0)


@every_case
def test_checkpoint(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = case.make()
    model.save_pretrained(tmp_path / "model")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        loaded = case.task.from_pretrained(tmp_path / "model")
    assert caplog.text == ""  # nothing new, nothing left over
    assert loaded.get_config() == {**loaded.get_config(), **case.arguments}
    assert loaded.encoder.config == model.encoder.config
    assert loaded.tokenizer.get_config() == TOKENIZER.get_config()
    np.testing.assert_equal(case.answer(loaded), case.answer(model))
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    assert fields["architectures"] == [case.architecture]


@every_task
def test_checkpoint_in_another_precision(case: Case, tmp_path: Path) -> None:
    case.make().save_pretrained(tmp_path / "model")
    model = case.task.from_pretrained(tmp_path / "model", dtype="mixed_bfloat16")
    assert model.encoder.compute_dtype == model.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert case.answer(model) is not None


@every_task
def test_a_full_folder_is_left_alone(case: Case, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        case.make().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


# === State ===
@every_case
def test_a_push_is_a_checkpoint_and_its_card(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sent = case.make(), {}

    def upload(folder: Path, repo_id: str, **settings: Any) -> str:
        sent.update({path.relative_to(folder): path.read_bytes() for path in files(folder)})
        return repo_id

    monkeypatch.setattr("keras_bert_scratch.tasks.encoder_model.upload", upload)
    assert model.push_to_hub("me/model") == "me/model"
    card = sent.pop(Path("README.md")).decode()
    assert f"from keras_bert_scratch import {case.task.__name__}\n" in card
    model.save_pretrained(tmp_path / "saved")
    saved = {path.relative_to(tmp_path / "saved") for path in files(tmp_path / "saved")}
    assert set(sent) == saved


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def freeze_all_but_one_block(model: Any) -> None:
    model.encoder.trainable = False
    model.encoder.blocks[1].trainable = True


def freeze_a_matrix(model: Any) -> None:
    model.encoder.blocks[0].attention.query.trainable = False


def freeze_a_weight(model: Any) -> None:
    model.encoder.blocks[1].feed_forward.expand.bias.trainable = False


def freeze_the_last_layer(model: Any) -> None:
    # A head, or the last of the decoder's layers.
    [layer for layer in model._flatten_layers() if layer.weights][-1].trainable = False


def adapt(model: Any) -> None:
    enable_lora(model.encoder, 2)
    for weight in model.encoder.weights:
        if weight.name.startswith("lora_"):
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))


def freeze_and_adapt(model: Any) -> None:
    adapt(model)
    freeze_layers(model.encoder, 1)


def flags(model: Any) -> Any:
    layers = [layer.trainable for layer in model._flatten_layers()]
    return layers, {weight.path: weight.trainable for weight in model.weights}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(
            ("classifier", change)
            for change in (freeze_all_but_one_block, freeze_a_matrix, freeze_a_weight, adapt)
        ),
        *(
            (name, change)
            for name in (*ON_EXAMPLES, "pretrainer")
            for change in (freeze_the_last_layer, freeze_and_adapt)
        ),
    ],
)
def test_files_and_clones_are_what_the_model_is(
    name: str, change: Callable[[Any], None], tmp_path: Path
) -> None:
    model = CASES[name].make(num_layers=2)
    before = flags(model)
    change(model)
    assert flags(model) != before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    for other in (loaded, clone):
        assert flags(other) == flags(model)
        assert flags(other.encoder) == flags(model.encoder)
    for theirs, ours in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


# Keras warns of every layer that cannot be quantized.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize. method")
@every_task
def test_a_quantized_model_is_not_saved_as_another(case: Case, tmp_path: Path) -> None:
    model = case.make()
    model.quantize("int8")
    with pytest.raises(ValueError, match="quantized to int8, which its config does not tell: sav"):
        model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="is quantized to int8"):
        keras.models.clone_model(model)
    assert list(tmp_path.iterdir()) == []


# === Training ===
@every_task
def test_same_seed_same_training(case: Case) -> None:
    one, other = case.fitted(), case.fitted()
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert one.history.history == other.history.history


@every_task_on_examples
def test_a_batch_too_large_for_the_machine(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_bert_scratch.training.memory.machine_bytes", lambda: 1000)
    with pytest.raises(ValueError, match="this machine has 0.0 GB: lower batch_size"):
        case.fitted()


@every_task_on_examples
def test_batches_at_once_are_batches_of_fit(case: Case) -> None:
    """Without steps that change anything, `fit` and methods on single batches find one loss."""
    model = case.make()
    model.compile(keras.optimizers.SGD(0.0), case.loss, run_eagerly=True)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    history = model.fit(*case.data, verbose=0, validation_data=case.data).history
    expected = pytest.approx(history["loss"][0], rel=1e-4)
    assert model.train_on_batch(*case.data, return_dict=True)["loss"] == expected
    # In which the windows of a text come together.
    expected = pytest.approx(history["val_loss"][0], rel=1e-4)
    assert model.test_on_batch(*case.data, return_dict=True)["loss"] == expected


# === Refused ===
@every_task
def test_without_a_tokenizer(case: Case, tmp_path: Path) -> None:
    model = case.make(tokenizer=None, name="mine")
    refusing = [case.answer, lambda model: model.save_pretrained(tmp_path / "new")]
    if case.task.export_formats:
        refusing.append(lambda model: model.export(tmp_path / "new"))
    for use in refusing:
        with pytest.raises(ValueError, match="mine has no tokenizer: pass tokenizer="):
            use(model)
    assert list(tmp_path.iterdir()) == []


@every_task
def test_a_vocabulary_larger_than_the_embedding(case: Case) -> None:
    size = len(TOKENIZER.vocabulary)
    message = f"vocabulary has {size} tokens, the encoder's embedding {size - 1}"
    with pytest.raises(ValueError, match=message):
        case.make(vocab_size=size - 1)


@every_task_on_examples
def test_a_length_beyond_the_positions(case: Case) -> None:
    with pytest.raises(ValueError, match="at most the encoder's max_positions, received 25 and 24"):
        case.make(sequence_length=25)


@pytest.mark.parametrize("task", [Distiller, *dict.fromkeys(c.task for c in CASES.values())])
def test_arguments_stand_where_keras_has_them(task: type) -> None:
    methods = "fit evaluate predict train_on_batch test_on_batch predict_on_batch export"
    for method in methods.split():
        theirs = inspect.signature(getattr(keras.Model, method)).parameters.values()
        ours = list(inspect.signature(getattr(task, method)).parameters.values())
        if inspect.Parameter.VAR_POSITIONAL in [p.kind for p in ours]:
            continue  # handed on as it is
        positional = [p.name for p in theirs if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        assert [p.name for p in ours][: len(positional)] == positional
