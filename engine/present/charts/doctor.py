"""What cures and sparsity gain, as charts: the speedup of each state, and the gain over the padding ratio."""

import altair as alt
import pandas as pd

from engine.analysis.crossover import faster_ratios
from engine.diagnosis import SLOW, Crossover, Diagnosis, State, Timing
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, interval_columns, interval_rules, path_colour
from engine.present.words.doctor_cures import baseline_title, gain_sentence
from engine.present.words.doctor_sparsity import crossover_sentence
from engine.present.words.runs import speedup_text

WRONG_COLOUR = "#D1483A"
_KINDS = {
    "slow path": path_colour("slow"),
    "right answers": path_colour("fast-nested"),
    "wrong answers": WRONG_COLOUR,
}
_ROOM_FOR_LABEL = 1.4
"""Length of the axis over the longest bar, so that its label fits."""


def states_chart(diagnosis: Diagnosis) -> Drawing:
    """One bar per timed state with its 95 % interval, in the order they were tried; 1 is the baseline."""
    data = states_data(diagnosis)
    top = max([1.0, *data["edge"]]) * _ROOM_FOR_LABEL
    y = alt.Y("state:N", sort=list(data["state"]), title=None, axis=alt.Axis(labelLimit=160))
    x = alt.X(
        "speedup:Q",
        title=f"Speedup over: {baseline_title(diagnosis)}",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=few_ticks(),
    )
    kinds = [kind for kind in _KINDS if kind in set(data["kind"])]
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=[_KINDS[kind] for kind in kinds]),
        legend=alt.Legend(orient="top", columns=2),
    )
    base = alt.Chart(data)
    bars = base.mark_bar(height=20).encode(y=y, x=x, color=colour, tooltip=_STATE_TOOLTIP)
    labels = base.mark_text(align="left", dx=8, fontSize=12, fontWeight="bold", color=GUIDE_COLOUR).encode(
        y=y, x="edge:Q", text="label:N"
    )
    layers = (*_noise_band(diagnosis), bars, interval_rules(base, y), labels, _dashed("x", 1.0))
    return alt.layer(*layers).properties(height=40 * len(data) + 120)


_STATE_TOOLTIP = [
    alt.Tooltip("state:N", title="State"),
    alt.Tooltip("speedup:Q", title="Speedup", format=".3f"),
    alt.Tooltip("interval:N", title="95 % interval"),
    alt.Tooltip("median_ms:Q", title="Median ms", format=".1f"),
]


def states_data(diagnosis: Diagnosis) -> pd.DataFrame:
    """One row per timed state: state, speedup, low, high, edge, interval, median_ms, kind, label."""
    rows = [_state_row(state, state.timing) for state in diagnosis.states if state.timing]
    columns = ["state", "speedup", "low", "high", "edge", "interval", "median_ms", "kind", "label"]
    return pd.DataFrame(rows, columns=columns)


def _state_row(state: State, timing: Timing) -> dict[str, object]:
    right = "slow path" if state.name == SLOW else "right answers"
    return {
        "state": state.title,
        "speedup": timing.speedup,
        **interval_columns(timing.speedup, timing.speedup_ci95, "none" if timing.verdict else "the baseline"),
        "median_ms": timing.median_ms,
        "kind": right if state.offered else "wrong answers",
        "label": speedup_text(timing.speedup) + ("" if state.offered else " ✕ wrong"),
    }


def _noise_band(diagnosis: Diagnosis) -> list[alt.Chart]:
    if diagnosis.noise_floor.ci95 is None:
        return []
    low, high = diagnosis.noise_floor.ci95
    band = alt.Chart(pd.DataFrame({"low": [low], "high": [high]}))
    return [band.mark_rect(color=GUIDE_COLOUR, opacity=0.25).encode(x="low:Q", x2="high:Q")]


def states_alt(diagnosis: Diagnosis) -> str:
    """The message of `states_chart`."""
    return gain_sentence(diagnosis)


