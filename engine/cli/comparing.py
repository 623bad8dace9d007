"""Commands on stored runs; neither measures: `compare` compares them, `conclude` computes one's conclusions again."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.analysis.compare import Comparison, check_number, compare_runs, gate
from engine.analysis.conclude import concluded, concludes_alike
from engine.analysis.verdict import MARGIN
from engine.cli.files import check_writable, read_one_run, written
from engine.cli.options import JsonFile
from engine.errors import Refusal
from engine.present.reports.comparison import comparison_markdown
from engine.present.terminal import runs as terminal
from engine.present.terminal.comparisons import comparison_report
from engine.present.words.comparisons import differences_words
from engine.records import Run


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSON files of two to six runs; the first is the reference.", metavar="A B [C...]"
        ),
    ],
    margin: Annotated[float, typer.Option(help="Changes smaller than this are called the same.")] = MARGIN,
    anyway: Annotated[bool, typer.Option(help="Compare even runs of different experiments.")] = False,
    markdown: Annotated[bool, typer.Option(help="Print Markdown for a pull request.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Show which paths became slower from one run to another.

    Exit code 0: none; 1: a path regressed; 2: a path was not measured, or the runs are not comparable; 3: not clear.
    """
    if not 0 <= margin < 1:
        raise Refusal(f"--margin must be at least 0 and less than 1, such as 0.02; it is {margin:g}.")
    check_number(len(files))
    check_writable(json_file)
    comparison = compare_runs([_read(file) for file in files], margin)
    if not anyway:
        _check_alike(comparison)
    with written(comparison, "comparison", json_file):
        if markdown:
            typer.echo(comparison_markdown(comparison), nl=False)
        else:
            _console().print(comparison_report(comparison))
    raise typer.Exit(gate([change for pair in comparison.against for change in pair.changes]))


def _read(file: Path) -> Run:
    """The run of a file.

    Raises:
        Refusal: it cannot be read or is not a run; the sentence names the file.
    """
    try:
        return read_one_run(file)
    except Refusal as refusal:
        raise Refusal(f"{file}: {refusal}") from None


def _check_alike(comparison: Comparison) -> None:
    if comparison.unlike:
        raise Refusal(
            f"These runs are not of one experiment ({differences_words(comparison.unlike)}), so a change between them "
            "need not come from the code; --anyway compares them all the same."
        )


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
