"""A comparison in a terminal: what differs before the table, and a table that fits."""

from io import StringIO

from rich.console import Console

from engine.analysis.compare import compare_runs
from engine.present.terminal.comparisons import changes_table, comparison_report
from tests.comparisons import noisy_run, with_threads

COLUMNS = 100


def printed(what: object, columns: int) -> str:
    out = StringIO()
    Console(file=out, width=columns).print(what)
    return out.getvalue()


def test_differences_come_first_and_the_answer_last() -> None:
    comparison = compare_runs((noisy_run(5.0), with_threads(noisy_run(6.0, seed=1), 8)))
    words = " ".join(printed(comparison_report(comparison), 300).split())
    assert words.startswith("A, the reference: all-MiniLM-L6-v2")
    assert (
        words.index("Threads 2 -> 8.")
        < words.index("95 % interval")
        < words.index("Native MHA + sparsity regressed")
    )


def test_the_table_fits_a_hundred_columns() -> None:
    comparison = compare_runs((noisy_run(), noisy_run(5.0, noise=0.2, seed=1), noisy_run(4.0, seed=2)))
    lines = printed(changes_table(comparison), 300).splitlines()
    assert max(map(len, map(str.rstrip, lines))) <= COLUMNS
