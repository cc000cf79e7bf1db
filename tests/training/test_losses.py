import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, logsumexp, softmax

from keras_bert_scratch import CosineSimilarityLoss, InBatchContrastiveLoss
from keras_bert_scratch.training.label_smoothing import SmoothedCrossentropy
from keras_bert_scratch.training.losses import (
    DistillationLoss,
    SparseCategoricalFocalCrossentropy,
    attention_distance,
    hidden_distance,
)

# Two pairs at right angles, of other lengths than 1.
APART = np.array([[[2.0, 0.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 5.0]]])


class TestInBatchContrastive:
    def test_by_hand(self):
        # Each text has cosine 1 with its own and 0 with the other: -log(e / (e + 1)).
        found = InBatchContrastiveLoss(temperature=1.0)(np.array([[0, 1], [2, 3]]), APART)
        assert float(found) == pytest.approx(np.log(1 + np.exp(-1)), abs=1e-6)

    def test_the_formula_on_random_pairs(self):
        embeddings = np.random.default_rng(0).normal(size=(6, 2, 4))
        unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
        logits = unit[:, 0] @ unit[:, 1].T / 0.05
        expected = logsumexp(logits, axis=1) - np.diag(logits)
        loss = InBatchContrastiveLoss(reduction=None)
        found = loss(np.arange(12).reshape(6, 2), embeddings)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        "text_ids",
        [[[0, 1], [0, 2]], [[0, 1], [2, 1]], [[0, 1], [1, 2]], [[0, 1], [2, 0]]],
        ids=["firsts", "seconds", "second-first", "first-second"],
    )
    def test_pairs_that_share_a_text_are_no_negatives(self, text_ids):
        # With its only negative gone, each pair has itself alone to choose: no loss.
        assert float(InBatchContrastiveLoss()(np.array(text_ids), APART[::-1])) == 0.0

    def test_a_text_paired_with_itself_still_has_negatives(self):
        # As in unsupervised SimCSE.
        found = InBatchContrastiveLoss(temperature=1.0)(np.array([[0, 0], [1, 1]]), APART)
        assert float(found) == pytest.approx(np.log(1 + np.exp(-1)), abs=1e-6)

    def test_similarities_are_refused(self):
        with pytest.raises(ValueError, match=r"without y; received one of shape \(2, 1\)"):
            InBatchContrastiveLoss()(np.ones((2, 1)), APART)

    @pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
    def test_temperature(self, temperature):
        with pytest.raises(ValueError, match="temperature must be above 0, received"):
            InBatchContrastiveLoss(temperature)


class TestCosineSimilarity:
    def test_by_hand(self):
        # Cosines 0.6 and -1 against 1 and 0.5: 0.4² and 1.5².
        embeddings = np.array([[[1.0, 0.0], [3.0, 4.0]], [[2.0, 0.0], [-1.0, 0.0]]])
        loss = CosineSimilarityLoss(reduction=None)
        found = loss(np.array([[1.0], [0.5]]), embeddings)
        np.testing.assert_allclose(found, [0.16, 2.25], atol=1e-6)

    def test_missing_similarities(self):
        with pytest.raises(ValueError, match=r"needs a similarity for each pair, received y of"):
            CosineSimilarityLoss()(np.array([[0, 1], [2, 3]]), APART)


def value_and_gradient(loss, y_true, logits):
    """Returns the loss of each example, and the gradient of their sum."""
    logits = tf.Variable(logits, dtype=loss.dtype)
    with tf.GradientTape() as tape:
        values = loss(np.asarray(y_true), logits)
        total = tf.reduce_sum(values)
    return values.numpy(), tape.gradient(total, logits).numpy()


# Right and wrong with probabilities that float32 rounds to 1 and to 0; further than it can tell.
EXTREME = np.array([[12.0, -11, 1], [-11, 12, 1], [-40, 60, 0], [60, -40, 0], [300, -300, 0]])


