"""A sweep in sentences: how far it is, which path is best where, and where sparsity becomes faster. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Sequence

from engine.analysis.sweeps import SPARSE, Best, SparsityLine, best_path, ms_per_1000_tokens, sparsity_lines
from engine.made import percent
from engine.present.words.ages import duration_words
from engine.present.words.doctor_sparsity import faster_words, open_words
from engine.present.words.runs import path_noun, sentence_case, speedup_text
from engine.records import Run
from engine.sweeps import Axis, Place, Sweep, counted

AXIS_TITLES: dict[Axis, str] = {
    "batch_size": "Texts in the batch",
    "length": "Tokens of the longest text",
    "padding": "Padding ratio",
    "threads": "Threads",
}
MOST_LINES = 12
"""Sentences on sparsity that are written out."""
HOW_CELLS_ARE_JUDGED = (
    "Each cell is a run of its own, judged by the same rule as any run. A cell marked ? is not sure: its interval "
    "allows more than one answer."
)


def value_words(axis: Axis, value: float | None) -> str:
    """A value of an axis: 30%, 64, as torch chooses."""
    if value is None:
        return "as torch chooses"
    return percent(value) if axis == "padding" else f"{value:g}"


def state_sentence(sweep: Sweep, live: bool = False) -> str:
    """How many cells are complete, and how many of them could not be measured."""
    lost = sum(cell.run is None for cell in sweep.cells)
    without = f", {lost} of them without a result" if lost else ""
    done = f"{len(sweep.cells)} of {counted(sweep.plan.size, 'cell')}"
    if sweep.finished:
        return f"Finished: {done}{without}."
    if live:
        return f"Measuring: {done} so far{without}."
    return f"Stopped after {done}{without}. Resume it to measure the rest."


def best_sentence(runs: Sequence[Run]) -> str:
    """Which path is best for certain in how many cells, and in how many that is not sure."""
    bests = [best_path(run) for run in runs]
    if not bests:
        return "No cell has a result yet."
    sure, cells = [best for best in bests if best.sure], counted(len(bests), "cell")
    if not sure:
        return f"Not sure which path is best in any of {cells}."
    counts = Counter(best.name for best in sure)
    clauses = [
        _best_clause(name, [best for best in sure if best.name == name], len(bests))
        for name, _ in counts.most_common()
    ]
    tail = f" Not sure in {len(bests) - len(sure)} of {cells}." if len(sure) < len(bests) else ""
    return f"{sentence_case('; '.join(clauses))}.{tail}"


def _best_clause(name: str, bests: Sequence[Best], cells: int) -> str:
    where = f"in {len(bests)} of {counted(cells, 'cell')}" if len(bests) < cells else "in every cell"
    if all(best.speedup == 1.0 for best in bests):
        return f"{path_noun(name)} is best {where}"
    return f"{path_noun(name)} is best {where} ({_range(best.speedup for best in bests)})"


def _range(values: Iterable[float | None]) -> str:
    found = sorted(value for value in values if value is not None)
    first, last = speedup_text(found[0]), speedup_text(found[-1])
    return first if first == last else f"{first} to {last}"


def path_sentence(runs: Sequence[Run], name: str) -> str:
    """How fast a path is over the slow path in these cells, and in how many that is not sure."""
    seen = [path for run in runs for path in run.paths if path.name == name and path.speedup is not None]
    if not seen:
        return f"{sentence_case(path_noun(name))} has no result in these cells."
    unsure = sum(path.verdict == "not sure" for path in seen)
    faster = sum(path.verdict == "faster" for path in seen)
    tail = f"; not sure in {unsure}" if unsure else ""
    return (
        f"{sentence_case(path_noun(name))} is {_range(path.speedup for path in seen)} as fast as the slow path; "
        f"faster in {faster} of {counted(len(seen), 'cell')}{tail}."
    )


def tokens_sentence(runs: Sequence[Run], name: str) -> str:
    """What 1,000 real tokens cost on a path in these cells."""
    seen = sorted(ms for run in runs if (ms := ms_per_1000_tokens(run, name)) is not None)
    if not seen:
        return f"{sentence_case(path_noun(name))} has no result in these cells."
    first, last = ms_text(seen[0]), ms_text(seen[-1])
    span = first if first == last else f"{first} to {last}"
    return f"{sentence_case(path_noun(name))} takes {span} for 1,000 real tokens."


def ms_text(value: float) -> str:
    """Milliseconds with three digits: 0.123 ms, 12.3 ms, 1,234 ms."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def sparsity_sentences(sweep: Sweep) -> tuple[str, ...]:
    """Where sparsity becomes faster, a sentence for every combination of the other axes; the first `MOST_LINES`."""
    lines = sparsity_lines(sweep)
    written = tuple(_line_words(line) for line in lines[:MOST_LINES])
    left = len(lines) - len(written)
    return (*written, f"And {left} more, in the map.") if left else written


def _line_words(line: SparsityLine) -> str:
    return f"{_where(line.at)}: {faster_words(line.faster)}{open_words(line.faster)}."


def _where(place: Place) -> str:
    threads = "" if place.threads is None else f", {counted(place.threads, 'thread')}"
    return f"{counted(place.batch_size, 'text')} x {place.length} tokens{threads}"


def sparsity_caption(lines: Sequence[SparsityLine]) -> str:
    """What the line in the map means; empty where there is none."""
    if not lines:
        return ""
    against = sorted({path_noun(line.against) for line in lines})
    return (
        f"The line is where sparsity becomes faster: on its side of more padding, {path_noun(SPARSE)} is faster than "
        f"{' or '.join(against)}."
    )


def cell_words(done: int, of: int, title: str, left_s: float | None) -> str:
    """Which cell is being measured, and about how long the sweep still takes."""
    left = "" if left_s is None else f", about {duration_words(left_s)} left"
    return f"Cell {done + 1} of {of}: {title}{left}"


def estimate_sentence(cells: int, seconds: float) -> str:
    """How large a sweep is and about how long it takes."""
    return f"{counted(cells, 'cell')}, about {duration_words(seconds)}."
