"""A sweep's conclusions, on sweeps whose times follow a known rule."""

import pytest

from engine.analysis.sweeps import (
    best_path,
    fewest_rounds,
    ms_per_1000_tokens,
    shown_cells,
    sparsity_lines,
)
from engine.sweeps import Place, SweepPlan
from tests.sweep_samples import a_cell_run, a_plan, a_sweep

CLEAR, OPEN = (Place(batch_size=rows, length=64, padding=0.3) for rows in (8, 4))


@pytest.mark.parametrize(
    ("paths", "padding", "rounds"), [(2, 1, 6), (4, 1, 7), (4, 3, 7), (2, 9, 9), (9, 1, 9)]
)
def test_a_cell_has_as_many_rounds_as_its_intervals_need(paths: int, padding: int, rounds: int) -> None:
    plan = SweepPlan(
        model="minilm",
        paths=("slow", *(f"path-{number}" for number in range(paths - 1))),
        batch_sizes=(8,),
        lengths=(32,),
        padding=tuple(number / 10 for number in range(padding)),
    )
    assert fewest_rounds(plan) == rounds


def test_the_best_path_is_the_recommended_one_and_sure_if_no_rival_may_be_faster() -> None:
    best = best_path(a_cell_run(a_plan(), CLEAR))
    assert (best.name, best.sure) == ("packed", True)
    assert best.speedup == pytest.approx(2 / 0.8)


def test_a_rival_whose_interval_allows_it_to_be_faster_makes_the_best_path_unsure() -> None:
    """Sparsity is faster for certain; packed execution may be faster still, or slower."""
    best = best_path(a_cell_run(a_plan(), OPEN))
    assert (best.name, best.sure) == ("fast-nested", False)


def test_without_a_faster_path_the_slow_path_is_best() -> None:
    plan = a_plan(paths=("slow", "fast-nested"), padding=(0.0,))
    best = best_path(a_cell_run(plan, Place(batch_size=8, length=64, padding=0.0)))
    assert (best.name, best.sure, best.speedup) == ("slow", True, 1.0)


def test_a_refuted_path_is_no_rival() -> None:
    """A path that did not run as it claims must not be named, nor make another one unsure."""
    run = a_cell_run(a_plan(), OPEN)
    packed = run.path("packed")
    assert packed.evidence is not None
    refuted = packed.model_copy(update={"evidence": packed.evidence.model_copy(update={"ok": False})})
    paths = tuple(refuted if path.name == "packed" else path for path in run.paths)
    best = best_path(run.model_copy(update={"paths": paths}))
    assert (best.name, best.sure) == ("fast-nested", True)


def test_the_time_of_1000_real_tokens_leaves_padding_out() -> None:
    run = a_cell_run(a_plan(), Place(batch_size=8, length=64, padding=0.6))
    assert run.experiment.batch.real_tokens == 205
    assert ms_per_1000_tokens(run, "slow") == pytest.approx(5.12 / 205 * 1000)


def test_sparsity_starts_to_pay_where_the_rule_says() -> None:
    """It costs a tenth, so it is faster from 30 % padding on, and not without padding."""
    lines = sparsity_lines(a_sweep())
    assert len(lines) == 4
    assert {line.against for line in lines} == {"fast-mha"}
    for line in lines:
        assert (line.faster.kind, line.faster.not_faster_up_to, line.faster.faster_from) == (
            "between",
            0.0,
            0.3,
        )


def test_without_native_mha_sparsity_is_compared_with_the_slow_path_and_without_sparsity_with_nothing() -> (
    None
):
    assert {line.against for line in sparsity_lines(a_sweep(paths=("slow", "fast-nested")))} == {"slow"}
    assert sparsity_lines(a_sweep(paths=("slow", "packed"))) == ()
    assert sparsity_lines(a_sweep(padding=(0.3,))) == ()


def test_cells_of_the_other_axes_are_left_out_and_missing_ones_are_shown() -> None:
    shown = shown_cells(a_sweep(cells=4), {"batch_size": 4, "threads": None})
    assert [(place.length, place.padding) for place, _ in shown] == [
        (length, padding) for length in (16, 64) for padding in (0.0, 0.3, 0.6)
    ]
    assert [cell is not None for _, cell in shown] == [True] * 4 + [False] * 2
