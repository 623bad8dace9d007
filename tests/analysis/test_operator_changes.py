"""Two profiles side by side: every operator once, self times that add up to the medians, shares across machines."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.operator_changes import operator_changes, profiled_paths, rest_of
from tests.comparisons import elsewhere, noisy_run, with_profile

FAST = "fast-nested"
TIMES = st.dictionaries(
    st.sampled_from(["addmm", "bmm", "copy_", "gelu", "mm"]), st.floats(0.001, 50.0), min_size=1
)


def test_operators_appear_vanish_grow_shrink_or_stay() -> None:
    before = with_profile(noisy_run(), FAST, addmm=4.0, copy_=2.0, gelu=1.0, mm=3.0)
    after = with_profile(noisy_run(seed=1), FAST, addmm=6.0, copy_=1.0, mm=3.05, bmm=0.5)
    changes = operator_changes((before, FAST), (after, FAST))
    assert {operator.name: operator.growth for operator in changes.operators} == {
        "aten::addmm": "grew",
        "aten::copy_": "shrank",
        "aten::gelu": "vanished",
        "aten::mm": "same",
        "aten::bmm": "appeared",
    }
    assert changes.operators[0].name == "aten::addmm", "the largest change first"
    assert (changes.before, changes.after, changes.unit) == (10.0, pytest.approx(10.55), "ms")


def test_profiler_time_is_scaled_to_the_measured_median() -> None:
    """The sample profiles are twice as long as the path's median, as under a slow profiler."""
    run = with_profile(noisy_run(), FAST, addmm=4.0, mm=1.0)
    changes = operator_changes((run, FAST), (run, FAST), "total")
    assert {operator.name: operator.before for operator in changes.operators} == {
        "aten::addmm": pytest.approx(6.0),
        "aten::mm": pytest.approx(1.5),
    }


@given(old=TIMES, new=TIMES, there=st.booleans())
def test_self_times_add_up_to_both_medians_in_either_unit(
    old: dict[str, float], new: dict[str, float], there: bool
) -> None:
    before, after = with_profile(noisy_run(), FAST, **old), with_profile(noisy_run(seed=1), FAST, **new)
    changes = operator_changes((before, FAST), ((elsewhere(after) if there else after), FAST))
    assert fsum(operator.before for operator in changes.operators) == pytest.approx(changes.before)
    assert fsum(operator.after for operator in changes.operators) == pytest.approx(changes.after)
    assert len({operator.name for operator in changes.operators}) == len({**old, **new})
    rest = rest_of(changes.operators, 0.0)
    assert (rest.before, rest.after) == (pytest.approx(changes.before), pytest.approx(changes.after))


def test_across_machines_times_are_shares_of_each_runs_own_baseline() -> None:
    before = with_profile(noisy_run(slow_ms=10.0, noise=0), FAST, addmm=5.0)
    after = elsewhere(with_profile(noisy_run(slow_ms=2.0, noise=0), FAST, addmm=1.0))
    changes = operator_changes((before, FAST), (after, FAST))
    (operator,) = changes.operators
    assert (changes.unit, operator.before, operator.after) == (
        "share",
        pytest.approx(0.5),
        pytest.approx(0.5),
    )
    assert operator.growth == "same"


def test_two_paths_of_one_run_are_compared_in_milliseconds() -> None:
    run = with_profile(with_profile(noisy_run(), "slow", mm=10.0), FAST, bmm=5.0)
    changes = operator_changes((run, "slow"), (run, FAST))
    assert changes.unit == "ms"
    assert [operator.growth for operator in changes.operators] == ["vanished", "appeared"]


def test_a_path_without_a_profile_is_not_offered_and_not_compared() -> None:
    run = noisy_run()
    bare = run.model_copy(update={"paths": (run.paths[0], run.paths[1].model_copy(update={"profile": None}))})
    assert profiled_paths(bare) == ("slow",)
    with pytest.raises(ValueError, match="fast-nested was not profiled"):
        operator_changes((bare, "slow"), (bare, FAST))
