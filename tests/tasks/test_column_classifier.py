import json

import keras
import numpy as np
import pandas
import pytest

from keras_bert_scratch import (
    AdversarialTraining,
    BertClassifier,
    BertConfig,
    BertEncoder,
    ColumnClassifier,
    PatchConfig,
    PatchEncoder,
    Vocabulary,
    WordPieceTokenizer,
)
from keras_bert_scratch.tasks import column_classifier

WORDS = "a red blue toy tool bear saw .".split()
TOKENIZER = WordPieceTokenizer(Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
COLUMNS = {
    "title": {"kind": "text"},
    "price": {"kind": "number", "mean": 1.0, "scale": 2.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
}
TABLE = {
    "title": ["a red bear", "a saw", "toy", None],
    "price": [1.5, -3.0, None, 4.0],
    "shop": ["north", None, "south", "new"],
}
LABELS = ["toy", "tool", "toy", "tool"]


def make(columns=COLUMNS, hidden_dim=8, num_layers=2, architecture="bert", **settings):
    keras.utils.set_random_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER.vocabulary),
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=hidden_dim,
        feed_forward_dim=2 * hidden_dim,
        max_positions=16,
        initializer_range=0.3,
        architecture=architecture,
    )
    return ColumnClassifier(
        BertEncoder(config), ["toy", "tool"], TOKENIZER, columns=columns, **settings
    )


def predict(model, table):
    """Computes the logits eagerly: nothing is traced."""
    batches = model.batches(table)
    return np.array(model(batches.batch(np.arange(len(batches.lengths)))[0]))


# === What a network reads ===
@pytest.mark.parametrize("pooling", ["pooler", "mean", "max"])
def test_texts_alone_are_read_as_bert_reads_them(pooling):
    model = make({"first": "text", "second": "text"}, pooling=pooling)
    plain = BertClassifier(model.encoder, model.labels, TOKENIZER, pooling=pooling)
    plain.head.set_weights(model.head.get_weights())
    pair = TABLE["title"][:3], ["a tool .", "blue", "a toy a saw"]
    found = predict(model, {"second": pair[1], "first": pair[0]})
    np.testing.assert_allclose(found, predict(plain, pair), atol=1e-6)


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_a_missing_value_is_not_read(pooling):
    model = make(pooling=pooling)
    inputs = model.batches(TABLE).batch(np.arange(4))[0]
    assert inputs["present"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    expected = np.array(model(inputs))
    changed = {name: value.copy() for name, value in inputs.items()}
    changed["price"][2] = 50.0
    changed["shop"][1] = 2
    changed["token_ids"][3, 1:] = 7
    np.testing.assert_allclose(model(changed), expected, atol=1e-6)
    changed["price"][1] += 1
    assert np.abs(np.array(model(changed)) - expected)[1].max() > 1e-3


@pytest.mark.parametrize("name", COLUMNS)
def test_hidden_and_missing_are_one(name):
    model = make()
    without = {**TABLE, name: [None] * 4}
    rows = [0, 1, 2]  # the last has a new category alone, if its price is hidden
    found, expected = predict(model, model.hide(TABLE, [name])), predict(model, without)
    np.testing.assert_allclose(found[rows], expected[rows], atol=1e-6)
    assert np.abs(found - predict(model, TABLE)).max() > 1e-3


def test_a_missing_text_of_a_pair_is_not_read():
    model = make({"first": "text", "second": "text"})
    inputs = model.batches({"first": ["a toy"], "second": [None]}).batch(np.arange(1))[0]
    expected = np.array(model(inputs))
    # [CLS] a toy [SEP] [SEP]
    assert inputs["segment_ids"].tolist() == [[0, 0, 0, 0, 1]]
    inputs["token_ids"][0, 4] = 9
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)
    inputs["token_ids"][0, 2] = 9
    assert np.abs(np.array(model(inputs)) - expected).max() > 1e-3


def test_every_category_and_number_is_told_apart():
    model = make()
    table = {
        "title": ["toy"] * 6,
        "price": [0.0, 0.1, 0.0, 0.0, 0.0, 0.0],
        "shop": ["north", "north", "south", "new", "other", None],
    }
    found = predict(model, table)[:, 0]
    assert found[3] == pytest.approx(found[4])  # two unknown ones
    distinct = np.delete(found, 4)
    assert np.abs(np.subtract.outer(distinct, distinct))[~np.eye(5, dtype=bool)].min() > 1e-4


