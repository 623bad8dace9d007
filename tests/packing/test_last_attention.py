"""Keys and values without their linear layers: the same mixture as torch's own attention gives a first token."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from engine.packing.last_attention import LastAttention

STARTS = (0, 7, 8, 20)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("copied", [True, False])
@torch.no_grad()
def test_it_equals_attention_behind_the_linear_layers(bias: bool, copied: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, bias=bias, batch_first=True)
    if bias:
        attention.in_proj_bias.normal_()
    attention.out_proj = nn.Identity()  # type: ignore[assignment]
    x = torch.randn(STARTS[-1], 32)
    last = LastAttention.of(attention, copied=copied)
    assert (last.megabytes > 0) is copied
    q, k, v = nn.functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, 1)
    expected = []
    for start, stop in pairwise(STARTS):
        heads = [
            rows.view(-1, 4, 8).transpose(0, 1)
            for rows in (q[start : start + 1], k[start:stop], v[start:stop])
        ]
        expected.append(nn.functional.scaled_dot_product_attention(*heads).transpose(0, 1).reshape(1, 32))
    found = last(q[list(STARTS[:-1])], x, STARTS)
    assert torch.allclose(found, torch.cat(expected), atol=1e-6)
    if copied:
        attention.in_proj_weight.zero_()
        assert torch.equal(last(q[list(STARTS[:-1])], x, STARTS), found)
