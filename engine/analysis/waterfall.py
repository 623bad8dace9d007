"""Where a difference comes from: operator groups whose bars add up to the measured difference, to the last bit.

Profiler time is not measured time, so each path's groups are scaled to its measured median first.
"""

from math import fsum

from engine.analysis.groups import GROUPS
from engine.records import PathResult, Record


class Bar(Record):
    """One group's part in the difference: below 0 where the path spends less time on it than the baseline."""

    group: str
    baseline_ms: float
    path_ms: float
    change_ms: float


def waterfall(baseline: PathResult, path: PathResult) -> tuple[Bar, ...]:
    """The difference path - baseline in ms, split by operator group, zero bars left out.

    Raises:
        ValueError: a path was not profiled.
    """
    before, after = scaled_groups(baseline), scaled_groups(path)
    bars = [
        Bar(group=g, baseline_ms=before[g], path_ms=after[g], change_ms=after[g] - before[g]) for g in GROUPS
    ]
    return tuple(bar for bar in bars if bar.baseline_ms or bar.path_ms)


def scaled_groups(path: PathResult) -> dict[str, float]:
    """Milliseconds per operator group that sum exactly to the path's measured median.

    Time outside every operator (Python, dispatch) is spread in proportion, as the operators' own overhead is.
    """
    if path.profile is None or path.median_ms is None:
        raise ValueError(f"{path.name} was not profiled")
    groups = path.profile.groups
    profiled_ms = fsum(groups.values())
    scaled: dict[str, float] = {
        g: groups.get(g, 0.0) * path.median_ms / profiled_ms for g in GROUPS if g != "other"
    }
    return {**scaled, "other": path.median_ms - fsum(scaled.values())}
