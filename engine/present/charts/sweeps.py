"""A sweep as heat maps: one cell a batch shape, two axes against each other.

Speedups are purple where slower and green where faster, which colour-blind readers can tell apart; every cell has its
figure as text. A cell that is not sure has a question mark and a dashed outline.
"""

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any, Literal

import altair as alt
import pandas as pd

from engine.analysis.sweeps import SparsityLine, best_path, ms_per_1000_tokens, value_at
from engine.present.charts.runs import GUIDE_COLOUR, Drawing, chart_label, path_colour
from engine.present.words.runs import interval_words, speedup_text, times_as_fast
from engine.present.words.sweeps import AXIS_TITLES, ms_text, value_words
from engine.records import Run
from engine.sweeps import Axis, Place, SweepCell, SweepPlan

Shown = tuple[tuple[Place, SweepCell | None], ...]
Figure = Literal["best", "speedup", "tokens"]
"""What the cells show: the best path, a path's speedup, or a path's ms for 1,000 real tokens."""
ROW_HEIGHT, AROUND = 64, 110
DARK_INK, LIGHT_INK = "#14161C", "#FFFFFF"
NO_RESULT_COLOUR = "#9BA1AD"
_LEAST_LIMIT, _MOST_LIMIT = 1.0, 3.0
"""Colours reach their ends at a speedup of 2 at least, and of 8 at most."""
_COLUMNS = [
    *("x", "y", "title", "kind", "value", "name", "colour", "label", "below", "ink"),
    *("unsure", "path", "figure", "interval", "verdict", "rounds", "note"),
]


def heat_map(
    cells: Shown,
    plan: SweepPlan,
    axes: tuple[Axis, Axis],
    figure: Figure,
    path: str,
    lines: Sequence[SparsityLine],
) -> Drawing:
    """The cells of two axes.

    Args:
        cells: of one value of each other axis.
        axes: (across, upwards).
        path: whose figures are shown; has no meaning for "best".
        lines: where sparsity becomes faster; drawn if one of the axes is the padding.
    """
    data = heat_data(cells, axes, figure, path)
    x, y = (
        _position(channel, channel, _order(plan, axis, channel)).axis(
            alt.Axis(title=AXIS_TITLES[axis], labelAngle=0, ticks=False, domain=False, grid=False)
        )
        for axis, channel in zip(axes, ("x", "y"), strict=True)
    )
    base = alt.Chart(data)
    measured = base.transform_filter("datum.kind == 'measured'")
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in _TOOLTIP]
    place = {"x": x, "y": y, "tooltip": tooltip}
    layers = [
        base.transform_filter("datum.kind != 'measured'")
        .mark_rect(color=NO_RESULT_COLOUR, opacity=0.25)
        .encode(**place),
        measured.mark_rect(stroke="white", strokeWidth=1).encode(color=_colour(data, figure), **place),
        base.transform_filter("datum.unsure")
        .mark_rect(filled=False, stroke=DARK_INK, strokeDash=[5, 4], strokeWidth=2, tooltip=None)
        .encode(x=x, y=y),
        *_texts(base, place, two_lines=figure == "best"),
        *_lines(plan, axes, lines),
    ]
    height = ROW_HEIGHT * len(plan.values(axes[1])) + AROUND
    return alt.layer(*layers).properties(height=height)


_TOOLTIP = (
    ("title", "Batch"),
    ("path", "Path"),
    ("figure", "Figure"),
    ("interval", "95 % interval"),
    ("verdict", "Verdict"),
    ("rounds", "Rounds"),
    ("note", "Note"),
)


def heat_data(cells: Shown, axes: tuple[Axis, Axis], figure: Figure, path: str) -> pd.DataFrame:
    """One row per cell: where it lies, its figure, its colour, and what its tooltip says."""
    rows = [_row(place, cell, axes, figure, path) for place, cell in cells]
    data = pd.DataFrame(rows, columns=_COLUMNS)
    data["ink"] = [_ink(colour) for colour in data["colour"]] if figure == "best" else _inks(data, figure)
    data.loc[data["kind"] != "measured", "ink"] = GUIDE_COLOUR
    return data


