"""What the comparison of speeds works out, by hand; nothing is timed."""

import pytest

from keras_bert_scratch import BertConfig


def test_useful_flops_are_those_of_every_product(benchmark):
    config = BertConfig(
        vocab_size=10, num_layers=2, num_heads=2, hidden_dim=4, feed_forward_dim=6, max_positions=8
    )
    # Multiplications in a layer, for 3 tokens: query, key, value and output (3, 4) x (4, 4); each
    # of 2 heads (3, 2) x (2, 3), then (3, 3) x (3, 2); (3, 4) x (4, 6), then (3, 6) x (6, 4).
    three = 4 * 48 + 2 * (18 + 18) + 72 + 72
    # The same for 1 token.
    one = 4 * 16 + 2 * (2 + 2) + 24 + 24
    # Two layers each; the pooler, (1, 4) x (4, 4), and the head, (1, 4) x (4, 5), for each text.
    multiplications = 2 * three + 2 * one + 2 * (16 + 20)
    assert multiplications == 2 * 408 + 2 * 120 + 72
    # An addition goes with each.
    assert benchmark.useful_flops([3, 1], config, 5, training=False) == 2 * multiplications
    assert benchmark.useful_flops([3, 1], config, 5, training=True) == 6 * multiplications


def test_rates_are_medians_and_utilization_is_of_the_frameworks_best_peak(benchmark):
    def row(framework, texts, useful_flops, *runs):
        names = ("seconds", "first_step_seconds", "peak_flops")
        return {
            "framework": framework,
            "precision": "float32",
            "texts": texts,
            "useful_flops": useful_flops,
            "runs": [dict(zip(names, run, strict=True)) for run in runs],
        }

    rows = [
        row("torch", 40, 800, (4, 1, 90), (10, 5, 100), (5, 3, 80)),
        row("torch", 10, 300, (5, 2, 200)),
        row("tensorflow", 10, 300, (5, 2, 120)),
    ]
    benchmark.summarize(rows)
    assert [r["texts_per_second"] for r in rows] == [8, 2, 2]
    assert (rows[0]["slowest"], rows[0]["fastest"], rows[0]["first_step_seconds"]) == (4, 10, 3)
    # 800 operations in the median 5 s, of 200 a second; 300 in 5 s, of 200 and of 120.
    assert [r["utilization"] for r in rows] == pytest.approx([0.8, 0.3, 0.5])
