"""What differs between two profiles, operator by operator: appeared, vanished, grew, shrank, or the same.

The two profiles may be of one path in two runs, or of two paths in one run. Profiler time is scaled to the measured
median. Across machines a time means nothing, so there each time is a share of its own run's baseline.
"""

from collections.abc import Sequence
from math import fsum
from typing import Literal, get_args

from engine.analysis.differences import same_machine
from engine.records import OperatorTime, PathResult, Record, Run

Growth = Literal["appeared", "grew", "same", "shrank", "vanished"]
GROWTHS: tuple[Growth, ...] = get_args(Growth)
TimeKind = Literal["self", "total"]
Unit = Literal["ms", "share"]
SMALL = 0.01
"""Changes of less than this share of the path's time count as the same: a profile has few forwards and no interval."""


class OperatorChange(Record):
    """One operator in two profiles; 0 if it was not called."""

    name: str
    before: float
    after: float
    growth: Growth

    @property
    def change(self) -> float:
        """Positive if it takes more in the second profile."""
        return self.after - self.before


class OperatorChanges(Record):
    """Two profiles side by side."""

    unit: Unit
    """Milliseconds per forward, or the share of the median time of the run's own baseline."""
    kind: TimeKind
    before: float
    """The whole path's median, in `unit`."""
    after: float
    operators: tuple[OperatorChange, ...]
    """The largest change first. Self times add up to `before` and `after`; total times overlap."""


def profiled_paths(run: Run) -> tuple[str, ...]:
    """The paths whose operators torch's profiler saw."""
    return tuple(path.name for path in run.paths if path.profile and path.profile.ops and path.median_ms)


def operator_changes(
    before: tuple[Run, str], after: tuple[Run, str], kind: TimeKind = "self"
) -> OperatorChanges:
    """Every operator of two profiled paths.

    Args:
        before, after: a run and the name of a path among its `profiled_paths`.
        kind: an operator's self time, or its time with everything that it calls.

    Raises:
        ValueError: one of the paths was not profiled.
    """
    unit: Unit = "ms" if same_machine(before[0], after[0]) else "share"
    old, new = (_times(run, run.path(name), kind, unit) for run, name in (before, after))
    old_all, new_all = (_median(run, run.path(name), unit) for run, name in (before, after))
    small = SMALL * max(old_all, new_all)
    found = [_operator(name, old.get(name), new.get(name), small) for name in {**old, **new}]
    return OperatorChanges(
        unit=unit,
        kind=kind,
        before=old_all,
        after=new_all,
        operators=tuple(sorted(found, key=lambda operator: -abs(operator.change))),
    )


def rest_of(operators: Sequence[OperatorChange], small: float) -> OperatorChange:
    """The sum of the operators that have no row of their own."""
    before, after = (
        fsum(values) for values in ([op.before for op in operators], [op.after for op in operators])
    )
    return _operator(f"{len(operators)} other operators", before, after, small)


def _operator(name: str, before: float | None, after: float | None, small: float) -> OperatorChange:
    old, new = before or 0.0, after or 0.0
    return OperatorChange(name=name, before=old, after=new, growth=_growth(before, after, small))


def _growth(before: float | None, after: float | None, small: float) -> Growth:
    if before is None:
        return "appeared"
    if after is None:
        return "vanished"
    if abs(after - before) <= small:
        return "same"
    return "grew" if after > before else "shrank"


def _times(run: Run, path: PathResult, kind: TimeKind, unit: Unit) -> dict[str, float]:
    """Time of each operator in `unit`, by its name; a name that occurs twice in a profile is summed."""
    if path.profile is None or path.median_ms is None:
        raise ValueError(f"{path.name} was not profiled")
    profiled_ms = fsum(op.self_ms for op in path.profile.ops)
    scale = _median(run, path, unit) / profiled_ms if profiled_ms > 0 else 0.0
    times: dict[str, float] = {}
    for op in path.profile.ops:
        times[op.name] = times.get(op.name, 0.0) + _ms(op, kind) * scale
    return times


def _ms(op: OperatorTime, kind: TimeKind) -> float:
    return op.self_ms if kind == "self" else op.total_ms


def _median(run: Run, path: PathResult, unit: Unit) -> float:
    ms = path.median_ms or 0.0
    return ms if unit == "ms" else ms / (run.baseline.median_ms or ms or 1.0)