def _inks(data: pd.DataFrame, figure: Figure) -> list[str]:
    """White on dark cells: green and purple are dark at both ends, viridis at the lower end."""
    low, high = _domain(data, figure)
    shade = (data["value"].astype(float).clip(low, high) - low) / ((high - low) or 1.0)
    dark = (shade - 0.5).abs() > 0.36 if figure == "speedup" else shade < 0.55
    return [LIGHT_INK if is_dark else DARK_INK for is_dark in dark]


def _row(
    place: Place, cell: SweepCell | None, axes: tuple[Axis, Axis], figure: Figure, path: str
) -> dict[str, object]:
    x, y = (value_words(axis, value_at(place, axis)) for axis in axes)
    row: dict[str, object] = {
        "x": x,
        "y": y,
        "title": place.title,
        "unsure": False,
        "below": "",
        "colour": GUIDE_COLOUR,
    }
    if cell is None:
        return row | {"kind": "missing", "label": "…", "note": "not measured yet"}
    if cell.run is None:
        return row | {"kind": "none", "label": "–", "note": cell.reason}
    found = _best_figures(cell.run) if figure == "best" else _path_figures(cell.run, figure, path)
    return row | {"rounds": f"{cell.run.rounds}: {cell.run.stop_reason}"} | found


def _best_figures(run: Run) -> dict[str, object]:
    best = best_path(run)
    mark = "" if best.sure else " ?"
    equal = f"as fast: {', '.join(map(chart_label, best.as_fast))}" if best.as_fast else ""
    return {
        "kind": "measured",
        "value": log2(best.speedup),
        "name": best.name,
        "colour": path_colour(best.name),
        "label": best.name,
        "below": f"{speedup_text(best.speedup)}{mark}",
        "unsure": not best.sure,
        "path": chart_label(best.name),
        "figure": f"{times_as_fast(best.speedup)} as the slow path",
        "interval": interval_words(run.path(best.name).speedup_ci95),
        "verdict": "best" if best.sure else "not sure",
        "note": equal,
    }


def _path_figures(run: Run, figure: Figure, name: str) -> dict[str, object]:
    path = run.path(name)
    if not path.samples_ms or path.speedup is None:
        return {"kind": "none", "label": "–", "path": chart_label(name), "note": path.reason}
    unsure = path.verdict == "not sure"
    tokens_ms = ms_per_1000_tokens(run, name) or 0.0
    shown = ms_text(tokens_ms) if figure == "tokens" else speedup_text(path.speedup)
    return {
        "kind": "measured",
        "value": tokens_ms if figure == "tokens" else log2(path.speedup),
        "name": name,
        "label": shown + (" ?" if unsure and figure == "speedup" else ""),
        "unsure": unsure and figure == "speedup",
        "path": chart_label(name),
        "figure": f"{times_as_fast(path.speedup)} as the slow path, {ms_text(tokens_ms)} for 1,000 real tokens",
        "interval": interval_words(path.speedup_ci95),
        "verdict": path.verdict or "the baseline",
        "note": "",
    }


def _position(channel: str, field: str, order: list[str], edge: float | None = None) -> Any:
    """A field on an axis with these values.

    All layers name the same domain: layers with different orders would lose them.

    Args:
        edge: 0 or 1 for the left or right edge of a cell, or its upper or lower one; None for the whole cell.
    """
    make = alt.X if channel == "x" else alt.Y
    scale = alt.Scale(domain=order)
    if edge is None:
        return make(f"{field}:O", scale=scale)
    return make(f"{field}:O", scale=scale, bandPosition=edge)


def _order(plan: SweepPlan, axis: Axis, channel: str) -> list[str]:
    """The values in words, ascending to the right and upwards."""
    values = sorted(plan.values(axis), key=lambda value: value or 0)
    words = [value_words(axis, value) for value in values]
    return words if channel == "x" else words[::-1]


