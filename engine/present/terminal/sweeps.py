"""A sweep as a table for a terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.analysis.sweeps import best_path
from engine.present.terminal.runs import conditions_words
from engine.present.words.runs import speedup_text
from engine.present.words.sweeps import (
    HOW_CELLS_ARE_JUDGED,
    best_sentence,
    sparsity_sentences,
    state_sentence,
)
from engine.records import PathResult, Run
from engine.sweeps import Place, Sweep, SweepCell


def sweep_report(sweep: Sweep) -> RenderableType:
    """Every cell with its best path and all speedups, and what they say together."""
    runs = [run for _, run in sweep.measured]
    return Group(
        Text(sweep.title, style="bold"),
        cells_table(sweep),
        Text(HOW_CELLS_ARE_JUDGED, style="dim"),
        *(Text(f"{place}: {reason}") for place, reason in _without_result(sweep)),
        *_refuted(sweep),
        *(Text(sentence) for sentence in sparsity_sentences(sweep)),
        *([Text(f"The last cell: {conditions_words(runs[-1])}", style="dim")] if runs else []),
        Text(best_sentence(runs), style="bold"),
        Text(state_sentence(sweep)),
    )


def cells_table(sweep: Sweep) -> Table:
    """One row per complete cell: its best path, and the speedup of every path over the slow path."""
    table = Table(title_justify="left", expand=False)
    table.add_column("batch", no_wrap=True)
    for name in ("slow ms", "best", *_others(sweep), "rounds"):
        table.add_column(name, justify="left" if name == "best" else "right")
    for cell in sweep.cells:
        table.add_row(*_row(sweep, sweep.plan.places[cell.number], cell))
    return table


def _others(sweep: Sweep) -> tuple[str, ...]:
    return tuple(name for name in sweep.plan.paths if name != sweep.plan.baseline)


def _row(sweep: Sweep, place: Place, cell: SweepCell) -> Iterator[str]:
    yield place.title
    if cell.run is None:
        yield from ("", "no result")
        return
    best = best_path(cell.run)
    yield f"{cell.run.baseline.median_ms or 0:.2f}"
    yield best.name + ("" if best.sure else " ?")
    for name in _others(sweep):
        yield _speedup(cell.run.path(name))
    yield str(cell.run.rounds)


def _speedup(path: PathResult) -> str:
    if path.speedup is None:
        return path.status
    return speedup_text(path.speedup) + (" ?" if path.verdict == "not sure" else "")


def _without_result(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for cell in sweep.cells:
        if cell.run is None:
            yield sweep.plan.places[cell.number].title, cell.reason


def _refuted(sweep: Sweep) -> Iterator[Text]:
    for place, run in sweep.measured:
        if names := refuted_paths(run):
            yield Text(f"{place.title}: the profile refutes {', '.join(names)}.")


def refuted_paths(run: Run) -> tuple[str, ...]:
    """Paths whose profile shows something else than they claim."""
    return tuple(path.name for path in run.paths if path.evidence is not None and not path.evidence.ok)
