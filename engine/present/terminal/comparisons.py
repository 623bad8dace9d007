"""A comparison of runs for a terminal: what differs, the table of changes, and how to read it."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.analysis.compare import Comparison, run_letter
from engine.present.words.comparisons import (
    cause_sentence,
    change_header,
    change_rows,
    continues_sentence,
    experiment_sentence,
    headline,
    legend,
    machine_sentence,
    rounds_words,
    state_words,
)

_WORDS = ("path", "run", "verdict")


def comparison_report(comparison: Comparison) -> RenderableType:
    """The differences first, then the changes, then the verdict."""
    return Group(
        *(Text(line) for line in _conditions(comparison)),
        changes_table(comparison),
        Text(legend(comparison), style="dim"),
        Text(headline(comparison), style="bold"),
    )


def _conditions(comparison: Comparison) -> Iterator[str]:
    for number, run in enumerate(comparison.runs):
        reference = ", the reference" if number == 0 else ""
        yield (
            f"{run_letter(number)}{reference}: {run.title}, {run.created_at:%Y-%m-%d %H:%M %Z}, {rounds_words(run)}; "
            f"{state_words(run)}"
        )
    yield f"What differs: {experiment_sentence(comparison)}"
    yield f"Machine and build: {machine_sentence(comparison)}"
    yield " ".join(filter(None, (cause_sentence(comparison), continues_sentence(comparison))))


def changes_table(comparison: Comparison) -> Table:
    """What has changed, path by path."""
    table = Table(expand=False)
    for name in change_header(comparison):
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=name == "path")
    for row in change_rows(comparison):
        table.add_row(*row)
    return table
