"""Compares two to six runs: the first is the reference, and every other run is judged against it, path by path.

Runs made at different times cannot be paired round by round. So every path is judged by its speedup over the baseline
of its own run, because the machine's state cancels out in it. The baseline is judged by its time, but only if both
runs are of one machine.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Literal

from engine.analysis.differences import (
    MEASURED_PATHS,
    PROCESSOR,
    Difference,
    MachineState,
    experiment_differences,
    machine_differences,
    machine_state,
    same_machine,
)
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.analysis.verdict import MARGIN
from engine.errors import Refusal
from engine.records import Interval, Record, Run

ChangeWord = Literal["regressed", "improved", "same", "not sure", "not measured"]
Basis = Literal["speedup", "time"]

FEWEST_RUNS, MOST_RUNS = 2, 6
PULSE_MARGIN = 1.1
"""If the pulse differs by more than this factor between two runs, their times are not comparable."""


class Gate(IntEnum):
    """Exit codes of a comparison, for use in continuous integration."""

    OK = 0
    REGRESSED = 1
    NOT_MEASURED = 2
    INCONCLUSIVE = 3


class Figure(Record):
    """One path in one run: its speedup over the baseline, or its median ms."""

    value: float
    ci95: Interval | None
    """The intervals of all runs that are compared hold together with 95 %, for each path."""


class Change(Record):
    """One path in two runs; a ratio above 1 means that the later run is faster."""

    name: str
    basis: Basis
    before: Figure | None
    after: Figure | None
    ratio: float | None
    ci95: Interval | None
    word: ChangeWord
    note: str = ""


class Against(Record):
    """One run compared with the reference."""

    same_machine: bool
    changes: tuple[Change, ...]
    """The reference's paths, by the project's rule: speedups; and the baseline's time if both are of one machine."""
    times: tuple[Change, ...]
    """The same paths judged by their times; empty if the runs are of different machines."""


class ComparedRun(Record):
    """A run in a comparison."""

    id: str
    title: str
    created_at: datetime
    rounds: int
    continues: str
    machine: str
    baseline: str
    state: MachineState


class Comparison(Record):
    """What differs between runs, and what has changed; the first run is the reference."""

    schema_version: Literal[1] = 1
    runs: tuple[ComparedRun, ...]
    margin: float
    """Smaller changes are called the same."""
    experiment: tuple[Difference, ...]
    machine: tuple[Difference, ...]
    """Differences between the machines and the builds."""
    unlike: tuple[Difference, ...]
    """The differences that make the runs not one experiment on one kind of machine."""
    causes: tuple[str, ...]
    """Names of the differences that may change a time."""
    against: tuple[Against, ...]
    """One for each run after the first."""

    @property
    def one_machine(self) -> bool:
        """Whether all runs are of one machine."""
        return all(pair.same_machine for pair in self.against)


def run_letter(number: int) -> str:
    """The name of a run in a comparison: A for the reference, then B, C, ..."""
    return chr(ord("A") + number)


def check_number(runs: int) -> None:
    """Check how many runs are to be compared.

    Raises:
        Refusal: fewer than two, or more than six.
    """
    if not FEWEST_RUNS <= runs <= MOST_RUNS:
        raise Refusal(f"{FEWEST_RUNS} to {MOST_RUNS} runs can be compared at once, not {runs}.")


def compare_runs(runs: Sequence[Run], margin: float = MARGIN) -> Comparison:
    """What differs between runs, and what has changed from the first to each of the others.

    Runs of different experiments are compared as well: whether that means anything is the reader's decision, so the
    differences stand in the result (`unlike`).

    Raises:
        Refusal: fewer than two runs, or more than six.
    """
    check_number(len(runs))
    experiment, machine = experiment_differences(runs), machine_differences(runs)
    return Comparison(
        runs=tuple(map(_compared, runs)),
        margin=margin,
        experiment=experiment,
        machine=machine,
        unlike=_unlike(runs, experiment),
        causes=tuple(found.name for found in (*_causes(runs, experiment), *machine)),
        against=tuple(_against(runs, number, margin) for number in range(1, len(runs))),
    )


def _compared(run: Run) -> ComparedRun:
    return ComparedRun(
        id=run.id,
        title=run.title,
        created_at=run.created_at,
        rounds=run.rounds,
        continues=run.continues,
        machine=run.environment.machine,
        baseline=run.experiment.baseline,
        state=machine_state(run),
    )


