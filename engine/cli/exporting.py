"""The command `script`: a stored run's path as a Python script. Nothing is measured."""

from pathlib import Path
from typing import Annotated

import typer

from engine.analysis.recommend import recommended_path
from engine.cli.files import read_bytes
from engine.present.reports.script import script_of
from engine.records import read_run


def script(
    file: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    path: Annotated[
        str | None, typer.Option(help="An execution path of the run; by default the recommended one.")
    ] = None,
) -> None:
    """Print a Python script that runs a stored run's model on a path outside the app."""
    run = read_run(read_bytes(file))
    typer.echo(script_of(run, path or recommended_path(run)), nl=False)
