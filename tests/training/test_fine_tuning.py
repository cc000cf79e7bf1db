import dataclasses

import keras
import numpy as np
import pytest

from keras_bert_scratch import BertConfig, BertPretrainer, DifferentialPrivacy
from keras_bert_scratch.training.fine_tuning import choose_fine_tuning

BASE = BertConfig()
TEXTS = ["a good film", "the bad movie", "very great film", "really bad film"] * 3
LABELS = ["positive", "negative", "positive", "negative"] * 3


@pytest.mark.parametrize(
    ("num_examples", "settings", "expected"),
    [
        # 4 steps an epoch, of at least 200: more than 20 epochs are never chosen.
        (64, {}, (16, 20, 5e-5, 0)),
        (64, {"knows_sentences": True}, (16, 5, 2e-5, 0)),
        # 50 steps an epoch.
        (800, {}, (16, 4, 5e-5, 0)),
        # 313 steps an epoch.
        (10_000, {}, (32, 3, 5e-5, 0.1)),
        (10_000, {"knows_sentences": True}, (32, 3, 5e-5, 0.1)),
        (64, {"knows_sentences": True, "is_adapted": True}, (16, 5, 4e-4, 0)),
        (10_000, {"is_adapted": True}, (32, 3, 1e-3, 0.1)),
        (10_000, {"can_hold_out": False}, (32, 3, 5e-5, 0)),
        (10_000, {"batch_size": 8, "epochs": 1}, (8, 1, 5e-5, 0.1)),
        # At least 2,000 steps, of 4 and 313 an epoch.
        (64, {"learns_anew": True}, (16, 100, 0.128 / 768, 0)),
        (10_000, {"learns_anew": True}, (32, 7, 0.128 / 768, 0.1)),
    ],
)
def test_choice(num_examples, settings, expected):
    assert choose_fine_tuning(num_examples, BASE, **settings) == expected


def test_narrow_encoders_take_larger_steps():
    narrow = dataclasses.replace(BASE, hidden_dim=128, num_heads=2)
    assert choose_fine_tuning(64, narrow) == (16, 40, 5e-4, 0)
    assert choose_fine_tuning(64, narrow, is_adapted=True).learning_rate == 1e-3


@pytest.fixture(scope="module")
def trained(tiny_classifier):
    model = tiny_classifier()
    model.compile()
    return model, model.fit(TEXTS, LABELS, verbose=0)


class TestFit:
    def test_all_is_chosen(self, trained):
        model, history = trained
        chosen = choose_fine_tuning(12, model.encoder.config)
        assert model.chosen_training == chosen
        assert len(history.history["loss"]) == chosen.epochs
        assert int(model.optimizer.iterations) == chosen.epochs  # one batch each
        # The schedule ends where the training does.
        assert float(model.optimizer.learning_rate) == 0
        assert model.evaluate(TEXTS, LABELS, verbose=0, return_dict=True)["accuracy"] == 1

    def test_it_is_chosen_again(self, trained, tmp_path):
        model, _ = trained
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        head = loaded.head.get_weights()
        loaded.fit(TEXTS, LABELS, epochs=2, verbose=0)
        assert int(loaded.optimizer.iterations) == 2
        # A trained head goes on from where it is.
        np.testing.assert_allclose(loaded.head.get_weights()[0], head[0], atol=0.01)

    def test_what_is_given_is_obeyed(self, tiny_classifier, capsys):
        model = tiny_classifier()
        model.compile()
        model.fit(TEXTS, LABELS, batch_size=4, epochs=2, verbose=2)
        assert int(model.optimizer.iterations) == 6
        assert "2 epochs in batches of 4" in capsys.readouterr().out
        model.compile(keras.optimizers.SGD(0.1))
        before = model.head.get_weights()
        model.fit(TEXTS, LABELS, verbose=0)
        assert int(model.optimizer.iterations) == 1
        assert model.chosen_training is None
        assert not np.array_equal(model.head.get_weights()[0], before[0])

    def test_the_weights_of_the_best_epoch_are_kept(self, tiny_classifier):
        model = tiny_classifier()
        model.compile()
        # Labels turned around: each epoch is worse than the one before.
        held_out = TEXTS[:4], LABELS[1:5]
        history = model.fit(TEXTS, LABELS, validation_data=held_out, verbose=0).history
        assert len(history["val_loss"]) < choose_fine_tuning(12, model.encoder.config).epochs
        loss = model.evaluate(*held_out, verbose=0)[0]
        assert loss == pytest.approx(min(history["val_loss"]), rel=1e-5)

    def test_other_data_are_refused(self, tiny_classifier):
        model = tiny_classifier()
        model.compile()
        with pytest.raises(ValueError, match="number of examples in memory.*compile with an optim"):
            model.fit(model.batches(TEXTS, LABELS).dataset())
        with pytest.raises(ValueError, match="neither single batches nor datasets tell: compile"):
            model.train_on_batch(TEXTS, LABELS)

    def test_a_pretraining_is_not_chosen(self, tiny_classifier):
        with pytest.raises(TypeError, match="optimizer"):
            BertPretrainer(tiny_classifier().encoder).compile()

    def test_private_trainings_are_not_chosen(self, tiny_classifier):
        private = DifferentialPrivacy(noise_multiplier=1.0, delta=1e-5)
        with pytest.raises(ValueError, match="private training cannot be chosen"):
            tiny_classifier().compile(training_step=private)
