"""One encoder layer with its weights laid out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.packing.activation import Activation, activation_of
from engine.packing.linear import PackedLinear
from engine.packing.norm import Norm
from engine.records import DType


@dataclass(frozen=True)
class PackedLayer:
    """One encoder layer: linear layers in the device's layout, and norms.

    Attributes:
        projections: one linear layer for queries, keys and values. The last layer has two: queries, then keys and
            values, because a classifier needs the queries of first tokens only.
    """

    projections: tuple[PackedLinear, ...]
    out: PackedLinear
    up: PackedLinear
    down: PackedLinear
    norm1: Norm
    norm2: Norm
    norm_first: bool
    activation: Activation

    @classmethod
    def of(cls, layer: Any, dtype: DType, *, last: bool) -> "PackedLayer":
        """Lay out a layer of a model that `supported` accepts; it is left alone.

        Args:
            last: whether it is the last one of its encoder.
        """
        attention = layer.self_attn
        return cls(
            projections=tuple(_projections(attention, dtype, last=last)),
            out=PackedLinear.of(attention.out_proj.weight, attention.out_proj.bias, dtype),
            up=PackedLinear.of(layer.linear1.weight, layer.linear1.bias, dtype),
            down=PackedLinear.of(layer.linear2.weight, layer.linear2.bias, dtype),
            norm1=Norm.of(layer.norm1),
            norm2=Norm.of(layer.norm2),
            norm_first=layer.norm_first,
            activation=activation_of(layer.activation, "the activation"),
        )

    @property
    def linears(self) -> tuple[PackedLinear, ...]:
        """Every linear layer."""
        return (*self.projections, self.out, self.up, self.down)


def weights_of(layer: Any) -> tuple[tuple[Any, str], ...]:
    """The matrices of a layer, each as the module that has it and its name there."""
    attention = layer.self_attn
    return (
        (attention, "in_proj_weight"),
        (attention.out_proj, "weight"),
        (layer.linear1, "weight"),
        (layer.linear2, "weight"),
    )


def _projections(attention: Any, dtype: DType, *, last: bool) -> Iterator[PackedLinear]:
    weight, bias, width = attention.in_proj_weight, attention.in_proj_bias, attention.embed_dim
    for rows in (slice(0, width), slice(width, None)) if last else (slice(None),):
        yield PackedLinear.of(weight[rows], None if bias is None else bias[rows], dtype)
