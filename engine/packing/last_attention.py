"""Attention of the last layer where only each text's first token is read: keys and values without linear layers.

With q a head's query, q (K x + b) = (q K) x + a constant, which softmax drops; and a mixture of V x + b is V times the
mixture of x, plus b. So K and V are applied once a text and head instead of once a token, with the same result.
DeepSeek-V2 absorbs projections so (arXiv 2405.04434, section 2.1.2); here it spares two linear layers of all tokens.
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
    """The weights that it takes, in fp32, which is also what it computes in.

    Attributes:
        keys: (heads, width of a head, width).
        values: the same shape.
        bias: (width,) of the values; None where the layer has none.
        megabytes: memory beside the original's own; 0 where the weights are the original's.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None
    megabytes: float

    @classmethod
    def of(cls, attention: Any, *, copied: bool) -> "LastAttention":
        """Read an `nn.MultiheadAttention` of equal widths; `copied` where it will let go of its weights."""
        heads, width = attention.num_heads, attention.embed_dim
        original = attention.in_proj_weight.detach()[width:]
        weight = original.float().clone() if copied else original.float()
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
        """Each text's first token, mixed.

        Args:
            q: (texts, width) queries.
            x: (rows, width), what keys and values would be made of.
            starts: row of each text's first token, and behind the last one the number of rows.

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
