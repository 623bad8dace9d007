"""Conclusions come from raw samples alone, so a stored run can be concluded again."""

import json

import pytest

from engine.analysis.conclude import concluded, concludes_alike
from engine.records import Conditions, Run, read_run
from tests.samples import sample_path, sample_run


def test_medians_speedups_and_verdicts_follow_from_the_samples() -> None:
    run = concluded(sample_run())
    fast = run.path("fast-nested")
    assert (fast.median_ms, fast.speedup, fast.verdict) == (5.0, pytest.approx(2.0), "faster")
    assert run.baseline.speedup == 1.0
    assert run.baseline.verdict is None
    assert run.noise_floor.ci95 == (1.0, 1.0)
    assert fast.real_tokens_per_s == pytest.approx(10 / 0.005)


def test_a_stored_run_is_concluded_again_to_the_very_same_bits() -> None:
    run = concluded(sample_run(fast_ms=(5.0, 6.0, 5.5, 5.2, 5.1, 5.9, 6.1, 5.3)))
    assert concluded(read_run(run.model_dump_json())) == run


def test_other_words_for_the_same_conclusion_are_no_difference_and_another_figure_is() -> None:
    run = concluded(sample_run())
    fast = run.path("fast-nested")

    def with_fast(**facts: object) -> Run:
        return run.model_copy(update={"paths": (run.paths[0], fast.model_copy(update=facts))})

    assert concludes_alike(with_fast(verdict_reason="in older words", next_step="likewise"), run)
    for facts in ({"speedup": 2.1}, {"verdict": "same"}, {"median_ms": 5.1}, {"speedup_ci95": None}):
        assert not concludes_alike(with_fast(**facts), run)


def test_a_failed_path_keeps_its_reason_and_gets_no_figures() -> None:
    run = sample_run()
    failed = run.paths[1].model_copy(update={"status": "failed", "reason": "why", "samples_ms": ()})
    result = concluded(run.model_copy(update={"paths": (run.paths[0], failed)})).paths[1]
    assert (result.reason, result.speedup, result.verdict) == ("why", None, None)


def test_with_more_paths_every_interval_is_wider() -> None:
    times = tuple(5.0 + 0.01 * i for i in range(20))
    run = sample_run((10.0,) * 20, times)
    more = run.model_copy(
        update={"paths": (*run.paths, *(sample_path(n, times, 6) for n in ("fast-mha", "slow-grad")))}
    )
    alone, among = (concluded(r).path("fast-nested").speedup_ci95 for r in (run, more))
    assert alone is not None
    assert among is not None
    assert among[0] < alone[0] < alone[1] < among[1]


def test_a_disturbed_run_is_stamped_and_says_what_to_do() -> None:
    busy = Conditions(wall_s=1.0, others_share=0.4, pulse_ms=5.0)
    noisy = (5.0, 20.0) * 4
    run = concluded(sample_run(fast_ms=noisy).model_copy(update={"conditions": (busy,) * 8}))
    assert not run.environment.quiet
    assert "40% of the CPU" in run.environment.notes[0]
    assert "when the machine is quiet" in run.path("fast-nested").next_step
    assert concluded(run) == run


def test_a_note_that_holds_whatever_the_rounds_saw_is_kept_in_new_runs_and_in_old_ones() -> None:
    note = "the process may use 1 of 2 cores"
    calm = (Conditions(wall_s=1.0, pulse_ms=5.0),) * 8
    run = sample_run().model_copy(update={"conditions": calm})
    held = run.environment.model_copy(update={"notes": ("a passing one", note), "standing_notes": (note,)})
    assert concluded(run.model_copy(update={"environment": held})).environment.notes == (note,)
    old = json.loads(run.model_dump_json())
    old["environment"] |= {"notes": ["the process is held to 1 of 2 cores", "a passing one"]}
    del old["environment"]["standing_notes"]
    again = concluded(read_run(json.dumps(old)))
    assert again.environment.notes == ("the process is held to 1 of 2 cores",)
    assert concluded(again) == again
