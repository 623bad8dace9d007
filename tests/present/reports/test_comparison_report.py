"""The Markdown of a comparison is one table, says what differs, and shows words from files as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.compare import compare_runs
from engine.present.reports.comparison import comparison_markdown, escaped
from tests.comparisons import elsewhere, noisy_run, with_environment, with_threads


def table_of(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_table_has_one_row_for_each_path_and_a_verdict_in_each() -> None:
    markdown = comparison_markdown(compare_runs((noisy_run(), noisy_run(6.0, seed=1))))
    header, _rule, *rows = table_of(markdown)
    assert header == ["path", "before", "after", "change", "95 % interval", "median ms", "verdict"]
    assert [(row[0], row[-1]) for row in rows] == [("slow", "same"), ("fast-nested", "regressed")]
    assert {len(row) for row in (header, *rows)} == {7}


def test_what_differs_stands_before_the_table() -> None:
    markdown = comparison_markdown(compare_runs((noisy_run(), with_threads(noisy_run(seed=1), 8))))
    assert "**What differs:** Threads 2 -> 8." in markdown
    assert markdown.index("What differs") < markdown.index("| path |")


def test_across_machines_there_are_no_milliseconds() -> None:
    markdown = comparison_markdown(compare_runs((noisy_run(), elsewhere(noisy_run(seed=1)))))
    assert " ms" not in markdown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a | b", r"a \| b"),
        ("two\n\n# lines", r"two \# lines"),
        ("<img src=x>", r"\<img src=x>"),
        ("[here](https://example.org)", r"\[here\](https:/\/example.org)"),
        ("www.example.org", r"www\.example.org"),
        ("thanks @someone", "thanks @<!-- -->someone"),
        ("packed@bf16", "packed@bf16"),
        ("\\", "\\\\"),
    ],
)
def test_words_from_files_stay_words(words: str, shown: str) -> None:
    assert escaped(words) == shown


def test_a_hostile_title_and_note_break_neither_the_table_nor_the_list() -> None:
    odd = "x |\n| --- |\n<script>alert(1)</script> `code` @all"
    before = noisy_run().model_copy(update={"title": odd})
    after = with_environment(
        noisy_run(slow_ms=20.0, seed=1).model_copy(update={"title": odd}), quiet=False, notes=(odd,)
    )
    markdown = comparison_markdown(compare_runs((before, after)))
    assert markdown.count("<script>") == markdown.count(r"\<script>") > 0
    assert len({len(row) for row in table_of(markdown)}) == 1
    assert "not sure: run B was disturbed" in markdown


@given(words=st.text())
def test_any_words_stay_on_one_line_without_an_open_cell_or_tag(words: str) -> None:
    shown = escaped(words)
    assert len(shown.splitlines()) <= 1
    bare = shown.replace("\\\\", "").replace("@<!-- -->", "@")
    for character in "|<`":
        assert bare.count(character) == bare.count(f"\\{character}")
