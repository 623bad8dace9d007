"""The command `link`: a stored run as a link that carries it. Nothing is measured."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.files import read_bytes
from engine.cli.streams import tell_user
from engine.present.links.codec import LINK_PATH, link_of
from engine.present.links.words import left_out_sentence, size_words
from engine.records import read_run


def link(
    file: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    base: Annotated[
        str,
        typer.Option(help="The address of a lab, such as https://lab.example; any lab can open the link."),
    ] = "",
) -> None:
    """Print a link that carries a stored run in itself, without its texts and its rounds."""
    text, shared = link_of(read_run(read_bytes(file)))
    typer.echo(f"{base.rstrip('/')}{LINK_PATH}{text}")
    tell_user(f"{size_words(text).capitalize()}. {left_out_sentence(shared)}")
