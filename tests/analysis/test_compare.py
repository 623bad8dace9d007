"""Comparing runs: words by whole intervals, the reference first, times of one machine only, four exit codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.compare import (
    Change,
    Gate,
    compare_runs,
    gate,
    gate_ratio,
)
from engine.analysis.stats import median_interval, shared_confidence
from engine.errors import Refusal
from engine.records import Conditions, Run
from tests.comparisons import elsewhere, noisy_run, with_environment, with_experiment, with_threads


def changes_between(before: Run, after: Run, margin: float = 0.02) -> tuple[Change, ...]:
    return compare_runs((before, after), margin).against[0].changes


@pytest.mark.parametrize(
    ("after", "word", "code"),
    [
        (noisy_run(5.0, seed=1), "same", Gate.OK),
        (noisy_run(4.0, seed=1), "improved", Gate.OK),
        (noisy_run(6.0, seed=1), "regressed", Gate.REGRESSED),
        (noisy_run(5.1, noise=0.2, seed=1), "not sure", Gate.INCONCLUSIVE),
    ],
)
def test_words_and_exit_codes(after: Run, word: str, code: Gate) -> None:
    changes = changes_between(noisy_run(5.0), after)
    assert changes[1].word == word
    if word != "not sure":
        assert changes[0].word == "same"
    assert gate(changes) is code


def test_a_machine_that_is_slower_as_a_whole_is_seen_at_the_baseline_alone() -> None:
    baseline, fast = changes_between(noisy_run(5.0), noisy_run(6.0, slow_ms=12.0, seed=1))
    assert (baseline.basis, baseline.word) == ("time", "regressed")
    assert (fast.basis, fast.word) == ("speedup", "same")


def test_judged_by_times_every_path_of_one_machine_is_compared() -> None:
    times = compare_runs((noisy_run(5.0), noisy_run(6.0, slow_ms=12.0, seed=1))).against[0].times
    assert [(change.name, change.basis, change.word) for change in times] == [
        ("slow", "time", "regressed"),
        ("fast-nested", "time", "regressed"),
    ]


def test_across_machines_no_time_is_compared_and_no_time_is_in_the_result() -> None:
    comparison = compare_runs((noisy_run(5.0), elsewhere(noisy_run(2.0, slow_ms=4.0, seed=1))))
    (pair,) = comparison.against
    assert not comparison.one_machine
    assert pair.times == ()
    assert [(change.name, change.basis, change.word) for change in pair.changes] == [
        ("fast-nested", "speedup", "same")
    ]


def test_of_several_runs_only_those_on_the_machine_of_the_reference_are_compared_by_time() -> None:
    runs = (noisy_run(), elsewhere(noisy_run(seed=1)), noisy_run(seed=2))
    assert [bool(pair.times) for pair in compare_runs(runs).against] == [False, True]


def test_two_unnamed_machines_of_one_kind_count_as_one_and_two_names_do_not() -> None:
    named = [with_environment(noisy_run(seed=seed), machine=f"host-{seed}") for seed in range(2)]
    assert compare_runs((noisy_run(), noisy_run(seed=1))).one_machine
    assert not compare_runs(named).one_machine


def test_a_path_that_was_not_measured_is_neither_good_nor_regressed() -> None:
    after = noisy_run(5.0, seed=1)
    failed = after.paths[1].model_copy(update={"status": "failed", "samples_ms": (), "speedup": None})
    after = after.model_copy(update={"paths": (after.paths[0], failed)})
    assert gate(changes_between(noisy_run(5.0), after)) is Gate.NOT_MEASURED
    assert gate_ratio(after, "fast-nested", 1.0) is Gate.NOT_MEASURED
    assert gate_ratio(after, "fast-mha", 1.0) is Gate.NOT_MEASURED


def test_a_comparison_without_any_path_passes_no_gate() -> None:
    """Two runs of the baseline alone, on two machines, have nothing in common that could be compared."""
    assert gate(()) is Gate.NOT_MEASURED


def test_runs_of_different_experiments_are_compared_and_their_differences_are_told() -> None:
    comparison = compare_runs((noisy_run(), with_threads(noisy_run(seed=1), 8)))
    assert [(found.name, found.values) for found in comparison.unlike] == [("threads", ("2", "8"))]
    assert comparison.against[0].changes[1].word == "same"
    assert comparison.causes == ("threads",)


def test_more_than_one_difference_is_said_to_be_more_than_one_cause() -> None:
    after = with_experiment(with_threads(noisy_run(seed=1), 8), allocator="kept")
    assert compare_runs((noisy_run(), after)).causes == ("threads", "allocator")
    build = with_environment(with_threads(noisy_run(seed=1), 8), torch="2.14.0")
    assert compare_runs((noisy_run(), build)).causes == ("threads", "torch")


def test_another_set_of_paths_is_a_cause_only_if_freed_memory_goes_back_to_the_system() -> None:
    """On glibc's defaults a path's time depends on the paths beside it; with memory kept it does not."""
    runs = [noisy_run(), noisy_run(seed=1)]
    fewer = runs[1].model_copy(update={"paths": runs[1].paths[:1]})
    threads = with_threads(with_experiment(fewer, paths=("slow",)), 8)
    assert compare_runs((runs[0], threads)).causes == ("threads", "paths")
    kept = [with_experiment(run, allocator="kept") for run in (runs[0], threads)]
    assert compare_runs(kept).causes == ("threads",)


def test_other_weights_and_paths_are_no_other_experiment_but_another_processor_is() -> None:
    before = noisy_run()
    assert before.model_card is not None
    trained = before.model_copy(
        update={"model_card": before.model_card.model_copy(update={"checksum": "9bc1"})}
    )
    comparison = compare_runs((before, trained))
    assert [found.name for found in comparison.experiment] == ["weights"]
    assert comparison.unlike == ()
    assert [found.name for found in compare_runs((before, elsewhere(before))).unlike] == ["processor"]


def test_speedups_of_runs_with_other_baselines_are_over_the_baseline_of_the_reference() -> None:
    after = with_experiment(noisy_run(4.0, seed=1), baseline="fast-nested")
    changes = changes_between(noisy_run(5.0), after)
    assert changes[1].after is not None
    assert changes[1].after.value == pytest.approx(2.5, rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_two_to_six_runs_are_compared(count: int) -> None:
    with pytest.raises(Refusal, match=f"2 to 6 runs can be compared at once, not {count}"):
        compare_runs([noisy_run(seed=seed) for seed in range(count)])


@given(count=st.integers(2, 6), looks=st.integers(1, 3), seed=st.integers(0, 50))
def test_intervals_hold_together_over_all_runs_and_looks(count: int, looks: int, seed: int) -> None:
    """The reference's interval must have the confidence that all compared runs share (Bonferroni)."""
    reference = noisy_run(seed=seed, rounds=40).model_copy(update={"sessions": (40 // looks,) * looks})
    comparison = compare_runs([reference, *(noisy_run(seed=seed + n, rounds=40) for n in range(1, count))])
    figures = {pair.times[0].before for pair in comparison.against}
    (figure,) = figures
    assert figure is not None
    expected = median_interval(reference.paths[0].samples_ms, shared_confidence(count, looks))
    assert figure.ci95 == expected


@given(seed=st.integers(0, 200), fast_ms=st.floats(3.0, 8.0))
def test_swapping_two_runs_turns_every_change_round(seed: int, fast_ms: float) -> None:
    a, b = noisy_run(5.0, seed=seed), noisy_run(fast_ms, seed=seed + 1)
    turned = {"regressed": "improved", "improved": "regressed"}
    for there, back in zip(changes_between(a, b), changes_between(b, a), strict=True):
        assert there.ratio is not None
        assert back.ratio is not None
        assert there.ratio * back.ratio == pytest.approx(1)
        assert turned.get(there.word, there.word) == back.word


def test_the_gate_of_a_ratio_needs_the_whole_interval() -> None:
    run = noisy_run(5.0, noise=0.02)
    low, high = run.paths[1].speedup_ci95 or (0, 0)
    assert low < 2.0 < high
    assert gate_ratio(run, "fast-nested", low - 0.01) is Gate.OK
    assert gate_ratio(run, "fast-nested", 2.0) is Gate.INCONCLUSIVE
    assert gate_ratio(run, "fast-nested", high + 0.01) is Gate.REGRESSED


def test_a_time_that_the_machine_may_have_changed_is_no_regression() -> None:
    before, after = noisy_run(5.0), noisy_run(5.0, slow_ms=12.0, seed=1)
    slower = (Conditions(wall_s=1.0, pulse_ms=6.0),) * 20
    before = before.model_copy(update={"conditions": (Conditions(wall_s=1.0, pulse_ms=5.0),) * 20})
    baseline = changes_between(before, after.model_copy(update={"conditions": slower}))[0]
    assert (baseline.word, baseline.note) == (
        "not sure",
        "a short test calculation took 5.0 ms in run A and 6.0 ms in run B",
    )
