"""Runs and batches as Altair charts, each with its message in words for screen readers.

A path has one colour everywhere. The colours differ for colour-blind readers and on light and dark backgrounds
(after Okabe and Ito), and colour never carries meaning alone: every bar and row is labelled.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from math import sqrt
from typing import Any, Literal

import altair as alt
import pandas as pd

from engine.analysis.recommend import compared_paths
from engine.catalog.operators import short_name
from engine.catalog.paths import path_spec
from engine.findings import Findings
from engine.present.charts.axes import few_ticks
from engine.present.words.runs import (
    HERE,
    interval_words,
    path_noun,
    speedup_text,
    verdict_sentence,
)
from engine.records import Batch, Interval, OperatorTime, PathResult, Run

GUIDE_COLOUR = "#808495"
REAL_COLOUR, PADDING_COLOUR = path_spec("fast-nested").colour, "#C9CDD6"
ROW_HEIGHT, MOST_ROWS_HEIGHT = 34, 420

LIVE_HEIGHT = 220
"""Height in pixels of the live chart, its legend included."""
_ROUNDS = "rounds"

OperatorTimeKind = Literal["self", "total"]
Drawing = alt.Chart | alt.LayerChart | alt.FacetChart


def chart_label(name: str) -> str:
    """A path's label in a chart: short, for narrow screens."""
    return path_spec(name).label


def path_colour(name: str) -> str:
    """A path's colour as "#RRGGBB"."""
    return path_spec(name).colour


def speedup_chart(run: Findings) -> Drawing:
    """One bar per path from 0 to its speedup; its 95 % interval as a rule, the baseline as a line, noise as a band."""
    data = speedup_data(run)
    order = list(data["path"])
    height = 48 * len(order) + 80
    y = alt.Y("path:N", sort=order, title=None, axis=alt.Axis(labelLimit=160))
    top = max(data["edge"]) * 1.15
    x = alt.X(
        "speedup:Q",
        title="Speedup over the slow path",
        scale=alt.Scale(domain=[0, max(top, 1.2)]),
        axis=few_ticks(),
    )
    base = alt.Chart(data)
    bars = base.mark_bar(height=22).encode(
        y=y, x=x, color=_path_colour(tuple(data["name"]), legend=False), tooltip=_TOOLTIP
    )
    labels = base.mark_text(align="left", dx=8, fontSize=13, fontWeight="bold", color=GUIDE_COLOUR).encode(
        y=y, x="edge:Q", text="label:N"
    )
    one = (
        alt.Chart(pd.DataFrame({"at": [1.0]}))
        .mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR)
        .encode(x="at:Q")
    )
    layers = (*_noise_band(run), bars, interval_rules(base, y), labels, one)
    return alt.layer(*layers).properties(height=height)


def interval_rules(base: alt.Chart, y: alt.Y) -> alt.Chart:
    """A rule for each row with an interval; rows whose `low` is missing have none."""
    known = base.transform_filter("isValid(datum.low)")
    rules: alt.Chart = known.mark_rule(strokeWidth=3, color=GUIDE_COLOUR).encode(y=y, x="low:Q", x2="high:Q")
    return rules


_TOOLTIP = [
    alt.Tooltip("path:N", title="Path"),
    alt.Tooltip("speedup:Q", title="Speedup", format=".3f"),
    alt.Tooltip("interval:N", title="95 % interval"),
    alt.Tooltip("median_ms:Q", title="Median ms", format=".1f"),
]


def speedup_data(run: Findings) -> pd.DataFrame:
    """One row per measured path, fastest first: path, name, speedup, low, high, edge, interval, median_ms, label."""
    measured = sorted((*compared_paths(run), run.baseline), key=lambda path: -(path.speedup or 1.0))
    return pd.DataFrame([_speedup_row(path) for path in measured])


def _speedup_row(path: PathResult) -> dict[str, object]:
    value = path.speedup or 1.0
    return {
        "path": chart_label(path.name),
        "name": path.name,
        "speedup": value,
        **interval_columns(value, path.speedup_ci95, "none" if path.verdict else "the baseline"),
        "median_ms": path.median_ms,
        "label": speedup_text(value),
    }


def interval_columns(value: float, interval: Interval | None, without: str = "none") -> dict[str, object]:
    """Columns low, high, edge (where a bar with its interval ends) and interval in words.

    Args:
        without: the text where there is no interval.
    """
    low, high = interval or (None, None)
    words = f"{low:.3f} to {high:.3f}" if interval else without
    return {"low": low, "high": high, "edge": high or value, "interval": words}


