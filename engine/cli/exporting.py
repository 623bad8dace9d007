"""Commands that write a stored run in another form: `report` in every form, `script` as a script. Neither measures."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from engine.cli.files import check_writable, read_one_run, read_runs
from engine.cli.streams import tell_user
from engine.errors import Refusal
from engine.present.reports.embedded import without_texts
from engine.present.reports.script import path_to_export, script_of
from engine.present.reports.summary import pull_request_markdown, reports_markdown
from engine.present.reports.tables import TABLES, TableName, table_csv, table_parquet
from engine.records import Run

Format = Literal["html", "md", "csv", "parquet", "svg", "png", "script"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[str, Format] = {
    **{f".{name}": name for name in FORMATS if name != "script"},
    ".py": "script",
    ".markdown": "md",
    ".htm": "html",
}
_NEEDS_A_FILE: tuple[Format, ...] = ("parquet", "png")
STANDARD_OUTPUT = Path("-")

RunFile = Annotated[Path, typer.Argument(help="A run's JSON file, or an HTML report of one run.")]
RunFiles = Annotated[
    list[Path], typer.Argument(help="JSON files of runs, or HTML reports.", metavar="RUN...")
]


@dataclass(frozen=True)
class _Choices:
    """What the options of `report` choose within a format."""

    chart: str
    path: str
    table: TableName
    short: bool


def report(  # noqa: PLR0913  (one argument for each option)
    files: RunFiles,
    form: Annotated[
        str | None,
        typer.Option("--format", help=f"{', '.join(FORMATS)}; by default from the name of the file."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")
    ] = STANDARD_OUTPUT,
    chart: Annotated[str, typer.Option(help="The chart of an SVG or PNG.")] = "speedups",
    path: Annotated[str, typer.Option(help="The path of a script, or the last bar of a waterfall.")] = "",
    table: Annotated[
        str, typer.Option(help=f"The table of a CSV or Parquet: {' or '.join(TABLES)}.")
    ] = TABLES[0],
    short: Annotated[bool, typer.Option("--short", help="Markdown for a pull request.")] = False,
    texts: Annotated[
        bool, typer.Option("--texts/--without-texts", help="Keep the batch's texts in HTML.")
    ] = True,
) -> None:
    """Write stored runs as a report, a table, an image of a chart, or a script that repeats the comparison.

    An HTML report is one file that needs no network. It contains the runs, so that every command reads it again.
    """
    chosen = _chosen_format(form, output)
    choices = _Choices(chart, path, _chosen_table(table), short)
    if output == STANDARD_OUTPUT and chosen in _NEEDS_A_FILE:
        raise Refusal(f"The format {chosen} is not text: name a file with -o.")
    if output != STANDARD_OUTPUT:
        check_writable(output, "nothing was written")
    runs = tuple(run for file in files for run in read_runs(file))
    _write(_made(chosen, runs if texts else tuple(map(without_texts, runs)), choices), output)


def script(
    file: RunFile,
    path: Annotated[
        str, typer.Option(help="An execution path of the run; by default the recommended one.")
    ] = "",
) -> None:
    """Print a Python script that repeats a stored run's comparison of a path with the baseline."""
    typer.echo(_script([read_one_run(file)], path), nl=False)


def _chosen_format(name: str | None, output: Path) -> Format:
    if name is None:
        found = _SUFFIXES.get(output.suffix.lower())
        if found is None:
            raise Refusal(f"Choose a format with --format: {', '.join(FORMATS)}.")
        return found
    for known in FORMATS:
        if known == name:
            return known
    raise Refusal(f"There is no format {name!r}: choose one of {', '.join(FORMATS)}.")


def _chosen_table(name: str) -> TableName:
    for known in TABLES:
        if known == name:
            return known
    raise Refusal(f"There is no table {name!r}: choose {' or '.join(TABLES)}.")


def _made(form: Format, runs: Sequence[Run], choices: _Choices) -> str | bytes:
    makers: dict[Format, Callable[[], str | bytes]] = {
        "html": lambda: _html(runs),
        "md": lambda: pull_request_markdown(runs) if choices.short else reports_markdown(runs),
        "csv": lambda: table_csv(runs, choices.table),
        "parquet": lambda: table_parquet(runs, choices.table),
        "svg": lambda: _image(runs, choices, "svg"),
        "png": lambda: _image(runs, choices, "png"),
        "script": lambda: _script(runs, choices.path),
    }
    try:
        return makers[form]()
    except ModuleNotFoundError as error:
        raise Refusal(
            f"The format {form} needs the package {error.name}, which is not installed: pip install '.[app]'."
        ) from None


def _html(runs: Sequence[Run]) -> str:
    from engine.present.reports.html import html_report

    return html_report(runs)


def _image(runs: Sequence[Run], choices: _Choices, form: Literal["svg", "png"]) -> str | bytes:
    from engine.present.reports.figures import figure_of
    from engine.present.reports.images import chart_png, chart_svg, source_words

    figure = figure_of(runs, choices.chart, choices.path)
    return (chart_svg if form == "svg" else chart_png)(figure, source_words(runs[0]))


def _script(runs: Sequence[Run], path: str) -> str:
    if len(runs) != 1:
        raise Refusal("A script repeats the comparison of one run, so give one.")
    name = path or path_to_export(runs[0])
    if name is None:
        raise Refusal(
            f"The run {runs[0].id} compares no path with its baseline, so there is nothing to repeat."
        )
    return script_of(runs[0], name)


def _write(made: str | bytes, output: Path) -> None:
    data = made.encode("utf-8") if isinstance(made, str) else made
    if output == STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(output)  # so that a full disk leaves no half of a report
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Refusal(f"The file {output} cannot be written: {error.strerror}.") from None
    tell_user(f"The report is in {output}")
