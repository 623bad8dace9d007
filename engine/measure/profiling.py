"""Per-operator tables, evidence, working memory and traces, each from separate forwards, never while timing."""

import gzip
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from engine.analysis.groups import Group, group_of
from engine.paths import PreparedPath
from engine.records import MEGABYTE, OperatorTime, Profile

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PROFILED_FORWARDS = 10
"""The tutorial's ITERATIONS."""
_OWN_EVENTS = ("ProfilerStep", "[memory]")


@dataclass(frozen=True)
class Profiled:
    """The result of profiled forwards: operators and groups per forward, and the wall time of a forward in ms."""

    ops: tuple[OperatorTime, ...]
    groups: dict[str, float]
    iterations: int
    forward_ms: float

    def calls(self, op: str) -> float:
        """Calls of an operator per forward; 0 if it did not run."""
        return next((row.calls for row in self.ops if row.name == op), 0.0)

    def table(self, median_ms: float) -> Profile:
        """The record of these forwards, with their time as a multiple of the measured median."""
        overhead = self.forward_ms / median_ms
        return Profile(iterations=self.iterations, overhead=overhead, ops=self.ops, groups=self.groups)


def profile(
    path: PreparedPath,
    tokens: Tensor,
    clock: Callable[[], float],
    forwards: int = PROFILED_FORWARDS,
    trace: Path | None = None,
) -> Profiled:
    """Profile some forwards of a path that has run before: a first one may call operators that the others do not.

    Args:
        tokens: (batch, length) int64 on the path's device.
        trace: file for a gzipped Chrome trace (chrome://tracing, Perfetto); None writes none.
    """
    with path.switches(), _profiler(tokens.device) as profiler:
        start = clock()
        for _ in range(forwards):
            path.forward(tokens)
        synchronize(tokens.device)
        forward_ms = (clock() - start) / forwards * 1000
    if trace is not None:
        _write_trace(profiler, trace)
    on_cuda = tokens.device.type == "cuda"
    return Profiled(
        _operators(profiler, forwards, on_cuda), _groups(profiler, forwards, on_cuda), forwards, forward_ms
    )


def peak_memory_mb(path: PreparedPath, tokens: Tensor) -> float:
    """Peak memory in MB of one forward beyond what was held before it, as torch's allocator counts it."""
    with path.switches():
        if tokens.device.type == "cuda":
            return _cuda_peak_mb(path, tokens)
        with _profiler(tokens.device, memory=True) as profiler:
            path.forward(tokens)
    results: Any = profiler.profiler
    events = results.kineto_results.events()
    allocations = sorted((_start(event), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(size for _, size in allocations), default=0) / MEGABYTE


def _start(event: Any) -> int:
    # torch 2.3 counts microseconds; only the order matters here.
    start: int = event.start_ns() if hasattr(event, "start_ns") else event.start_us()
    return start


def page_faults(path: PreparedPath, tokens: Tensor, forwards: int = 3) -> int | None:
    """Minor page faults of a forward, the median of several; None on platforms that do not count them.

    If the allocator gives freed memory back to the system, the next forward causes a page fault for each page.
    """
    if resource is None:
        return None
    counts = []
    with path.switches():
        path.forward(tokens)
        for _ in range(forwards):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            path.forward(tokens)
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return sorted(counts)[len(counts) // 2]


def synchronize(device: torch.device) -> None:
    """Wait until a CUDA device has finished its work; on a CPU there is nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cuda_peak_mb(path: PreparedPath, tokens: Tensor) -> float:
    torch.cuda.reset_peak_memory_stats(tokens.device)
    before = torch.cuda.memory_allocated(tokens.device)
    path.forward(tokens)
    synchronize(tokens.device)
    return (torch.cuda.max_memory_allocated(tokens.device) - before) / MEGABYTE


def _profiler(device: torch.device, memory: bool = False) -> AbstractContextManager[torch.profiler.profile]:
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, profile_memory=memory)


def _operators(profiler: Any, forwards: int, on_cuda: bool) -> tuple[OperatorTime, ...]:
    events = [event for event in profiler.key_averages() if not event.key.startswith(_OWN_EVENTS)]
    self_us, total_us = (
        ("self_device_time_total", "device_time_total")
        if on_cuda
        else ("self_cpu_time_total", "cpu_time_total")
    )
    all_self_us = sum(getattr(event, self_us) for event in events) or 1.0
    rows = (
        OperatorTime(
            name=event.key,
            calls=event.count / forwards,
            self_ms=getattr(event, self_us) / forwards / 1000,
            total_ms=getattr(event, total_us) / forwards / 1000,
            share=getattr(event, self_us) / all_self_us,
        )
        for event in events
    )
    return tuple(sorted(rows, key=lambda row: row.self_ms, reverse=True))


def _groups(profiler: Any, forwards: int, on_cuda: bool) -> dict[str, float]:
    """Self time in ms per forward by operator group; an operator without a group counts for its nearest caller."""
    self_us = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    sums: dict[str, float] = defaultdict(float)
    for event in profiler.events():
        if not event.name.startswith(_OWN_EVENTS):
            sums[_nearest_group(event)] += getattr(event, self_us) / forwards / 1000
    return dict(sums)


def _nearest_group(event: Any) -> Group:
    while event is not None:
        group = group_of(event.name)
        if group is not None:
            return group
        event = event.cpu_parent
    return "other"


def _write_trace(profiler: Any, trace: Path) -> None:
    trace.parent.mkdir(parents=True, exist_ok=True)
    plain = trace.with_suffix("")
    profiler.export_chrome_trace(str(plain))
    trace.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