def _domain(data: pd.DataFrame, figure: Figure) -> tuple[float, float]:
    values = data.loc[data["kind"] == "measured", "value"].astype(float)
    if figure == "tokens":
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    most = float(values.abs().max()) if len(values) else 0.0
    limit = min(max(most, _LEAST_LIMIT), _MOST_LIMIT)
    return -limit, limit


def _colour(data: pd.DataFrame, figure: Figure) -> Any:
    if figure == "best":
        names = [name for name in dict.fromkeys(data["name"]) if isinstance(name, str)]
        return alt.Color(
            "name:N",
            title=None,
            scale=alt.Scale(domain=names, range=[path_colour(name) for name in names]),
            legend=alt.Legend(orient="top", columns=2, labelLimit=200, symbolStrokeWidth=0),
        )
    low, high = _domain(data, figure)
    if figure == "tokens":
        return alt.Color(
            "value:Q",
            title="ms for 1,000 real tokens",
            scale=alt.Scale(scheme="viridis", domain=[low, high]),
            legend=alt.Legend(orient="top", gradientLength=200, tickCount=4),
        )
    ticks = [tick for tick in (-3, -2, -1, 0, 1, 2, 3) if low <= tick <= high]
    return alt.Color(
        "value:Q",
        title="Speedup over the slow path",
        scale=alt.Scale(scheme="purplegreen", domain=[low, high], clamp=True),
        legend=alt.Legend(
            orient="top",
            gradientLength=200,
            values=ticks,
            labelExpr="format(pow(2, datum.value), '.3~g') + 'x'",
        ),
    )


def _texts(base: alt.Chart, place: Mapping[str, Any], *, two_lines: bool) -> list[alt.Chart]:
    # Not encoded: a second scale of colours would clash with the legend of the cells.
    ink = alt.ExprRef("datum.ink")
    size, dy = (12, -8) if two_lines else (14, 0)
    room = alt.ExprRef("bandwidth('x') - 6")
    first = base.mark_text(fontSize=size, fontWeight="bold", dy=dy, limit=room, color=ink)
    texts = [first.encode(text="label:N", **place)]
    if two_lines:
        texts.append(base.mark_text(fontSize=13, dy=9, color=ink).encode(text="below:N", **place))
    return texts


def _lines(plan: SweepPlan, axes: tuple[Axis, Axis], lines: Sequence[SparsityLine]) -> list[alt.Chart]:
    """A line at the edge of the smallest padding ratio at which sparsity is faster, across its row or column."""
    if "padding" not in axes:
        return []
    other = axes[1] if axes[0] == "padding" else axes[0]
    rows = [
        {
            "other": value_words(other, value_at(line.at, other)),
            "from": value_words("padding", line.faster.faster_from),
        }
        for line in lines
        if line.faster.faster_from is not None and line.faster.kind in ("always", "between", "from")
    ]
    if not rows:
        return []
    base = alt.Chart(pd.DataFrame(rows))
    order = {axis: _order(plan, axis, channel) for axis, channel in zip(axes, ("x", "y"), strict=True)}
    if axes[1] == "padding":
        place = {
            "x": _position("x", "other", order[other], 0),
            "x2": alt.X2("other", bandPosition=1),
            "y": _position("y", "from", order["padding"], 1),
        }
    else:
        place = {
            "y": _position("y", "other", order[other], 0),
            "y2": alt.Y2("other", bandPosition=1),
            "x": _position("x", "from", order["padding"], 0),
        }
    return [
        base.mark_rule(strokeWidth=7, color="white", tooltip=None).encode(**place),
        base.mark_rule(strokeWidth=4, color=DARK_INK, tooltip=None).encode(**place),
    ]


def _ink(colour: str) -> str:
    """White or near-black, whichever is easier to read on this colour."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return DARK_INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else LIGHT_INK
