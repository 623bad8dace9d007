"""A path's speedup over repeated runs of one experiment on one machine: a small chart, and its message in words."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import altair as alt
import pandas as pd

from engine.catalog.paths import path_spec
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, chart_label, path_colour
from engine.present.words.runs import path_noun, sentence_case, speedup_text
from engine.store.queries import PathSpeedup

HEIGHT = 240
"""Height of the chart in pixels, its legend included."""


def of_this_machine(points: Sequence[PathSpeedup], machine: str) -> tuple[PathSpeedup, ...]:
    """The points that can be held against each other: of one machine, without paths that only one run has."""
    here = [point for point in points if point.machine == machine]
    often = {name for name in {p.path for p in here} if sum(p.path == name for p in here) > 1}
    return tuple(point for point in here if point.path in often)


def repeats_words(points: Sequence[PathSpeedup]) -> str:
    """The message: how the fastest path of the newest run did in all runs, and whose verdict was not always the same.

    Args:
        points: as `of_this_machine` gives them, oldest first; at least one.
    """
    newest = [point for point in points if point.run_id == points[-1].run_id]
    best = max(newest, key=lambda point: point.speedup)
    values = [point.speedup for point in points if point.path == best.path]
    low, high = speedup_text(min(values)), speedup_text(max(values))
    span = low if low == high else f"{low} to {high}"
    parts = [f"In {len(values)} runs {path_noun(best.path)} was {span} as fast as the slow path."]
    for name in sorted({point.path for point in points}, key=_order):
        words = [point.verdict or "not sure" for point in points if point.path == name]
        if len(set(words)) > 1:
            then = ", then ".join(word for word, _ in groupby(words))
            parts.append(f"{sentence_case(path_noun(name))}: {then}.")
    return " ".join(parts)


def repeats_data(points: Sequence[PathSpeedup], shown: str) -> pd.DataFrame:
    """Rows of the chart: run (1 is the oldest), when, id, path (its label), speedup, low, high, verdict, shown.

    Args:
        shown: id of the run whose page this is.
    """
    number = {run_id: i for i, run_id in enumerate(dict.fromkeys(p.run_id for p in points), start=1)}
    return pd.DataFrame(
        [
            {
                "run": number[point.run_id],
                "when": _iso(point.created_at),
                "id": point.run_id,
                "path": chart_label(point.path),
                "speedup": point.speedup,
                "low": point.low,
                "high": point.high,
                "verdict": point.verdict or "not sure",
                "shown": "this run" if point.run_id == shown else "another run",
            }
            for point in points
        ]
    )


def repeats_chart(points: Sequence[PathSpeedup], shown: str) -> Drawing:
    """A line for each path over the runs, oldest first, with intervals; the run of this page has large points."""
    data = repeats_data(points, shown)
    names = sorted({point.path for point in points}, key=_order)
    colour = alt.Color(
        "path:N",
        title=None,
        scale=alt.Scale(domain=[*map(chart_label, names)], range=[*map(path_colour, names)]),
        legend=alt.Legend(orient="top", columns=2, labelLimit=150, symbolOpacity=1),
    )
    x = alt.X(
        "run:O", title="Runs of this experiment here, oldest first", axis=alt.Axis(labelAngle=0, ticks=False)
    )
    base = alt.Chart(data)
    line = base.mark_line(strokeWidth=1.5).encode(
        x=x,
        y=alt.Y("speedup:Q", title="Speedup", axis=few_ticks(), scale=alt.Scale(zero=False)),
        color=colour,
    )
    intervals = base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=x, y="low:Q", y2="high:Q", color=colour)
    one = base.mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR).encode(y=alt.datum(1))
    dots = base.mark_point(filled=True, opacity=1).encode(
        x=x, y="speedup:Q", color=colour, size=_size(), tooltip=_tooltip()
    )
    chart: Drawing = alt.layer(line, intervals, one, dots).properties(height=HEIGHT)
    return chart


def _size() -> Any:
    return alt.Size(
        "shown:N", scale=alt.Scale(domain=["this run", "another run"], range=[160, 45]), legend=None
    )


def _tooltip() -> list[Any]:
    return [
        alt.Tooltip("path:N", title="Path"),
        alt.Tooltip("speedup:Q", title="Speedup", format=".2f"),
        alt.Tooltip("low:Q", title="95 % from", format=".2f"),
        alt.Tooltip("high:Q", title="to", format=".2f"),
        alt.Tooltip("verdict:N", title="Verdict"),
        alt.Tooltip("when:T", title="Measured", format="%Y-%m-%d %H:%M"),
        alt.Tooltip("id:N", title="Run"),
        alt.Tooltip("shown:N", title="This is"),
    ]


def _order(name: str) -> tuple[int, str]:
    return path_spec(name).simplicity_rank, name


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
