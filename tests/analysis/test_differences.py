"""What differs between runs: every condition of an experiment, and the machine; unrecorded facts do not differ."""

import pytest

from engine.alike import SETUP
from engine.analysis.differences import (
    experiment_differences,
    identity,
    machine_differences,
    machine_state,
    same_machine,
)
from engine.records import Batch, Conditions, Environment, Run
from tests.comparisons import elsewhere, noisy_run, with_environment, with_experiment, with_threads
from tests.samples import sample_environment

CHANGED: dict[str, tuple[Run, tuple[str, str]]] = {
    "model": (with_experiment(noisy_run(), model="xlmr-base"), ("minilm", "xlmr-base")),
    "texts": (
        with_experiment(noisy_run(), batch=Batch(name="own texts", texts=("one",))),
        ("tutorial-small (2 texts, 17% padding)", "own texts (1 text)"),
    ),
    "device": (with_experiment(noisy_run(), device="cuda"), ("cpu", "cuda")),
    "dtype": (with_experiment(noisy_run(), dtype="bf16"), ("fp32", "bf16")),
    "threads": (with_threads(noisy_run(), 8), ("2", "8")),
    "baseline": (with_experiment(noisy_run(), baseline="fast-nested"), ("slow", "fast-nested")),
    "allocator": (with_experiment(noisy_run(), allocator="kept"), ("system", "kept")),
}


def test_every_condition_of_an_experiment_has_a_case() -> None:
    assert set(CHANGED) == set(SETUP)


@pytest.mark.parametrize("name", SETUP)
def test_each_changed_condition_is_named_with_both_values(name: str) -> None:
    after, values = CHANGED[name]
    (found,) = experiment_differences((noisy_run(), after))
    assert (found.name, found.values) == ("precision" if name == "dtype" else name, values)


def test_two_runs_of_one_experiment_do_not_differ() -> None:
    runs = (noisy_run(), noisy_run(seed=1))
    assert experiment_differences(runs) == machine_differences(runs) == ()


def test_a_batch_by_another_name_with_the_same_texts_is_no_difference() -> None:
    run = noisy_run()
    renamed = run.experiment.batch.model_copy(update={"name": "mine"})
    assert experiment_differences((run, with_experiment(run, batch=renamed))) == ()


def test_paths_that_one_run_lacks_are_told_for_each_run() -> None:
    run = noisy_run()
    failed = run.paths[1].model_copy(update={"status": "failed", "samples_ms": ()})
    without = run.model_copy(update={"paths": (run.paths[0], failed)})
    (found,) = experiment_differences((run, without))
    assert (found.name, found.values) == ("paths", ("fast-nested", ""))


def test_an_allocator_that_came_into_force_unasked_is_a_difference() -> None:
    before, after = (
        with_environment(noisy_run(), allocator_in_force=words) for words in ("glibc's defaults", "jemalloc")
    )
    (found,) = experiment_differences((before, after))
    assert (found.name, found.values) == ("allocator in force", ("glibc's defaults", "jemalloc"))
    assert experiment_differences((noisy_run(), after)) == (), "an older run does not record it"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("machine", "host-2"),
        ("cpu", "x"),
        ("cores", 64),
        ("memory_mb", 64_000.0),
        ("cpu_capability", "AVX2"),
        ("platform", "macOS"),
        ("torch", "2.14.0"),
        ("torchtext", "0.19"),
        ("bridge", "native"),
        ("python", "3.12.1"),
        ("cuda", "13.0"),
        ("driver", "580"),
        ("libraries", {"MKL": "2026.1"}),
    ],
)
def test_each_fact_of_machine_and_build_is_compared(field: str, value: object) -> None:
    before = with_environment(noisy_run(), machine="host-1", libraries={"MKL": "2024.2"})
    names = {
        found.name for found in machine_differences((before, with_environment(before, **{field: value})))
    }
    assert len(names - {"device name"}) == 1


def test_every_field_of_an_environment_is_identity_or_state_or_a_condition() -> None:
    """A new field must be put somewhere, or two unlike machines would look the same."""
    identifying = {
        *("machine", "cpu", "device_name", "cores", "memory_mb", "cpu_capability", "platform", "torch"),
        *("torchtext", "bridge", "python", "cuda", "driver", "libraries"),
    }
    state = {"load_before", "load_after", "quiet", "notes", "standing_notes"}
    conditions = {"threads", "allocator", "allocator_in_force"}
    assert identifying | state | conditions == set(Environment.model_fields)


def test_what_an_older_run_does_not_record_is_no_difference() -> None:
    named = with_environment(noisy_run(), machine="host-1")
    assert machine_differences((noisy_run(), named)) == ()
    assert same_machine(noisy_run(), named)
    assert identity(noisy_run())["machine"] is None


def test_machines_of_other_hardware_are_not_the_same_even_under_one_name() -> None:
    both = [with_environment(run, machine="localhost") for run in (noisy_run(), elsewhere(noisy_run()))]
    assert not same_machine(*both)


def test_the_state_of_a_machine_has_the_median_test_calculation() -> None:
    rounds = tuple(Conditions(wall_s=1.0, pulse_ms=ms) for ms in (5.0, 5.2, 9.0, *(5.2,) * 17))
    state = machine_state(noisy_run().model_copy(update={"conditions": rounds}))
    environment = sample_environment()
    assert (state.pulse_ms, state.load_before) == (5.2, environment.load_before)
    assert machine_state(noisy_run()).pulse_ms is None
