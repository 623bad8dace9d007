"""A linear layer whose weight is laid out once for oneDNN, with the activation or the residual sum fused.

The operators are those that torch.compile's CPU backend calls when it freezes a model
(torch/_inductor/fx_passes/mkldnn_fusion.py). If they are missing, F.linear does the same work.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own habit)

from engine.packing.activation import Activation
from engine.packing.precisions import TORCH_DTYPES
from engine.records import MEGABYTE, DType

PACKED_LINEAR = "mkldnn::_linear_pointwise"
PANEL = 64
"""Outputs that oneDNN stores side by side on AVX-512."""
_ALGORITHMS: dict[Activation, tuple[str, str]] = {
    "relu": ("relu", ""),
    "gelu": ("gelu", "none"),
    "gelu-tanh": ("gelu", "tanh"),
}
_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
}


def onednn_serves(dtype: DType, device: torch.device) -> bool:
    """Whether oneDNN has linear layers with laid-out weights for this precision on this device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    match dtype:
        case "bf16":
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        case "fp16":
            return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
        case _:
            return True


@cache
def lies_in_panels(outputs: int, inputs: int, dtype: DType) -> bool:
    """Whether oneDNN stores a weight (outputs, inputs) as (panels, inputs, PANEL), bf16 in pairs of inputs.

    It does on AVX-512. The layout is not documented, so a weight of this shape is laid out and compared.
    """
    if outputs % PANEL or inputs % 2 or dtype == "fp16" or not hasattr(torch.ops.mkldnn, "data_ptr"):
        return False
    numbers = _numbers(outputs * inputs, dtype)
    weight = numbers.view(TORCH_DTYPES[dtype]).view(outputs, inputs)
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight)
    if torch.ops.mkldnn._nbytes(laid_out) != weight.nbytes:
        return False
    # A view, not a copy: it must not outlive `laid_out`.
    bytes_there = (ctypes.c_char * weight.nbytes).from_address(_address(laid_out))
    found = torch.frombuffer(bytes_there, dtype=numbers.dtype)
    pairs = 2 if dtype == "bf16" else 1
    expected = numbers.view(outputs // PANEL, PANEL, inputs // pairs, pairs).transpose(1, 2)
    return torch.equal(found, expected.reshape(-1))


def _numbers(count: int, dtype: DType) -> Tensor:
    """Integers whose bits are finite numbers of a precision, with as few repetitions as its bits allow."""
    places = torch.arange(count, dtype=torch.int32, device="cpu")
    if dtype == "fp32":
        return places + 0x3F800000
    return places.long().mul_(40_503).remainder_(0x7F00).to(torch.int16)


def _address(laid_out: Tensor) -> int:
    return int(torch.ops.mkldnn.data_ptr(laid_out))


@dataclass(frozen=True)
class PackedLinear:
    """A linear layer with its weight laid out.

    Attributes:
        weight: (out, in), in oneDNN's own layout if `onednn`.
        bias: (out,) fp32 for oneDNN, which adds it before it rounds; else in the weight's dtype.
        megabytes: memory of the weight and bias.
        outputs, inputs: the shape of the weight.
        panels: address of the laid-out weight if it is stored in panels of PANEL outputs, which the compiled kernels
            read; valid as long as the weight lives. Else None.
    """

    weight: Tensor
    bias: Tensor | None
    onednn: bool
    megabytes: float
    outputs: int
    inputs: int
    panels: int | None = None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: DType) -> "PackedLinear":
        """Lay out a weight (out, in) and its bias; the originals are left alone."""
        onednn = onednn_serves(dtype, weight.device)
        plain = weight.detach().to(TORCH_DTYPES[dtype]).contiguous()
        added = None if bias is None else bias.detach().to(torch.float32 if onednn else plain.dtype)
        outputs, inputs = plain.shape
        size = plain.nbytes + (0 if added is None else added.nbytes)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(plain) if onednn else plain.clone()
        panels = _address(laid_out) if onednn and lies_in_panels(outputs, inputs, dtype) else None
        bias = None if added is None else added.clone()
        return cls(laid_out, bias, onednn, size / MEGABYTE, outputs, inputs, panels)

    @property
    def place(self) -> tuple[int, int] | None:
        """Address and size in bytes of a laid-out weight; None if torch does not tell them."""
        if not self.onednn or not hasattr(torch.ops.mkldnn, "data_ptr"):
            return None
        return _address(self.weight), int(torch.ops.mkldnn._nbytes(self.weight))

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        if self.onednn:
            y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
            return y
        return F.linear(x, self.weight, self.bias)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        """(rows, in) -> (rows, out), with an activation, which oneDNN applies before it rounds."""
        if self.onednn:
            attribute, algorithm = _ALGORITHMS[activation]
            y: Tensor = torch.ops.mkldnn._linear_pointwise.default(
                x, self.weight, self.bias, attribute, [], algorithm
            )
            return y
        return _FUNCTIONS[activation](F.linear(x, self.weight, self.bias))

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """`residual` + the linear layer of `x`, in the residual's dtype; may write into the residual."""
        if self.onednn and residual.dtype == x.dtype:
            y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
            return y
        return residual.add_(self(x))
