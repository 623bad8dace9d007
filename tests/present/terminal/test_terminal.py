"""A run in a terminal of a hundred columns: tables fit, and the recommendation is at the end."""

from io import StringIO

import pytest
from rich.console import Console

from engine.analysis.conclude import concluded
from engine.present.terminal.runs import costs_table, paths_table, run_report
from engine.present.words.runs import recommendation_sentences
from engine.records import Run
from tests.samples import a_run_with_costs, sample_run

COLUMNS = 100


def _printed(what: object, columns: int = COLUMNS) -> str:
    out = StringIO()
    Console(file=out, width=columns).print(what)
    return out.getvalue()


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run_with_costs()


def test_the_tables_of_a_run_fit_a_hundred_columns(run: Run) -> None:
    for table in (paths_table(run), costs_table(run)):
        lines = _printed(table, 300).splitlines()
        assert max(map(len, map(str.rstrip, lines))) <= COLUMNS


def test_the_table_of_costs_has_one_row_per_path(run: Run) -> None:
    row = next(line for line in _printed(costs_table(run)).splitlines() if "packed@bf16" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("packed@bf16", "bf16", "10.0%", "40 ms", "30 ms", "21 MB", "12 MB", "5,000", "9 batches")
    ]


def test_a_report_ends_with_the_verdict_and_the_pick(run: Run) -> None:
    words = " ".join(_printed(run_report(run)).split())
    assert words.endswith(" ".join(recommendation_sentences(run)))
    assert "This machine's own peaks" in words


def test_an_older_run_is_shown_without_the_fields_it_lacks() -> None:
    words = _printed(run_report(concluded(sample_run())))
    assert "What each path costs" not in words
    assert "peaks" not in words
