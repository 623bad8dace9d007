"""One encoder layer with its weights laid out, and the check whether a layer can be packed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own habit)

from engine.errors import Refusal
from engine.packing.linear import Activation, PackedLinear
from engine.packing.norm import Norm
from engine.records import DType


@dataclass(frozen=True)
class PackedLayer:
    """One encoder layer: linear layers in the device's layout, norms shared with the original.

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
    def of(cls, layer: Any, dtype: DType, *, last: bool, release: bool) -> "PackedLayer":
        """Lay out a layer that `check` accepts.

        Args:
            last: whether it is the last one of its encoder.
            release: free the original's linear weights; it cannot be used afterwards.
        """
        attention = layer.self_attn
        packed = cls(
            projections=tuple(_projections(attention, dtype, last=last)),
            out=PackedLinear.of(attention.out_proj.weight, attention.out_proj.bias, dtype),
            up=PackedLinear.of(layer.linear1.weight, layer.linear1.bias, dtype),
            down=PackedLinear.of(layer.linear2.weight, layer.linear2.bias, dtype),
            norm1=Norm.of(layer.norm1),
            norm2=Norm.of(layer.norm2),
            norm_first=layer.norm_first,
            activation=_activation(layer.activation),
        )
        if release:
            for owner, name in (
                (attention, "in_proj_weight"),
                (attention.out_proj, "weight"),
                (layer.linear1, "weight"),
                (layer.linear2, "weight"),
            ):
                setattr(owner, name, nn.Parameter(torch.empty(0), requires_grad=False))
        return packed

    @property
    def linears(self) -> tuple[PackedLinear, ...]:
        """Every linear layer."""
        return (*self.projections, self.out, self.up, self.down)


def check(layer: Any) -> None:
    """Refuse a layer whose result its packed form would not give.

    Raises:
        Refusal: it has something that is not supported; it is named.
    """
    if not isinstance(layer, nn.TransformerEncoderLayer):
        raise Refusal(f"Cannot pack: {type(layer).__name__} is no nn.TransformerEncoderLayer.")
    attention = layer.self_attn
    for module, kind in (
        (layer, nn.TransformerEncoderLayer),
        (attention, nn.MultiheadAttention),
        (layer.linear1, nn.Linear),
        (layer.linear2, nn.Linear),
    ):
        # A subclass, a wrapper such as an adapter, or a quantized layer would compute something else.
        if getattr(module.forward, "__func__", None) is not kind.forward:
            raise Refusal(
                f"Cannot pack: {type(module).__name__} does not compute what nn.{kind.__name__} does."
            )
    if any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules()):
        raise Refusal("Cannot pack: a layer has forward hooks, which a packed module would not call.")
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        raise Refusal(
            "Cannot pack: its attention has keys or values of another width, or learned extra ones."
        )
    if not attention.in_proj_weight.numel():
        raise Refusal("Cannot pack: an earlier pack(model, release=True) freed the weights of this model.")
    for norm in (layer.norm1, layer.norm2):
        Norm.of(norm)
    _activation(layer.activation)


def _projections(attention: Any, dtype: DType, *, last: bool) -> Iterator[PackedLinear]:
    weight, bias, width = attention.in_proj_weight, attention.in_proj_bias, attention.embed_dim
    for rows in (slice(0, width), slice(width, None)) if last else (slice(None),):
        yield PackedLinear.of(weight[rows], None if bias is None else bias[rows], dtype)


def _activation(function: Any) -> Activation:
    if function is F.relu or isinstance(function, nn.ReLU):
        return "relu"
    if function is F.gelu or isinstance(function, nn.GELU):
        return "gelu-tanh" if getattr(function, "approximate", "none") == "tanh" else "gelu"
    name = getattr(function, "__name__", type(function).__name__)
    raise Refusal(f"Cannot pack: its activation is {name}, and only relu and gelu are supported.")