def crossover_chart(crossover: Crossover, padding_ratio: float) -> Drawing:
    """The gain from sparsity by padding ratio, with intervals; where it becomes faster; and this batch's ratio.

    A filled point has a clear verdict, an open one has not.

    Args:
        padding_ratio: of the examined batch.
    """
    data = sweep_data(crossover)
    end = min(1.0, max(*crossover.padding_ratios, padding_ratio) + 0.05)
    x = alt.X(
        "padding:Q",
        title="Padding ratio",
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=few_ticks(format=".0%"),
    )
    y = alt.Y("speedup:Q", title="Speedup by sparsity", scale=alt.Scale(zero=True), axis=few_ticks())
    base, colour = alt.Chart(data), path_colour("fast-nested")
    line = base.mark_line(strokeWidth=2.5, color=colour).encode(x=x, y=y)
    intervals = base.mark_rule(strokeWidth=2, color=colour).encode(x=x, y="low:Q", y2="high:Q")
    fill = alt.condition("datum.clear", alt.value(colour), alt.value("white"))
    points = base.mark_point(size=70, filled=True, stroke=colour, strokeWidth=2, opacity=1).encode(
        x=x, y=y, fill=fill, tooltip=_SWEEP_TOOLTIP
    )
    layers = [
        *_crossover_band(crossover),
        line,
        intervals,
        points,
        _dashed("y", 1.0),
        *_mark("this batch", padding_ratio, path_colour("fast-mha"), dy=12),
    ]
    return alt.layer(*layers).properties(height=280)


_SWEEP_TOOLTIP = [
    alt.Tooltip("padding:Q", title="Padding ratio", format=".0%"),
    alt.Tooltip("speedup:Q", title="Speedup", format=".2f"),
    alt.Tooltip("low:Q", title="Interval from", format=".2f"),
    alt.Tooltip("high:Q", title="to", format=".2f"),
    alt.Tooltip("verdict:N", title="Verdict"),
]


def sweep_data(crossover: Crossover) -> pd.DataFrame:
    """One row per swept ratio: padding, speedup, low, high, verdict, and whether the verdict is clear."""
    return pd.DataFrame(
        [
            {
                "padding": point.padding_ratio,
                "speedup": point.speedup,
                "low": (point.ci95 or (point.speedup, point.speedup))[0],
                "high": (point.ci95 or (point.speedup, point.speedup))[1],
                "verdict": point.verdict or "not sure",
                "clear": point.verdict not in (None, "not sure"),
            }
            for point in crossover.all_points
        ]
    )


def _crossover_band(crossover: Crossover) -> list[alt.Chart]:
    """The ratios between which sparsity becomes faster, where both ends are clear."""
    found = faster_ratios(crossover.all_points)
    if found.kind != "between":
        return []
    band = alt.Chart(pd.DataFrame({"from": [found.not_faster_up_to], "to": [found.faster_from]}))
    return [band.mark_rect(color=GUIDE_COLOUR, opacity=0.25).encode(x="from:Q", x2="to:Q")]


def _mark(words: str, ratio: float, colour: str, dy: int) -> list[alt.Chart]:
    """A vertical line with its words beside it, on the side where there is room.

    Args:
        dy: pixels from the top.
    """
    leftwards = ratio > 0.5
    base = alt.Chart(pd.DataFrame({"padding": [ratio], "words": [f"{words} {ratio:.0%}"]}))
    text = base.mark_text(
        align="right" if leftwards else "left",
        dx=-6 if leftwards else 6,
        fontSize=12,
        fontWeight="bold",
        color=GUIDE_COLOUR,
    )
    return [
        base.mark_rule(strokeWidth=2, color=colour).encode(x="padding:Q"),
        text.encode(x="padding:Q", y=alt.value(dy), text="words:N"),
    ]


def _dashed(channel: str, at: float) -> alt.Chart:
    """The line of no change, across the chart."""
    chart: alt.Chart = alt.Chart(pd.DataFrame({"at": [at]})).mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR)
    at_there: alt.Chart = chart.encode(x="at:Q") if channel == "x" else chart.encode(y="at:Q")
    return at_there


def crossover_alt(crossover: Crossover, padding_ratio: float) -> str:
    """The message of `crossover_chart`."""
    return crossover_sentence(crossover, padding_ratio)
