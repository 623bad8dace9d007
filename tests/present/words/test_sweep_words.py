"""A sweep in sentences."""

from engine.analysis.sweeps import sparsity_lines
from engine.present.words.sweeps import (
    best_sentence,
    cell_words,
    ms_text,
    path_sentence,
    sparsity_caption,
    sparsity_sentences,
    state_sentence,
    tokens_sentence,
)
from engine.sweeps import SweepCell
from tests.sweep_samples import a_sweep

RUNS = [run for _, run in a_sweep().measured]
SURE = [run for place, run in a_sweep().measured if place.batch_size == 8]
OPEN = [run for place, run in a_sweep().measured if place.batch_size == 4]


def test_the_state_says_what_to_do() -> None:
    assert state_sentence(a_sweep()) == "Finished: 12 of 12 cells."
    assert state_sentence(a_sweep(cells=5)) == ("Stopped after 5 of 12 cells. Resume it to measure the rest.")
    lost = a_sweep(cells=5).with_cell(SweepCell(number=5, reason="no memory"))
    assert state_sentence(lost, live=True) == ("Measuring: 6 of 12 cells so far, 1 of them without a result.")


def test_the_best_path_is_told_with_its_cells_and_what_is_open() -> None:
    assert best_sentence(SURE) == "Packed execution is best in every cell (1.82x to 4.0x)."
    assert best_sentence(RUNS) == (
        "Packed execution is best in 6 of 12 cells (1.82x to 4.0x). Not sure in 6 of 12 cells."
    )
    assert best_sentence(OPEN) == "Not sure which path is best in any of 6 cells."
    assert best_sentence([]) == "No cell has a result yet."


def test_a_path_is_told_by_its_range_and_its_verdicts() -> None:
    assert path_sentence(SURE, "fast-nested") == (
        "Native MHA + sparsity is 0.91x to 2.0x as fast as the slow path; faster in 4 of 6 cells."
    )
    assert path_sentence(RUNS, "packed").endswith("not sure in 6.")
    assert tokens_sentence(SURE, "slow").startswith("The slow path takes 10 ms to ")


def test_where_sparsity_becomes_faster_is_one_sentence_a_line() -> None:
    sentences = sparsity_sentences(a_sweep())
    assert len(sentences) == 4
    assert sentences[-1] == "8 texts x 64 tokens: sparsity becomes faster between 0% and 30% padding."
    assert "native MHA + sparsity is faster than native MHA alone" in sparsity_caption(
        sparsity_lines(a_sweep())
    )
    assert sparsity_caption([]) == ""


def test_progress_and_times_are_short() -> None:
    assert cell_words(2, 12, "8 texts", 70.0) == "Cell 3 of 12: 8 texts, about 70 s left"
    assert cell_words(0, 12, "8 texts", None) == "Cell 1 of 12: 8 texts"
    assert [ms_text(value) for value in (0.1234, 12.34, 1234.5)] == ["0.123 ms", "12.3 ms", "1,234 ms"]
