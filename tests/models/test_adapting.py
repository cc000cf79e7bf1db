"""Low-rank adapters, frozen layers, and fewer layers or heads of an encoder."""

import keras
import numpy as np
import pytest

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertEncoder,
    enable_lora,
    freeze_layers,
    keep_heads,
    keep_layers,
    merge_lora,
)
from keras_bert_scratch.models.adapting import remove_lora


@pytest.fixture
def encoder(tiny_config):
    keras.utils.set_random_seed(0)
    return BertEncoder(tiny_config)


def states(encoder, inputs):
    return keras.ops.convert_to_numpy(encoder(inputs)["sequence_output"])


def change(encoder, generator):
    """Gives every adapter some effect."""
    for weight in encoder.trainable_weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))


@pytest.fixture
def inputs(tiny_config):
    ids = np.random.default_rng(0).integers(tiny_config.vocab_size, size=(2, 5))
    return {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}


class TestLoRA:
    def test_share_of_minilm_that_is_trained(self):
        # Only shapes matter: nothing of this size is allocated.
        with keras.StatelessScope():
            model = BertClassifier(BertEncoder(BertConfig.preset("minilm")), ["bad", "good"])
            total = sum(np.prod(weight.shape) for weight in model.weights)
            enable_lora(model.encoder, 8)
            trained = sum(np.prod(weight.shape) for weight in model.trainable_weights)
        # Four matrices of 384 x 384 and two of 384 x 1536 a block: rank times inputs plus outputs.
        adapters = 6 * 8 * (4 * (384 + 384) + 2 * (384 + 1536))
        head = 384 * 2 + 2
        assert trained == adapters + head == 332_546
        # Tables of 30,522, 512 and 2 rows and a norm; blocks; pooler; head.
        embeddings = (30_522 + 512 + 2 + 2) * 384
        block = 4 * (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384 + 4 * 384
        assert total == embeddings + 6 * block + 384 * 384 + 384 + head
        assert trained / total < 0.02

    def test_starts_as_the_encoder_that_it_was(self, encoder, inputs):
        before = states(encoder, inputs)
        enable_lora(encoder, 2)
        np.testing.assert_array_equal(states(encoder, inputs), before)

    def test_every_matrix_of_a_block_gets_its_product(self, encoder, inputs):
        enable_lora(encoder, 2)
        change(encoder, np.random.default_rng(0))
        expected, num_adapted = BertEncoder(encoder.config), 0
        ours = {weight.path.split("/", 1)[1]: np.array(weight) for weight in encoder.weights}
        for weight in expected.weights:
            path = weight.path.split("/", 1)[1]
            factors = [ours.get(path.replace("kernel", f"lora_kernel_{x}")) for x in "ab"]
            is_adapted = "kernel" in path and factors[0] is not None
            weight.assign(ours[path] + factors[0] @ factors[1] if is_adapted else ours[path])
            num_adapted += is_adapted
        assert num_adapted == 6 * encoder.config.num_layers
        np.testing.assert_allclose(states(encoder, inputs), states(expected, inputs), atol=1e-5)

    @pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
    def test_merged_is_unmerged(self, tiny_config, inputs, dtype):
        encoder = BertEncoder(tiny_config, dtype=dtype)
        enable_lora(encoder, 2)
        change(encoder, np.random.default_rng(0))
        before = states(encoder, inputs)
        merge_lora(encoder)
        bound = 1e-5 if dtype == "float32" else 0.05
        np.testing.assert_allclose(
            states(encoder, inputs).astype("float32"), before.astype("float32"), atol=bound
        )
        assert not any(weight.name.startswith("lora_") for weight in encoder.weights)
        assert len(encoder.trainable_weights) == len(encoder.weights)

    def test_merging_does_not_count_twice_in_a_function_traced_before(self, two_layer_classifier):
        model = two_layer_classifier()
        enable_lora(model.encoder, 2)
        change(model.encoder, np.random.default_rng(0))
        before = model.predict(["a good film"], verbose=0)
        merge_lora(model.encoder)
        np.testing.assert_allclose(model.predict(["a good film"], verbose=0), before, atol=1e-5)

    def test_removed_is_the_encoder_before(self, encoder, inputs):
        before = states(encoder, inputs)
        enable_lora(encoder, 2)
        change(encoder, np.random.default_rng(0))
        assert np.abs(states(encoder, inputs) - before).max() > 0.1
        remove_lora(encoder)
        np.testing.assert_array_equal(states(encoder, inputs), before)

    def test_merging_leaves_frozen_layers_of_a_plain_encoder_alone(self, encoder):
        freeze_layers(encoder, 1)
        trainable = len(encoder.trainable_weights)
        merge_lora(encoder)
        assert len(encoder.trainable_weights) == trainable

    @pytest.mark.parametrize("rank", [0, None, 1.5])
    def test_rank(self, encoder, rank):
        message = f"rank of LoRA must be a whole number from 1, received {rank!r}"
        with pytest.raises(ValueError, match=message):
            enable_lora(encoder, rank)


class TestFreezing:
    def test_frozen_layers_do_not_move_and_others_do(self, two_layer_classifier, reviews):
        model = two_layer_classifier()
        freeze_layers(model.encoder, 1)
        before = {weight.path: np.array(weight) for weight in model.weights}
        model.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1))
        model.fit(*reviews, epochs=1, verbose=0)
        moved = {w.path for w in model.weights if not np.array_equal(w, before[w.path])}
        encoder = model.encoder
        frozen = {w.path for w in (*encoder.embeddings.weights, *encoder.blocks[0].weights)}
        assert not moved & frozen
        assert moved >= {path for path in {*before} - frozen if path.endswith("kernel")}

    def test_more_layers_than_there_are(self, encoder):
        with pytest.raises(ValueError, match="encoder has 3 layers, received num_layers=4"):
            freeze_layers(encoder, 4)


