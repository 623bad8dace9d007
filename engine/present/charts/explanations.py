"""Where a difference comes from, as charts: the waterfall by operator group, and the steps from path to path."""

from itertools import accumulate

import altair as alt
import pandas as pd

from engine.analysis.allocators import BothAllocators
from engine.analysis.tutorial_steps import TutorialStep, tutorial_steps
from engine.analysis.waterfall import Bar, waterfall
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import (
    GUIDE_COLOUR,
    Drawing,
    chart_label,
    interval_columns,
    interval_rules,
    path_colour,
)
from engine.present.words.runs import interval_words, path_noun, sentence_case, speedup_text
from engine.records import PathResult, Run

SAVED_COLOUR, ADDED_COLOUR = "#2B8CC9", "#D1663A"
_CHANGES = ("less time", "more time")


def waterfall_chart(baseline: PathResult, path: PathResult) -> Drawing:
    """From the baseline's measured time to the path's, one floating bar per group of operators."""
    data = waterfall_data(baseline, path)
    y = alt.Y("group:N", sort=list(data["group"]), title=None, axis=alt.Axis(labelLimit=170))
    base = alt.Chart(data)
    colours = alt.Scale(
        domain=[*_CHANGES, "measured"],
        range=[SAVED_COLOUR, ADDED_COLOUR, path_colour("slow")],
    )
    bars = base.mark_bar(height=20).encode(
        y=y,
        x=alt.X("start:Q", title="Milliseconds per forward", axis=few_ticks()),
        x2="end:Q",
        color=alt.Color("kind:N", title=None, scale=colours, legend=alt.Legend(orient="top", columns=1)),
        tooltip=[
            alt.Tooltip("group:N", title="Part"),
            alt.Tooltip("before:Q", title=f"{baseline.name} ms", format=".2f"),
            alt.Tooltip("after:Q", title=f"{path.name} ms", format=".2f"),
        ],
    )
    labels = base.mark_text(align="left", dx=6, fontSize=12, color=GUIDE_COLOUR).encode(
        y=y, x="right:Q", text="label:N"
    )
    return alt.layer(bars, labels).properties(height=30 * len(data) + 150)


def waterfall_data(baseline: PathResult, path: PathResult) -> pd.DataFrame:
    """One row per bar, top to bottom: the baseline, each group's change, the path; start and end in ms."""
    bars = waterfall(baseline, path)
    before, after = baseline.median_ms or 0.0, path.median_ms or 0.0
    ends = list(accumulate((bar.change_ms for bar in bars), initial=before))
    rows = [
        _total_row(chart_label(baseline.name), before),
        *(_change_row(bar, start, end) for bar, start, end in zip(bars, ends, ends[1:], strict=False)),
        _total_row(chart_label(path.name), after),
    ]
    return pd.DataFrame(rows).assign(right=lambda frame: frame[["start", "end"]].max(axis=1))


def _total_row(name: str, ms: float) -> dict[str, object]:
    return {
        "group": name,
        "start": 0.0,
        "end": ms,
        "before": ms,
        "after": ms,
        "kind": "measured",
        "label": f"{ms:.1f} ms",
    }


def _change_row(bar: Bar, start: float, end: float) -> dict[str, object]:
    return {
        "group": bar.group,
        "start": start,
        "end": end,
        "before": bar.baseline_ms,
        "after": bar.path_ms,
        "kind": _CHANGES[bar.change_ms > 0],
        "label": f"{bar.change_ms:+.1f}",
    }


def waterfall_words(baseline: PathResult, path: PathResult) -> str:
    """The message of `waterfall_chart`: the group that changes most."""
    largest = max(waterfall(baseline, path), key=lambda bar: abs(bar.change_ms))
    difference = (path.median_ms or 0.0) - (baseline.median_ms or 0.0)
    return (
        f"From {path_noun(baseline.name)} to {path_noun(path.name)}: {difference:+.1f} ms per forward, "
        f"of which {largest.group} {largest.change_ms:+.1f} ms."
    )


def steps_chart(run: Run, both: BothAllocators | None = None) -> Drawing:
    """One bar per step with its interval; 1 is no change."""
    data = steps_data(run, both)
    y = alt.Y("step:N", sort=list(data["step"]), title=None, axis=alt.Axis(labelLimit=220))
    x = alt.X("speedup:Q", title="Speedup of this step alone", scale=alt.Scale(zero=True), axis=few_ticks())
    base = alt.Chart(data)
    colours = alt.Scale(domain=["step", "sum"], range=[path_colour("fast-nested"), path_colour("slow")])
    bars = base.mark_bar(height=20).encode(y=y, x=x, color=alt.Color("kind:N", legend=None, scale=colours))
    labels = base.mark_text(align="left", dx=8, fontSize=12, color=GUIDE_COLOUR).encode(
        y=y, x="edge:Q", text="label:N"
    )
    one = (
        alt.Chart(pd.DataFrame({"at": [1.0]}))
        .mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR)
        .encode(x="at:Q")
    )
    return alt.layer(bars, interval_rules(base, y), labels, one).properties(height=34 * len(data) + 60)


def steps_data(run: Run, both: BothAllocators | None = None) -> pd.DataFrame:
    """One row per step: step, speedup, low, high, edge, interval, kind, label."""
    return pd.DataFrame([_step_row(step) for step in tutorial_steps(run, both)])


def _step_row(step: TutorialStep) -> dict[str, object]:
    return {
        "step": sentence_case(step.meaning),
        "speedup": step.speedup,
        **interval_columns(step.speedup, step.ci95),
        "kind": "sum" if step.spans_steps else "step",
        "label": f"{speedup_text(step.speedup)}",
    }


def steps_words(run: Run, both: BothAllocators | None = None) -> str:
    """The message of `steps_chart`."""
    parts = (
        f"{step.meaning} {speedup_text(step.speedup)} ({interval_words(step.ci95) or 'no interval'})"
        for step in tutorial_steps(run, both)
    )
    return f"Step by step: {'; '.join(parts)}."


def steps_caption(run: Run) -> str:
    """What `steps_chart` shows; it names intervals only where there are enough rounds for them."""
    known = any(step.ci95 for step in tutorial_steps(run))
    interval = ", with its 95 % interval" if known else f"; {run.rounds} rounds are too few for intervals"
    return (
        f"{steps_words(run)} Each bar is the speedup of one path over the path before it{interval}. The tutorial's "
        "headline is the speedup of all steps together; Better Transformer's share is native kernels and sparsity."
    )
