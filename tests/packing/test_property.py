"""Seeded random encoders and batches: packed states are the original's, to 1e-5 of the largest one."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.packing import pack


def drawn_model(choose: random.Random) -> nn.TransformerEncoder:
    heads, depth = choose.choice([1, 2, 3, 4]), choose.choice([5, 7, 8, 16, 24, 32, 64])
    width = heads * depth
    final = choose.choice([None, nn.LayerNorm(width)])
    layer = nn.TransformerEncoderLayer(
        width, heads, choose.choice([1, 33, 64, 130]), batch_first=choose.random() < 0.7,
        norm_first=choose.random() < 0.5, activation=choose.choice(["relu", "gelu", nn.GELU("tanh")]),
        bias=choose.random() < 0.8, layer_norm_eps=choose.choice([1e-5, 1e-12]),
    )  # fmt: skip
    model = nn.TransformerEncoder(layer, choose.choice([1, 2, 4]), norm=final, enable_nested_tensor=False)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def drawn_padding(choose: random.Random, texts: int, length: int) -> Tensor:
    """Padding on the right, on the left, anywhere, nowhere, and rows of nothing else."""
    places = torch.arange(length)
    rows = []
    for _ in range(texts):
        edge = choose.randint(0, length)
        rows.append(
            choose.choice(
                [
                    places >= edge,
                    places < edge,
                    torch.rand(length) < 0.5,
                    torch.zeros(length, dtype=torch.bool),
                    torch.ones(length, dtype=torch.bool),
                ]
            )
        )
    return torch.stack(rows)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "operators"])
@pytest.mark.parametrize("seed", range(60))
@torch.no_grad()
def test_a_random_encoder_over_a_random_batch(seed: int, compiled: bool) -> None:
    choose = random.Random(seed)
    torch.manual_seed(seed)
    model = drawn_model(choose)
    attention: Any = model.layers[0].self_attn
    texts, length = choose.randint(1, 7), choose.choice([1, 2, 9, 17, 70])
    src, padding = torch.randn(texts, length, attention.embed_dim), drawn_padding(choose, texts, length)
    given = src if attention.batch_first else src.transpose(0, 1)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = model(given, src_key_padding_mask=padding)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    found = pack(model, compiled=compiled)(given, src_key_padding_mask=padding)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if not attention.batch_first:
        found, expected = found.transpose(0, 1), expected.transpose(0, 1)
    assert not bool(found[padding].any())
    real = expected[~padding]
    if real.numel():
        assert float((found[~padding] - real).abs().max()) <= 1e-5 * max(1.0, float(real.abs().max()))
