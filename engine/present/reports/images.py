"""Charts as Vega-Lite specs that hold their data, and as SVG and PNG files."""

from textwrap import wrap
from typing import Any, Literal

import altair as alt
import pandas as pd

from engine.present.charts.runs import Drawing
from engine.present.reports.figures import Figure
from engine.records import Run

Width = int | Literal["container"]

VEGA_LITE = "_".join(alt.SCHEMA_VERSION.split(".")[:2])
"""Version of Vega-Lite that the charts are written for, as vl-convert names it: v6_1."""
FILE_WIDTH, PNG_SCALE = 720, 2
_TITLE_LETTERS = 92
_FILE_CONFIG = {
    "background": "white",
    "padding": 12,
    "view": {"stroke": None},
    "axisQuantitative": {"tickCount": 5},
    "axis": {"gridColor": "#e3e5ea"},
    "title": {"anchor": "start", "fontSize": 14, "subtitleFontSize": 12, "subtitlePadding": 6, "offset": 12},
}


def chart_svg(figure: Figure, source: str) -> str:
    """A chart as an SVG image on white, with its message as title.

    Args:
        source: which run it shows, in a line below the title.
    """
    import vl_convert

    return str(vl_convert.vegalite_to_svg(_file_spec(figure, source), VEGA_LITE, allowed_base_urls=[]))


def chart_png(figure: Figure, source: str) -> bytes:
    """The same as a PNG image with two pixels for one of the SVG's."""
    import vl_convert

    image: bytes = vl_convert.vegalite_to_png(
        _file_spec(figure, source), VEGA_LITE, scale=PNG_SCALE, allowed_base_urls=[]
    )
    return image


def source_words(run: Run) -> str:
    """Which run a chart shows, in a line."""
    env = run.environment
    return (
        f"{run.title} · {env.device_name}, {env.threads} threads, torch {env.torch} · "
        f"{run.created_at:%d %b %Y} · run {run.id}"
    )


def _file_spec(figure: Figure, source: str) -> dict[str, Any]:
    title = {"text": wrap(figure.message, _TITLE_LETTERS), "subtitle": source}
    return {**vega_lite(figure.draw(), FILE_WIDTH), "title": title, "config": _FILE_CONFIG}


def vega_lite(chart: Drawing, width: Width) -> dict[str, Any]:
    """A chart as a Vega-Lite spec that holds its data.

    Args:
        chart: one that nobody else uses; its data are replaced.
        width: in pixels, or that of the element that it is drawn in.
    """
    _hold_data(chart)
    spec: dict[str, Any] = chart.properties(width=width).to_dict()
    return spec


def _hold_data(chart: Any) -> None:
    """Replace data frames by their rows.

    Altair would convert them too, but with a converter that is global in the process: Streamlit exchanges it while it
    draws a page in another thread, and Altair's own refuses more than 5,000 rows.
    """
    data = getattr(chart, "data", None)
    if isinstance(data, pd.DataFrame):
        known = data.astype(object).where(data.notna(), None)
        chart.data = alt.InlineData(
            values=[{str(name): value for name, value in row.items()} for row in known.to_dict("records")]
        )
    parts = getattr(chart, "layer", None)
    for part in parts if isinstance(parts, list) else ():
        _hold_data(part)