def test_each_column_counts_the_same_in_the_mean(monkeypatch):
    # A text of three tokens, one of padding, a number, and a category that is missing.
    states = np.array([[[1.0], [3.0], [99.0], [10.0], [77.0]]], "float32")
    monkeypatch.setattr(
        column_classifier, "encode_joined", lambda *_, **__: {"sequence_output": states}
    )
    inputs = {
        "token_ids": np.array([[2, 3, 0]]),
        "segment_ids": np.zeros((1, 3), "int32"),
        "padding_mask": np.array([[1, 1, 0]]),
        "present": np.array([[1, 1, 0]]),
        "price": np.zeros((1, 1), "float32"),
        "shop": np.zeros((1, 1), "int32"),
    }
    assert np.array(make(pooling="mean").features(inputs)).tolist() == [[(2.0 + 10.0) / 2]]
    inputs["present"] = np.array([[0, 1, 0]])  # [CLS] remains of the text
    assert np.array(make(pooling="mean").features(inputs)).tolist() == [[(1.0 + 10.0) / 2]]


def test_training_hides_columns_of_rows_but_never_all():
    model = make(column_dropout=0.6)
    present = np.tile(np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0]], "int32"), (2000, 1))
    kept = np.array(model._hide(present))
    assert (kept <= present).all()
    assert kept.max(axis=1).min() == 1
    # A row keeps all where it would lose all: 0.4 + 0.6^3 and 0.4 + 0.6^2.
    assert kept[0::3].mean() == pytest.approx(0.4 + 0.216, abs=0.03)
    assert kept[1::3].sum() / 4000 == pytest.approx(0.4 + 0.36, abs=0.03)
    assert kept[2::3].tolist() == present[2::3].tolist()


def test_training_hides_patches_but_no_other_tokens():
    picture = {"kind": "image", "height": 4, "width": 6, "patch_size": 2}
    model = make(
        {"title": "text", "price": COLUMNS["price"], "picture": picture}, patch_dropout=0.25
    )
    mask = np.tile(np.array([[1] * 6, [0] * 6], "int32"), (1000, 1))
    kept = np.array(model._hide_patches(mask, "picture"))
    np.testing.assert_allclose(kept[0::2].mean(axis=0), 0.75, atol=0.06)
    assert not kept[1::2].any()
    assert model._hide_patches(mask, "price") is mask
    assert make(patch_dropout=0.25).get_config()["patch_dropout"] == 0.25


def test_what_training_hides_is_read_afterwards(monkeypatch):
    picture = {"kind": "image", "height": 4, "width": 6, "patch_size": 2}
    model = make({"picture": picture}, column_dropout=0.0, patch_dropout=0.9, pooling="mean")
    pictures = {"picture": [np.zeros((4, 6, 3))] * 50}
    inputs = model.batches(pictures).batch(np.arange(50))[0]
    masks = []

    def encode(encoder, inputs, others, mask, **_):
        masks.append(np.array(mask))
        return {"sequence_output": np.zeros((*mask.shape, 8), "float32")}

    monkeypatch.setattr(column_classifier, "encode_joined", encode)
    model.features(inputs, training=False)
    model.features(inputs, training=True)
    assert masks[0].all()
    assert masks[1][:, :2].all()  # [CLS] and [SEP]
    assert 0 < masks[1][:, 2:].mean() < 0.2


def test_without_texts_the_training_is_that_of_a_new_network():
    model = make({"price": COLUMNS["price"]})
    model.compile()
    model.fit({"price": np.arange(8.0)}, ["toy", "tool"] * 4, verbose=0)
    width = model.encoder.config.hidden_dim
    assert model.chosen_training == (16, 100, 0.128 / width, 0)
    assert not make().learns_anew
    picture = {"kind": "image", "encoder": PatchEncoder(PICTURE_CONFIG), "height": 9, "width": 7}
    assert not make({"picture": picture}).learns_anew
    assert make(
        {"picture": {"kind": "image", "height": 4, "width": 4, "patch_size": 2}}
    ).learns_anew


# === Encoders of pictures ===
PICTURE_CONFIG = PatchConfig(
    architecture="dinov2", height=6, width=6, patch_size=3, num_layers=2, num_heads=2,
    hidden_dim=10, feed_forward_dim=20, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.4),
    initializer_range=0.3,
)  # fmt: skip
PICTURES = [*np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), dtype="uint8"), None]
WITH_PICTURES = {"title": ["a red bear", None, "toy", "saw"], "picture": PICTURES}


