"""The peaks of this machine on the threads in use: matrix products by precision, and memory bandwidth.

They are the two roofs of the roofline model (Williams, Waterman, Patterson: Roofline, 2009). They are measured and not
read from a data sheet, because a virtual machine shares its clock and its memory channels with others.
"""

from collections.abc import Callable
from typing import get_args

import torch

from engine.measure.profiling import synchronize
from engine.measure.rounds import Clock
from engine.packing.linear import PackedLinear, onednn_serves
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType, Roofline

SHAPES = ((1024, 1024, 1024), (1024, 1024, 4096), (512, 768, 3072))
"""(rows, in, out) of linear layers: large enough to fill the processor's units, small enough to take little time."""
SHAPE_S = 0.05
"""Time for the repetitions of one shape; the fastest repetition counts."""
FEWEST, MOST = 2, 50
COPIED_BYTES = 128_000_000
"""Larger than the caches, so that the copy measures memory."""
COPY_S = 0.1
WORKING_MB = 2 * COPIED_BYTES / 1_000_000


def measure_roofline(device: torch.device, clock: Clock) -> Roofline:
    """Measure the peaks of a device; about 0.6 s.

    Args:
        clock: seconds, monotonic.
    """
    with torch.no_grad():
        peaks = {dtype: _matmul_gflops(dtype, device, clock) for dtype in _precisions(device)}
        return Roofline(matmul_gflops=peaks, memory_gb_s=_memory_gb_s(device, clock))


def _precisions(device: torch.device) -> tuple[DType, ...]:
    """fp32, and the lower precisions that the device has units for. Other precisions are emulated and have no peak."""
    on_gpu = device.type == "cuda"
    return tuple(
        dtype for dtype in get_args(DType) if dtype == "fp32" or on_gpu or onednn_serves(dtype, device)
    )


def _matmul_gflops(dtype: DType, device: torch.device, clock: Clock) -> float:
    return (
        max(
            2.0
            * rows
            * inner
            * outer
            / _fastest_s(_matmul(rows, inner, outer, dtype, device), SHAPE_S, device, clock)
            for rows, inner, outer in SHAPES
        )
        / 1e9
    )


def _matmul(rows: int, inner: int, outer: int, dtype: DType, device: torch.device) -> Callable[[], object]:
    """A linear layer as the fastest path calls it: in oneDNN's layout on a CPU, a plain matrix product on a GPU."""
    kind = TORCH_DTYPES[dtype]
    x = torch.ones(rows, inner, dtype=kind, device=device)
    weight = torch.ones(outer, inner, dtype=kind, device=device)
    if device.type == "cuda":
        return lambda: x @ weight.T
    linear = PackedLinear.of(weight, None, dtype)
    return lambda: linear(x)


def _memory_gb_s(device: torch.device, clock: Clock) -> float:
    """Bytes read and written by a large copy, per second. Reading the lines that are overwritten is not counted."""
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.ones_like(source)
    return 2 * source.nbytes / _fastest_s(lambda: target.copy_(source), COPY_S, device, clock) / 1e9


def _fastest_s(call: Callable[[], object], budget_s: float, device: torch.device, clock: Clock) -> float:
    """Seconds of the fastest of several calls within a budget: one call to warm up, then at least two."""
    call()
    synchronize(device)
    best, begun = float("inf"), clock()
    for number in range(MOST):
        start = clock()
        if number >= FEWEST and start - begun >= budget_s:
            break
        call()
        synchronize(device)
        best = min(best, clock() - start)
    return best
