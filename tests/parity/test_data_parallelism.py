"""On JAX, two devices that share each batch learn from it what one learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).parents[1] / "training/distribution_worker.py"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "accumulating sgd"])
def test_two_devices_equal_one(tmp_path: Path, optimizer: str) -> None:
    settings = {
        "optimizer": optimizer,
        "checkpoint": str(tmp_path / "one.safetensors"),
        # An epoch is 9 x 8 and 1 rows, which two devices cannot share, its validation 8 and 5.
        "epochs": 5,
        "then": [{"checkpoint": str(tmp_path / "two.safetensors"), "distribute": "mirrored"}],
    }
    # The backend is chosen at Keras' first import, the devices at JAX'.
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    process = subprocess.run(
        [sys.executable, WORKER, json.dumps(settings)],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    one = json.loads(process.stdout.splitlines()[-1])
    (two,) = one["then"]
    assert one["updates"] == two["updates"] == (16 if "accumulating" in optimizer else 50)
    # Sums of parts are rounded otherwise: the batches were shared.
    assert one["hash"] != two["hash"]
    for name, values in one["weights"].items():
        # The gradient of a key's bias is none but rounding errors; Adam makes steps of them.
        is_rounding = optimizer == "adamw" and name.endswith("key/bias")
        bound = 1e-3 if is_rounding else 1e-6
        np.testing.assert_allclose(two["weights"][name], values, rtol=0, atol=bound, err_msg=name)
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(two["logits"], one["logits"], rtol=0, atol=2e-6)