def with_pictures(encoder=None, **settings):
    """A model whose pictures of 9 x 7 pixels are 3 x 2 patches, with positions for 2 x 2."""
    encoder = PatchEncoder(PICTURE_CONFIG) if encoder is None else encoder
    picture = {"kind": "image", "encoder": encoder, "height": 9, "width": 7, **settings}
    return make({"title": "text", "picture": picture})


def test_tokens_of_pictures_are_projected_states_of_the_encoder(monkeypatch):
    encoder = PatchEncoder(PICTURE_CONFIG)
    model = with_pictures(encoder)
    seen = []
    monkeypatch.setattr(
        column_classifier,
        "encode_joined",
        lambda _, __, others, *___, **____: seen.append(np.array(others)) or {"pooled_output": 0},
    )
    inputs = model.batches(WITH_PICTURES).batch(np.arange(4))[0]
    # A frozen encoder has read them already: [CLS] and the mean of 6 patches.
    assert inputs["picture"].shape == (4, 2, 10)
    model.features(inputs)
    model.features({**inputs, "picture": np.stack([*PICTURES[:3], 0 * PICTURES[0]])})
    states = np.array(encoder(np.stack(PICTURES[:3]).astype("float32") / 255)["sequence_output"])
    assert states.shape == (3, 7, 10)
    tokens = np.stack([states[:, 0], states[:, 1:].mean(axis=1)], axis=1)
    (projection,) = model.column_embeddings.adapters
    expected = tokens @ np.array(projection.kernel) + np.array(model.column_embeddings.segments[0])
    for found in seen:
        np.testing.assert_allclose(found[:3], expected, atol=1e-5)


@pytest.mark.parametrize("trains", [False, True])
def test_an_encoder_is_frozen_unless_it_is_told_to_train(trains):
    model = with_pictures()
    encoder = model.column_encoders["picture"]
    if trains:
        encoder.trainable = True
        assert model.batches(WITH_PICTURES).columns["picture"].shape == (4, 9, 7, 3)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = encoder.get_weights()
    model.fit(WITH_PICTURES, LABELS, epochs=2, verbose=0)
    moved = [np.abs(x - y).max() > 0 for x, y in zip(encoder.get_weights(), before, strict=True)]
    # Not even the key's bias stays, which no answer depends on but for rounding.
    assert (np.mean(moved) > 0.9) if trains else not any(moved)


def test_what_a_frozen_encoder_has_read_is_not_trained_on_later():
    model = with_pictures()
    hidden = model.hide(WITH_PICTURES, ["title"])
    model.column_encoders["picture"].trainable = True
    with pytest.raises(ValueError, match="'picture' were read when their encoder was frozen, and"):
        predict(model, hidden)


def test_encoders_of_pictures_are_saved(tmp_path):
    encoder = PatchEncoder(PICTURE_CONFIG, labels=["cat", "dog"])
    encoder.save_pretrained(tmp_path / "encoder")
    model = with_pictures(str(tmp_path / "encoder"))
    model.column_encoders["picture"].trainable = True
    expected = predict(model, WITH_PICTURES)
    np.testing.assert_allclose(
        predict(model, {**WITH_PICTURES, "picture": PICTURES[1:] + PICTURES[:1]})[0],
        predict(model, {**WITH_PICTURES, "picture": [PICTURES[1]] * 4})[0],
        atol=1e-6,
    )
    assert np.abs(expected - predict(model, {**WITH_PICTURES, "picture": [None] * 4})).max() > 1e-3
    found = with_pictures(encoder).batches(WITH_PICTURES).columns["picture"]
    of_folder = with_pictures(str(tmp_path / "encoder")).batches(WITH_PICTURES).columns["picture"]
    np.testing.assert_allclose(found, of_folder, atol=1e-6)
    np.testing.assert_allclose(
        predict(model.with_layers([0, 1]), WITH_PICTURES), expected, atol=1e-6
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(loaded, WITH_PICTURES), expected, atol=1e-6)
    assert loaded.column_encoders["picture"].trainable_weights
    model.save_pretrained(tmp_path / "model")
    loaded = ColumnClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_allclose(predict(loaded, WITH_PICTURES), expected, atol=1e-6)
    assert not loaded.column_encoders["picture"].trainable_weights


