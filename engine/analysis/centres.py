"""Two answers to how much faster: the median of the rounds' ratios, which is shown, and the ratio of the medians.

They agree on a machine that keeps its pace. Where times jump from round to round they may not: the medians are then of
different moments.
"""

from engine.records import Record, Run

VISIBLE = 1.1
"""Where the two differ by more than this factor, people who divide the times that they see wonder."""


class UnlikeCentres(Record):
    """A path whose speedup is visibly not the quotient of the medians shown beside it."""

    name: str
    median_ms: float
    paired: float
    """Median of each round's ratio: the speedup that is shown."""
    of_medians: float
    """Baseline's median / the path's median."""


def unlike_centres(run: Run) -> tuple[UnlikeCentres, ...]:
    """The measured paths of a concluded run where the two differ visibly."""
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
