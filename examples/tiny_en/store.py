"""Stores the result of a pretraining as the package holds it.

    python examples/tiny_en/store.py run/model keras_bert_scratch/weights/tiny-en

Weights become float16, half the bytes; what that costs is printed. The dropout, 0 while so little
was to be regularized, becomes BERT's for fine-tuning.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from keras_bert_scratch import BertSentenceEncoder
from keras_bert_scratch.files import sha256_of

TEXTS = ["A film to remember.", "Shares fell as oil rose to a record.", "The minister resigned."]


def main(model: str, output: str) -> None:
    """Writes the folder, and prints the hash of its weights."""
    shutil.copytree(model, output, ignore=shutil.ignore_patterns("hashes.json"))
    weights = Path(output) / "model.safetensors"
    halves = {name: value.astype("float16") for name, value in load_file(weights).items()}
    save_file(halves, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    config = Path(output) / "config.json"
    fields = json.loads(config.read_text())
    fields |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config.write_text(json.dumps(fields, indent=2) + "\n")
    before, after = (
        BertSentenceEncoder.from_pretrained(folder, normalize=True).encode(TEXTS, verbose=0)
        for folder in (model, output)
    )
    print(f"least cosine of {len(TEXTS)} vectors before and after: {(before * after).sum(1).min()}")
    print(f"{weights}: {weights.stat().st_size} bytes, sha256 {sha256_of(weights)}")
    print(f"largest difference of a component: {np.abs(before - after).max():.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
