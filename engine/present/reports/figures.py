"""The charts of a run by name, for reports and files; a run has only those that its data allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.analysis.allocators import both_allocators
from engine.analysis.recommend import fastest_path
from engine.analysis.tutorial_steps import tutorial_steps
from engine.errors import Refusal
from engine.present.charts.allocators import allocator_chart
from engine.present.charts.explanations import (
    steps_caption,
    steps_chart,
    steps_words,
    waterfall_chart,
    waterfall_words,
)
from engine.present.charts.roofline import has_roofline, roofline_chart
from engine.present.charts.runs import (
    Drawing,
    OperatorTimeKind,
    operator_alt,
    operator_chart,
    padding_alt,
    padding_map,
    samples_alt,
    samples_chart,
    speedup_alt,
    speedup_chart,
)
from engine.present.words.allocators import costs_sentence
from engine.present.words.roofline import memory_words, peaks_words, roofline_words, useful_words
from engine.present.words.runs import path_title, speedups_caption
from engine.records import Run

FEW_PATHS = 4
MOST_OPERATORS, FEWER_OPERATORS = 12, 8
"""Operators in a chart of few paths, and of more."""


@dataclass(frozen=True)
class Figure:
    """A chart with its words.

    Attributes:
        name: what `report --chart` calls it.
        heading: what it shows.
        message: what can be seen in it, in words.
        caption: how to read it; may be empty.
        draw: makes the chart.
    """

    name: str
    heading: str
    message: str
    caption: str
    draw: Callable[[], Drawing]


def figures(run: Run, waterfall_to: str = "") -> dict[str, Figure]:
    """All charts that can be drawn of a run, by name.

    Args:
        waterfall_to: the path that the waterfall leads to; empty for the fastest profiled one.
    """
    found = (
        _speedups(run),
        *_operators(run),
        *_waterfall(run, waterfall_to),
        *_steps(run),
        *_roofline(run),
        *_padding(run),
        _rounds(run),
    )
    return {figure.name: figure for figure in found}


def figure_of(runs: Sequence[Run], name: str, waterfall_to: str = "") -> Figure:
    """The chart of this name, of one run, or of two under different allocators.

    Raises:
        Refusal: the runs have no such chart.
    """
    if name == "allocators":
        if len(runs) != 2:
            raise Refusal(
                "The chart of allocators needs two runs of one experiment: one with each allocator."
            )
        return _allocators(*runs)
    if len(runs) != 1:
        raise Refusal(
            "A chart shows one run, so give one; only the chart of allocators shows two runs of one experiment."
        )
    found = figures(runs[0], waterfall_to)
    if name not in found:
        raise Refusal(f"The run {runs[0].id} has no chart {name!r}; it has {', '.join(found)}.")
    return found[name]


def _speedups(run: Run) -> Figure:
    return Figure("speedups", "Speedups", speedup_alt(run), speedups_caption(run), lambda: speedup_chart(run))


def _operators(run: Run) -> list[Figure]:
    profiled = tuple(path.name for path in run.paths if path.profile)
    if not profiled:
        return []
    self_time = _operator_figure(
        run,
        profiled,
        "self",
        "Self time is spent in the operator itself, scaled from profiler time to the measured median.",
    )
    total = _operator_figure(
        run,
        profiled,
        "total",
        "Total time includes the operators that it calls, scaled from profiler time to the measured median.",
    )
    return [self_time, total]


def _operator_figure(run: Run, profiled: tuple[str, ...], kind: OperatorTimeKind, caption: str) -> Figure:
    fastest = fastest_path(run, profiled=True)
    named = (run.experiment.baseline, *(() if fastest is None else (fastest.name,)))
    top = MOST_OPERATORS if len(profiled) <= FEW_PATHS else FEWER_OPERATORS
    return Figure(
        "operators" if kind == "self" else "operators-total",
        f"Operators by {kind} time",
        operator_alt(run, tuple(name for name in named if name in profiled) or profiled, kind),
        caption,
        lambda: operator_chart(run, profiled, kind, top),
    )


def _waterfall(run: Run, name: str) -> list[Figure]:
    path = _waterfall_path(run, name)
    if path is None or not (run.baseline.profile and run.baseline.profile.groups):
        return []
    target = run.path(path)
    return [
        Figure(
            "waterfall",
            f"From the slow path to: {path_title(path)}",
            waterfall_words(run.baseline, target),
            "Profiled shares are scaled to the measured medians, so that the bars add up.",
            lambda: waterfall_chart(run.baseline, target),
        )
    ]


def _waterfall_path(run: Run, name: str) -> str | None:
    if not name:
        fastest = fastest_path(run, profiled=True)
        return None if fastest is None else fastest.name
    profiled = [path.name for path in run.paths if path.profile and path.name != run.experiment.baseline]
    if name not in profiled:
        raise Refusal(f"The run {run.id} has no profile of a path {name!r}; it has {', '.join(profiled)}.")
    return name


def _steps(run: Run) -> list[Figure]:
    if len(tutorial_steps(run)) < 2:
        return []
    return [
        Figure(
            "steps",
            "Step by step, from path to path",
            steps_words(run),
            steps_caption(run).removeprefix(steps_words(run)).strip(),
            lambda: steps_chart(run),
        )
    ]


def _roofline(run: Run) -> list[Figure]:
    if not has_roofline(run):
        return []
    caption = " ".join(filter(None, (peaks_words(run), useful_words(run), memory_words(run))))
    return [
        Figure(
            "roofline",
            "How close to this machine's peak",
            roofline_words(run),
            caption,
            lambda: roofline_chart(run),
        )
    ]


def _padding(run: Run) -> list[Figure]:
    batch = run.experiment.batch
    if not batch.lengths:
        return []
    return [Figure("padding", "Real tokens and padding", padding_alt(batch), "", lambda: padding_map(batch))]


def _rounds(run: Run) -> Figure:
    return Figure("rounds", "Every round", samples_alt(run), "", lambda: samples_chart(run))


def _allocators(first: Run, second: Run) -> Figure:
    both = both_allocators(first, second)
    return Figure(
        "allocators", "What the allocator costs", costs_sentence(both), "", lambda: allocator_chart(both)
    )
