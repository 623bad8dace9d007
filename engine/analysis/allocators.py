"""What the platform's allocator costs each path, from two runs of one experiment: one keeps freed memory, one does not.

Each path is judged by its time in both runs and not by its speedup: the allocator changes the baseline's time too, and
a speedup would hide that. Two runs cannot be paired round by round, so if the machine itself may have changed between
them, nothing is concluded.
"""

from typing import Literal

from engine.alike import SETUP, as_measured, differing
from engine.analysis.compare import machine_note
from engine.analysis.stats import median_interval, shared_confidence
from engine.analysis.verdict import MARGIN
from engine.errors import Refusal
from engine.records import Interval, PathResult, Record, Run

CostWord = Literal["costs", "saves", "same", "not sure"]


class AllocatorCost(Record):
    """One path under both allocators; a ratio above 1 means that it is slower under the platform's."""

    name: str
    kept_ms: float
    system_ms: float
    ratio: float
    """Median time under the platform's allocator / median time with freed memory kept."""
    ci95: Interval | None
    """All paths' intervals hold together with 95 % confidence."""
    word: CostWord


class BothAllocators(Record):
    """The same experiment under both allocators."""

    kept: Run
    system: Run
    costs: tuple[AllocatorCost, ...]
    note: str
    """Why the machine may have changed between the runs; empty if there is no sign of it."""


def both_allocators(first: Run, second: Run) -> BothAllocators:
    """What the allocator costs each path that both runs measured.

    Raises:
        Refusal: the runs differ in more than the allocator, or have the same one.
    """
    if differing(as_measured(first), as_measured(second), SETUP) != ("allocator",):
        raise Refusal(
            "These two runs are not one experiment under two allocators, so they cannot be compared."
        )
    kept, system = (first, second) if first.experiment.allocator == "kept" else (second, first)
    pairs = [(a, b) for a in kept.paths for b in system.paths if a.name == b.name and _timed(a) and _timed(b)]
    note = machine_note(kept, system)
    looks = max(kept.looks, system.looks)
    confidence = shared_confidence(2 * max(1, len(pairs)), looks)
    costs = tuple(_cost(a, b, confidence, certain=not note) for a, b in pairs)
    return BothAllocators(kept=kept, system=system, costs=costs, note=note)


def _timed(path: PathResult) -> bool:
    return bool(path.samples_ms) and path.median_ms is not None


def _cost(kept: PathResult, system: PathResult, confidence: float, *, certain: bool) -> AllocatorCost:
    before, after = (median_interval(path.samples_ms, confidence) for path in (kept, system))
    interval = (after[0] / before[1], after[1] / before[0]) if before and after else None
    kept_ms, system_ms = kept.median_ms or 0.0, system.median_ms or 0.0
    return AllocatorCost(
        name=kept.name,
        kept_ms=kept_ms,
        system_ms=system_ms,
        ratio=system_ms / kept_ms,
        ci95=interval,
        word=_word(interval) if certain else "not sure",
    )


def _word(interval: Interval | None) -> CostWord:
    if interval is None:
        return "not sure"
    low, high = interval
    if low > 1 + MARGIN:
        return "costs"
    if high < 1 / (1 + MARGIN):
        return "saves"
    return "same" if low >= 1 / (1 + MARGIN) and high <= 1 + MARGIN else "not sure"
