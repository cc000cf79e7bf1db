"""Writes the golden checkpoints of tests/golden/encoder: transformers' BERT with random weights.

    python tests/golden/make_encoder.py

Needs torch==2.13.0 and transformers==5.23.0, and neither Keras nor this package: the numbers are
those of others. Every folder holds a checkpoint (config.json, model.safetensors) and `cases.npz`:

    token_ids, segment_ids, padding_mask     the inputs, (B, S)
    hidden_states                            (layers + 1, B, S, H)
    attention                                (layers, B, N, S, S)
    pooled_output                            (B, H)
    sequence_cotangent, pooled_cotangent     loss = sum(sequence * c_s) + sum(pooled * c_p)
    gradient/NAME                            of that loss, for every weight of the checkpoint

The sizes are all different, so that swapped axes have nowhere to hide. The weights are far from
their usual initial values (norms off 1 and 0, sharp attention, small embeddings), so that a wrong
epsilon, a transposed kernel or swapped projections move the outputs well above rounding.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent / "encoder"
LENGTHS = (13, 9, 1)  # tokens of each text; the rest is padding

CHECKPOINTS = {
    "erf": BertConfig(
        vocab_size=50,
        num_hidden_layers=2,
        num_attention_heads=3,
        hidden_size=24,
        intermediate_size=40,
        max_position_embeddings=20,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
    ),
    "tanh": BertConfig(
        vocab_size=44,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_size=16,
        intermediate_size=36,
        max_position_embeddings=13,
        type_vocab_size=3,
        hidden_act="gelu_new",
        layer_norm_eps=1e-3,
    ),
}


def randomize(model: BertModel) -> None:
    """Draws weights that let every one of them show in the outputs."""
    for name, weight in model.named_parameters():
        if "LayerNorm.weight" in name:
            torch.nn.init.normal_(weight, mean=1.0, std=0.3)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.3)
        elif "embeddings" in name:
            torch.nn.init.normal_(weight, std=0.05)
        else:
            torch.nn.init.normal_(weight, std=1.2 * weight.shape[1] ** -0.5)


def make(name: str, config: BertConfig) -> None:
    """Writes one folder."""
    model = BertModel(config).eval()
    model.set_attn_implementation("eager")  # the one that returns probabilities
    randomize(model)
    batch, length = len(LENGTHS), max(LENGTHS)
    mask = torch.arange(length)[None] < torch.tensor(LENGTHS)[:, None]
    # Not 0: transformers gives the row of its padding token no gradient.
    token_ids = torch.randint(1, config.vocab_size, (batch, length))
    segment_ids = torch.randint(config.type_vocab_size, (batch, length))
    outputs = model(
        input_ids=token_ids,
        token_type_ids=segment_ids,
        attention_mask=mask.long(),
        output_hidden_states=True,
        output_attentions=True,
    )
    sequence_cotangent = torch.randn_like(outputs.last_hidden_state)
    pooled_cotangent = torch.randn_like(outputs.pooler_output)
    loss = (outputs.last_hidden_state * sequence_cotangent).sum()
    loss = loss + (outputs.pooler_output * pooled_cotangent).sum()
    loss.backward()

    folder = HERE / name
    model.save_pretrained(folder)
    arrays = {
        "token_ids": token_ids.int(),
        "segment_ids": segment_ids.int(),
        "padding_mask": mask.int(),
        "hidden_states": torch.stack(outputs.hidden_states),
        "attention": torch.stack(outputs.attentions),
        "pooled_output": outputs.pooler_output,
        "sequence_cotangent": sequence_cotangent,
        "pooled_cotangent": pooled_cotangent,
        **{f"gradient/{key}": weight.grad for key, weight in model.named_parameters()},
    }
    arrays = {key: tensor.detach().numpy() for key, tensor in arrays.items()}
    np.savez_compressed(folder / "cases.npz", **arrays)


if __name__ == "__main__":
    torch.manual_seed(0)
    for checkpoint, settings in CHECKPOINTS.items():
        make(checkpoint, settings)
