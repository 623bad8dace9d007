"""Two measures of a speedup: the median of the rounds' ratios, which is shown, and the ratio of the two medians.

They agree if times are steady. If times jump from round to round they may differ, because the two medians then come
from different moments.
"""

from engine.findings import Findings
from engine.records import Record

VISIBLE = 1.1
"""If the two differ by more than this factor, a reader who divides the shown times notices it."""


class UnlikeCentres(Record):
    """A path whose speedup visibly differs from the ratio of the medians shown beside it."""

    name: str
    median_ms: float
    paired: float
    """Median of each round's ratio: the speedup that is shown."""
    of_medians: float
    """Baseline's median / the path's median."""


def unlike_centres(run: Findings) -> tuple[UnlikeCentres, ...]:
    """The measured paths of a concluded run whose two measures differ visibly."""
    found = list[UnlikeCentres]()
    for path in run.paths:
        if path.speedup is None or path.median_ms is None or run.baseline.median_ms is None:
            continue
        of_medians = run.baseline.median_ms / path.median_ms
        if max(of_medians, path.speedup) > VISIBLE * min(of_medians, path.speedup):
            found.append(
                UnlikeCentres(
                    name=path.name, median_ms=path.median_ms, paired=path.speedup, of_medians=of_medians
                )
            )
    return tuple(found)
