"""Runs as one HTML file that needs no network: Vega is in it once, and so are the runs themselves.

A run may be a stranger's file. The template escapes everything, and the page's policy lets it run only the two scripts
whose hashes it names, open no connection, and load nothing.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from engine.errors import Refusal
from engine.present.reports.embedded import RUN_ELEMENT
from engine.present.reports.images import VEGA_LITE, vega_lite
from engine.present.reports.pages import Page, differences, page_of, speedups_side_by_side
from engine.present.reports.rendering import rendered
from engine.present.reports.rows import COST_COLUMNS, OPERATOR_HEADINGS, PATH_COLUMNS
from engine.records import Run
from engine.version import __version__

MOST_RUNS = 20
_INK = "currentColor"
"""Charts take the colour of the text around them, so that they follow light, dark and print without being redrawn."""
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _INK,
        "titleColor": _INK,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": _INK,
        "gridOpacity": 0.13,
        "domainColor": _INK,
        "domainOpacity": 0.4,
        "tickColor": _INK,
        "tickOpacity": 0.4,
    },
    "axisQuantitative": {"tickCount": 5},
    "legend": {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 12, "titleFontSize": 12},
}


def html_report(runs: Sequence[Run]) -> str:
    """One HTML document with every run, one after another.

    Raises:
        Refusal: there are too many runs for one document, or a run is in it twice.
    """
    _check(runs)
    pages = [page_of(run, number) for number, run in enumerate(runs, 1)]
    scripts = (_vega(), _own("report.js"))
    return rendered(
        "report.html.jinja",
        pages=pages,
        path_columns=PATH_COLUMNS,
        cost_columns=COST_COLUMNS,
        operator_columns=OPERATOR_HEADINGS,
        title=runs[0].title if len(runs) == 1 else f"{len(runs)} runs",
        version=__version__,
        run_element=RUN_ELEMENT,
        policy=_policy(scripts),
        style=_own("report.css"),
        scripts=scripts,
        charts=_specs(pages),
        runs=[run.model_dump(mode="json") for run in runs],
        side_by_side=speedups_side_by_side(runs),
        differences=differences(runs),
    )


def _check(runs: Sequence[Run]) -> None:
    if len(runs) > MOST_RUNS:
        raise Refusal(f"A report holds at most {MOST_RUNS} runs, not {len(runs)}: choose fewer.")
    ids = [run.id for run in runs]
    double = next((name for name in ids if ids.count(name) > 1), None)
    if double is not None:
        raise Refusal(f"The run {double} is named twice: give each run once.")


def _specs(pages: Sequence[Page]) -> dict[str, dict[str, Any]]:
    """The Vega-Lite spec of every chart, by the id of its element."""
    return {
        element: {
            **_in_the_ink_of_the_page(vega_lite(figure.draw(), "container")),
            "description": figure.message,
            "config": _CONFIG,
        }
        for page in pages
        for element, figure in page.figures.items()
    }


def _in_the_ink_of_the_page(part: Any) -> Any:
    """The spec with its text in the colour of the text around it."""
    if isinstance(part, list):
        return [_in_the_ink_of_the_page(item) for item in part]
    if not isinstance(part, dict):
        return part
    inked = {key: value if key in _DATA else _in_the_ink_of_the_page(value) for key, value in part.items()}
    mark = inked.get("mark")
    if isinstance(mark, dict) and mark.get("type") == "text":
        inked["mark"] = {**mark, "color": _INK}
    return inked


_DATA = ("data", "datasets")


def _policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts alone, no connection, nothing from elsewhere."""
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which defines `vegaEmbed`."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    # In a script element the first would end it, and the second would begin a part that ends elsewhere.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r", "")


@cache
def _own(name: str) -> str:
    return files("engine.present.reports").joinpath("templates", name).read_text(encoding="utf-8")
