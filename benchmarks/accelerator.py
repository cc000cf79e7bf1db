"""BERT on an accelerator: sequences a second, and how much of its arithmetic is used.

    pip install -e . "jax[cuda12]" torch   # TensorFlow is not needed
    python benchmarks/accelerator.py       # some four minutes

Our encoder of base size on JAX with 128 and 512 tokens, in mixed_bfloat16: training steps with
AdamW, and answers; with the attention of the equation, and with Keras' flash attention in its
place. Beside it PyTorch's TransformerEncoder of the same sizes with scaled_dot_product_attention,
under autocast. Dropout acts on the states, not on the probabilities, which flash attention never
holds. All tokens are real ones. Utilization counts matrix products, three times for training,
against the fastest product of two large matrices in the same run, by JAX or by PyTorch.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

Sizes = dict[str, Any]


def flops(sizes: Sizes, length: int, training: bool) -> int:
    """Counts the operations of the matrix products of a sequence of S tokens."""
    hidden = sizes["hidden_dim"]
    kernels = 4 * hidden**2 + 2 * hidden * sizes["feed_forward_dim"]
    forward = sizes["num_layers"] * (2 * kernels * length + 4 * hidden * length**2)
    return (3 if training else 1) * forward


def rate(step: Callable[[], Any], wait: Callable[[Any], Any], seconds: float) -> float:
    """Returns the steps a second, after three that compile and warm up."""
    for _ in range(3):
        wait(step())
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        # One wait for several steps, so that the device is never without work.
        for _ in range(4):
            found = step()
        wait(found)
        steps += 4
    return steps / (time.perf_counter() - started)


# === Ours, on JAX ===
def jax_steps(
    sizes: Sizes, batch_size: int, length: int, flash: bool
) -> Iterator[tuple[bool, Callable[[], Any]]]:
    """Yields a training step and an inference step, and whether it is for training."""
    import jax
    import keras

    from keras_bert_scratch.config import BertConfig
    from keras_bert_scratch.models.encoder import BertEncoder

    config = BertConfig(**sizes, attention_dropout=0.0)
    ids = np.random.default_rng(0).integers(5, sizes["vocab_size"], (batch_size, length), "int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}

    def attend(query: Any, key: Any, value: Any, bias: Any, dropout: Any) -> tuple[Any, None]:
        # Keras' has the axes (B, S, N, D).
        rows = (keras.ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
        found = keras.ops.dot_product_attention(*rows, bias=bias, flash_attention=True)
        return keras.ops.transpose(found, (0, 2, 1, 3)), None

    patch = mock.patch("keras_bert_scratch.layers.attention.attend", attend)
    with patch if flash else mock.patch.dict({}):
        encoder = BertEncoder(config, dtype="mixed_bfloat16")
        optimizer = keras.optimizers.AdamW(1e-4)
        optimizer.build(encoder.trainable_variables)
        values = [
            [v.value for v in variables]
            for variables in (
                encoder.trainable_variables,
                encoder.non_trainable_variables,
                optimizer.variables,
            )
        ]
        inputs = jax.device_put(inputs)

        def loss(trainable: Any, others: Any) -> tuple[Any, Any]:
            outputs, others = encoder.stateless_call(trainable, others, inputs, training=True)
            return keras.ops.mean(keras.ops.square(outputs["sequence_output"])), others

        @jax.jit
        def train(trainable: Any, others: Any, state: Any) -> Any:
            (_, others), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, others)
            return optimizer.stateless_apply(state, gradients, trainable)[0], others, state

        @jax.jit
        def infer(trainable: Any, others: Any) -> Any:
            return encoder.stateless_call(trainable, others, inputs, training=False)[0]

        def step() -> Any:
            values[:] = train(*values)
            return values[0][0]

        yield True, step
        yield False, lambda: infer(*values[:2])["sequence_output"]


def jax_peak(size: int) -> float:
    """Returns the operations a second of a product of two square matrices."""
    import jax

    matrix = jax.random.normal(jax.random.key(0), (size, size), "bfloat16")
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 * rate(lambda: product(matrix), lambda x: x.block_until_ready(), 1)


# === PyTorch ===
def torch_steps(
    sizes: Sizes, batch_size: int, length: int
) -> Iterator[tuple[bool, Callable[[], Any]]]:
    """Yields a training step and an inference step, and whether it is for training."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = torch.nn.TransformerEncoderLayer(
        sizes["hidden_dim"],
        sizes["num_heads"],
        sizes["feed_forward_dim"],
        activation="gelu",
        batch_first=True,
    )
    for module in layer.modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    embedding = torch.nn.Embedding(sizes["vocab_size"], sizes["hidden_dim"])
    encoder = torch.nn.TransformerEncoder(layer, sizes["num_layers"], enable_nested_tensor=False)
    model = torch.nn.Sequential(embedding, encoder).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    ids = torch.randint(5, sizes["vocab_size"], (batch_size, length), device=device)

    def train() -> Any:
        with torch.autocast(device, torch.bfloat16):
            loss = model(ids).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def infer() -> Any:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            return model(ids)

    yield True, train
    model.eval()
    yield False, infer