def test_a_folder_does_not_ask_for_more_memory_than_it_has(tmp_path):
    with_pictures().save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "columns.json"
    (tmp_path / "model" / "hashes.json").unlink()
    described = json.loads(file.read_text())
    described["columns"]["picture"]["encoder"]["num_layers"] = 10**12
    file.write_text(json.dumps(described))
    # A block has 4 x 110 + 220 + 210 + 4 x 10 + 2 x 10 values, and all else 360.
    with pytest.raises(ValueError, match="encoders of 930,000,000,000,360 weights, .* has 1"):
        ColumnClassifier.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("encoder", "settings", "message"),
    [
        (
            PICTURE_CONFIG,
            {},
            "is a PatchEncoder, its checkpoint or the fields of its config, re",
        ),
        (None, {"patch_size": 4}, "reads patches of 3 x 3, received patch_size=4: leave it out"),
        (None, {"width": 2}, "received 9 x 2 and patch_size=3: choose others"),
        ("no such/folder", {}, "'no such/folder' is not a folder"),
    ],
)
def test_encoders_of_pictures_that_are_refused(encoder, settings, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        with_pictures(encoder, **settings)


# === Training ===
@pytest.mark.slow(minutes=1)
def test_fit_learns_what_no_column_tells_alone(capsys):
    """The label is whether the price is high in one shop, and low in the other."""
    generator = np.random.default_rng(0)
    price, shop = generator.normal(50, 10, 256), generator.integers(2, size=256)
    labels = np.where((price > 50) == (shop == 1), "toy", "tool")
    table = pandas.DataFrame({"price": price, "shop": np.array(["north", "south"])[shop]})
    table["label"] = labels  # columns of other names are not read
    model = make({"price": "number", "shop": "category"}, hidden_dim=16, column_dropout=0.05)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(table[:192], labels[:192], epochs=15, verbose=0)
    assert model.evaluate(table[192:], labels[192:], verbose=0, return_dict=True)["accuracy"] > 0.9
    alone = model.evaluate(model.hide(table[192:], ["shop"]), labels[192:], verbose=0)
    assert alone[1] < 0.75


def test_what_is_learned_comes_from_training_rows_alone():
    kinds = {name: column["kind"] for name, column in COLUMNS.items()}
    model = make(kinds)
    with pytest.raises(ValueError, match="Nothing is known of 'price', 'shop' yet: call fit, or"):
        model.predict(TABLE)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    with pytest.raises(ValueError, match="Nothing is known of 'price', 'shop' yet"):
        model.train_on_batch(TABLE, LABELS)
    other = {"title": ["saw", "toy"], "price": [1e6, 2e6], "shop": ["west", "east"]}
    model.fit(TABLE, LABELS, validation_data=(other, ["toy", "tool"]), verbose=0)
    learned = {name: column.to_dict() for name, column in model.columns.items()}
    assert learned["price"]["mean"] == pytest.approx((1.5 - 3 + 4) / 3)
    assert learned["shop"]["categories"] == ["new", "north", "south"]
    model.fit(other, ["toy", "tool"], verbose=0)  # the weights belong to what was learned
    assert {name: column.to_dict() for name, column in model.columns.items()} == learned
    copy = ColumnClassifier.from_config(json.loads(json.dumps(model.get_config())))
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(predict(copy, TABLE), predict(model, TABLE), atol=1e-6)


def test_a_new_head_starts_from_the_columns():
    model = make(hidden_dim=16)
    table = {"title": [None] * 40, "price": [-3.0, 5.0] * 20, "shop": ["north"] * 40}
    examples = model.examples(table, ["toy", "tool"] * 20)
    model.start_head(examples)
    assert model.probabilities(table).argmax(axis=1).tolist() == [0, 1] * 20


def test_the_order_of_rows_is_kept_and_texts_alone_have_no_unused_weights():
    model = make({"title": "text"})
    assert model.column_embeddings.weights == []
    found = model.predict(
        {"title": ["a red bear saw", "a", None, "toy ."]}, batch_size=2, verbose=0
    )
    one = predict(model, {"title": [None]})
    np.testing.assert_allclose(found[2], one[0], atol=1e-6)


def test_the_tokens_of_all_columns_take_memory(monkeypatch):
    seen = []
    monkeypatch.setattr(column_classifier, "check_training_fits", lambda *found: seen.append(found))
    columns = {**COLUMNS, "picture": {"kind": "image", "height": 8, "width": 8, "patch_size": 2}}
    model = make(columns)
    model._check_batches(model.batches({**TABLE, "picture": [None] * 4}))
    # [CLS] a red bear [SEP], a number, a category, and 16 patches
    assert seen[0][2:] == (4, 5 + 1 + 1 + 16)


def test_no_rows():
    model = make()
    empty = {name: [] for name in COLUMNS}
    assert model.predict(empty, verbose=0).shape == (0, 2)
    with pytest.raises(ValueError, match="There are no rows"):
        model.evaluate(empty, [])


def test_training_that_is_refused():
    model = make()
    with pytest.raises(ValueError, match="trains as Keras does, on one device: leave training_ste"):
        model.compile(keras.optimizers.Adam(), training_step=AdversarialTraining())
    model.compile(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="1 of 4 rows have no value in any column, the first is r"):
        model.fit({**TABLE, "price": [1, 2, 3, None], "shop": ["a", "b", "c", None]}, LABELS)
    with pytest.raises(ValueError, match="There are 4 rows but 3 labels"):
        model.fit(TABLE, LABELS[:3])
    with pytest.raises(ValueError, match="The inputs lack 'present': give a table held in memory"):
        model({"token_ids": np.ones((1, 2)), "segment_ids": np.ones((1, 2))})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column_dropout": 1.0}, "column_dropout must be from 0 to below 1, received 1.0"),
        ({"patch_dropout": -0.1}, "patch_dropout must be from 0 to below 1, received -0.1"),
        ({"truncation": "windows"}, "A row is one sequence"),
        ({"architecture": "modernbert"}, "Columns join the tokens of a BERT, received a modernbe"),
    ],
)
def test_models_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


