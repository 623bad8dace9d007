"""Both allocators: what the system's costs each path, and when the answer is not sure."""

import pytest

from engine.analysis.allocators import both_allocators
from engine.analysis.conclude import concluded
from engine.analysis.tutorial_steps import tutorial_steps
from engine.errors import Refusal
from engine.present.charts.allocators import allocator_chart, allocator_data
from engine.present.charts.explanations import steps_words
from engine.present.words.allocators import costs_sentence, memory_sentence, page_faults_sentence
from engine.records import Allocator, Run
from tests.samples import sample_run


def _run(allocator: Allocator, slow_ms: float, fast_ms: float, **changes: object) -> Run:
    samples = [tuple(ms * (1 + 0.001 * (i % 5)) for i in range(20)) for ms in (slow_ms, fast_ms)]
    run = concluded(sample_run(*samples))
    experiment = run.experiment.model_copy(update={"allocator": allocator, **changes})
    return run.model_copy(update={"experiment": experiment})


KEPT, SYSTEM = _run("kept", 100.0, 50.0), _run("system", 100.2, 75.0)


def test_each_path_is_judged_by_its_own_time_whichever_run_came_first() -> None:
    both = both_allocators(SYSTEM, KEPT)
    assert both == both_allocators(KEPT, SYSTEM)
    assert [(cost.name, cost.word) for cost in both.costs] == [("slow", "same"), ("fast-nested", "costs")]
    assert both.costs[1].ratio == pytest.approx(1.5)
    assert both.costs[1].ci95 is not None
    assert both.costs[1].ci95[0] < 1.5 < both.costs[1].ci95[1]


def test_a_cost_that_both_the_baseline_and_a_path_pay_is_not_hidden_by_their_speedup() -> None:
    both = both_allocators(KEPT, _run("system", 150.0, 75.0))
    assert [cost.word for cost in both.costs] == ["costs", "costs"]


def test_where_the_machine_was_disturbed_nothing_is_concluded() -> None:
    busy = KEPT.environment.model_copy(update={"quiet": False, "notes": ("others were at work",)})
    both = both_allocators(KEPT, SYSTEM.model_copy(update={"environment": busy}))
    assert {cost.word for cost in both.costs} == {"not sure"}
    assert "others were at work" in costs_sentence(both)


@pytest.mark.parametrize("other", [KEPT, _run("system", 100.0, 75.0, dtype="bf16")])
def test_runs_that_differ_in_more_or_in_nothing_are_refused(other: Run) -> None:
    with pytest.raises(Refusal, match="not one experiment under two allocators"):
        both_allocators(KEPT, other)


def test_the_steps_have_the_allocator_as_a_step_of_its_own() -> None:
    both = both_allocators(KEPT, SYSTEM)
    last = tutorial_steps(both.system, both)[-1]
    assert (last.meaning, last.speedup) == ("freed memory kept", pytest.approx(1.5))
    assert "freed memory kept 1.50x" in steps_words(both.system, both)
    assert len(tutorial_steps(both.system, both)) == len(tutorial_steps(both.system)) + 1


def test_the_chart_has_two_bars_a_path_and_the_sentence_tells_each_path_once() -> None:
    both = both_allocators(KEPT, SYSTEM)
    assert len(allocator_data(both)) == 4
    assert allocator_chart(both).to_dict()["height"]
    sentence = costs_sentence(both)
    assert "native MHA + sparsity takes 1.50x as long" in sentence
    assert "the slow path takes as long" in sentence


def test_page_faults_are_told_once_for_a_run_with_the_cure_where_it_helps() -> None:
    system, kept = (
        run.model_copy(
            update={"paths": tuple(path.model_copy(update={"page_faults": 23_000}) for path in run.paths)}
        )
        for run in (SYSTEM, KEPT)
    )
    told = page_faults_sentence(system)
    assert "the slow path 23,000, native MHA + sparsity 23,000" in told
    assert "freed memory kept" in told
    assert page_faults_sentence(kept).endswith("23,000."), "no advice that was followed already"
    assert page_faults_sentence(KEPT) == ""
    environment = KEPT.environment.model_copy(update={"allocator_in_force": "glibc, freed memory kept"})
    assert "freed memory kept" in memory_sentence(KEPT.model_copy(update={"environment": environment}))
