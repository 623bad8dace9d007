"""Commands on stored runs: `compare` compares two, `conclude` computes one's conclusions again; neither measures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.analysis.compare import compare_runs, gate
from engine.analysis.conclude import concluded, concludes_alike
from engine.analysis.verdict import MARGIN
from engine.cli.files import check_writable, read_one_run, written
from engine.cli.options import JsonFile
from engine.errors import Refusal
from engine.present.terminal import runs as terminal


def compare(
    before: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    after: Annotated[Path, typer.Argument(help="A newer run's JSON file.")],
    margin: Annotated[float, typer.Option(help="Changes smaller than this are called the same.")] = MARGIN,
    anyway: Annotated[bool, typer.Option(help="Compare even runs of different experiments.")] = False,
    markdown: Annotated[bool, typer.Option(help="Print Markdown for a pull request.")] = False,
) -> None:
    """Show which paths became slower from one run to another.

    Exit code 0: none; 1: a path regressed; 2: a path was not measured, or the runs are not comparable; 3: not clear.
    """
    if not 0 <= margin < 1:
        raise Refusal(f"--margin must be at least 0 and less than 1, such as 0.02; it is {margin:g}.")
    older, newer = read_one_run(before), read_one_run(after)
    changes = compare_runs(older, newer, margin, unlike_allowed=anyway)
    if markdown:
        typer.echo(terminal.comparison_markdown(changes, newer.title), nl=False)
    else:
        _console().print(terminal.comparison_table(changes))
        typer.echo("A change above 1x means that the second run is faster.")
    raise typer.Exit(gate(changes))


def conclude(
    file: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    json_file: JsonFile = None,
) -> None:
    """Compute a stored run's conclusions again from its raw samples, and say whether they differ."""
    check_writable(json_file)
    stored = read_one_run(file)
    again = concluded(stored)
    with written(again, "run", json_file):
        _console().print(terminal.paths_table(again))
        typer.echo(
            "Identical to the stored conclusions."
            if concludes_alike(stored, again)
            else "Different from the stored conclusions."
        )


def _console() -> Console:
    """For files of any origin: text in them that looks like Rich's markup is printed as it is."""
    return Console(width=terminal.width(), markup=False, emoji=False)
