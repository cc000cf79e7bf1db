"""BERT-large on one GPU, on eight, and on 64 hosts of eight: what is computed, not measured.

    python benchmarks/scaling.py

The encoder, its products, the bytes of its gradients and examples are counted from this package.
The rest is arithmetic on what is assumed, and printed with it: how much of its peak a GPU reaches,
and the rates of the links. An all-reduce in a ring sends and receives 2 (n - 1) / n of all
gradients (Patarasuk & Yuan 2009), first within the hosts, then over them. Nothing overlaps with it,
as gradients are clipped by the norm of their sum, so that the efficiency is a lower bound.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse

import numpy as np
from fine_tuning import useful_flops

from keras_bert_scratch import BertConfig, BertEncoder
from keras_bert_scratch.data.sentence_pairs import Example
from keras_bert_scratch.data.shards import _serialize
from keras_bert_scratch.tables import format_table

GPUS_A_HOST = 8


def example_bytes(length: int, vocab_size: int) -> int:
    """Returns the size of an example of random tokens in a shard."""
    ids = np.random.default_rng(0).integers(vocab_size, size=length, dtype="int32")
    return len(_serialize(Example(ids, length // 2, 0)))


def all_reduce_seconds(
    gradient_bytes: int, hosts: int, gpus: int, links: tuple[float, float]
) -> float:
    """Returns the seconds in which all GPUs exchange their gradients.

    Args:
        gradient_bytes: Size of the gradients of all weights.
        hosts: Number of hosts.
        gpus: Number of GPUs per host.
        links: Bytes per second of a GPU within the host, and of a host.
    """
    within = 2 * (gpus - 1) / gpus * gradient_bytes / links[0]
    across = 2 * (hosts - 1) / hosts * gradient_bytes / links[1]
    return within + across


def main() -> None:
    """Prints the plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="large")
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32, help="batch size of a GPU")
    parser.add_argument("--peak", type=float, default=989e12, help="operations per second of a GPU")
    parser.add_argument(
        "--utilization", type=float, default=0.4, help="share of the peak that is reached"
    )
    parser.add_argument("--gpu-link", type=float, default=450e9, help="bytes a second, one way")
    parser.add_argument("--host-link", type=float, default=50e9, help="bytes a second, one way")
    options = parser.parse_args()

    config = BertConfig.preset(options.preset)
    weights = BertEncoder(config).count_params()
    lengths = [options.sequence_length] * options.batch_size
    flops = useful_flops(lengths, config, 2, training=True)
    seconds = flops / (options.peak * options.utilization)
    size = example_bytes(options.sequence_length, config.vocab_size)
    print(
        f"{options.preset}: {weights / 1e6:.0f} million weights, "
        f"{4 * weights / 1e9:.2f} GB of float32 gradients. "
        f"A step of {options.batch_size} x {options.sequence_length} tokens a GPU: "
        f"{flops / 1e12:.1f} TFLOP, {size * options.batch_size / 1e3:.0f} kB of examples.\n"
        f"Assumed: {options.utilization:.0%} of {options.peak / 1e12:.0f} TFLOP/s a GPU, "
        f"{options.gpu_link / 1e9:.0f} GB/s one way between GPUs, {options.host_link / 1e9:.0f} "
        "between hosts."
    )
    rows = []
    for hosts, gpus in ((1, 1), (1, GPUS_A_HOST), (8, GPUS_A_HOST), (64, GPUS_A_HOST)):
        links = options.gpu_link, options.host_link
        exchange = all_reduce_seconds(4 * weights, hosts, gpus, links)
        steps_per_second = 1 / (seconds + exchange)
        batch = hosts * gpus * options.batch_size
        rows.append(
            [
                f"{hosts} x {gpus}",
                str(batch),
                f"{1000 * seconds:.0f}",
                f"{1000 * exchange:.0f}",
                f"{seconds / (seconds + exchange):.0%}",
                f"{batch * steps_per_second:,.0f}",
                f"{batch * size * steps_per_second / hosts / 1e6:.1f}",
            ]
        )
    header = ["hosts x GPUs", "batch", "compute, ms", "exchange, ms", "efficiency"]
    print(format_table([*header, "sequences/s", "MB/s read a host"], rows))


if __name__ == "__main__":
    main()
