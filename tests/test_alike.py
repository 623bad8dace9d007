"""The definition of "the same experiment" covers every field, and old keys stay valid."""

import pytest

from engine.alike import (
    ORDER_ONLY,
    SAME_QUESTION,
    SETUP,
    as_measured,
    differing,
    experiment_key,
    facts_of,
)
from engine.records import Batch, Experiment
from tests.samples import sample_run

BATCH = Batch(name="two", texts=("one", "another"))
ASKED = Experiment(model="minilm", batch=BATCH, threads=2, paths=("slow", "fast-nested"))
KEY_BEFORE_ALLOCATORS = "ad1bc8a500fad2dd0db30e355aaffba297cd7a911ee0424bbe437df35ee41ef6"
"""What the store of before the field made of ASKED."""
CHANGED: dict[str, Experiment] = {
    name: ASKED.model_copy(update=update)
    for name, update in {
        "model": {"model": "xlmr-base"},
        "texts": {"batch": Batch(name="two", texts=("another", "one"))},
        "device": {"device": "cuda"},
        "dtype": {"dtype": "bf16"},
        "threads": {"threads": 1},
        "baseline": {"baseline": "fast-nested"},
        "allocator": {"allocator": "kept"},
        "paths": {"paths": ("slow", "fast-mha")},
        "iterations": {"iterations": 10},
        "budget_s": {"budget_s": 5.0},
    }.items()
}


def test_every_field_of_an_experiment_is_judged() -> None:
    """Every field must be in one of the lists. Otherwise two different experiments could count as the same."""
    assert set(Experiment.model_fields) - {"batch"} | {"texts"} == {*SAME_QUESTION, *ORDER_ONLY}
    assert set(facts_of(ASKED)) == set(SAME_QUESTION) == set(CHANGED)


@pytest.mark.parametrize("name", SAME_QUESTION)
def test_each_fact_in_turn_makes_another_experiment(name: str) -> None:
    assert differing(ASKED, CHANGED[name]) == (name,)
    assert differing(ASKED, CHANGED[name], SETUP) == ((name,) if name in SETUP else ())
    assert experiment_key(ASKED) != experiment_key(CHANGED[name])


def test_seed_order_of_paths_and_the_name_of_the_batch_make_no_other_experiment() -> None:
    other = ASKED.model_copy(
        update={
            "seed": 7,
            "paths": ("fast-nested", "slow"),
            "batch": Batch(name="named", texts=BATCH.texts, lengths=(3, 3)),
        }
    )
    assert differing(ASKED, other) == ()
    assert experiment_key(ASKED) == experiment_key(other)


def test_a_stored_experiment_without_an_allocator_was_measured_with_the_systems_and_keeps_its_key() -> None:
    old = Experiment.model_validate(ASKED.model_dump(exclude={"allocator"}))
    assert old.allocator == "system"
    assert experiment_key(old) == KEY_BEFORE_ALLOCATORS


def test_threads_of_a_run_are_those_it_had() -> None:
    run = sample_run()
    unnamed = run.model_copy(update={"experiment": run.experiment.model_copy(update={"threads": None})})
    assert as_measured(unnamed).threads == run.environment.threads
