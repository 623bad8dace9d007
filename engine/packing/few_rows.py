"""A whole encoder over a few rows in one call of the compiled kernels.

For so few rows, reading the weights from memory takes most of the time: about 1 ms in a small model. Calling each
part from Python would add a quarter to that.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.packing.activation import Activation
from engine.packing.kernels import (
    ACTIVATIONS,
    MOST_ROWS,
    Kernels,
    LayerStruct,
    LinearStruct,
    NormStruct,
    address,
)
from engine.packing.layer import PackedLayer
from engine.packing.linear import PANEL, PackedLinear
from engine.packing.norm import Norm
from engine.packing.plan import Plan


class FewRows:
    """The layers of an encoder in the form that the kernels read.

    Args:
        layers: all their linear layers have `panels`; their tensors are kept alive.
        dtype: the precision of the linear layers.
    """

    def __init__(
        self, kernels: Kernels, layers: Sequence[PackedLayer], heads: int, dtype: torch.dtype
    ) -> None:
        self._kernels, self._layers, self._heads, self._dtype = kernels, tuple(layers), heads, dtype
        self._structs = (LayerStruct * len(layers))(*map(_layer, layers))
        self._least_panels = min(linear.outputs // PANEL for layer in layers for linear in layer.linears)

    @classmethod
    def of(
        cls, kernels: Kernels, layers: Sequence[PackedLayer], heads: int, dtype: torch.dtype
    ) -> "FewRows | None":
        """The encoder, or None if a weight is not laid out in panels or the kernels lack this precision."""
        in_panels = all(linear.panels is not None for layer in layers for linear in layer.linears)
        return cls(kernels, layers, heads, dtype) if in_panels and kernels.encodes(dtype) else None

    def serves(self, rows: Tensor) -> bool:
        """Whether the rows are few enough, and each thread has at least one panel of every linear layer."""
        return len(rows) <= MOST_ROWS and self._least_panels >= torch.get_num_threads()

    def __call__(self, rows: Tensor, plan: Plan, *, firsts: bool) -> Tensor:
        """The last layer's rows, or each text's first one.

        Args:
            rows: (rows, width) fp32, contiguous; overwritten.
            firsts: compute only each text's first row in the last layer.

        Returns:
            (rows, width) or (texts, width) fp32, before the encoder's final norm.
        """
        starts = torch.tensor(plan.starts, dtype=torch.int64, device="cpu")
        return self._kernels.encoder(self._structs, rows, self._heads, starts, self._dtype, firsts=firsts)


def _layer(layer: PackedLayer) -> LayerStruct:
    return LayerStruct(
        _linear(layer.projections[0]),
        _linear(layer.projections[1]) if len(layer.projections) == 2 else LinearStruct(),
        _linear(layer.out),
        _linear(layer.up, layer.activation),
        _linear(layer.down),
        _norm(layer.norm1),
        _norm(layer.norm2),
        layer.norm_first,
    )


def _linear(linear: PackedLinear, activation: Activation | None = None) -> LinearStruct:
    return LinearStruct(
        linear.panels, address(linear.bias), linear.outputs, linear.inputs, ACTIVATIONS[activation]
    )


def _norm(norm: Norm) -> NormStruct:
    return NormStruct(address(norm.weight), address(norm.bias), norm.eps)