class TestExtremeLogits:
    """No probability is clipped: whatever is wrong has a gradient."""

    @pytest.mark.parametrize("class_id", [0, 1, 2])
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
    def test_focal(self, gamma, class_id):
        # In numpy's float64, with the sum of the other probabilities for 1 - p.
        log_p = log_softmax(EXTREME, axis=-1)
        others = np.delete(log_p, class_id, axis=1)
        p, log_wrong = np.exp(log_p), logsumexp(others, axis=1)
        right = log_p[:, class_id]
        expected = -np.exp(gamma * log_wrong) * right
        one_hot = np.eye(3)[class_id]
        # d/dx_i of log p is 1{i = y} - p_i, and of log(1 - p) is -p / (1 - p) times that.
        share = (gamma * p[:, class_id] * np.exp((gamma - 1) * log_wrong) * right)[:, None]
        slope = share - np.exp(gamma * log_wrong)[:, None]
        away = np.where(one_hot, np.exp(log_wrong)[:, None], -p)  # 1{i = y} - p_i
        loss = SparseCategoricalFocalCrossentropy(gamma=gamma, reduction=None, dtype="float64")
        values, gradients = value_and_gradient(loss, np.full(5, class_id), EXTREME)
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(gradients, slope * away, rtol=1e-6, atol=1e-12)

    def test_focal_against_what_was_hidden(self):
        # 1 - p is 1 to 1e-9: the loss is -log p = 22, where a clipped p gives 16.1.
        loss = SparseCategoricalFocalCrossentropy(gamma=2.0, reduction=None)
        values, gradients = value_and_gradient(loss, [1], [[11.0, -11.0]])
        assert values[0] == pytest.approx(22.0, rel=1e-6)
        np.testing.assert_allclose(gradients, [[1.0, -1.0]], rtol=1e-6)

    def test_label_smoothing(self):
        loss = SmoothedCrossentropy(0.1, reduction=None, dtype="float64")
        values, gradients = value_and_gradient(loss, np.zeros((1, 5)), EXTREME[None])
        log_p = log_softmax(EXTREME, axis=-1)
        target = 0.9 * np.eye(3)[0] + 0.1 / 3
        np.testing.assert_allclose(values[0], -(target * log_p).sum(-1), rtol=1e-6)
        np.testing.assert_allclose(gradients[0], np.exp(log_p) - target, rtol=1e-6, atol=1e-7)

    def test_distillation(self):
        teacher = EXTREME[::-1]
        loss = DistillationLoss(
            temperature=2.0, teacher_weight=0.5, reduction=None, dtype="float64"
        )
        y_true = np.column_stack([np.ones(5), teacher])
        values, gradients = value_and_gradient(loss, y_true, EXTREME)
        soft = softmax(teacher / 2, axis=-1)
        log_hard, log_soft = log_softmax(EXTREME, axis=-1), log_softmax(EXTREME / 2, axis=-1)
        expected = -0.5 * log_hard[:, 1] - 2 * (soft * log_soft).sum(-1)
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        slope = 0.5 * (np.exp(log_hard) - np.eye(3)[1]) + np.exp(log_soft) - soft
        np.testing.assert_allclose(gradients, slope, rtol=1e-6, atol=1e-7)

    def test_contrastive(self):
        # Each text's own has cosine -1 and the other 1: 2 / 0.01 apart.
        pairs = np.array([[[1.0, 0], [-1, 0]], [[-1.0, 0], [1, 0]]])
        loss = InBatchContrastiveLoss(temperature=0.01, reduction=None, dtype="float64")
        found = loss(np.array([[0, 1], [2, 3]]), pairs)
        np.testing.assert_allclose(found, [200.0, 200.0], rtol=1e-6)

    def test_attention(self):
        # Scores of 0 and -60: the student's softmax is e^-60 where the teacher's is 1/2.
        scores = tf.Variable([[[[0.0, -60.0]]]])
        with tf.GradientTape() as tape:
            found = attention_distance(tf.nn.softmax(scores), [[[[0.5, 0.5]]]], np.ones((1, 1)))
        assert float(found) == pytest.approx(30 - np.log(2), rel=1e-6)
        np.testing.assert_allclose(tape.gradient(found, scores)[0, 0, 0], [0.5, -0.5], rtol=1e-6)


class TestFocal:
    @pytest.mark.parametrize("gamma", [-1.0, float("nan")])
    def test_gamma(self, gamma):
        with pytest.raises(ValueError, match="gamma must be at least 0, received"):
            SparseCategoricalFocalCrossentropy(gamma)

    def test_alpha(self):
        loss = SparseCategoricalFocalCrossentropy(alpha=[1.0, 2.0])
        message = r"alpha must be one weight, or one for each of 3 classes; received \[1.0, 2.0\]"
        with pytest.raises(ValueError, match=message):
            loss(np.array([0]), np.zeros((1, 3)))

    def test_by_hand(self):
        # Probability 1/2: (1 - 1/2)³ · log 2, twice that for the second class.
        loss = SparseCategoricalFocalCrossentropy(gamma=3.0, alpha=[1.0, 2.0], reduction=None)
        found = loss(np.array([0, 1]), np.zeros((2, 2)))
        np.testing.assert_allclose(found, [np.log(2) / 8, np.log(2) / 4], rtol=1e-5)

    def test_a_classifier_learns_with_it(self, tiny_classifier, reviews):
        model = tiny_classifier()
        model.compile(keras.optimizers.Adam(3e-3), loss=SparseCategoricalFocalCrossentropy())
        model.fit(*reviews, epochs=12, batch_size=8, verbose=0)
        assert model.evaluate(*reviews, verbose=0, return_dict=True)["accuracy"] > 0.95


@pytest.mark.parametrize(
    "loss",
    [
        InBatchContrastiveLoss(0.1),
        CosineSimilarityLoss(name="cosine"),
        SparseCategoricalFocalCrossentropy(1.5, [1.0, 2.0]),
        DistillationLoss(temperature=3.0, teacher_weight=0.25),
        SmoothedCrossentropy(0.3, name="mine"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_config_round_trip(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


class TestDistillation:
    @pytest.mark.parametrize("arguments", [(0.0, 0.5), (2.0, 1.5), (2.0, -0.1)])
    def test_bad_numbers(self, arguments: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="temperature must be above 0 and teacher_weight from"):
            DistillationLoss(*arguments)


class TestDistancesOfLayers:
    def test_states_by_hand(self):
        # A token that is off by 1 and 3, one that is right, and padding.
        student = np.array([[[1.0, 3.0], [5.0, 5.0], [100.0, 0.0]]])
        teacher = np.array([[[0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]])
        found = hidden_distance(student, teacher, np.array([[1, 1, 0]]))
        assert float(found) == pytest.approx((1 + 9) / 2 / 2)

    def test_attention_by_hand(self):
        # Two heads; the first token's divergence is log 2 in one, 0 in the other; then padding.
        student = np.array([[[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]]]])
        teacher = np.array([[[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]]])
        found = attention_distance(student, teacher, np.array([[1, 0]]))
        assert float(found) == pytest.approx(np.log(2) / 2, abs=1e-5)

    def test_of_a_layer_that_computes_one_token(self):
        ones, mask = np.ones((2, 1, 4)), np.array([[1, 1, 0], [1, 1, 1]])
        assert float(hidden_distance(ones, 0 * ones, mask)) == 1.0
