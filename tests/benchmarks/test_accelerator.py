"""The script for an accelerator, on the processor at tiny size."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/accelerator.py"


def test_operations_counted_by_hand(benchmark):
    # A layer of H = 2 and F = 3 has kernels of 4 x 4 + 2 x 6 = 28 values; 5 tokens meet 5 keys.
    sizes = {"hidden_dim": 2, "feed_forward_dim": 3, "num_layers": 7}
    forward = 7 * (2 * 28 * 5 + 2 * 2 * (5 * 5 * 2))
    assert benchmark.flops(sizes, 5, training=False) == forward
    assert benchmark.flops(sizes, 5, training=True) == 3 * forward


@pytest.mark.slow
def test_every_case_is_measured_or_named():
    pytest.importorskip("jax")
    # As on a machine without TensorFlow.
    code = (
        "import sys, runpy; sys.modules['tensorflow'] = None\n"
        f"sys.argv = ['accelerator.py', '--tiny', '--seconds', '0.05']\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    for length in ("8", "16"):
        for what in ("training", "answers"):
            (line,) = (n for n in lines if n.split()[:3] == ["ours", length, what])
            assert float(line.split()[3]) > 0
        assert any(line.startswith("ours, flash attention") and length in line for line in lines)
