"""A layer normalization, read from torch's module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import Refusal


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
    def of(cls, norm: nn.Module) -> "Norm":
        """Read a torch layer; the tensors are shared where they are fp32 already.

        Raises:
            Refusal: it is of another kind, or normalizes more than the width.
        """
        if not isinstance(norm, nn.LayerNorm):
            raise Refusal(f"Cannot pack: only nn.LayerNorm is supported, and it has a {type(norm).__name__}.")
        if len(norm.normalized_shape) != 1:
            raise Refusal(f"Cannot pack: a LayerNorm over {norm.normalized_shape}, not over the width alone.")
        return cls(_fp32(norm.weight), _fp32(norm.bias), norm.eps)

    def __call__(self, rows: Tensor) -> Tensor:
        """(rows, width) fp32 -> the same."""
        return torch.native_layer_norm(rows, rows.shape[-1:], self.weight, self.bias, self.eps)[0]


def _fp32(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach().float().contiguous()