# === Which column matters ===
def test_explain_hides_a_column_at_a_time():
    model = make()
    found = model.explain(TABLE)
    labels = model.probabilities(TABLE)
    answers = labels.argmax(axis=1)
    hidden = model.probabilities({**TABLE, "price": [None] * 4})
    for row in range(3):
        fall = labels[row, answers[row]] - hidden[row, answers[row]]
        assert found[row]["price"] == pytest.approx(fall, abs=1e-6)
    assert found[2]["price"] == pytest.approx(0, abs=1e-6)  # it was missing
    assert [*found[0].values()] == sorted(found[0].values(), reverse=True)
    with pytest.raises(ValueError, match="There is no column 'size': title, price, shop"):
        model.hide(TABLE, ["size"])


# === Saved and loaded ===
def test_a_smaller_encoder_keeps_the_columns():
    model = make()
    np.testing.assert_allclose(
        predict(model.with_layers([0, 1]), TABLE), predict(model, TABLE), atol=1e-6
    )


@pytest.fixture
def folder(tmp_path):
    make(temperature=2.0, pooling="mean").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_folder_is_the_encoders_and_the_columns_beside_it(folder):
    with pytest.raises(ValueError, match="has no classification head: pass labels="):
        BertClassifier.from_pretrained(folder)
    loaded = ColumnClassifier.from_pretrained(folder, ["toy", "tool"], columns=COLUMNS)
    assert (loaded.temperature, loaded.pooling) == (2.0, "mean")
    with pytest.raises(ValueError, match=r"whose labels are \['toy', 'tool'\]: omit labels="):
        ColumnClassifier.from_pretrained(folder, ["tool", "toy"])
    with pytest.raises(ValueError, match="whose columns are {'title': {'kind': 'text'}"):
        ColumnClassifier.from_pretrained(folder, columns={"title": "text"})


def test_damaged_files(folder):
    description = (folder / "columns.json").read_text()
    (folder / "hashes.json").unlink(missing_ok=True)
    (folder / "columns.json").write_text(description.replace('"south"', '"south", "west"'))
    with pytest.raises(ValueError, match="does not hold the weights of these columns and labels"):
        ColumnClassifier.from_pretrained(folder)
    (folder / "columns.json").write_text("[1]")
    with pytest.raises(ValueError, match="columns.json is damaged"):
        ColumnClassifier.from_pretrained(folder)
    (folder / "columns.json").write_text(description)
    (folder / "columns.safetensors").write_bytes(b"none")
    with pytest.raises(ValueError, match="columns.safetensors cannot be read"):
        ColumnClassifier.from_pretrained(folder)


def test_a_checkpoint_that_has_no_columns(tmp_path):
    BertClassifier(make().encoder, ["toy", "tool"], TOKENIZER).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="is no classifier of columns yet: pass columns="):
        ColumnClassifier.from_pretrained(tmp_path / "model", ["toy", "tool"])
    with pytest.raises(ValueError, match="is no classifier of columns yet: pass labels="):
        ColumnClassifier.from_pretrained(tmp_path / "model", columns={"title": "text"})
    with pytest.raises(ValueError, match="Nothing is known of 'price' yet"):
        make({"price": "number"}).save_pretrained(tmp_path / "new")
