import logging

import keras
import numpy as np
import pytest

from keras_bert_scratch import Vocabulary, WordPieceTokenizer, adamw, bert_optimizer
from keras_bert_scratch.training.data_checks import (
    warn_of_cut_texts,
    warn_of_guessing,
    warn_of_labels,
    warn_of_steps,
    warn_of_unknown_tokens,
)

TOKENIZER = WordPieceTokenizer(Vocabulary("[PAD] [UNK] [CLS] [SEP] a film".split()))
A, FILM = 4, 5


@pytest.fixture
def said(caplog):
    """Returns a function that returns what was logged since its last call, as one string."""
    caplog.set_level(logging.WARNING, "keras_bert_scratch")

    def messages() -> str:
        found = "\n".join(caplog.messages)
        caplog.clear()
        return found

    return messages


class TestUnknownTokens:
    @staticmethod
    def ids(num_known: int, num_unknown: int) -> np.ndarray:
        return np.array([2] + [FILM] * num_known + [1] * num_unknown + [3])

    def test_share_and_examples(self, said):
        warn_of_unknown_tokens(self.ids(10, 30), ["a film", "a 电影 Wow wow film"], TOKENIZER)
        assert said() == (
            "75 % of the 40 tokens of the texts are unknown to the vocabulary, such as '电', '影', "
            "'Wow': to the model they are all the same. Choose a checkpoint whose vocabulary has "
            "the texts' language and writing."
        )

    def test_without_texts(self, said):
        warn_of_unknown_tokens(self.ids(10, 30), [], TOKENIZER)
        assert "75 % of the 40 tokens of the texts are unknown to the vocabulary: to" in said()

    @pytest.mark.parametrize(("num_known", "num_unknown"), [(90, 10), (1, 9), (0, 0)])
    def test_a_tenth_and_a_few_are_normal(self, said, num_known, num_unknown):
        warn_of_unknown_tokens(self.ids(num_known, num_unknown), ["a wow"], TOKENIZER)
        assert said() == ""

    def test_more_than_a_tenth(self, said):
        warn_of_unknown_tokens(self.ids(90, 11), ["a wow"], TOKENIZER)
        assert said().startswith("11 % of the 101 tokens")


class TestCutTexts:
    @staticmethod
    def warn(texts, pairs=None, length=8, positions=16):
        columns = [texts] if pairs is None else [texts, pairs]
        tokens = [
            len(TOKENIZER.encode(*both, sequence_length=length).token_ids)
            for both in zip(*columns, strict=True)
        ]
        warn_of_cut_texts(
            np.array(tokens), columns, TOKENIZER, sequence_length=length, max_positions=positions
        )

    def test_share_and_length(self, said):
        # 7 words are 9 tokens with [CLS] and [SEP], 11 are 13.
        self.warn(["film"] * 6 + ["a " * 7, "a " * 11, "a " * 11, "film"])
        assert said() == (
            "About 30 % of 10 texts have more than the 8 tokens that are read, in the median about "
            "13: what follows is not seen. sequence_length takes up to 16, at more time and "
            'memory; truncation="head_tail" reads both ends, and "windows" all of a text.'
        )

    def test_texts_that_just_fit_are_not_cut(self, said):
        self.warn(["a " * 6] * 10)
        assert said() == ""

    def test_a_few_are_not_worth_a_word(self, said):
        self.warn(["film"] * 19 + ["a " * 20])
        self.warn(["film"] * 39 + ["a " * 20] * 3)
        assert said() == ""

    def test_pairs_have_no_windows(self, said):
        self.warn(["a " * 6] * 4, ["a " * 4] * 4, length=8, positions=8)
        assert said() == (
            "About 100 % of 4 texts have more than the 8 tokens that are read, in the median about "
            "13: what follows is not seen. Shorten them, if it matters."
        )

    def test_very_long_texts_cost_no_time(self, said):
        warn_of_cut_texts(
            np.full(1000, 8), [["a " * 1_000_000] * 1000], TOKENIZER,
            sequence_length=8, max_positions=8,
        )  # fmt: skip
        # 5,000 tokens and [SEP] in 10,000 characters, 200 times, and [CLS].
        assert "in the median about 1,000,201" in said()


