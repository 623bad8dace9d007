"""The menu of a chart: save it as SVG or PNG. The image is made when it is asked for, not in every redraw."""

from collections.abc import Callable

import streamlit as st

from engine.findings import Findings
from engine.present.reports.figures import Figure, figure_of
from engine.present.reports.images import chart_png, chart_svg, source_words
from engine.records import Run


def save_menu(figure: Callable[[], Figure], source: str, file_name: str, key: str) -> None:
    """A small menu that saves a chart on white, with its message as title.

    Args:
        figure: the chart with its words.
        source: which run it shows, in a line below the title.
        file_name: without a suffix.
    """
    with st.popover("Save chart", icon=":material/image:", type="tertiary", key=f"{key}_save"):
        st.download_button(
            "SVG",
            lambda: chart_svg(figure(), source),
            file_name=f"{file_name}.svg",
            mime="image/svg+xml",
            key=f"{key}_save_svg",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "PNG",
            lambda: chart_png(figure(), source),
            file_name=f"{file_name}.png",
            mime="image/png",
            key=f"{key}_save_png",
            icon=":material/download:",
            on_click="ignore",
        )


def save_menu_of(found: tuple[Findings, ...], chart: str, key: str, waterfall_to: str = "") -> None:
    """The menu of a chart of one run, or of two; none for a run from a link, which lacks what the title says of a run.

    Args:
        chart: its name in `engine.present.reports.figures`.
    """
    runs = tuple(run for run in found if isinstance(run, Run))
    if len(runs) < len(found):
        return
    save_menu(
        lambda: figure_of(runs, chart, waterfall_to),
        source_words(runs[0]),
        f"fastpath-{runs[0].id}-{chart}",
        f"{key}_{chart}",
    )
