"""The charts of a comparison: a dot for each path and run, and bars that show two profiles and their difference."""

import json

import pytest

from engine.analysis.compare import compare_runs
from engine.analysis.operator_changes import operator_changes
from engine.catalog.paths import path_spec
from engine.present.charts.comparison import (
    MOST_OPERATORS,
    operators_chart,
    operators_data,
    speedups_chart,
    speedups_data,
)
from tests.comparisons import elsewhere, noisy_run, with_profile

FAST = "fast-nested"


def test_every_run_has_a_dot_with_its_interval_and_letter() -> None:
    comparison = compare_runs((noisy_run(5.0), noisy_run(4.0, seed=1), noisy_run(5.0, rounds=2, seed=2)))
    data = speedups_data(comparison)
    assert list(data["run"]) == ["A", "B", "C"]
    assert list(data["label"]) == ["A 2.0x", "B 2.5x", "C 2.0x"]
    assert list(data["low"].isna()) == [False, False, True]
    assert list(data["interval"])[2] == "too few rounds"
    assert (data["name"] == FAST).all(), "the baseline has no speedup over itself"


def test_a_path_keeps_its_colour_and_the_chart_has_no_milliseconds_across_machines() -> None:
    comparison = compare_runs((noisy_run(), elsewhere(noisy_run(seed=1))))
    spec = speedups_chart(comparison).to_json()
    assert path_spec(FAST).colour in spec
    assert " ms" not in spec


def test_bars_show_what_is_in_both_and_the_change_in_its_own_colour() -> None:
    before = with_profile(noisy_run(), FAST, addmm=4.0, gelu=1.0, mm=3.0)
    after = with_profile(noisy_run(), FAST, addmm=6.0, mm=3.0, bmm=0.5)
    data = operators_data(operator_changes((before, FAST), (after, FAST)))
    rows = [(row.operator, row.kind, row.start, row.end, row.label) for row in data.itertuples()]
    assert rows == [
        ("addmm", "in both", 0.0, pytest.approx(4.0), "+2.0 ms"),
        ("addmm", "grew", pytest.approx(4.0), pytest.approx(6.0), "+2.0 ms"),
        ("gelu", "vanished", 0.0, pytest.approx(1.0), "vanished, -1.0 ms"),
        ("bmm", "appeared", 0.0, pytest.approx(0.5), "appeared, +0.5 ms"),
        ("mm", "in both", 0.0, pytest.approx(3.0), "no change"),
    ]
    assert data.groupby("operator")["last"].sum().eq(1).all(), "one label for each operator"


def test_operators_without_a_row_are_summed_so_that_self_times_add_up() -> None:
    times = {f"op{number}": 1.0 + number for number in range(20)}
    before = with_profile(noisy_run(), FAST, **times)
    after = with_profile(noisy_run(), FAST, **{name: 2 * ms for name, ms in times.items()})
    changes = operator_changes((before, FAST), (after, FAST))
    data = operators_data(changes)
    assert data["operator"].nunique() == MOST_OPERATORS + 1
    assert list(data["operator"])[-1] == "8 other operators"
    assert data[data["last"]]["end"].sum() == pytest.approx(changes.after)
    total = operators_data(operator_changes((before, FAST), (after, FAST), "total"))
    assert total["operator"].nunique() == MOST_OPERATORS, "total times overlap, so their sum means nothing"


def test_across_machines_the_axis_is_a_share_of_the_baseline() -> None:
    before, after = with_profile(noisy_run(), FAST, addmm=4.0), with_profile(noisy_run(), FAST, addmm=6.0)
    changes = operator_changes((before, FAST), (elsewhere(after), FAST))
    spec = json.loads(operators_chart(changes, "the slow path").to_json())
    text = json.dumps(spec)
    assert "Self time, % of the slow path" in text
    assert "ms per forward" not in text
    assert " ms" not in json.dumps(spec["datasets"])