def _unlike(runs: Sequence[Run], experiment: Sequence[Difference]) -> tuple[Difference, ...]:
    """New weights and other paths make no other experiment; another processor under the model does."""
    differences = [found for found in experiment if found.name not in (MEASURED_PATHS, "weights")]
    devices = tuple(run.environment.device_name for run in runs)
    if len(set(devices)) > 1:
        differences.append(Difference(name=PROCESSOR, values=devices))
    return tuple(differences)


def _causes(runs: Sequence[Run], experiment: Sequence[Difference]) -> list[Difference]:
    """What may change a time. The paths measured beside a path do so only if freed memory goes back to the system."""
    kept = all(run.experiment.allocator == "kept" for run in runs)
    return [found for found in experiment if not (kept and found.name == MEASURED_PATHS)]


def gate(changes: Sequence[Change]) -> Gate:
    """The exit code of a comparison: that of the path that did worst."""
    words = {change.word for change in changes}
    if "regressed" in words:
        return Gate.REGRESSED
    if "not measured" in words or not words:
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


def _against(runs: Sequence[Run], number: int, margin: float) -> Against:
    before, after = runs[0], runs[number]
    one_machine = same_machine(before, after)
    baseline = before.experiment.baseline
    note = machine_note(before, after, ("run A", f"run {run_letter(number)}"))
    rule: dict[str, Basis] = {
        path.name: "time" if path.name == baseline else "speedup" for path in before.paths
    }
    return Against(
        same_machine=one_machine,
        changes=tuple(
            _change(name, basis, (before, after), len(runs), margin, note)
            for name, basis in rule.items()
            if one_machine or basis == "speedup"
        ),
        times=tuple(_change(name, "time", (before, after), len(runs), margin, note) for name in rule)
        if one_machine
        else (),
    )


def _change(name: str, basis: Basis, pair: tuple[Run, Run], runs: int, margin: float, note: str) -> Change:
    """One path's change.

    Args:
        runs: number of runs whose intervals must hold together.
        note: why times may have changed with the machine; it makes a changed time "not sure".
    """
    over = pair[0].experiment.baseline
    old, new = (_figure(run, name, over, basis, shared_confidence(runs, run.looks)) for run in pair)
    if old is None or new is None:
        return Change(
            name=name, basis=basis, before=old, after=new, ratio=None, ci95=None, word="not measured"
        )
    interval = _ratio_interval(old.ci95, new.ci95, basis)
    word = _word(interval, margin)
    doubt = note if basis == "time" and word in ("regressed", "improved") else ""
    too_few = "" if interval else "too few rounds for an interval"
    return Change(
        name=name,
        basis=basis,
        before=old,
        after=new,
        ratio=old.value / new.value if basis == "time" else new.value / old.value,
        ci95=interval,
        word="not sure" if doubt else word,
        note=doubt or too_few,
    )


def machine_note(
    before: Run, after: Run, names: tuple[str, str] = ("the first run", "the second run")
) -> str:
    """Why the machine itself, and not the code, may have changed a time; empty if there is no sign of it.

    Args:
        names: what to call the two runs.
    """
    states = [machine_state(run) for run in (before, after)]
    for name, state in zip(names, states, strict=True):
        if not state.quiet:
            return f"{name} was disturbed: {'; '.join(state.notes)}"
    old, new = (state.pulse_ms for state in states)
    if old is None or new is None or max(old, new) <= PULSE_MARGIN * min(old, new):
        return ""
    return f"a short test calculation took {old:.1f} ms in {names[0]} and {new:.1f} ms in {names[1]}"


def _figure(run: Run, name: str, over: str, basis: Basis, confidence: float) -> Figure | None:
    """A path's speedup over the path `over` of the same run, or its median ms; None if the run did not measure it."""
    measured = {path.name: path for path in run.paths if path.samples_ms and path.median_ms is not None}
    path, baseline = measured.get(name), measured.get(over)
    if path is None or path.median_ms is None:
        return None
    if basis == "time":
        return Figure(value=path.median_ms, ci95=median_interval(path.samples_ms, confidence))
    if baseline is None:
        return None
    ratios = paired_ratios(baseline.samples_ms, path.samples_ms)
    return Figure(value=speedup(ratios), ci95=median_interval(ratios, confidence))


def _ratio_interval(old: Interval | None, new: Interval | None, basis: Basis) -> Interval | None:
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
