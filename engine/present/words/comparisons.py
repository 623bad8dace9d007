"""A comparison of runs in sentences and table cells: what differs, what has changed, and how sure that is. Pure."""

from collections.abc import Sequence

from engine.analysis.compare import Against, Basis, Change, ComparedRun, Comparison, Figure, run_letter
from engine.analysis.differences import MEASURED_PATHS, Difference
from engine.analysis.operator_changes import OperatorChange, OperatorChanges, Unit
from engine.catalog.operators import short_name
from engine.present.words.runs import path_noun, sentence_case, speedup_text
from engine.records import Interval

_LONGEST_VALUE = 80
_CHECKSUM_DIGITS = 12
_NAMED_OPERATORS = 3


def difference_words(difference: Difference) -> str:
    """One difference: `threads 2 -> 8`; of more than two runs, `threads 2 (A, C), 8 (B)`."""
    if difference.name == MEASURED_PATHS:
        return _only_in(difference.values)
    values = [_value(difference.name, value) for value in difference.values]
    if len(set(values)) == 1:
        return f"{difference.name} differ"
    if len(values) == 2:
        return f"{difference.name} {' -> '.join(values)}"
    holders = {value: [run_letter(n) for n, own in enumerate(values) if own == value] for value in values}
    listed = (f"{value} ({', '.join(letters)})" for value, letters in holders.items())
    return f"{difference.name} {', '.join(listed)}"


def _value(name: str, value: str | None) -> str:
    if value is None:
        return "not recorded"
    if name == "weights":
        return value[:_CHECKSUM_DIGITS]
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."


def _only_in(values: Sequence[str | None]) -> str:
    listed = [f"{value} in {run_letter(number)}" for number, value in enumerate(values) if value]
    return f"paths that not all runs measured: {'; '.join(listed)}"


def differences_words(differences: Sequence[Difference]) -> str:
    """Several differences, one after the other."""
    return "; ".join(map(difference_words, differences))


def experiment_sentence(comparison: Comparison) -> str:
    """What differs between the experiments."""
    words = differences_words(comparison.experiment)
    return f"{sentence_case(words)}." if words else "Nothing: the runs are of the same experiment."


def cause_sentence(comparison: Comparison) -> str:
    """What a change can be assigned to."""
    match comparison.causes:
        case ():
            return (
                "Nothing differs that could change a time, so a change comes from the code that was measured or from "
                "the state of the machine."
            )
        case (name,):
            return f"Only one thing differs ({name}), so a change comes from it or from the state of the machine."
        case _:
            return "More than one thing differs, so a change cannot be assigned to one of them."


def machine_sentence(comparison: Comparison) -> str:
    """What differs between the machines and builds, and what cannot be compared because of that."""
    words = differences_words(comparison.machine)
    if not words:
        return "The runs are of the same machine and build."
    forbidden = (
        ""
        if comparison.one_machine
        else " Times of different machines are not compared, only speedups over each run's own baseline."
    )
    return f"{sentence_case(words)}.{forbidden}"


def rounds_words(run: ComparedRun) -> str:
    """How many rounds a run has."""
    return "1 round" if run.rounds == 1 else f"{run.rounds} rounds"


def state_words(run: ComparedRun) -> str:
    """How busy a run's machine was."""
    state = run.state
    words = "quiet" if state.quiet else f"disturbed: {'; '.join(state.notes) or 'the reason is not recorded'}"
    loads = [
        f"{load:.1f} {when}"
        for load, when in ((state.load_before, "before"), (state.load_after, "after"))
        if load is not None
    ]
    return f"{words}; load {', '.join(loads)}" if loads else words


def continues_sentence(comparison: Comparison) -> str:
    """Which runs contain rounds of another one; empty if none does."""
    letters = {run.id: run_letter(number) for number, run in enumerate(comparison.runs)}
    found = [
        f"{run_letter(number)} continues {letters[run.continues]} and contains its rounds."
        for number, run in enumerate(comparison.runs)
        if run.continues in letters
    ]
    return " ".join(found)


def headline(comparison: Comparison) -> str:
    """What has changed, the worst first; of more than two runs, one sentence for each run after the first."""
    if len(comparison.against) == 1:
        return f"{sentence_case(changes_words(comparison.against[0]))}."
    return " ".join(
        f"{run_letter(number)} against A: {changes_words(pair)}."
        for number, pair in enumerate(comparison.against, start=1)
    )


def changes_words(pair: Against) -> str:
    """What has changed from the reference to one other run."""
    if not pair.changes:
        return "nothing was compared, because only the baseline was measured"
    moved = [_moved(change) for word in ("regressed", "improved") for change in _of(pair, word)]
    others = (
        ("no change in {}", _of(pair, "same")),
        ("not sure about {}", _of(pair, "not sure")),
        ("{} was not measured in both runs", _of(pair, "not measured")),
    )
    clauses = [words.format(_nouns(changes)) for words, changes in others if changes]
    return "; ".join((*moved, *clauses))


def _of(pair: Against, word: str) -> list[Change]:
    return [change for change in pair.changes if change.word == word]


def _nouns(changes: Sequence[Change]) -> str:
    *first, last = (path_noun(change.name) for change in changes)
    return f"{', '.join(first)} and {last}" if first else last