class TestLabels:
    def test_classes_without_examples(self, said):
        warn_of_labels(np.array([90, 9, 2, 0]), ["sport", "art", "law", "war"], 101)
        assert said() == (
            "Of 4 classes, 2 are nearly absent from the training examples, with the number of "
            "each: 'law' (2), 'war' (0). They will hardly be answered: give more examples of them, "
            "weigh them with class_weight, or leave them out."
        )

    def test_many_are_not_all_listed(self, said):
        warn_of_labels(np.array([90] + [1] * 7), list("abcdefgh"), 97)
        assert "'b' (1), 'c' (1), 'd' (1), 'e' (1), 'f' (1) and 2 more." in said()

    @pytest.mark.parametrize("counts", [[8, 8], [1, 1], [79, 8], [70, 8, 8], [10, 2]])
    def test_few_shots_and_common_imbalance(self, said, counts):
        warn_of_labels(np.array(counts), ["a", "b", "c"][: len(counts)], sum(counts))
        assert said() == ""

    @pytest.mark.parametrize(
        "labels",
        [
            ["1.5", "2", "3"],
            [str(year) for year in range(1990, 2024, 3)],
            [str(score) for score in range(0, 110, 10)],
        ],
    )
    def test_numbers_on_a_scale(self, said, labels):
        warn_of_labels(np.full(len(labels), 10), labels, 10 * len(labels))
        found = said()
        assert found.startswith(f"The labels are {len(labels)} numbers, such as '{labels[0]}', ")
        assert 'labels=["rating"]' in found

    @pytest.mark.parametrize(
        "labels",
        [
            ["0", "1"],
            ["-1", "0", "1"],
            ["1", "2", "3", "4", "5"],
            [str(n) for n in range(20)],
            ["0.0", "1.0", "2.0"],
            ["nan", "1", "2.5"],
            ["2.5", "three", "4"],
        ],
    )
    def test_ids_and_grades_are_classes(self, said, labels):
        warn_of_labels(np.full(len(labels), 10), labels, 10 * len(labels))
        assert said() == ""

    def test_free_text(self, said):
        labels = [f"The {n}th text is a story." for n in range(40)]
        warn_of_labels(np.ones(40), labels, 45)
        assert said() == (
            "There are 40 classes for 45 texts, such as 'The 0th text is a story.', "
            "'The 1th text is a story.', 'The 2th text is a story.': labels that are nearly all "
            "different cannot be learned. Check that the labels are the right column."
        )

    def test_two_texts_a_class_are_a_task(self, said):
        warn_of_labels(np.full(20, 2), [f"class {n}" for n in range(20)], 40)
        assert said() == ""


class TestSteps:
    def test_warm_up_that_never_ends(self, said):
        warn_of_steps(57, 608, adamw(5e-5, total_steps=800))
        assert said() == (
            "fit ends after 57 updates, and the schedule's warm-up takes 80 of its "
            "total_steps=800: the learning rate never reaches its peak. Compile with "
            "total_steps=57, or train for more epochs."
        )

    def test_schedule_that_ends_too_early(self, said):
        warn_of_steps(300, 1000, adamw(5e-5, total_steps=100))
        assert "fit ends after 300 updates, and the schedule after total_steps=100: from" in said()

    def test_schedule_that_has_ended(self, said):
        optimizer = adamw(5e-5, total_steps=100)
        optimizer.iterations.assign(100)
        warn_of_steps(60, 1000, optimizer)
        assert "fit begins at update 100, where the schedule of total_steps=100 has" in said()

    def test_few(self, said):
        warn_of_steps(6, 64, keras.optimizers.Adam(1e-5))
        assert said() == (
            "fit makes 6 updates of the weights, and fine-tuning takes some hundred: train for "
            "more epochs, or in smaller batches."
        )

    def test_updates_are_counted_not_batches(self, said):
        optimizer = bert_optimizer("adamw", total_steps=25, gradient_accumulation=4)
        warn_of_steps(100, 1000, optimizer)
        assert said().startswith("fit makes 25 updates")

    @pytest.mark.parametrize(
        ("num_batches", "num_examples", "optimizer"),
        [
            (100, 1000, lambda: adamw(5e-5, total_steps=100)),
            (100, 1000, lambda: bert_optimizer("schedule-free", total_steps=100)),
            (100, 1000, lambda: keras.optimizers.Adam(1e-5)),
            (100, 1000, lambda: keras.optimizers.Adam(
                keras.optimizers.schedules.CosineDecay(1e-5, 20))),
            (100, 1000, lambda: keras.optimizers.LossScaleOptimizer(adamw(total_steps=100))),
            (100, 1000, lambda: keras.optimizers.Adam(lambda: 1e-5)),
            (3, 4, lambda: adamw(5e-5, total_steps=800)),  # an example of the documentation
        ],
    )  # fmt: skip
    def test_nothing_to_say(self, said, num_batches, num_examples, optimizer):
        warn_of_steps(num_batches, num_examples, optimizer())
        assert said() == ""

    def test_more_training_of_a_trained_model(self, said):
        optimizer = keras.optimizers.Adam(1e-5)
        optimizer.iterations.assign(500)
        warn_of_steps(6, 64, optimizer)
        assert said() == ""


class TestGuessing:
    def test_no_better_than_the_commonest_class(self, said):
        # The standard error of 0.25 on 300 texts is 0.025.
        warn_of_guessing(0.217, np.array([75, 60, 60, 55, 50]), ["a", "b", "c", "d", "e"])
        assert said() == (
            "The accuracy on 300 held-out texts is 21.7 %, no better than always answering 'a' "
            "(25.0 %): the model has not learned to tell the classes apart. Check that texts and "
            "labels belong together; then try more epochs, more examples, another learning rate, "
            "or another checkpoint, such as minilm."
        )

    def test_within_one_standard_error(self, said):
        warn_of_guessing(0.27, np.array([75, 60, 60, 55, 50]), ["a", "b", "c", "d", "e"])
        assert said().startswith("The accuracy on 300 held-out texts is 27.0 %, no better than")

    @pytest.mark.parametrize(
        ("accuracy", "counts"),
        [
            (0.28, [75, 60, 60, 55, 50]),
            (0.1, [10, 9]),  # too few to tell
            (1.0, [30, 0]),  # nothing to tell apart
        ],
    )
    def test_nothing_to_say(self, said, accuracy, counts):
        warn_of_guessing(accuracy, np.array(counts), ["a", "b", "c", "d", "e"])
        assert said() == ""
