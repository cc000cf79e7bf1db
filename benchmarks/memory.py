"""Peak memory of a training step, beside what `training.memory` estimates.

    python benchmarks/memory.py --batch-size 16 --rematerialize
    python benchmarks/memory.py --preset medium --batch-size 32 --sequence-length 128
    python benchmarks/memory.py --preset mini --architecture modernbert --sequence-length 2048

A classifier with random weights does two steps with AdamW on random ids. The peak is the process's,
so it includes TensorFlow itself, about 0.75 GB, unlike the estimate.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import resource

import numpy as np

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, adamw
from keras_bert_scratch.training.memory import training_bytes


def main() -> None:
    """Trains two steps, and prints both figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="base", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--sequence-length", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--architecture", default="bert", help="default: %(default)s")
    parser.add_argument("--rematerialize", action="store_true")
    parser.add_argument("--dtype", help="such as mixed_bfloat16 (default: float32)")
    options = parser.parse_args()

    config = BertConfig.preset(
        options.preset,
        architecture=options.architecture,
        max_positions=max(options.sequence_length, 512),
    )
    encoder = BertEncoder(config, rematerialize=options.rematerialize, dtype=options.dtype)
    model = BertClassifier(encoder, ["negative", "positive"], dtype=options.dtype)
    model.compile(adamw(5e-5, total_steps=100), metrics=[])
    shape = (options.batch_size, options.sequence_length)
    ids = np.random.default_rng(0).integers(5, 30000, shape, dtype="int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    for _ in range(2):
        model.train_on_batch(inputs, ids[:, 0] % 2)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kibibytes on Linux
    estimate = training_bytes(encoder, model.count_params(), *shape)
    print(f"peak {peak / 1e9:.2f} GB, estimated without TensorFlow {estimate / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
