"""Continuing a run: rounds of two sessions make one new run, judged again, and only under the same conditions."""

import pytest
from pydantic import ValidationError

from engine.analysis.conclude import concluded
from engine.analysis.continuing import (
    MORE_S,
    More,
    check_all_run,
    check_same_conditions,
    continuation,
    continued,
    more_of,
    seed_of_session,
)
from engine.analysis.stats import median_interval, paired_ratios
from engine.errors import Refusal
from engine.events import RunRequest, read_request
from engine.records import Conditions, NoiseFloor, Run, read_run
from tests.samples import sample_card, sample_environment, sample_path, sample_run

WILD = (9.7, 10.1, 10.3, 9.8, 10.2, 9.75, 10.15, 9.9, 10.05, 10.25)
CALM = (10.01, 10.11, 9.91, 10.06, 9.96, 10.03, 10.02, 9.98, 9.94, 10.07)


def first() -> Run:
    """Two equally fast paths with noise: not sure."""
    return concluded(sample_run((10.0,) * 10, WILD))


def second() -> Run:
    return concluded(
        sample_run((10.0,) * 10, CALM).model_copy(
            update={"id": "another", "stop_reason": "the budget of 20 s is used up after 10 rounds"}
        )
    )


def test_the_new_run_has_the_rounds_of_both_and_says_which_it_continues() -> None:
    before, session = first(), second()
    run = continued(before, session)
    assert run.path("fast-nested").samples_ms == WILD + CALM
    assert run.noise_floor.samples_ms == (10.0,) * 20
    assert (run.rounds, run.sessions, len(run.order), run.looks) == (20, (10, 10), 20, 2)
    assert (run.id, run.continues) == ("another", before.id)
    assert (
        run.stop_reason == "the 10 rounds asked for; continued: the budget of 20 s is used up after 10 rounds"
    )
    assert run.path("fast-nested").profile == before.path("fast-nested").profile
    assert run.experiment == before.experiment
    assert before == first(), "what was continued stays as it was"
    assert continued(run, session).sessions == (10, 10, 10)


def test_a_continued_run_is_judged_more_strictly_and_again_to_the_same_bits() -> None:
    run = continued(first(), second())
    path = run.path("fast-nested")
    ratios = paired_ratios(run.baseline.samples_ms, path.samples_ms)
    assert path.speedup_ci95 == median_interval(ratios, 0.975)
    assert path.speedup_ci95 != median_interval(ratios)
    assert concluded(read_run(run.model_dump_json())) == run


def test_the_request_asks_for_the_measured_paths_in_new_orders() -> None:
    before = first()
    broken = sample_path("packed", (), 0).model_copy(update={"status": "failed", "reason": "no kernels"})
    experiment = before.experiment.model_copy(update={"paths": ("slow", "fast-nested", "packed")})
    before = before.model_copy(update={"paths": (*before.paths, broken), "experiment": experiment})
    request = continuation(before, More(rounds=None, seconds=20), most_s=600)
    asked = request.experiment
    assert (asked.paths, asked.budget_s, asked.iterations) == (("slow", "fast-nested"), 20, None)
    assert asked.seed == seed_of_session(before.experiment.seed, 1) != before.experiment.seed
    assert seed_of_session(0, 1) != seed_of_session(0, 2) != seed_of_session(1, 2)
    assert request.continues == before
    assert read_request(request.model_dump_json()) == request
    assert continuation(before, More(rounds=5, seconds=2), most_s=600).experiment.iterations == 5
    assert continuation(before, More(rounds=None, seconds=20), most_s=15).experiment.budget_s == 15


def test_a_run_without_rounds_cannot_be_continued() -> None:
    nothing = first().model_copy(update={"noise_floor": NoiseFloor()})
    with pytest.raises(Refusal, match="no rounds of its own"):
        continuation(nothing, More(rounds=3, seconds=1), 600)


def test_an_experiment_of_something_else_continues_nothing() -> None:
    before = first()
    other = before.experiment.model_copy(update={"dtype": "bf16"})
    with pytest.raises(ValidationError, match="not that of the run it continues"):
        RunRequest(experiment=other, continues=before)


def test_how_much_more_is_what_the_next_step_says_or_some_seconds() -> None:
    before = first()
    more = more_of(before)
    assert more.rounds
    assert f"Measure {more.rounds} more rounds" in before.path("fast-nested").next_step
    assert more.seconds == pytest.approx(more.rounds * 0.030, rel=0.05), "three runs of 10 ms a round"
    busy = (Conditions(wall_s=1.0, others_share=0.4, pulse_ms=5.0),) * 10
    disturbed = concluded(before.model_copy(update={"conditions": busy}))
    settled = concluded(sample_run())
    assert more_of(disturbed) == more_of(settled) == More(rounds=None, seconds=MORE_S)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"machine": "elsewhere"}, "the machine was not recorded and is elsewhere now"),
        ({"torch": "2.14.0"}, "torch was 2.13.0 and is 2.14.0 now"),
        ({"threads": 1}, "the number of threads was 2 and is 1 now"),
        ({"allocator": {"MALLOC_ARENA_MAX": "1"}}, "the allocator's setting was"),
    ],
)
def test_other_conditions_refuse_in_one_sentence(changed: dict[str, object], words: str) -> None:
    now = sample_environment().model_copy(update=changed)
    with pytest.raises(Refusal, match=words) as refusal:
        check_same_conditions(first(), now, sample_card())
    assert str(refusal.value).endswith("it is kept as it is; start a new run.")


def test_other_weights_refuse_and_a_busier_machine_does_not() -> None:
    with pytest.raises(Refusal, match="the weights of minilm have changed"):
        check_same_conditions(
            first(), sample_environment(), sample_card().model_copy(update={"checksum": "other"})
        )
    busier = sample_environment().model_copy(update={"load_before": 5.0, "memory_mb": 1.0, "quiet": False})
    check_same_conditions(first(), busier, sample_card())


def test_a_path_that_cannot_run_again_refuses() -> None:
    lost = sample_path("fast-nested", (), 0).model_copy(
        update={"status": "unavailable", "reason": "too little memory"}
    )
    with pytest.raises(Refusal, match="fast-nested cannot run again"):
        check_all_run([lost])
