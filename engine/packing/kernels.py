"""Calls the compiled kernels with tensors, on a CPU.

They support fp32 and bf16, and widths that are multiples of 16. A profile shows each call under one of the names below,
like an operator.
"""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import _profiler_enabled  # type: ignore[attr-defined]  # costs 0.1 us, record_function 6 us
from torch.profiler import record_function

from engine.packing.activation import Activation
from engine.packing.build import NotCompiled, build
from engine.packing.linear import PANEL, PackedLinear
from engine.packing.norm import Norm

ATTENTION, ADD_AND_NORM, LINEAR = "packed::attention", "packed::add_and_norm", "packed::linear"
ENCODER = "packed::encoder"
LANES, MOST_ROWS = 16, 32
"""Values in a vector, and most rows that `linear` and `encoder` take; the same as in kernels.cpp."""
DEPTHS = (16, 32, 64, 128)
"""Widths of an attention head that kernels.cpp supports."""
SUFFIXES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
ACTIVATIONS: dict[Activation | None, int] = {None: 0, "relu": 1, "gelu": 2, "gelu-tanh": 3}

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "attention": (
        *(_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _SIZE),
        *(_POINTER, _INT),
    ),
    "add_and_norm": (
        *(_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER, ctypes.c_float),
        *(_INT, _POINTER, _INT),
    ),
    "linear": (_POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER, _INT, _POINTER, _INT),
    "encoder": (
        *(_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _SIZE),
        *(_INT, _INT),
    ),
}


class LinearStruct(ctypes.Structure):
    """`Linear` of kernels.cpp."""

    _fields_ = (
        ("panels", _POINTER),
        ("bias", _POINTER),
        ("outputs", _SIZE),
        ("inputs", _SIZE),
        ("activation", _INT),
    )


class NormStruct(ctypes.Structure):
    """`Norm` of kernels.cpp."""

    _fields_ = (("weight", _POINTER), ("bias", _POINTER), ("eps", ctypes.c_float))


class LayerStruct(ctypes.Structure):
    """`Layer` of kernels.cpp."""

    _fields_ = (
        *((name, LinearStruct) for name in ("queries", "keys_values", "out", "up", "down")),
        *((name, NormStruct) for name in ("norm1", "norm2")),
        ("norm_first", _INT),
    )


class Kernels:
    """The functions of a compiled library.

    Args:
        library: made by `build`.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        self._functions: dict[tuple[str, torch.dtype], Any] = {}
        for dtype, suffix in SUFFIXES.items():
            for name, arguments in _ARGUMENTS.items():
                # Some are compiled only for processors with AVX-512, or with its products of bf16 pairs.
                function = getattr(loaded, f"{name}_{suffix}", None)
                if function is not None:
                    function.argtypes = arguments
                    function.restype = None
                    self._functions[name, dtype] = function

    def multiply(self, linear: PackedLinear, x: Tensor) -> bool:
        """Whether `linear` supports this layer and these rows, with at least one panel for each thread."""
        panels = linear.outputs // PANEL
        fits = linear.panels is not None and len(x) <= MOST_ROWS and panels >= torch.get_num_threads()
        return fits and ("linear", x.dtype) in self._functions

    def attention(self, q: Tensor, kv: Tensor, heads: int, starts: Tensor) -> Tensor:
        """Softmax attention inside each text.

        Args:
            q: (rows, width) queries; rows may be strided.
            kv: (rows, 2 * width) keys, then values.
            starts: (texts + 1,) int64, the row of each text's first token, and the number of rows.

        Returns:
            (rows, width), mixed values.
        """
        rows, width = q.shape
        out = torch.empty(rows, width, dtype=q.dtype, device="cpu")
        with _shown_as(ATTENTION):
            self._functions["attention", q.dtype](
                q.data_ptr(), q.stride(0), kv.data_ptr(), kv.stride(0), heads, width // heads,
                starts.data_ptr(), len(starts) - 1, out.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return out

    def add_and_norm(
        self, rows: Tensor, added: Tensor | None, norm: Norm, dtype: torch.dtype, *, replace: bool
    ) -> Tensor:
        """The norm of rows + added, in `dtype`.

        Args:
            rows: (rows, width) fp32, contiguous; overwritten with the sum, or with the norm if `replace`.
            added: (rows, width) in `dtype`, contiguous.
        """
        same = replace and dtype == rows.dtype
        out = rows if same else torch.empty(rows.shape, dtype=dtype, device="cpu")
        with _shown_as(ADD_AND_NORM):
            self._functions["add_and_norm", dtype](
                rows.data_ptr(), address(added), *rows.shape, address(norm.weight), address(norm.bias),
                norm.eps, replace, None if same else out.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return out

    def linear(self, linear: PackedLinear, x: Tensor, activation: Activation | None) -> Tensor:
        """(rows, in) -> (rows, out), of at most MOST_ROWS rows, contiguous."""
        rows, inputs = x.shape
        y = torch.empty(rows, linear.outputs, dtype=x.dtype, device="cpu")
        with _shown_as(LINEAR):
            self._functions["linear", x.dtype](
                x.data_ptr(), rows, inputs, linear.panels, linear.outputs, address(linear.bias),
                ACTIVATIONS[activation], y.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return y

    def encoder(
        self,
        layers: "ctypes.Array[LayerStruct]",
        rows: Tensor,
        heads: int,
        starts: Tensor,
        dtype: torch.dtype,
        *,
        firsts: bool,
    ) -> Tensor:
        """All layers in one call.

        Args:
            layers: pointers to their weights, in this dtype.
            rows: (rows, width) fp32, contiguous, at most MOST_ROWS: the residual stream; overwritten.
            starts: (texts + 1,) int64, the row of each text's first token, and the number of rows.
            firsts: compute only each text's first row in the last layer.

        Returns:
            (rows, width) fp32, or (texts, width) if `firsts`.
        """
        texts = len(starts) - 1
        with _shown_as(ENCODER):
            self._functions["encoder", dtype](
                layers, len(layers), rows.data_ptr(), *rows.shape, heads,
                starts.data_ptr(), texts, firsts, torch.get_num_threads(),
            )  # fmt: skip
        return rows[:texts] if firsts else rows

    def encodes(self, dtype: torch.dtype) -> bool:
        """Whether `encoder` is compiled for this dtype."""
        return ("encoder", dtype) in self._functions


def serve(dtype: torch.dtype, width: int, heads: int) -> bool:
    """Whether the kernels support attention and norms of this shape."""
    return dtype in SUFFIXES and width % LANES == 0 and width // heads in DEPTHS


@cache
def load_kernels(folder: Path) -> Kernels:
    """The kernels for this processor, found in `folder` or compiled into it.

    Raises:
        NotCompiled: they cannot be built or loaded here.
    """
    library = build(folder)
    try:
        return Kernels(library)
    except OSError as error:
        raise NotCompiled(f"the compiled library {library} cannot be loaded ({error})") from None


def address(tensor: Tensor | None) -> int | None:
    """The address of its values, or None. The caller keeps the tensor alive while the address is used."""
    return None if tensor is None else tensor.data_ptr()


def _shown_as(name: str) -> AbstractContextManager[object]:
    """A named row in the profile if a profiler is active."""
    return record_function(name) if _profiler_enabled() else nullcontext()
