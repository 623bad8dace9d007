"""What was recorded of the machine in every round is shown, and nothing is said of what was not recorded."""

from pathlib import Path

from engine.analysis.conclude import concluded
from engine.present.words.conditions import round_conditions
from engine.present.words.runs import latency_sentence
from engine.records import Conditions, Run, read_run
from tests.samples import sample_run

RECORDED = Path(__file__).parents[2] / "data" / "run_minilm_tutorial_big.json"


def with_rounds(*rounds: dict[str, float]) -> Run:
    usual = {"wall_s": 1.0, "pulse_ms": 5.0}
    return sample_run().model_copy(
        update={"conditions": tuple(Conditions.model_validate({**usual, **one}) for one in rounds)}
    )


def test_shares_switches_and_load_of_the_rounds() -> None:
    run = with_rounds(
        {"own_share": 0.97, "others_share": 0.02, "involuntary_switches": 3, "load": 0.4},
        {"own_share": 0.61, "others_share": 0.35, "involuntary_switches": 41, "load": 2.3},
        {"own_share": 0.98, "others_share": 0.01, "involuntary_switches": 1, "load": 1.0},
    )
    assert round_conditions(run) == (
        "In the median round this process used 97% of all cores' time, other processes 2%; in the round with the "
        "least, 61%. The kernel took a core away from it 3 times in the median round, 41 times at most. "
        "Load average: 0.1 before the run, at most 2.3 during the rounds, 1.2 after it."
    )


def test_what_a_platform_does_not_count_is_left_out() -> None:
    around = "Load average: 0.1 before the run, 1.2 after it."
    assert round_conditions(with_rounds({})) == around
    no_load = sample_run().environment.model_copy(update={"load_before": None, "load_after": None})
    assert round_conditions(sample_run().model_copy(update={"environment": no_load})) == ""
    switches = with_rounds({"involuntary_switches": 1})
    assert "a core away from it once in the median round, once at most. Load" in round_conditions(switches)


def test_a_median_has_its_interval_where_the_rounds_are_enough() -> None:
    run = concluded(read_run(RECORDED.read_bytes()))
    known = latency_sentence(run.path("slow"))
    assert known.startswith("Median: 95.0 to 98.2 ms with 95 % confidence. p90: ")
    assert "this process used" in round_conditions(run)
    few = concluded(sample_run(slow_ms=(10.0,) * 2, fast_ms=(5.0,) * 2))
    assert latency_sentence(few.path("slow")).startswith("p90: needs ")
