"""Commands on stored runs: `compare` two of them, `conclude` one again. Nothing is measured."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.analysis.compare import compare_runs, gate
from engine.analysis.conclude import concluded
from engine.analysis.verdict import MARGIN
from engine.cli.files import read_bytes, write_record
from engine.cli.options import JsonFile
from engine.errors import Refusal
from engine.present.terminal import runs as terminal
from engine.records import read_run


def compare(
    before: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    after: Annotated[Path, typer.Argument(help="A newer run's JSON file.")],
    margin: Annotated[float, typer.Option(help="Changes within this are called the same.")] = MARGIN,
    anyway: Annotated[bool, typer.Option(help="Compare runs of different experiments all the same.")] = False,
    markdown: Annotated[bool, typer.Option(help="Print Markdown for a pull request.")] = False,
) -> None:
    """Say what became slower from one run to another.

    Exit code 0: nothing; 1: a path regressed; 2: one was not measured, or the runs are not alike; 3: not clear.
    """
    if not 0 <= margin < 1:
        raise Refusal(f"--margin is a share from 0 to 1, as in 0.02; {margin:g} is not.")
    older, newer = read_run(read_bytes(before)), read_run(read_bytes(after))
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
    """Conclude a stored run again from its raw samples by today's rule, and say whether anything changes."""
    stored = read_run(read_bytes(file))
    again = concluded(stored)
    _console().print(terminal.paths_table(again))
    typer.echo(
        "Identical to the stored conclusions."
        if again == stored
        else "Different from the stored conclusions."
    )
    write_record(again, "run", json_file)


def _console() -> Console:
    """For files that may be anybody's: what looks like Rich's markup in them is shown as it is."""
    return Console(width=terminal.width(), markup=False, emoji=False)
