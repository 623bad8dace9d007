"""A layer normalization, read from torch's module."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """A layer normalization of fp32 rows (rows, width).

    Attributes:
        weight, bias: (width,) fp32, or None.
        eps: added to the variance.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    @classmethod
    def of(cls, norm: Any) -> "Norm":
        """Read an `nn.LayerNorm` over the width alone. The values are copied, like those of linear layers."""
        return cls(_fp32(norm.weight), _fp32(norm.bias), norm.eps)

    def __call__(self, rows: Tensor) -> Tensor:
        """(rows, width) fp32 -> the same."""
        return torch.native_layer_norm(rows, rows.shape[-1:], self.weight, self.bias, self.eps)[0]


def _fp32(parameter: Tensor | None) -> Tensor | None:
    return (
        None if parameter is None else parameter.detach().float().clone(memory_format=torch.contiguous_format)
    )