def torch_peak(size: int) -> float:
    """Returns the operations a second of a product of two square matrices."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 * rate(lambda: matrix @ matrix, lambda x: x.float().sum().item(), 1)


def measure(
    sizes: Sizes, lengths: list[int], tokens: int, seconds: float, matrix: int
) -> Iterator[tuple[str, int, str, float, float]]:
    """Yields name, length, what it does, sequences a second and utilization of every case."""
    makers: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], float]] = {
        name: (
            lambda batch, length, flash=flash: jax_steps(sizes, batch, length, flash),
            lambda x: x.block_until_ready(),
            jax_peak(matrix),
        )
        for name, flash in (("ours", False), ("ours, flash attention", True))
    }
    if importlib.util.find_spec("torch"):
        makers["PyTorch"] = (
            lambda batch, length: torch_steps(sizes, batch, length),
            lambda x: x.float().sum().item(),
            torch_peak(matrix),
        )
    for length in lengths:
        batch_size = max(1, tokens // length)
        for name, (make, wait, peak) in makers.items():
            try:
                for training, step in make(batch_size, length):
                    found = batch_size * rate(step, wait, seconds)
                    used = found * flops(sizes, length, training) / peak
                    yield name, length, "training" if training else "answers", found, used
            except (RuntimeError, ValueError, NotImplementedError) as error:
                print(f"{name}, {length} tokens: not on this device ({str(error)[:100]})")


def main(arguments: list[str] | None = None) -> None:
    """Prints a line for every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to test the script")
    parser.add_argument("--tokens", type=int, default=32_768, help="of a batch (default: 32768)")
    parser.add_argument("--seconds", type=float, default=4, help="of a case (default: 4)")
    options = parser.parse_args(arguments)
    os.environ["KERAS_BACKEND"] = "jax"
    # PyTorch needs some of the memory, too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sizes = {"hidden_dim": 768, "num_layers": 12, "num_heads": 12, "feed_forward_dim": 3072}
    lengths, tokens, matrix = [128, 512], options.tokens, 8192
    if options.tiny:
        sizes = {"hidden_dim": 32, "num_layers": 2, "num_heads": 2, "feed_forward_dim": 64}
        lengths, tokens, matrix = [8, 16], 32, 64
    sizes["vocab_size"] = 100 if options.tiny else 30_522
    print(f"{'':24}{'tokens':>7} {'':10}{'sequences/s':>12}{'utilization':>12}")
    for name, length, what, found, used in measure(sizes, lengths, tokens, options.seconds, matrix):
        print(f"{name:24}{length:>7} {what:10}{found:>12.1f}{used:>12.1%}", flush=True)


if __name__ == "__main__":
    main()
