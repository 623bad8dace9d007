"""A sweep with real weights: every cell has its exact shape, a verdict by the rule, and proof of how it ran."""

import time
from collections.abc import Callable
from typing import NoReturn

import pytest

from engine.analysis.sweeps import fewest_rounds
from engine.errors import Refusal
from engine.events import CellDone, CellStarted, Event, SweepRequest, Swept, request_of
from engine.measure import sweep as sweep_module
from engine.measure.instruments import Instruments
from engine.measure.race import Race
from engine.measure.rounds import StopRule
from engine.measure.sweep import run_sweep, working_mb
from engine.models.loading import LoadedModel
from engine.paths import EXECUTION_PATHS
from engine.settings import Settings
from engine.sweeps import STRETCH, Place, Sweep, SweepPlan, new_sweep
from tests.sweep_samples import NOW, a_plan

PATHS = ("slow", "fast-mha", "fast-nested")


def small(**changes: object) -> SweepPlan:
    return a_plan(
        **{
            "paths": PATHS,
            "batch_sizes": (1, 4),
            "lengths": (8,),
            "padding": (0.0, 0.4),
            "threads": (1,),
            "iterations": 7,
            **changes,
        }
    )


def swept(
    model: LoadedModel,
    request: SweepRequest,
    told: list[Event],
    stop_asked: Callable[[], bool] = lambda: False,
    settings: Settings | None = None,
) -> Swept:
    instruments = Instruments(told.append, time.perf_counter, stop_asked=stop_asked)
    return run_sweep(request, model, settings or Settings(), instruments)


def measured(plan: SweepPlan, told: list[Event]) -> Sweep:
    sweep = new_sweep(plan, "MiniLM", NOW)
    for event in told:
        if isinstance(event, CellDone):
            sweep = sweep.with_cell(event.cell)
    return sweep


def test_every_cell_is_a_run_on_its_exact_shape_or_says_why_not(
    minilm: LoadedModel, told: list[Event]
) -> None:
    plan = small()
    assert swept(minilm, request_of(new_sweep(plan, "MiniLM", NOW)), told) == Swept(done=4, of=4)
    sweep = measured(plan, told)
    assert sweep.finished
    assert [cell.reason for cell in sweep.cells if cell.run is None] == [
        "One text alone has no padding, so 40% padding is impossible."
    ]
    assert [event.done for event in told if isinstance(event, CellDone)] == [1, 2, 3, 4]
    for place, run in sweep.measured:
        assert run.experiment.batch.shape == (place.batch_size, place.length)
        assert (run.environment.threads, run.rounds) == (1, 7)
        assert [path.verdict is not None for path in run.paths] == [False, True, True]
        assert all(path.agreement and path.agreement.ok for path in run.paths)
        assert all(path.evidence and path.evidence.ok for path in run.paths), place
        assert run.roofline is None


def test_the_time_left_is_estimated_from_the_cells_so_far(minilm: LoadedModel, told: list[Event]) -> None:
    swept(minilm, request_of(new_sweep(small(batch_sizes=(4,)), "MiniLM", NOW)), told)
    started = [event for event in told if isinstance(event, CellStarted)]
    assert started[0].left_s is None
    assert started[1].left_s is not None
    assert started[1].title.startswith("4 texts x 8 tokens")


def test_a_stop_keeps_the_complete_cells_and_a_resumed_sweep_measures_the_rest(
    minilm: LoadedModel, told: list[Event]
) -> None:
    """The cell that was being measured is dropped: it has too few rounds."""
    plan = small(batch_sizes=(4, 5))
    asked = new_sweep(plan, "MiniLM", NOW)

    def after_two_cells() -> bool:
        return sum(isinstance(event, CellDone) for event in told) >= 2

    assert swept(minilm, request_of(asked), told, after_two_cells) == Swept(done=2, of=4)
    stopped = measured(plan, told)
    assert len(stopped.cells) == 2
    again: list[Event] = []
    assert swept(minilm, request_of(stopped), again) == Swept(done=4, of=4)
    numbers = {event.cell.number for event in again if isinstance(event, CellDone)}
    assert numbers == {0, 1, 2, 3} - {cell.number for cell in stopped.cells}


