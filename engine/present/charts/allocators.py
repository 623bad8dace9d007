"""The same experiment under both allocators, as one chart: two bars per path."""

import altair as alt
import pandas as pd

from engine.analysis.allocators import BothAllocators
from engine.present.charts.axes import few_ticks
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, chart_label, path_colour
from engine.present.words.allocators import LABELS
from engine.present.words.runs import speedup_text

_COLOURS = {LABELS["kept"]: path_colour("fast-nested"), LABELS["system"]: path_colour("slow")}


def allocator_chart(both: BothAllocators) -> Drawing:
    """Two bars per path: its median in ms under each allocator; the label compares the system's with the kept one."""
    data = allocator_data(both)
    y = alt.Y("path:N", sort=list(dict.fromkeys(data["path"])), title=None, axis=alt.Axis(labelLimit=160))
    colours = alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
    base = alt.Chart(data).encode(
        y=y,
        yOffset=alt.YOffset("memory:N", sort=list(_COLOURS)),
        x=alt.X("ms:Q", title="Median ms per forward", axis=few_ticks()),
    )
    bars = base.mark_bar().encode(
        color=alt.Color("memory:N", title="Freed memory", scale=colours, legend=alt.Legend(orient="top")),
        tooltip=["path:N", "memory:N", alt.Tooltip("ms:Q", format=".1f")],
    )
    labels = base.mark_text(align="left", dx=6, fontSize=12, color=GUIDE_COLOUR).encode(text="label:N")
    return alt.layer(bars, labels).properties(height=56 * len(both.costs) + 90)


def allocator_data(both: BothAllocators) -> pd.DataFrame:
    """Two rows per path: path, memory, ms, and the label of the bar."""
    rows = [
        {"path": chart_label(cost.name), "memory": memory, "ms": ms, "label": label}
        for cost in both.costs
        for memory, ms, label in (
            (LABELS["kept"], cost.kept_ms, f"{cost.kept_ms:.1f} ms"),
            (
                LABELS["system"],
                cost.system_ms,
                f"{cost.system_ms:.1f} ms, {speedup_text(cost.ratio)}",
            ),
        )
    ]
    return pd.DataFrame(rows)
