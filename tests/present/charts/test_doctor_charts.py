"""The doctor's charts show the diagnosis's numbers, and mark wrong answers by a word as well as a colour."""

import json
from typing import Any

import pytest

from engine.diagnosis import Diagnosis
from engine.present.charts import doctor as charts
from engine.present.charts.runs import Drawing
from tests.samples import a_broken_diagnosis, a_diagnosis, a_silently_wrong_diagnosis, some_sparsity


def rows_of(chart: Drawing) -> list[dict[str, Any]]:
    spec = json.loads(chart.to_json())
    return [row for rows in spec["datasets"].values() for row in rows]


def test_every_timed_state_has_a_bar_with_its_interval_in_the_order_it_was_tried() -> None:
    diagnosis = a_broken_diagnosis()
    bars = [row for row in rows_of(charts.states_chart(diagnosis)) if "state" in row]
    assert [bar["state"] for bar in bars] == [state.title for state in diagnosis.states]
    for bar, state in zip(bars, diagnosis.states, strict=True):
        assert state.timing is not None
        assert state.timing.speedup_ci95 is not None
        assert (bar["low"], bar["speedup"], bar["high"]) == pytest.approx(
            (state.timing.speedup_ci95[0], state.timing.speedup, state.timing.speedup_ci95[1])
        )


def test_the_baseline_has_a_line_and_the_noise_a_band() -> None:
    rows = rows_of(charts.states_chart(a_diagnosis()))
    assert {"at": 1.0} in rows
    assert {"low": 0.99, "high": 1.01} in rows


def test_a_state_with_wrong_answers_is_marked_by_word_and_colour() -> None:
    data = charts.states_data(a_silently_wrong_diagnosis())
    assert list(data["kind"]) == ["slow path", "wrong answers"]
    assert data["label"].iloc[1].endswith("wrong")
    assert "wrong" not in data["label"].iloc[0]


def test_a_state_without_a_time_or_an_interval_does_not_break_the_chart() -> None:
    diagnosis = a_broken_diagnosis()
    slow, now, first, second = diagnosis.states
    assert first.timing is not None
    few = first.model_copy(update={"timing": first.timing.model_copy(update={"speedup_ci95": None})})
    partial: Diagnosis = diagnosis.model_copy(
        update={"states": (slow, now.model_copy(update={"timing": None}), few, second)}
    )
    data = charts.states_data(partial).set_index("state")
    assert list(data.index) == ["Slow path", "eval mode", "no gradients"]
    assert data.loc["eval mode", ["low", "high"]].isna().all()
    assert (data.loc["eval mode", "edge"], data.loc["eval mode", "interval"]) == (1.38, "none")
    charts.states_chart(partial).to_dict()


def test_states_with_too_few_rounds_for_any_interval_have_bars() -> None:
    """A large model on a slow machine: the page ended with an error."""
    diagnosis = a_broken_diagnosis()
    states = tuple(
        state.model_copy(
            update={"timing": state.timing and state.timing.model_copy(update={"speedup_ci95": None})}
        )
        for state in diagnosis.states
    )
    chart = charts.states_chart(diagnosis.model_copy(update={"states": states}))
    bars = [row for row in rows_of(chart) if "state" in row]
    assert [bar["speedup"] for bar in bars] == [bar["edge"] for bar in bars]
    assert len(bars) == len(states)


def test_the_crossover_and_this_batch_are_marked_on_the_sweep() -> None:
    crossover = some_sparsity().crossover
    assert crossover is not None
    rows = rows_of(charts.crossover_chart(crossover, 0.65))
    swept = [(row["padding"], row["speedup"]) for row in rows if "speedup" in row]
    assert swept == list(zip(crossover.padding_ratios, crossover.speedups, strict=True))
    assert [row["words"] for row in rows if "words" in row] == ["this batch 65%"]
    assert [row["clear"] for row in rows if "clear" in row] == [True, False, True, True, True]
    assert {"from": 0.0, "to": 0.4} in rows
    assert {"at": 1.0} in rows


def test_a_sweep_without_intervals_marks_no_crossover_and_no_point_as_clear() -> None:
    """A record of an older version, which interpolated a crossover from figures without intervals."""
    crossover = some_sparsity().crossover
    assert crossover is not None
    rows = rows_of(charts.crossover_chart(crossover.model_copy(update={"points": ()}), 0.1))
    assert not any(row["clear"] for row in rows if "clear" in row)
    assert not any("from" in row for row in rows)


def test_charts_have_their_message_in_words() -> None:
    crossover = some_sparsity().crossover
    assert crossover is not None
    assert "no gradients" in charts.states_alt(a_broken_diagnosis())
    assert "between 0% and 40% padding" in charts.crossover_alt(crossover, 0.65)