def test_a_sweep_of_another_machine_is_not_resumed(minilm: LoadedModel, told: list[Event]) -> None:
    """Cells of two machines in one map would be taken for the effect of an axis."""
    plan = small(batch_sizes=(4,))
    swept(minilm, request_of(new_sweep(plan, "MiniLM", NOW)), told)
    request = request_of(measured(plan, told))
    assert request.like is not None
    elsewhere = request.like.environment.model_copy(update={"cpu": "another"})
    other = request.like.model_copy(update={"environment": elsewhere})
    with pytest.raises(Refusal, match="cannot be resumed, because the processor was another"):
        swept(minilm, request.model_copy(update={"like": other, "done": (0,)}), told)


def test_a_length_beyond_the_model_is_refused_before_anything_is_measured(
    minilm: LoadedModel, told: list[Event]
) -> None:
    request = request_of(new_sweep(small(lengths=(8, 600)), "MiniLM", NOW))
    with pytest.raises(Refusal, match="600 tokens is more than the 512"):
        swept(minilm, request, told)
    assert told == []


def test_a_batch_that_does_not_fit_into_memory_has_a_reason_and_the_others_go_on(
    minilm: LoadedModel, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small(batch_sizes=(4, 64), lengths=(8,), padding=(0.0,), paths=("slow",))
    shape = minilm.card.shape
    large, little = (working_mb(shape, place, "fp32") for place in (plan.places[1], plan.places[0]))
    monkeypatch.setattr(sweep_module, "memory_available_mb", lambda: (large + little) / 2)
    settings = Settings(memory_reserve_mb=1)
    assert swept(minilm, request_of(new_sweep(plan, "MiniLM", NOW)), told, settings=settings).done == 2
    first, second = measured(plan, told).cells
    assert first.run is not None
    assert "64 texts x 8 tokens, 0% padding, 1 thread needs" in second.reason


def test_a_path_is_prepared_once_for_each_number_of_threads(
    minilm: LoadedModel, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing compiled and exported paths takes seconds, and some of them keep their number of threads."""
    prepared: list[int] = []
    slow = EXECUTION_PATHS["slow"]

    def prepare(*arguments: object) -> object:
        prepared.append(1)
        return slow.preparation(*arguments)  # type: ignore[arg-type]

    counted = type(slow)(name="slow", preparation=prepare)  # type: ignore[arg-type]
    monkeypatch.setitem(EXECUTION_PATHS, "slow", counted)
    plan = small(paths=("slow",), batch_sizes=(4, 5), padding=(0.0,), iterations=1, threads=(1, 2))
    swept(minilm, request_of(new_sweep(plan, "MiniLM", NOW)), told)
    assert len(measured(plan, told).cells) == 4
    assert len(prepared) == 2


def test_the_memory_of_a_forward_grows_with_the_square_of_the_length(minilm: LoadedModel) -> None:
    short, long = (
        working_mb(minilm.card.shape, Place(batch_size=1, length=length, padding=0), "fp32")
        for length in (128, 512)
    )
    assert 4 * short < long < 16 * short


def test_a_cell_has_rounds_for_an_interval_even_beyond_its_budget(
    minilm: LoadedModel, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them every large cell would be not sure; but a very slow one ends all the same."""
    rules: list[StopRule] = []

    def ask(what: Race, _instruments: Instruments) -> NoReturn:
        rules.append(what.rule)
        raise Refusal("enough")

    monkeypatch.setattr("engine.measure.experiment.race", ask)
    plan = small(batch_sizes=(8,), padding=(0.0,), iterations=None, cell_budget_s=2.0)
    swept(minilm, request_of(new_sweep(plan, "MiniLM", NOW)), told)
    assert [cell.reason for cell in measured(plan, told).cells] == ["enough"]
    assert [(rule.budget_s, rule.most_s, rule.min_rounds) for rule in rules] == [
        (2.0, 2.0 * STRETCH, fewest_rounds(plan))
    ]
