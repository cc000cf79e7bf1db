"""Peak memory of a block of ModernBERT by length: local, and global attention.

    python benchmarks/long_texts.py

A block of mini's sizes (H = 256, N = 4) reads one text, each time in a fresh process. The
figures are the growth of the process without gradients, and with the gradients of all weights.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import resource
import subprocess
import sys

import numpy as np
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock
from keras_bert_scratch.tables import format_table

_WINDOWS = {"local": 128, "global": None}


def main() -> None:
    """Prints a row per length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 4096, 8192])
    # Arguments of a fresh process.
    parser.add_argument("--kind", choices=_WINDOWS, help=argparse.SUPPRESS)
    parser.add_argument("--gradient", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        print(growth(_WINDOWS[options.kind], options.lengths[0], options.gradient))
        return
    modes = [(kind, gradient) for kind in _WINDOWS for gradient in ([], ["--gradient"])]
    rows = []
    for length in options.lengths:
        row = [f"{length:,}"]
        for kind, gradient in modes:
            command = [sys.executable, __file__, "--kind", kind, "--lengths", str(length)]
            found = subprocess.run([*command, *gradient], check=True, stdout=subprocess.PIPE)
            row.append(f"{int(found.stdout) / 1e6:.0f} MB")
        rows.append(row)
    header = [f"{kind}{', gradient' if gradient else ''}" for kind, gradient in modes]
    print(format_table(["length", *header], rows))


def growth(window: int | None, length: int, gradient: bool) -> int:
    """Measures by how many bytes the process grows with one text of that length."""
    config = BertConfig(
        num_heads=4,
        hidden_dim=256,
        feed_forward_dim=1024,
        architecture="modernbert",
        local_window=window or 2,
        global_every=3 if window else 1,
    )
    block = PreNormBlock(config, index=1)
    block.build((None, None, 256))
    weights = [weight.value for weight in block.trainable_weights]

    @tf.function(input_signature=[tf.TensorSpec((None, None, 256))])
    def run(x: tf.Tensor) -> list[tf.Tensor]:
        if not gradient:
            return [block(x)]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(block(x, training=True)))
        return tape.gradient(loss, weights)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kibibytes on Linux

    x = np.random.default_rng(0).normal(size=(1, length, 256)).astype("float32")
    run(x[:, :256])  # memory of the framework itself
    before = peak()
    run(x)
    return peak() - before


if __name__ == "__main__":
    main()
