"""Where the time of a training step goes: TensorFlow's profile of a fine-tuning step, by kind.

    python benchmarks/step.py

MiniLM, 32 texts of 32 tokens, AdamW with clipping and dropout, as in fine-tuning on the snippets.
The times are those of the operations on all threads, so they add up to more than a step's.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import itertools
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, adamw
from keras_bert_scratch.tables import format_table

# The first that matches an operation's type, from TensorFlow's names.
KINDS = {
    "matrix products": r"MatMul|Einsum",
    "AdamW's update": r"ResourceApplyAdam|AssignSub|AssignAdd",
    "dropout's random numbers": r"Random",
    "GELU": r"Erf|Gelu|Exp$",
    "norms and softmax": r"Rsqrt|SquaredDifference|Mean|Softmax|L2Loss|Sum$",
    "embeddings": r"Gather|UnsortedSegment|Scatter|Unique",
    "casts": r"Cast",
    "copies": r"Transpose|Reshape|Concat|Slice|Pack|Tile|Broadcast",
    "other elementwise": r"",
}


def profile(dtype: str, steps: int) -> tuple[float, Counter[str]]:
    """Returns the milliseconds of a step, and of the operations in it by their type."""
    model = BertClassifier(BertEncoder(BertConfig.preset("minilm"), dtype=dtype), ["no", "yes"])
    model.compile(adamw(total_steps=1000))
    ids = np.random.default_rng(0).integers(5, 30000, (32, 32), dtype="int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    data = itertools.repeat(tf.nest.map_structure(tf.constant, (inputs, ids[:, 0] % 2)))
    model.make_train_function()
    assert model.train_function is not None
    for _ in range(3):
        float(model.train_function(data)["loss"])
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            started = time.perf_counter()
            for _ in range(steps):
                float(model.train_function(data)["loss"])
            seconds = time.perf_counter() - started
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    keras.backend.clear_session()
    times: Counter[str] = Counter()
    for plane in space.planes:
        names = {key: metadata.name for key, metadata in plane.event_metadata.items()}
        for event in itertools.chain.from_iterable(line.events for line in plane.lines):
            # An operation is listed as "name:type"; other entries are functions of TensorFlow.
            if match := re.fullmatch(r"[\w./-]+:(\w+)", names[event.metadata_id]):
                times[match[1]] += event.duration_ps / 1e9 / steps
    return 1000 * seconds / steps, times


def main() -> None:
    """Profiles both precisions, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--types", action="store_true", help="print every type of operation, too")
    options = parser.parse_args()
    for dtype in ("float32", "mixed_bfloat16"):
        milliseconds, times = profile(dtype, options.steps)
        kinds: Counter[str] = Counter()
        for name, value in times.items():
            kinds[next(kind for kind, rule in KINDS.items() if re.search(rule, name))] += value
        rows = [[k, f"{v:.0f}", f"{v / kinds.total():.0%}"] for k, v in kinds.most_common()]
        print(f"\n{dtype}: {milliseconds:.0f} ms a step")
        print(format_table(["", "ms of all threads", "share"], rows))
        if options.types:
            print(format_table(["", "ms"], [[k, f"{v:.1f}"] for k, v in times.most_common()]))


if __name__ == "__main__":
    main()