def _moved(change: Change) -> str:
    """A regression or an improvement, with its figures."""
    before, after = (figure_text(figure, change) for figure in (change.before, change.after))
    interval = f", 95 % interval {ratio_interval_text(change.ci95)}" if change.ci95 else ""
    ratio = f"{ratio_text(change.ratio)}{interval}"
    if change.basis == "time":
        return f"{path_noun(change.name)} {change.word}: from {before} to {after} ({ratio})"
    return f"{path_noun(change.name)} {change.word}: its speedup went from {before} to {after} ({ratio})"


def figure_text(figure: Figure | None, change: Change) -> str:
    """A speedup or a time in a cell; empty if the run did not measure the path."""
    if figure is None:
        return ""
    return f"{figure.value:.2f}{'x' if change.basis == 'speedup' else ' ms'}"


def ratio_text(ratio: float | None) -> str:
    """A change in a cell."""
    return "" if ratio is None else f"{ratio:.3f}x"


def ratio_interval_text(interval: Interval | None) -> str:
    """The interval of a change in a cell."""
    return "" if interval is None else f"{ratio_text(interval[0])} to {ratio_text(interval[1])}"


def change_header(comparison: Comparison, basis: Basis = "speedup") -> tuple[str, ...]:
    """The columns of `change_rows`."""
    known = basis == "speedup" and any(pair.times for pair in comparison.against)
    run = ("run",) if len(comparison.against) > 1 else ()
    medians = ("median ms",) if known else ()
    return ("path", *run, "before", "after", "change", "95 % interval", *medians, "verdict")


def change_rows(comparison: Comparison, basis: Basis = "speedup") -> list[tuple[str, ...]]:
    """One row for each path and each run after the first; medians only for runs of one machine.

    Args:
        basis: "speedup" for the project's rule; "time" to judge every path by its time.
    """
    header = change_header(comparison, basis)
    return [
        tuple(cells[name] for name in header)
        for number, pair in enumerate(comparison.against, start=1)
        for change in (pair.changes if basis == "speedup" else pair.times)
        for cells in (_cells(change, pair, number),)
    ]


def _cells(change: Change, pair: Against, number: int) -> dict[str, str]:
    return {
        "path": change.name,
        "run": run_letter(number),
        "before": figure_text(change.before, change),
        "after": figure_text(change.after, change),
        "change": ratio_text(change.ratio),
        "95 % interval": ratio_interval_text(change.ci95),
        "median ms": _medians(pair, change.name),
        "verdict": f"{change.word}: {change.note}" if change.note else change.word,
    }


def _medians(pair: Against, name: str) -> str:
    found = next((change for change in pair.times if change.name == name), None)
    if found is None or found.before is None or found.after is None:
        return ""
    return f"{found.before.value:.1f} -> {found.after.value:.1f}"


def legend(comparison: Comparison) -> str:
    """How to read the table of changes."""
    baseline = ", the baseline by its time" if any(pair.times for pair in comparison.against) else ""
    return (
        "A change above 1x means that the later run is faster. A path is judged by its speedup over the baseline of "
        f"the same run{baseline}. Changes within {100 * comparison.margin:g} % are called the same. For each path, the "
        f"intervals of all {len(comparison.runs)} runs hold together with 95 %."
    )


def speedups_sentence(comparison: Comparison) -> str:
    """The message of the chart of speedups: every path's speedup in every run."""
    parts = []
    for name, figures in speedup_figures(comparison).items():
        shown = (f"{run_letter(number)} {speedup_text(figure.value)}" for number, figure in figures)
        parts.append(f"{path_noun(name)} {', '.join(shown)}")
    return (
        f"Speedups over each run's own baseline: {'; '.join(parts)}." if parts else "No speedup was compared."
    )


def speedup_figures(comparison: Comparison) -> dict[str, list[tuple[int, Figure]]]:
    """The speedup of each of the reference's paths in every run that has it: (number of the run, figure)."""
    found: dict[str, dict[int, Figure]] = {}
    for number, pair in enumerate(comparison.against, start=1):
        for change in pair.changes:
            if change.basis == "speedup":
                figures = found.setdefault(change.name, {})
                figures |= {0: change.before} if change.before else {}
                figures |= {number: change.after} if change.after else {}
    return {name: sorted(figures.items()) for name, figures in found.items() if figures}


def amount_text(value: float, unit: Unit, *, signed: bool = False) -> str:
    """An operator's time: 5.1 ms, or 12 % of the baseline's time."""
    sign = "+" if signed else ""
    return f"{value:{sign}.1f} ms" if unit == "ms" else f"{100 * value:{sign}.1f} %"


def operators_sentence(changes: OperatorChanges) -> str:
    """The message of the chart of operators: the whole path's change, and the operators that changed most."""
    before, after = (amount_text(value, changes.unit) for value in (changes.before, changes.after))
    whole = (
        f"{before} before, {after} after{'' if changes.unit == 'ms' else ' (of the time of the baseline)'}"
    )
    moved = [operator for operator in changes.operators if operator.growth != "same"]
    clauses = [_operator_words(operator, changes.unit) for operator in moved[:_NAMED_OPERATORS]]
    return f"{whole}: {', '.join(clauses) or 'no operator changed by more than 1 %'}."


def _operator_words(operator: OperatorChange, unit: Unit) -> str:
    return (
        f"{short_name(operator.name)} {operator.growth} ({amount_text(operator.change, unit, signed=True)})"
    )
