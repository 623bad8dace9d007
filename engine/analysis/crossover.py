"""From which padding ratio sparsity is faster: a verdict at every ratio of the sweep, and one statement from all.

Pure: the raw samples of a sweep give the same statement on every machine.
"""

from collections.abc import Sequence
from typing import Literal

from engine.analysis.conclude import judged
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import Situation
from engine.diagnosis import SweepPoint
from engine.records import Record

FasterKind = Literal["always", "between", "from", "never", "up to", "contradictory", "imprecise"]


class FasterRatios(Record):
    """At which padding ratios sparsity is faster.

    Attributes:
        kind: "always" and "never" hold at every ratio of the sweep. "between": the crossover is between
            `not_faster_up_to` and `faster_from`. "from": faster at `faster_from`, else open. "up to": not faster at
            `not_faster_up_to`, open elsewhere. "contradictory": faster at a ratio and not at a larger one.
            "imprecise": all verdicts are open.
        not_faster_up_to: largest ratio below the crossover with the verdict slower or same.
        faster_from: smallest ratio with the verdict faster.
        open_ratios: ratios with the verdict not sure.
    """

    kind: FasterKind
    not_faster_up_to: float | None = None
    faster_from: float | None = None
    open_ratios: tuple[float, ...] = ()


def judged_point(point: SweepPoint, points: int, situation: Situation) -> SweepPoint:
    """A point with its speedup, interval and verdict computed from its samples.

    Args:
        points: how many points the sweep has; their intervals hold together with 95 % confidence.
    """
    floor = median_interval(paired_ratios(point.dense_ms, point.dense_again_ms), shared_confidence(points))
    ratio, interval, verdict = judged(
        point.dense_ms, point.sparse_ms, shared_confidence(points), floor, situation
    )
    return point.model_copy(update={"speedup": ratio, "ci95": interval, "verdict": verdict.word})


def faster_ratios(points: Sequence[SweepPoint]) -> FasterRatios:
    """The statement that the points' verdicts allow."""
    ordered = sorted(points, key=lambda point: point.padding_ratio)
    faster = [point.padding_ratio for point in ordered if point.verdict == "faster"]
    not_faster = [point.padding_ratio for point in ordered if point.verdict in ("slower", "same")]
    open_ratios = tuple(point.padding_ratio for point in ordered if point.verdict in (None, "not sure"))
    return FasterRatios(
        kind=_kind(faster, not_faster, open_ratios),
        not_faster_up_to=max(not_faster, default=None),
        faster_from=min(faster, default=None),
        open_ratios=open_ratios,
    )


def _kind(faster: list[float], not_faster: list[float], open_ratios: tuple[float, ...]) -> FasterKind:
    if not faster and not not_faster:
        return "imprecise"
    if not faster:
        return "up to" if open_ratios else "never"
    if not not_faster:
        return "from" if open_ratios else "always"
    return "contradictory" if max(not_faster) > min(faster) else "between"
