"""Compares two runs of the same experiment: it finds the paths that have become slower or faster.

Runs made at different times cannot be paired round by round. So every path is judged by its speedup over the baseline
of its own run, because the machine's state cancels out in it. The baseline is judged by its time.
"""

from enum import IntEnum
from statistics import median
from typing import Literal

from engine.alike import SETUP, as_measured, differing, facts_of
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.analysis.verdict import MARGIN
from engine.errors import Refusal
from engine.records import Interval, Record, Run

ChangeWord = Literal["regressed", "improved", "same", "not sure", "not measured"]

PULSE_MARGIN = 1.1
"""If the pulse differs by more than this factor between two runs, their times are not comparable."""
_RUNS = 2
"""Number of intervals that must hold together: one of each run."""


class Gate(IntEnum):
    """Exit codes of a comparison, for use in continuous integration."""

    OK = 0
    REGRESSED = 1
    NOT_MEASURED = 2
    INCONCLUSIVE = 3


class Change(Record):
    """One path in two runs; a ratio above 1 means that the newer run is faster."""

    name: str
    basis: Literal["speedup", "time"]
    before: float | None
    after: float | None
    """Speedup over the run's own baseline, or median ms of the baseline."""
    ratio: float | None
    ci95: Interval | None
    word: ChangeWord
    note: str = ""


def compare_runs(
    before: Run, after: Run, margin: float = MARGIN, *, unlike_allowed: bool = False
) -> tuple[Change, ...]:
    """What has changed from one run to a newer one, path by path.

    Args:
        margin: smaller changes are called the same.
        unlike_allowed: also compare runs of different experiments.

    Raises:
        Refusal: the runs are not one experiment on one kind of machine.
    """
    if not unlike_allowed:
        _check_alike(before, after)
    names = [path.name for path in before.paths]
    return tuple(_change(name, before, after, margin) for name in names)


def gate(changes: tuple[Change, ...]) -> Gate:
    """The exit code of a comparison: that of the path that did worst."""
    words = {change.word for change in changes}
    if "regressed" in words:
        return Gate.REGRESSED
    if "not measured" in words:
        return Gate.NOT_MEASURED
    return Gate.INCONCLUSIVE if "not sure" in words else Gate.OK


def gate_ratio(run: Run, name: str, least: float) -> Gate:
    """Whether a path's whole interval is at least `least`; inconclusive if `least` lies inside the interval."""
    path = next((path for path in run.paths if path.name == name), None)
    if path is None or path.status != "ok" or path.speedup is None:
        return Gate.NOT_MEASURED
    low, high = path.speedup_ci95 or (0.0, float("inf"))
    if low >= least:
        return Gate.OK
    return Gate.REGRESSED if high < least else Gate.INCONCLUSIVE


def unlike(before: Run, after: Run) -> tuple[str, ...]:
    """The differences, in words, that make two runs not one experiment on one kind of machine."""
    a, b = as_measured(before), as_measured(after)
    old, new = facts_of(a), facts_of(b)
    differences = [_difference(name, old[name], new[name]) for name in differing(a, b, SETUP)]
    seen = {
        "processor": (before.environment.device_name, after.environment.device_name),
    }
    in_force = tuple(run.environment.allocator_in_force for run in (before, after))
    # Older runs do not record it. If the experiments ask for different allocators, that difference is listed above.
    if all(in_force) and a.allocator == b.allocator:
        seen["allocator in force"] = (in_force[0], in_force[1])
    return (*differences, *(_difference(what, *pair) for what, pair in seen.items() if pair[0] != pair[1]))


def _difference(what: str, before: object, after: object) -> str:
    if what == "texts":
        return "texts differ"
    return f"{'precision' if what == 'dtype' else what} {before} against {after}"


def _check_alike(before: Run, after: Run) -> None:
    differences = unlike(before, after)
    if differences:
        raise Refusal(
            f"These runs are not of one experiment ({'; '.join(differences)}), so a change between them would mean "
            "nothing; --anyway compares them all the same."
        )


def _change(name: str, before: Run, after: Run, margin: float) -> Change:
    basis: Literal["speedup", "time"] = "time" if name == before.experiment.baseline else "speedup"
    old, new = (_figure(run, name, basis) for run in (before, after))
    if old is None or new is None:
        return Change(
            name=name,
            basis=basis,
            before=old and old[0],
            after=new and new[0],
            ratio=None,
            ci95=None,
            word="not measured",
        )
    ratio = old[0] / new[0] if basis == "time" else new[0] / old[0]
    interval = _ratio_interval(old[1], new[1], basis)
    word = _word(interval, margin)
    note = machine_note(before, after) if basis == "time" and word in ("regressed", "improved") else ""
    return Change(
        name=name,
        basis=basis,
        before=old[0],
        after=new[0],
        ratio=ratio,
        ci95=interval,
        word="not sure" if note else word,
        note=note,
    )


def machine_note(before: Run, after: Run) -> str:
    """Why the machine itself, and not the code, may have changed a time; empty if there is no sign of it."""
    for which, run in (("first", before), ("second", after)):
        if not run.environment.quiet:
            return f"the {which} run was disturbed: {'; '.join(run.environment.notes)}"
    if not before.conditions or not after.conditions:
        return ""
    old, new = (median(round_.pulse_ms for round_ in run.conditions) for run in (before, after))
    if max(old, new) <= PULSE_MARGIN * min(old, new):
        return ""
    return f"a short test calculation took {old:.1f} ms in the first run and {new:.1f} ms in the second"


def _figure(run: Run, name: str, basis: str) -> tuple[float, Interval | None] | None:
    """A path's speedup or median ms with its interval; None if the run did not measure it."""
    path = next((path for path in run.paths if path.name == name and path.samples_ms), None)
    if path is None or path.median_ms is None:
        return None
    confidence = shared_confidence(_RUNS, run.looks)
    if basis == "time":
        return path.median_ms, median_interval(path.samples_ms, confidence)
    ratios = paired_ratios(run.baseline.samples_ms, path.samples_ms)
    return speedup(ratios), median_interval(ratios, confidence)


def _ratio_interval(old: Interval | None, new: Interval | None, basis: str) -> Interval | None:
    if old is None or new is None:
        return None
    numerator, denominator = (old, new) if basis == "time" else (new, old)
    return numerator[0] / denominator[1], numerator[1] / denominator[0]


def _word(interval: Interval | None, margin: float) -> ChangeWord:
    if interval is None:
        return "not sure"
    low, high = interval
    if high < 1 / (1 + margin):
        return "regressed"
    if low > 1 + margin:
        return "improved"
    return "same" if 1 / (1 + margin) <= low and high <= 1 + margin else "not sure"
