"""How close the paths come to the machine's peak: one bar per path (in words: roofline_words)."""

import altair as alt
import pandas as pd

from engine.analysis.roofline import Reach, reaches
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, chart_label, path_colour
from engine.records import Run


def has_roofline(run: Run) -> bool:
    """Whether there is a bar to draw."""
    return any(what.share is not None for what in reaches(run))


def roofline_chart(run: Run) -> Drawing:
    """One bar per path: its useful work per second as a share of the matmul peak in its precision.

    A tick in a bar's row is the limit set by memory: the share that is possible if every weight is read once per
    forward. It is drawn only where it is below the peak.
    """
    data = roofline_data(run)
    y = alt.Y("path:N", sort=list(data["path"]), title=None, axis=alt.Axis(labelLimit=160))
    top = max(1.0, *data["share"]) * 1.12
    x = alt.X(
        "share:Q",
        title="Share of the peak",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=few_ticks(format="%"),
    )
    base = alt.Chart(data)
    colours = alt.Scale(domain=list(data["path"]), range=[path_colour(name) for name in data["name"]])
    bars = base.mark_bar(height=20).encode(
        y=y, x=x, color=alt.Color("path:N", legend=None, scale=colours), tooltip=_TOOLTIP
    )
    labels = base.mark_text(align="left", dx=6, fontSize=12, color=GUIDE_COLOUR).encode(
        y=y, x="share:Q", text="label:N"
    )
    bounds = (
        alt.Chart(data[data["memory_bound"] < 1])
        .mark_tick(thickness=2, size=28, color=GUIDE_COLOUR)
        .encode(y=y, x="memory_bound:Q")
    )
    peak = (
        alt.Chart(pd.DataFrame({"at": [1.0]}))
        .mark_rule(strokeDash=[4, 3], color=GUIDE_COLOUR)
        .encode(x="at:Q")
    )
    return alt.layer(bars, bounds, labels, peak).properties(height=34 * len(data) + 60)


_TOOLTIP = [
    alt.Tooltip("path:N", title="Path"),
    alt.Tooltip("gflops:Q", title="Useful GFLOP/s", format=".1f"),
    alt.Tooltip("share:Q", title="Of the peak", format=".1%"),
    alt.Tooltip("memory_bound:Q", title="Memory allows", format=".0%"),
]


def roofline_data(run: Run) -> pd.DataFrame:
    """One row per path with a share, most useful work first: path, name, gflops, share, memory_bound, label."""
    return pd.DataFrame([_row(what) for what in reaches(run) if what.share is not None])


def _row(what: Reach) -> dict[str, object]:
    return {
        "path": chart_label(what.name),
        "name": what.name,
        "gflops": what.gflops,
        "share": what.share,
        "memory_bound": what.memory_bound,
        "label": f"{what.share or 0:.0%}",
    }
