"""What a teacher gives: kept vectors, components of tokens, and a student that follows it."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.pretraining_recipe import Phase, PretrainingRecipe, pretrain
from keras_bert_scratch.tasks.sentence_encoder import BertSentenceEncoder
from keras_bert_scratch.tasks.teacher import Teacher
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

NAMES = "cat dog bird fish door rain".split()
SIZES = {"num_layers": 1, "num_heads": 2, "feed_forward_dim": 16, "max_positions": 16}


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A sentence encoder with a vocabulary of its own."""
    keras.utils.set_random_seed(3)
    words = [*"abcdefghijklmnopqrstuvwxyz.", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *NAMES, *words]))
    config = BertConfig.from_dict(
        {**SIZES, "hidden_dim": 12, "vocab_size": len(tokenizer.vocabulary)}
    )
    BertSentenceEncoder(BertEncoder(config), tokenizer).save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_vectors_are_computed_once(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a cat", "rain", "a dog at the door"]
    made = Teacher(str(teacher), "keras", 16, tmp_path / "kept").vectors(texts)
    wanted = BertSentenceEncoder.from_pretrained(teacher).encode(texts)
    np.testing.assert_allclose(made, wanted, atol=1e-3)
    # A second one has them without the encoder; another length of text is another vector.
    monkeypatch.setattr(BertSentenceEncoder, "from_pretrained", None)
    again = Teacher(str(teacher), "keras", 16, tmp_path / "kept").vectors(texts)
    np.testing.assert_array_equal(again, made)
    with pytest.raises(TypeError):
        Teacher(str(teacher), "keras", 8, tmp_path / "kept").vectors(texts)


def test_components_of_tokens_keep_their_distances(teacher: Path, tmp_path: Path) -> None:
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *NAMES, "##s"])
    config = BertConfig.from_dict({**SIZES, "hidden_dim": 16, "vocab_size": len(vocabulary)})
    made = Teacher(str(teacher), "keras", 16, tmp_path)
    table = made.token_embeddings(vocabulary, config)
    assert np.isnan(table[: len(SPECIAL_TOKENS)]).all()
    # The teacher has 12 components, the student room for 16.
    assert np.isnan(table[:, 12:]).all()
    components = table[len(SPECIAL_TOKENS) :, :12]
    assert components.std() == pytest.approx(config.initializer_range, rel=1e-4)
    vectors = made.vectors([*NAMES, "s"]).astype("float64")
    ours, theirs = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (components, vectors))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), atol=1e-3)


def test_a_student_follows_a_teacher_of_another_vocabulary(teacher: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = {" ".join(rng.choice(NAMES, rng.integers(2, 6))) + "." for _ in range(160)}
    for part in ("train", "held_out"):
        chosen = [t for n, t in enumerate(sorted(texts)) if (n % 8 == 0) == (part == "held_out")]
        (tmp_path / f"{part}.txt").write_text("\n\n".join(chosen))
    recipe = PretrainingRecipe(
        train=[str(tmp_path / "train.txt")],
        held_out=[str(tmp_path / "held_out.txt")],
        vocabulary=60,
        encoder={**SIZES, "hidden_dim": 16, "dropout": 0.0, "attention_dropout": 0.0},
        phases=[Phase(sequence_length=16, batch_size=16, steps=60)],
        learning_rate=0.01,
        evaluate_every=20,
        steps_per_execution=20,
        teacher=str(teacher),
        next_sentence=False,
        masking_rate=0.0,
        deterministic=False,
    )
    model = pretrain(recipe, tmp_path / "run")
    history = json.loads((tmp_path / "run/history.json").read_text())
    # The vectors of a teacher with random weights are much alike.
    distances = 1 - np.array(history["val_cosine"])
    assert distances[-1] < distances[0] / 2
    assert not any("masked" in name for name in history)
    # The finished run is read, not trained again.
    again = pretrain(recipe, tmp_path / "run")
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    loaded = BertPretrainer.from_pretrained(tmp_path / "run/model", teacher_dim=12)
    assert loaded.encoder.config == model.encoder.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"next_sentence": True}, "teacher's vectors are of single documents: set next_sentence"),
        ({"teacher": None}, "masking_rate must be between 0 and 1, received 0.0; 0 needs a"),
        ({"masking_rate": -0.1}, "masking_rate must be between 0 and 1, received -0.1"),
        ({"teacher_weight": 0.0}, "teacher_weight must be above 0, received 0.0"),
    ],
)
def test_recipes_that_are_refused(changes: dict, message: str) -> None:
    fields = {
        "train": ["a.txt"],
        "held_out": ["a.txt"],
        "vocabulary": 60,
        "encoder": {**SIZES, "hidden_dim": 16},
        "phases": [Phase(16, 16, 20)],
        "learning_rate": 0.01,
        "evaluate_every": 20,
        "teacher": "minilm",
        "next_sentence": False,
        "masking_rate": 0.0,
    }
    with pytest.raises(ValueError, match=message):
        PretrainingRecipe(**{**fields, **changes})
