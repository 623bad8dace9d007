"""The layers of an encoder over packed rows, without embeddings. One row is one real token; there is no padding.

The residual stream is always fp32, whatever the linear layers compute in. In bf16 that makes the result about twice
as exact as that of a model converted to bf16 (benchmarks/paths.py prints both errors).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.packing import huge_pages
from engine.packing.attention import Attention, takes_varlen
from engine.packing.last_attention import LastAttention
from engine.packing.layer import PackedLayer, weights_of
from engine.packing.norm import Norm
from engine.packing.operators import Attending, CompiledOperators, operators_for
from engine.packing.plan import Plan
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType

WHOLE_LAYER_ROWS = 32
"""Up to this many rows, the last layer computes all of them even if only first tokens are read: reading the weights
takes longer than multiplying them, so leaving rows out saves nothing."""


class PackedStack:
    """The layers of an encoder over packed rows.

    Args:
        encoder: one that `supported.check_encoder` accepts.
        dtype: the precision of linear layers and attention.
        release: free the encoder's own linear weights, layer by layer; it cannot be used afterwards.
        kernels_folder: where compiled kernels are kept; None to compute with torch's operators.

    Attributes:
        layers: its layers, laid out.
        operators: what computes them.
        device: where the weights are.
        without_kernels: why the compiled kernels are not used although they support this encoder; empty if they are
            used, not asked for, or do not support it.
    """

    def __init__(
        self, encoder: nn.TransformerEncoder, dtype: DType, *, release: bool, kernels_folder: Path | None
    ) -> None:
        layers: list[Any] = list(encoder.layers)
        self.heads: int = layers[0].self_attn.num_heads
        self.width: int = layers[0].self_attn.embed_dim
        self.dtype = TORCH_DTYPES[dtype]
        self.device: torch.device = layers[0].linear1.weight.device
        self.operators, self.without_kernels = operators_for(
            self.dtype, self.device, self.width, self.heads, kernels_folder
        )
        self._last_attention = LastAttention.of(layers[-1].self_attn, copied=release)
        self.layers = tuple(_laid_out(layers, dtype, release=release))
        self._few_rows = self.operators.few_rows(self.layers)
        places = (linear.place for layer in self.layers for linear in layer.linears)
        huge_pages.gather(place for place in places if place is not None)
        self.norm = None if encoder.norm is None else Norm.of(encoder.norm)

    @property
    def kernels(self) -> bool:
        """Whether the compiled kernels are used."""
        return isinstance(self.operators, CompiledOperators)

    @property
    def onednn(self) -> bool:
        """Whether its linear layers are oneDNN's, on laid-out weights."""
        return all(linear.onednn for layer in self.layers for linear in layer.linears)

    @property
    def weights_mb(self) -> float:
        """Memory in MB of the laid-out linear layers."""
        linears = sum(linear.megabytes for layer in self.layers for linear in layer.linears)
        return linears + self._last_attention.megabytes

    def all_tokens(self, rows: Tensor, plan: Plan) -> Tensor:
        """All rows of the last layer.

        Args:
            rows: (rows, width) fp32; overwritten.

        Returns:
            (rows, width) fp32.
        """
        if not plan.texts:
            return rows
        if self._few_rows is not None and self._few_rows.serves(rows):
            rows = self._few_rows(rows, plan, firsts=False)
        else:
            rows, _ = self._through(self.layers, rows, self.operators.attention(plan))
        return self._normed(rows)

    def first_tokens(self, rows: Tensor, plan: Plan) -> Tensor:
        """Each text's first row of the last layer.

        Args:
            rows: (rows, width) fp32; overwritten.

        Returns:
            (texts, width) fp32.
        """
        if not plan.texts:
            return rows
        if self._few_rows is not None and self._few_rows.serves(rows):
            return self._normed(self._few_rows(rows, plan, firsts=True))
        first = torch.tensor(plan.starts[:-1], device=rows.device)
        if len(rows) <= WHOLE_LAYER_ROWS:
            return self.all_tokens(rows, plan).index_select(0, first)
        attention, last = self.operators.attention(plan), self.layers[-1]
        rows, x = self._through(self.layers[:-1], rows, attention)
        x = self._read(last, rows, x)
        queries, keys_values = last.projections
        q = self.operators.linear(queries, x.index_select(0, first))
        if takes_varlen(x):
            mixed = Attention(plan, self.heads, self.width).first_tokens(
                q, self.operators.linear(keys_values, x)
            )
        else:
            # A post-norm layer reads the fp32 rows: they are more exact than x.
            mixed = self._last_attention(q, x if last.norm_first else rows, plan.starts)
        rows, _ = self._after_attention(last, rows.index_select(0, first), mixed)
        return self._normed(rows)

    def _normed(self, rows: Tensor) -> Tensor:
        return rows if self.norm is None else self.norm(rows)

    def _through(
        self, layers: Iterable[PackedLayer], rows: Tensor, attention: Attending
    ) -> tuple[Tensor, Tensor]:
        x = rows.to(self.dtype)
        for layer in layers:
            x = self._read(layer, rows, x)
            mixed = attention.all_tokens(*self._queries_keys_values(layer, x))
            rows, x = self._after_attention(layer, rows, mixed)
        return rows, x

    def _read(self, layer: PackedLayer, rows: Tensor, x: Tensor) -> Tensor:
        """The input of attention in the computing precision: the rows' norm in a pre-norm layer, else `x`."""
        return self.operators.norm(rows, layer.norm1) if layer.norm_first else x

    def _queries_keys_values(self, layer: PackedLayer, x: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, width) -> queries (rows, width), keys and values (rows, 2 * width)."""
        parts = [self.operators.linear(projection, x) for projection in layer.projections]
        return (
            (parts[0], parts[1])
            if len(parts) == 2
            else (parts[0][:, : self.width], parts[0][:, self.width :])
        )

    def _after_attention(self, layer: PackedLayer, rows: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """Everything after attention.

        Returns:
            The layer's rows in fp32, and for a post-norm layer the same rows in the computing precision.
        """
        operators = self.operators
        if layer.norm_first:
            rows = operators.add(rows, layer.out, mixed)
            x = operators.norm(rows, layer.norm2)
            return operators.add(rows, layer.down, operators.linear(layer.up, x, layer.activation)), x
        rows, x = operators.add_and_norm(rows, layer.out, mixed, layer.norm1)
        inner = operators.linear(layer.up, x, layer.activation)
        return operators.add_and_norm(rows, layer.down, inner, layer.norm2)


def _laid_out(layers: Sequence[Any], dtype: DType, *, release: bool) -> Iterator[PackedLayer]:
    """The layers laid out one after another; with `release`, each weight is freed after the last layer that has it."""
    uses = Counter(id(owner) for layer in layers for owner, _ in weights_of(layer))
    for number, layer in enumerate(layers, start=1):
        yield PackedLayer.of(layer, dtype, last=number == len(layers))
        if not release:
            continue
        for owner, name in weights_of(layer):
            uses[id(owner)] -= 1
            if not uses[id(owner)]:
                nothing = torch.empty(0, device=getattr(owner, name).device)
                setattr(owner, name, nn.Parameter(nothing, requires_grad=False))
