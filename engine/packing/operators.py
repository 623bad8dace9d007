"""The operators of a packed encoder: torch's own, or the compiled kernels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.packing import kernels
from engine.packing.activation import Activation
from engine.packing.attention import Attention
from engine.packing.build import NotCompiled
from engine.packing.few_rows import FewRows
from engine.packing.kernels import Kernels
from engine.packing.layer import PackedLayer
from engine.packing.linear import PackedLinear
from engine.packing.norm import Norm
from engine.packing.plan import Plan


class Attending(Protocol):
    """Attention for one batch."""

    def all_tokens(self, q: Tensor, kv: Tensor) -> Tensor:
        """(rows, width) queries, (rows, 2 * width) keys and values -> (rows, width)."""


class Operators(Protocol):
    """The parts of a layer. The residual stream is always fp32; linear layers may use bf16 or fp16."""

    def attention(self, plan: Plan) -> Attending:
        """Attention for one batch."""

    def linear(self, linear: PackedLinear, x: Tensor, activation: Activation | None = None) -> Tensor:
        """(rows, in) -> (rows, out)."""

    def add(self, rows: Tensor, linear: PackedLinear, x: Tensor) -> Tensor:
        """Rows + the linear layer of x; may overwrite the rows."""

    def norm(self, rows: Tensor, norm: Norm) -> Tensor:
        """The norm of rows, in the precision of the linear layers."""

    def add_and_norm(
        self, rows: Tensor, linear: PackedLinear, x: Tensor, norm: Norm
    ) -> tuple[Tensor, Tensor]:
        """The norm of (rows + the linear layer of x), in fp32 and in the precision of the linear layers.

        May overwrite the rows.
        """

    def few_rows(self, layers: Sequence[PackedLayer]) -> FewRows | None:
        """A whole encoder in one call for small batches; None if that is not supported."""


class TorchOperators:
    """Torch's operators: oneDNN's linear layers, attention group by group."""

    def __init__(self, heads: int, width: int, dtype: torch.dtype) -> None:
        self._heads, self._width, self._dtype = heads, width, dtype

    def attention(self, plan: Plan) -> Attention:
        """Attention for one batch."""
        return Attention(plan, self._heads, self._width)

    def linear(self, linear: PackedLinear, x: Tensor, activation: Activation | None = None) -> Tensor:
        """(rows, in) -> (rows, out)."""
        return linear(x) if activation is None else linear.activated(x, activation)

    def add(self, rows: Tensor, linear: PackedLinear, x: Tensor) -> Tensor:
        """Rows + the linear layer of x; oneDNN adds in fp32 if the precisions agree."""
        return linear.added_to(rows, x)

    def norm(self, rows: Tensor, norm: Norm) -> Tensor:
        """The norm of rows, in the precision of the linear layers."""
        return norm(rows).to(self._dtype)

    def add_and_norm(
        self, rows: Tensor, linear: PackedLinear, x: Tensor, norm: Norm
    ) -> tuple[Tensor, Tensor]:
        """The sum, then its norm."""
        rows = norm(self.add(rows, linear, x))
        return rows, rows.to(self._dtype)

    def few_rows(self, layers: Sequence[PackedLayer]) -> None:
        """Not supported: small batches use the per-layer path."""


class CompiledAttention:
    """Attention for one batch with the compiled kernel: text by text, without padding or masks."""

    def __init__(self, compiled: Kernels, plan: Plan, heads: int) -> None:
        self._kernels, self._heads = compiled, heads
        self._starts = torch.tensor(plan.starts, dtype=torch.int64, device="cpu")

    def all_tokens(self, q: Tensor, kv: Tensor) -> Tensor:
        """(rows, width) queries, (rows, 2 * width) keys and values -> (rows, width)."""
        return self._kernels.attention(q, kv, self._heads, self._starts)


class CompiledOperators:
    """The compiled kernels. Linear layers of more than MOST_ROWS rows use oneDNN."""

    def __init__(self, compiled: Kernels, heads: int, dtype: torch.dtype) -> None:
        self._kernels, self._heads, self._dtype = compiled, heads, dtype

    def attention(self, plan: Plan) -> CompiledAttention:
        """Attention for one batch."""
        return CompiledAttention(self._kernels, plan, self._heads)

    def linear(self, linear: PackedLinear, x: Tensor, activation: Activation | None = None) -> Tensor:
        """(rows, in) -> (rows, out)."""
        if self._kernels.multiply(linear, x):
            return self._kernels.linear(linear, x, activation)
        return linear(x) if activation is None else linear.activated(x, activation)

    def add(self, rows: Tensor, linear: PackedLinear, x: Tensor) -> Tensor:
        """Rows + the linear layer of x."""
        return rows.add_(self.linear(linear, x))

    def norm(self, rows: Tensor, norm: Norm) -> Tensor:
        """The norm of rows; the rows do not change."""
        return self._kernels.add_and_norm(rows, None, norm, self._dtype, replace=False)

    def add_and_norm(
        self, rows: Tensor, linear: PackedLinear, x: Tensor, norm: Norm
    ) -> tuple[Tensor, Tensor]:
        """Sum and norm in one pass; the rows are overwritten with the norm."""
        added = self.linear(linear, x)
        return rows, self._kernels.add_and_norm(rows, added, norm, self._dtype, replace=True)

    def few_rows(self, layers: Sequence[PackedLayer]) -> FewRows | None:
        """A whole encoder in one call, if every weight is stored in panels."""
        return FewRows.of(self._kernels, layers, self._heads, self._dtype)


def operators_for(
    dtype: torch.dtype, device: torch.device, width: int, heads: int, kernels_folder: Path | None
) -> tuple[Operators, str]:
    """The operators for an encoder, and a sentence if the compiled kernels would serve it but cannot be used.

    Args:
        kernels_folder: where compiled kernels are kept; None for torch's operators.
    """
    without = ""
    if kernels_folder is not None and device.type == "cpu" and kernels.serve(dtype, width, heads):
        try:
            return CompiledOperators(kernels.load_kernels(kernels_folder), heads, dtype), ""
        except NotCompiled as reason:
            without = f"computed with torch's operators: {reason}"
    return TorchOperators(heads, width, dtype), without
