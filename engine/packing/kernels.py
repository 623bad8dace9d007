"""The compiled kernels of packed execution on a CPU, called with tensors.

They serve fp32 and bf16 rows of a width that is a multiple of 16. What they do shows in a profile under the names
below, as operators do.
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

from engine.packing.build import NotCompiled, build
from engine.packing.linear import PANEL, Activation, PackedLinear
from engine.packing.norm import Norm

ATTENTION, ADD_AND_NORM, LINEAR = "packed::attention", "packed::add_and_norm", "packed::linear"
ENCODER = "packed::encoder"
LANES, MOST_ROWS = 16, 32
"""Values of a vector, and most rows of a linear layer here, as in kernels.cpp."""
DEPTHS = (16, 32, 64, 128)
"""Widths of an attention head that kernels.cpp is compiled for."""
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
                # bf16 is multiplied only where the processor multiplies pairs of it.
                function = getattr(loaded, f"{name}_{suffix}", None)
                if function is not None:
                    function.argtypes = arguments
                    self._functions[name, dtype] = function

    def multiply(self, linear: PackedLinear, x: Tensor) -> bool:
        """Whether this linear layer of these rows is served, and on enough panels for all threads."""
        panels = linear.outputs // PANEL
        fits = linear.panels is not None and len(x) <= MOST_ROWS and panels >= torch.get_num_threads()
        return fits and ("linear", x.dtype) in self._functions

    def attention(self, q: Tensor, kv: Tensor, heads: int, starts: Tensor) -> Tensor:
        """Softmax attention inside each text.

        Args:
            q: (rows, width) queries; rows may lie further apart.
            kv: (rows, 2 * width) keys, and behind them values.
            starts: (texts + 1,) int64, the row of each text's first token, and the number of rows.

        Returns:
            (rows, width), mixed values.
        """
        rows, width = q.shape
        out = torch.empty(rows, width, dtype=q.dtype)
        with _shown_as(ATTENTION):
            self._functions["attention", q.dtype](
                q.data_ptr(), q.stride(0), kv.data_ptr(), kv.stride(0), heads, width // heads,
                starts.data_ptr(), len(starts) - 1, out.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return out

    def add_and_norm(
        self, rows: Tensor, added: Tensor | None, norm: Norm, dtype: torch.dtype, *, replace: bool
    ) -> Tensor:
        """The norm of rows + added, in `dtype`; rows become the sum, or the norm where `replace`.

        Args:
            rows: (rows, width) fp32, contiguous; written into.
            added: (rows, width) in `dtype`, contiguous.
        """
        same = replace and dtype == rows.dtype
        out = rows if same else torch.empty(rows.shape, dtype=dtype)
        with _shown_as(ADD_AND_NORM):
            self._functions["add_and_norm", dtype](
                rows.data_ptr(), address(added), *rows.shape, address(norm.weight), address(norm.bias),
                norm.eps, replace, None if same else out.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return out

    def linear(self, linear: PackedLinear, x: Tensor, activation: Activation | None) -> Tensor:
        """(rows, in) -> (rows, out), of at most MOST_ROWS rows, contiguous."""
        rows, inputs = x.shape
        y = torch.empty(rows, linear.outputs, dtype=x.dtype)
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
        """All layers in one call, of at most MOST_ROWS rows, which are written into.

        Args:
            layers: what they consist of, for this dtype.
            rows: (rows, width) fp32, contiguous: the residual stream.
            starts: (texts + 1,) int64, the row of each text's first token, and the number of rows.
            firsts: only each text's first token is wanted.

        Returns:
            (rows, width) fp32, or (texts, width) where only first tokens are wanted.
        """
        texts = len(starts) - 1
        with _shown_as(ENCODER):
            self._functions["encoder", dtype](
                layers, len(layers), rows.data_ptr(), *rows.shape, heads,
                starts.data_ptr(), texts, firsts, torch.get_num_threads(),
            )  # fmt: skip
        return rows[:texts] if firsts else rows

    def encodes(self, dtype: torch.dtype) -> bool:
        """Whether whole encoders are served in this dtype."""
        return ("encoder", dtype) in self._functions


def serve(dtype: torch.dtype, width: int, heads: int) -> bool:
    """Whether attention and norms of this shape can be computed here."""
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
    """Where its values lie; they must outlive whatever reads them there."""
    return None if tensor is None else tensor.data_ptr()


def _shown_as(name: str) -> AbstractContextManager[object]:
    """A row in the profile of whoever profiles."""
    return record_function(name) if _profiler_enabled() else nullcontext()