def _noise_band(run: Findings) -> list[alt.Chart]:
    if run.noise_floor.ci95 is None:
        return []
    low, high = run.noise_floor.ci95
    band = alt.Chart(pd.DataFrame({"low": [low], "high": [high]}))
    return [band.mark_rect(color=GUIDE_COLOUR, opacity=0.25).encode(x="low:Q", x2="high:Q")]


def speedup_alt(run: Findings, where: str = HERE) -> str:
    """The message of `speedup_chart`; `where` it was measured, in words."""
    return verdict_sentence(run, where)


def operator_chart(
    run: Findings, paths: tuple[str, ...], kind: OperatorTimeKind = "self", top: int = 12
) -> Drawing:
    """The operators that take most time: one group of bars per operator, one bar per path.

    Args:
        paths: names of profiled paths.
        kind: an operator's self time, or its time including everything that it calls.
    """
    data = operator_data(run, paths, kind, top)
    order = list(dict.fromkeys(data["operator"]))
    row_height = 8 + 13 * len(paths)
    chart: Drawing = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=alt.Y("operator:N", sort=order, title=None, axis=alt.Axis(labelLimit=170)),
            yOffset=alt.YOffset("path:N", sort=[chart_label(name) for name in paths]),
            x=alt.X("ms:Q", title=f"{kind.capitalize()} time, ms per forward", axis=few_ticks()),
            color=_path_colour(paths, legend=True),
            tooltip=[
                "operator:N",
                "path:N",
                alt.Tooltip("ms:Q", format=".2f"),
                alt.Tooltip("calls:Q", format="g"),
            ],
        )
        .properties(height=row_height * len(order) + 60)
    )
    return chart


def operator_data(run: Findings, paths: tuple[str, ...], kind: OperatorTimeKind, top: int) -> pd.DataFrame:
    """Rows operator, path, ms, calls of the `top` operators, the largest first.

    Times are divided by the profiler's overhead, so that the self times of a path add up to its measured median.
    """
    rows = [
        {
            "operator": short_name(op.name),
            "path": chart_label(name),
            "ms": _ms(op, kind) / scale,
            "calls": op.calls,
        }
        for name in paths
        for op, scale in _scaled_ops(run.path(name))
    ]
    data = pd.DataFrame(rows, columns=["operator", "path", "ms", "calls"])
    largest = data.groupby("operator")["ms"].max().nlargest(top).index
    kept = data[data["operator"].isin(largest)]
    return kept.sort_values("operator", key=lambda names: names.map(list(largest).index), kind="stable")


def _scaled_ops(path: PathResult) -> list[tuple[OperatorTime, float]]:
    if path.profile is None or path.median_ms is None:
        return []
    all_self_ms = sum(op.self_ms for op in path.profile.ops)
    scale = all_self_ms / path.median_ms or 1.0
    return [(op, scale) for op in path.profile.ops]


def _ms(op: OperatorTime, kind: OperatorTimeKind) -> float:
    return op.self_ms if kind == "self" else op.total_ms


def operator_alt(run: Findings, paths: tuple[str, ...], kind: OperatorTimeKind) -> str:
    """The message of `operator_chart`: where each path spends most."""
    data = operator_data(run, paths, kind, top=100)
    first = data.sort_values("ms", ascending=False).drop_duplicates("path")
    spent = [f"{row.path} spends most in {row.operator}, {row.ms:.1f} ms" for row in first.itertuples()]
    return f"{kind.capitalize()} time per operator: {'; '.join(spent)}."


def samples_chart(run: Run) -> Drawing:
    """Every round's time of every path, in the order they were measured."""
    data = pd.DataFrame(
        [
            {"round": number, "ms": ms, "path": chart_label(path.name)}
            for path in run.paths
            for number, ms in enumerate(path.samples_ms, start=1)
        ],
        columns=["round", "ms", "path"],
    )
    names = tuple(path.name for path in run.paths if path.samples_ms)
    chart: Drawing = (
        alt.Chart(data)
        .mark_line(point=True, strokeWidth=1)
        .encode(
            x=alt.X("round:Q", title="Round", axis=few_ticks(tickMinStep=1)),
            y=alt.Y("ms:Q", title="ms per forward", scale=alt.Scale(zero=True), axis=few_ticks()),
            color=_path_colour(names, legend=True),
            tooltip=["path:N", "round:Q", alt.Tooltip("ms:Q", format=".2f")],
        )
        .properties(height=260)
    )
    return chart


