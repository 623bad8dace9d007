"""The default budget: one rule for pages, command line and doctor, capped by the settings."""

import pytest

from engine.budget import default_budget_s, examination_budget_s, sweep_budget
from engine.catalog.batches import PRESETS
from engine.events import DoctorRequest


def test_more_paths_have_more_seconds_and_the_baselines_second_run_counts() -> None:
    assert [default_budget_s(paths) for paths in (1, 2, 3, 9)] == [10, 15, 20, 50]


def test_an_examination_has_more_seconds_for_everything_done_to_the_model() -> None:
    assert examination_budget_s(2) == examination_budget_s() + 2 * (default_budget_s(2) - default_budget_s(1))
    assert DoctorRequest(model="minilm", batch=PRESETS["dense"]).budget_s == examination_budget_s()


@pytest.mark.parametrize("most_s", [10.0, 49.0])
def test_no_default_is_more_than_the_settings_allow(most_s: float) -> None:
    assert default_budget_s(9, most_s) == most_s
    assert examination_budget_s(20, most_s) == most_s


def test_a_sweep_may_take_longer_where_its_rounds_are_too_few() -> None:
    """An examination without rounds has no sweep either."""
    usual, slow = sweep_budget(20.0).usual_s, sweep_budget(20.0).most_s
    assert (usual, slow) == (10.0, 30.0)
    assert sweep_budget(0.0).most_s == 0.0
