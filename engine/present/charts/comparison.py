"""Comparisons of runs as charts: every path's speedup in every run, and two profiles operator by operator."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from engine.analysis.compare import Comparison, Figure, run_letter
from engine.analysis.operator_changes import (
    SMALL,
    OperatorChange,
    OperatorChanges,
    rest_of,
)
from engine.catalog.operators import short_name
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, chart_label, path_colour
from engine.present.words.comparisons import amount_text, speedup_figures
from engine.present.words.runs import speedup_text

MOST_OPERATORS = 12
"""Operators with a row of their own; the others are summed."""
IN_BOTH = "in both"
_COLOURS: dict[str, str] = {
    IN_BOTH: "#A3A9B6",
    "appeared": "#C2410C",
    "grew": "#E0885A",
    "shrank": "#5AA9DD",
    "vanished": "#1D6FA8",
}


def speedups_chart(comparison: Comparison) -> Drawing:
    """One dot with its interval for each path and run; a diamond is the reference, 1 is the baseline's own speed."""
    data = speedups_data(comparison)
    names = list(dict.fromkeys(data["name"]))
    letters = sorted(set(data["run"]))
    y = alt.Y("path:N", sort=[chart_label(name) for name in names], title=None, axis=alt.Axis(labelLimit=160))
    offset = alt.YOffset("run:N", sort=letters)
    colours = alt.Scale(
        domain=[chart_label(name) for name in names], range=[path_colour(name) for name in names]
    )
    colour = alt.Color("path:N", scale=colours, legend=None)
    x = alt.X(
        "speedup:Q",
        title="Speedup over its own baseline",
        scale=alt.Scale(domain=[0, max(1.2, 1.3 * max(data["edge"]))]),
        axis=few_ticks(),
    )
    base = alt.Chart(data).encode(y=y, yOffset=offset)
    known = base.transform_filter("isValid(datum.low)")
    rules = known.mark_rule(strokeWidth=3, opacity=0.55).encode(x="low:Q", x2="high:Q", color=colour)
    shape = alt.Shape(
        "run:N",
        scale=alt.Scale(domain=letters, range=["diamond", *["circle"] * 5][: len(letters)]),
        legend=None,
    )
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x, color=colour, shape=shape, tooltip=_TOOLTIP
    )
    labels = base.mark_text(align="left", dx=10, fontSize=12, color=GUIDE_COLOUR).encode(
        x="edge:Q", text="label:N"
    )
    one = (
        alt.Chart(pd.DataFrame({"at": [1.0]}))
        .mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR)
        .encode(x="at:Q")
    )
    height = (14 + 22 * len(letters)) * len(names) + 60
    return alt.layer(one, rules, dots, labels).properties(height=height)


_TOOLTIP = [
    alt.Tooltip("path:N", title="Path"),
    alt.Tooltip("run:N", title="Run"),
    alt.Tooltip("speedup:Q", title="Speedup", format=".3f"),
    alt.Tooltip("interval:N", title="Interval"),
]


def speedups_data(comparison: Comparison) -> pd.DataFrame:
    """One row for each path and run: path, name, run, speedup, low, high, edge, interval, label; the fastest first."""
    found = speedup_figures(comparison)
    fastest_first = sorted(found.items(), key=lambda entry: -max(figure.value for _, figure in entry[1]))
    return pd.DataFrame(
        [_dot(name, number, figure) for name, figures in fastest_first for number, figure in figures]
    )


def _dot(name: str, number: int, figure: Figure) -> dict[str, object]:
    low, high = figure.ci95 or (None, None)
    return {
        "path": chart_label(name),
        "name": name,
        "run": run_letter(number),
        "speedup": figure.value,
        "low": low,
        "high": high,
        "edge": high or figure.value,
        "interval": "too few rounds" if low is None else f"{low:.3f} to {high:.3f}",
        "label": f"{run_letter(number)} {speedup_text(figure.value)}",
    }


def operators_chart(changes: OperatorChanges, baseline: str) -> Drawing:
    """One bar per operator: grey is what both profiles have in common, the coloured end is the change.

    Args:
        baseline: what shares refer to, in words.
    """
    data = operators_data(changes)
    order = list(dict.fromkeys(data["operator"]))
    unit = "ms per forward" if changes.unit == "ms" else f"% of {baseline}"
    y = alt.Y("operator:N", sort=order, title=None, axis=alt.Axis(labelLimit=170))
    axis = few_ticks() if changes.unit == "ms" else few_ticks(format="%")
    kinds = [kind for kind in _COLOURS if kind in set(data["kind"])]
    colours = alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds])
    top = 1.5 * max(data["end"].max(), 1e-9)
    base = alt.Chart(data)
    bars = base.mark_bar(height=16).encode(
        y=y,
        x=alt.X(
            "start:Q",
            title=f"{changes.kind.capitalize()} time, {unit}",
            axis=axis,
            scale=alt.Scale(domain=[0, top]),
        ),
        x2="end:Q",
        color=alt.Color("kind:N", title=None, scale=colours, legend=alt.Legend(orient="top", columns=2)),
        tooltip=["operator:N", alt.Tooltip("was:N", title="before"), alt.Tooltip("now:N", title="after")],
    )
    labels = (
        base.transform_filter("datum.last")
        .mark_text(align="left", dx=6, fontSize=12, color=GUIDE_COLOUR)
        .encode(y=y, x="end:Q", text="label:N")
    )
    return alt.layer(bars, labels).properties(height=26 * len(order) + 90)


def operators_data(changes: OperatorChanges, most: int = MOST_OPERATORS) -> pd.DataFrame:
    """Two rows per operator, the common part and the change: operator, kind, start, end, label, was, now, last."""
    shown: Sequence[OperatorChange] = changes.operators[:most]
    rest = changes.operators[most:]
    if rest and changes.kind == "self":
        shown = (*shown, rest_of(rest, SMALL * max(changes.before, changes.after)))
    return pd.DataFrame([row for operator in shown for row in _segments(operator, changes)])


def _segments(operator: OperatorChange, changes: OperatorChanges) -> list[dict[str, object]]:
    common, longest = sorted((operator.before, operator.after))
    if operator.growth == "same":
        common = longest
    told = {
        "operator": short_name(operator.name),
        "label": _label(operator, changes),
        "was": amount_text(operator.before, changes.unit),
        "now": amount_text(operator.after, changes.unit),
    }
    parts = ((IN_BOTH, 0.0, common), (operator.growth, common, longest))
    kept = [(kind, start, end) for kind, start, end in parts if end > start] or [(IN_BOTH, 0.0, 0.0)]
    return [
        {**told, "kind": kind, "start": start, "end": end, "last": end == kept[-1][2]}
        for kind, start, end in kept
    ]


def _label(operator: OperatorChange, changes: OperatorChanges) -> str:
    if operator.growth == "same":
        return "no change"
    amount = amount_text(operator.change, changes.unit, signed=True)
    return amount if operator.growth in ("grew", "shrank") else f"{operator.growth}, {amount}"
