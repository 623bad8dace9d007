"""Where a difference in time comes from: one bar for each operator group; the bars add up to it exactly.

Profiler time is not measured time, so each path's groups are first scaled to its measured median.
"""

from math import fsum, inf

from engine.analysis.groups import GROUPS
from engine.records import PathResult, Record

FETCHING_MEMORY = "fetching memory"
MANY_PAGE_FAULTS = 2000
"""Fewer page faults per forward are not shown: at about a microsecond each, these take two milliseconds."""


class Bar(Record):
    """One group's part in the difference: below 0 if the path spends less time on it than the baseline."""

    group: str
    baseline_ms: float
    path_ms: float
    change_ms: float


def waterfall(baseline: PathResult, path: PathResult) -> tuple[Bar, ...]:
    """The difference path - baseline in ms, split by operator group; groups that take no time are left out.

    Raises:
        ValueError: a path was not profiled.
    """
    before, after = measured_groups(baseline), measured_groups(path)
    names = [*GROUPS, FETCHING_MEMORY]
    bars = [
        Bar(group=g, baseline_ms=before[g], path_ms=after[g], change_ms=after[g] - before[g]) for g in names
    ]
    return tuple(bar for bar in bars if bar.baseline_ms or bar.path_ms)


def measured_groups(path: PathResult) -> dict[str, float]:
    """Milliseconds per operator group that sum exactly to the path's measured median.

    Time outside every operator (Python, dispatch) is spread over the groups in proportion. Page faults are the
    exception: a profiler keeps the allocator from giving memory back, so a path with many page faults runs faster
    while it is profiled. The missing time is shown as a separate group.
    """
    if path.profile is None or path.median_ms is None:
        raise ValueError(f"{path.name} was not profiled")
    fetching_ms = _fetching_ms(path, path.median_ms)
    inside_ms = path.median_ms - fetching_ms
    groups = path.profile.groups
    # A path outside torch may leave nothing in torch's profile; then all its time is "other".
    profiled_ms = fsum(groups.values()) or inf
    scaled: dict[str, float] = {
        g: groups.get(g, 0.0) * inside_ms / profiled_ms for g in GROUPS if g != "other"
    }
    scaled[FETCHING_MEMORY] = fetching_ms
    return {**scaled, "other": path.median_ms - fsum(scaled.values())}


def _fetching_ms(path: PathResult, median_ms: float) -> float:
    if path.profile is None or (path.page_faults or 0) < MANY_PAGE_FAULTS:
        return 0.0
    return max(0.0, 1 - path.profile.overhead) * median_ms
