"""Attention of the last layer if only each text's first token is read: no linear layers for keys and values.

For a head's query q, a key's score is q (K x + b) = (q K) x + q b. The last term is the same for all keys, so softmax
drops it. The weighted mean of V x + b is V times the weighted mean of x, plus b. So K and V are applied once a text and
head instead of once a token, with the same result. DeepSeek-V2 absorbs projections in the same way (arXiv 2405.04434,
section 2.1.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from engine.records import MEGABYTE


@dataclass(frozen=True)
class LastAttention:
    """The weights in fp32, which is also the computing precision.

    Attributes:
        keys: (heads, width of a head, width).
        values: the same shape.
        bias: (width,) of the values; None where the layer has none.
        megabytes: memory of copied weights in MB; 0 if they are shared with the original.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None
    megabytes: float

    @classmethod
    def of(cls, attention: Any, *, copied: bool) -> "LastAttention":
        """Read an `nn.MultiheadAttention` of equal widths; `copied` if the original's weights will be freed."""
        heads, width = attention.num_heads, attention.embed_dim
        original = attention.in_proj_weight.detach()[width:]
        weight = original.float().clone() if copied else original.float().contiguous()
        keys, values = weight.view(2, heads, width // heads, width).unbind(0)
        bias = attention.in_proj_bias
        own = weight.data_ptr() != original.data_ptr()
        return cls(
            keys,
            values,
            None if bias is None else bias.detach()[2 * width :].float(),
            weight.nbytes / MEGABYTE if own else 0.0,
        )

    def __call__(self, q: Tensor, x: Tensor, starts: Sequence[int]) -> Tensor:
        """The attention output of each text's first token.

        Args:
            q: (texts, width) queries.
            x: (rows, width), the input of the keys' and values' linear layers.
            starts: row of each text's first token, then the number of rows.

        Returns:
            (texts, width) in the queries' dtype.
        """
        heads, depth, width = self.keys.shape
        by_head = q.float().view(-1, heads, depth).transpose(0, 1)
        wanted = torch.bmm(by_head, self.keys).transpose(0, 1).mul_(1 / sqrt(depth))
        mixed = torch.empty_like(wanted, memory_format=torch.contiguous_format)
        for text, (first, last) in enumerate(pairwise(starts)):
            rows = x[first:last].float()
            torch.mm(torch.softmax(wanted[text] @ rows.T, -1), rows, out=mixed[text])
        values = torch.bmm(mixed.transpose(0, 1), self.values.transpose(1, 2))
        joined = values.transpose(0, 1).reshape(-1, width)
        return (joined if self.bias is None else joined + self.bias).to(q.dtype)