class TestKeepingLayers:
    def test_is_the_encoder_without_the_others(self, encoder, inputs):
        smaller = keep_layers(encoder, [0, 2])
        x = encoder.embeddings(inputs["token_ids"], inputs["segment_ids"])
        for n in (0, 2):
            x = encoder.blocks[n](x)
        outputs = smaller(inputs)
        np.testing.assert_allclose(outputs["sequence_output"], x, atol=1e-6)
        np.testing.assert_allclose(outputs["pooled_output"], encoder.pooler(x), atol=1e-6)
        assert smaller.config.num_layers == 2

    def test_of_all_layers_is_a_copy(self, encoder):
        copy = keep_layers(encoder, [0, 1, 2])
        for theirs, ours in zip(encoder.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        copy.blocks[0].attention.query.kernel.assign_add(np.ones((encoder.config.hidden_dim,) * 2))
        assert not np.array_equal(encoder.get_weights()[5], copy.get_weights()[5])

    @pytest.mark.parametrize("layers", [[], [3], [-1]])
    def test_layers_that_there_are_not(self, encoder, layers):
        with pytest.raises(ValueError, match="must be some of 0 to 2, received"):
            keep_layers(encoder, layers)

    def test_a_smaller_classifier_keeps_head_tokenizer_and_settings(self, two_layer_classifier):
        model = two_layer_classifier(sequence_length=8, temperature=2.0)
        smaller = model.with_layers([1])
        assert smaller.encoder.config.num_layers == 1
        assert (smaller.sequence_length, smaller.temperature) == (8, 2.0)
        assert smaller.tokenizer is model.tokenizer
        np.testing.assert_array_equal(smaller.head.logits.kernel, model.head.logits.kernel)


class TestKeepingHeads:
    @pytest.fixture
    def kept(self):
        """One of two heads of width 4 in each of three blocks."""
        return [[1], [0], [1]]

    def test_is_the_encoder_in_which_the_others_say_nothing(self, encoder, inputs, kept):
        generator = np.random.default_rng(0)
        for weight in encoder.weights:
            weight.assign(generator.normal(0, 0.3, weight.shape))
        smaller = keep_heads(encoder, kept)
        before = states(encoder, inputs)
        for block, (head,) in zip(encoder.blocks, kept, strict=True):
            kernel = block.attention.output_projection.kernel
            values = keras.ops.convert_to_numpy(kernel).copy()
            values[4 * (1 - head) : 4 * (2 - head)] = 0
            kernel.assign(values)
        assert np.abs(states(encoder, inputs) - before).max() > 0.01
        np.testing.assert_allclose(states(smaller, inputs), states(encoder, inputs), atol=1e-5)
        # In each block, half of four matrices and of three biases go.
        assert encoder.count_params() - smaller.count_params() == 3 * (4 * 8 * 4 + 3 * 4)

    def test_all_heads_are_a_copy(self, encoder, inputs):
        copy = keep_heads(encoder, [[1, 0]] * 3)
        np.testing.assert_array_equal(states(copy, inputs), states(encoder, inputs))

    def test_some_of_those_that_are_left(self, encoder, inputs):
        once = keep_heads(encoder, [[1]] * 3)
        np.testing.assert_array_equal(
            states(keep_heads(once, [[0]] * 3), inputs), states(once, inputs)
        )

    @pytest.mark.parametrize(
        "heads",
        [[[0]] * 2, [[0], [1], [2]], [[0], [1], [0, 1]], [[0, 0]] * 3, [[]] * 3, [[-1]] * 3],
    )
    def test_heads_that_there_are_not(self, encoder, heads):
        message = "each of the 3 blocks the heads to keep must be some of 0 to 1, each once, and as"
        with pytest.raises(ValueError, match=message):
            keep_heads(encoder, heads)

    def test_an_encoder_with_adapters(self, encoder):
        enable_lora(encoder, 2)
        with pytest.raises(ValueError, match="without adapters, .* merge adapters by merge_lora"):
            keep_heads(encoder, [[0]] * 3)

    def test_adapters_on_what_is_left(self, encoder, inputs):
        smaller = keep_heads(encoder, [[0]] * 3)
        before = states(smaller, inputs)
        enable_lora(smaller, 2)
        change(smaller, np.random.default_rng(0))
        adapted = states(smaller, inputs)
        assert np.abs(adapted - before).max() > 0.01
        merge_lora(smaller)
        np.testing.assert_allclose(states(smaller, inputs), adapted, atol=1e-5)

    def test_a_classifier_is_saved_and_loaded(self, two_layer_classifier, tmp_path):
        model = two_layer_classifier(temperature=2.0)
        smaller = model.with_heads([[1], [0]])
        texts = ["a great film", "an awful movie"]
        expected = smaller.probabilities(texts)
        smaller.save_pretrained(tmp_path / "smaller")
        smaller.save(tmp_path / "smaller.keras")
        loaded = BertClassifier.from_pretrained(tmp_path / "smaller")
        assert (loaded.encoder.config.num_heads, loaded.encoder.config.head_dim) == (1, 8)
        np.testing.assert_allclose(loaded.probabilities(texts), expected, atol=1e-6)
        again = keras.saving.load_model(tmp_path / "smaller.keras")
        np.testing.assert_allclose(again.probabilities(texts), expected, atol=1e-6)

    def test_a_checkpoint_that_says_another_width(self, two_layer_classifier, tmp_path):
        two_layer_classifier().with_heads([[1], [0]]).save_pretrained(tmp_path / "smaller")
        config = tmp_path / "smaller/config.json"
        config.write_text(config.read_text().replace('"head_dim": 8', '"head_dim": 4'))
        (tmp_path / "smaller/hashes.json").unlink()
        with pytest.raises(ValueError, match=r"has shape \(8, 16\), the config asks for \(4, 16\)"):
            BertClassifier.from_pretrained(tmp_path / "smaller")