def samples_alt(run: Run) -> str:
    """The message of `samples_chart`: how much each path's rounds vary."""
    spans = [
        f"{path_noun(path.name)} {min(path.samples_ms):.1f} to {max(path.samples_ms):.1f} ms"
        for path in run.paths
        if path.samples_ms
    ]
    return f"Time of each of {run.rounds} rounds: {', '.join(spans)}."


def padding_map(batch: Batch) -> Drawing:
    """One row per text, as long as the padded batch: its real tokens, then its padding.

    Args:
        batch: tokenized, so with lengths.
    """
    data = padding_data(batch)
    rows = len(batch.lengths)
    chart: Drawing = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=alt.Y("text:O", title=None, axis=alt.Axis(labels=rows <= 40, ticks=False)),
            x=alt.X("tokens:Q", title="Tokens", stack="zero", axis=few_ticks()),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=["real", "padding"], range=[REAL_COLOUR, PADDING_COLOUR]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("rank:Q"),
            tooltip=["text:O", "kind:N", "tokens:Q", alt.Tooltip("beginning:N", title="begins")],
        )
        .properties(height=min(ROW_HEIGHT * rows, MOST_ROWS_HEIGHT) + 130)
    )
    return chart


def padding_data(batch: Batch) -> pd.DataFrame:
    """Two rows per text: text (from 1), kind (real or padding), tokens, rank, beginning."""
    longest, texts = max(batch.lengths), batch.texts or ("",) * batch.rows
    rows = [
        {"text": number, "kind": kind, "tokens": tokens, "rank": rank, "beginning": text[:40]}
        for number, (text, length) in enumerate(zip(texts, batch.lengths, strict=True), start=1)
        for rank, (kind, tokens) in enumerate((("real", length), ("padding", longest - length)))
    ]
    return pd.DataFrame(rows)


def padding_alt(batch: Batch) -> str:
    """The message of `padding_map`."""
    return (
        f"{len(batch.lengths)} texts padded to {max(batch.lengths)} tokens: {batch.real_tokens} real tokens, "
        f"{batch.padding_ratio or 0:.0%} padding."
    )


def closing_in_rows(history: Sequence[Mapping[str, Interval]]) -> list[dict[str, Any]]:
    """Intervals round by round while a run goes on: round (counted from the first shown), path, low, high, middle."""
    return [
        {
            "round": i,
            "path": chart_label(name),
            "low": low,
            "high": high,
            "middle": sqrt(low * high),
        }
        for i, speedups in enumerate(history, 1)
        for name, (low, high) in speedups.items()
    ]


def closing_in_spec(history: Sequence[Mapping[str, Interval]]) -> dict[str, Any]:
    """A small chart of each path's speedup so far with its narrowing interval, as a Vega-Lite spec.

    It is drawn in every poll, so only its rows are new each time: building the chart takes Altair about 15 ms.
    """
    names = tuple(history[-1]) if history else ()
    return {**_closing_in_frame(names), "datasets": {_ROUNDS: closing_in_rows(history)}}


def closing_in_words(speedups: Mapping[str, Interval]) -> str:
    """The current intervals in words."""
    return " · ".join(
        f"{chart_label(name)} {interval_words(interval)}" for name, interval in speedups.items()
    )


@cache
def _closing_in_frame(names: tuple[str, ...]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData(_ROUNDS))
    x = alt.X("round:Q", title=None, axis=None)
    colour = _path_colour(names, legend=True)
    band = base.mark_area(opacity=0.25).encode(
        x=x,
        y=alt.Y("low:Q", title="Speedup so far", scale=alt.Scale(zero=False), axis=few_ticks()),
        y2="high:Q",
        color=colour,
    )
    line = base.mark_line(strokeWidth=2).encode(x=x, y="middle:Q", color=colour)
    one = base.mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR).encode(y=alt.datum(1))
    frame: dict[str, Any] = alt.layer(band, line, one).properties(height=LIVE_HEIGHT).to_dict()
    return frame


def _path_colour(names: tuple[str, ...], *, legend: bool) -> Any:
    return alt.Color(
        "path:N",
        title=None,
        scale=alt.Scale(
            domain=[chart_label(name) for name in names],
            range=[path_colour(name) for name in names],
        ),
        legend=alt.Legend(orient="top", columns=1, labelLimit=260) if legend else None,
    )
