"""An experiment with real weights: agreement before timing, evidence after it, failures kept with their reason."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from engine.analysis.continuing import More, continuation
from engine.catalog.batches import PRESETS
from engine.catalog.paths import PATHS as PATHS_ON_OFFER
from engine.errors import Refusal
from engine.events import Event, Round, Step
from engine.measure import experiment as door
from engine.measure.experiment import Instruments, profiled_forwards, run_experiment
from engine.measure.rounds import BASELINE_AGAIN
from engine.models.encoder import RobertaModel
from engine.models.loading import LoadedModel
from engine.paths import EXECUTION_PATHS, PreparedPath
from engine.records import Experiment, Run, read_run
from engine.settings import Settings

PATHS = ("slow", "fast-mha", "fast-nested")


def _run(
    minilm: LoadedModel,
    told: list[Event] | None = None,
    trace_dir: Path | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    **fields: object,
) -> Run:
    defaults = {"model": "minilm", "batch": PRESETS["tutorial-small"], "paths": PATHS, "iterations": 6}
    return run_experiment(
        Experiment.model_validate({**defaults, **fields}),
        minilm,
        Settings(),
        Instruments(
            tell=(told if told is not None else []).append,
            clock=time.perf_counter,
            now=lambda: datetime(2026, 11, 23, tzinfo=UTC),
            trace_dir=trace_dir,
            stop_asked=stop_asked,
        ),
    )


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def run(minilm: LoadedModel, told: list[Event]) -> Run:
    return _run(minilm, told)


def test_every_path_is_measured_proven_and_agrees(run: Run) -> None:
    assert [path.name for path in run.paths] == list(PATHS)
    for path in run.paths:
        assert path.status == "ok"
        assert path.evidence is not None
        assert path.evidence.ok
        assert path.agreement is not None
        assert path.agreement.max_abs_error is not None
        assert path.agreement.max_abs_error <= 1e-5
        assert len(path.samples_ms) == 6
        assert path.speedup is not None
        assert (path.peak_memory_mb or 0) > 0


def test_the_run_says_what_was_measured_and_where(run: Run, minilm: LoadedModel) -> None:
    assert run.experiment.batch.lengths == (4, 6)
    assert run.experiment.threads == run.environment.threads == torch.get_num_threads()
    assert run.model_card == minilm.card
    assert run.environment.torchtext == "0.18.0"
    assert run.stop_reason == "the 6 rounds asked for"
    assert all(sorted(order) == sorted((*PATHS, BASELINE_AGAIN)) for order in run.order)
    assert read_run(run.model_dump_json()) == run


def test_the_answer_is_checked_before_anything_is_timed(run: Run, told: list[Event]) -> None:
    steps = [event.name for event in told if isinstance(event, Step)]
    before = ["tokenize", "check", *["prepare"] * 3, *["warm-up"] * 3]
    assert steps == [*before, "measure", *["profile"] * 4], "three paths, then the peaks of the machine"
    assert [event.done for event in told if isinstance(event, Round)] == list(range(1, run.rounds + 1))


def test_a_path_whose_answer_differs_is_not_timed(
    minilm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = EXECUTION_PATHS["fast-mha"]

    def wrong(model: RobertaModel, exports: Path | None) -> PreparedPath:
        prepared = right.preparation(model, exports)
        return replace(prepared, hidden=lambda tokens: prepared.hidden(tokens) + 0.01)

    monkeypatch.setitem(door.EXECUTION_PATHS, "fast-mha", replace(right, preparation=wrong))
    path = _run(minilm).path("fast-mha")
    assert path.status == "failed"
    assert "differ from the slow path's by 0.01" in path.reason
    assert path.samples_ms == ()
    assert path.profile is None


def test_a_path_that_raises_is_kept_with_its_reason_and_the_others_go_on(
    minilm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = EXECUTION_PATHS["fast-mha"]

    def broken(model: RobertaModel, exports: Path | None) -> PreparedPath:
        return replace(right.preparation(model, exports), switches=no_kernel)

    def no_kernel() -> AbstractContextManager[None]:
        raise RuntimeError("no kernel for this\nand a second line")

    monkeypatch.setitem(door.EXECUTION_PATHS, "fast-mha", replace(right, preparation=broken))
    run = _run(minilm)
    assert run.path("fast-mha").reason == "RuntimeError: no kernel for this"
    assert run.path("fast-nested").status == "ok"


def test_a_path_outside_torch_has_its_proof_and_no_table_of_what_torch_cannot_see(
    minilm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = PATHS_ON_OFFER["fast-mha"].model_copy(update={"outside_torch": True})
    monkeypatch.setitem(PATHS_ON_OFFER, "fast-mha", outside)
    path = _run(minilm).path("fast-mha")
    assert path.evidence is not None
    assert path.evidence.ok
    assert (path.profile, path.peak_memory_mb) == (None, None)


def test_the_same_seed_gives_the_same_order(minilm: LoadedModel) -> None:
    first, second, other = (_run(minilm, paths=("slow", "fast-nested"), seed=seed) for seed in (1, 1, 2))
    assert first.order == second.order != other.order


def test_any_path_may_be_the_baseline(minilm: LoadedModel) -> None:
    run = _run(minilm, paths=("slow-train", "fast-nested"), baseline="slow-train")
    assert run.baseline.name == "slow-train"
    assert run.path("fast-nested").speedup is not None


def test_traces_are_written_on_request(minilm: LoadedModel, tmp_path: Path) -> None:
    _run(minilm, trace_dir=tmp_path, iterations=1)
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.json.gz" for name in PATHS}


def test_an_unknown_path_is_refused(minilm: LoadedModel) -> None:
    with pytest.raises(Refusal, match="no path 'fastest'"):
        _run(minilm, paths=("slow", "fastest"))


def test_what_was_measured_before_a_stop_is_kept(minilm: LoadedModel) -> None:
    asked = iter([False, False, True])
    run = _run(minilm, iterations=None, stop_asked=lambda: next(asked))
    assert run.stop_reason == "cancelled after 3 rounds"
    assert run.rounds == len(run.conditions) == 3
    assert run.path("fast-nested").profile is not None


def test_a_run_is_continued_with_the_same_blocks_in_new_orders(minilm: LoadedModel, run: Run) -> None:
    told = list[Event]()
    request = continuation(run, More(rounds=4, seconds=1), most_s=60)
    longer = run_experiment(
        request.experiment, minilm, Settings(), Instruments(told.append, time.perf_counter), request.continues
    )
    assert (longer.rounds, longer.sessions, longer.continues) == (10, (6, 4), run.id)
    assert len(longer.conditions) == len(longer.order) == 10
    assert longer.order[:6] == run.order
    assert longer.order[6:] != run.order[:4]
    for before, after in zip(run.paths, longer.paths, strict=True):
        assert after.samples_ms[:6] == before.samples_ms
        assert len(after.samples_ms) == 10
        assert after.calls_per_sample == before.calls_per_sample
        assert after.profile == before.profile
    assert longer.stop_reason == "the 6 rounds asked for; continued: the 4 rounds asked for"
    assert not any(isinstance(event, Step) and event.name == "profile" for event in told)
    # The intervals use the six earlier rounds, too; for two paths together an interval needs eight rounds.
    assert [bool(event.speedups) for event in told if isinstance(event, Round)] == [False, True, True, True]
    assert read_run(longer.model_dump_json()) == longer


def test_a_run_is_continued_for_so_many_seconds_however_precise_it_is(minilm: LoadedModel, run: Run) -> None:
    request = continuation(run, More(rounds=None, seconds=1), most_s=60)
    longer = run_experiment(
        request.experiment, minilm, Settings(), Instruments(lambda _event: None, time.perf_counter), run
    )
    assert longer.rounds > run.rounds
    assert "continued: the budget of 1 s is used up" in longer.stop_reason


def test_a_run_of_other_conditions_is_not_continued(minilm: LoadedModel, run: Run) -> None:
    elsewhere = run.model_copy(update={"environment": run.environment.model_copy(update={"torch": "2.3.1"})})
    request = continuation(elsewhere, More(rounds=4, seconds=1), most_s=60)
    with pytest.raises(Refusal, match=r"torch was 2\.3\.1 and is"):
        run_experiment(
            request.experiment,
            minilm,
            Settings(),
            Instruments(lambda _event: None, time.perf_counter),
            request.continues,
        )


def test_the_conditions_of_every_round_are_kept(run: Run) -> None:
    assert len(run.conditions) == run.rounds
    assert all(round_.wall_s > 0 and round_.pulse_ms > 0 for round_ in run.conditions)


def test_the_machines_own_peaks_are_kept(run: Run) -> None:
    assert run.roofline is not None
    assert run.roofline.matmul_gflops["fp32"] > 0
    assert run.roofline.memory_gb_s > 0


def test_a_machine_too_small_for_its_peaks_keeps_what_was_measured(
    minilm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "memory_available_mb", lambda: 10.0)
    run = _run(minilm)
    assert run.roofline is None
    assert run.path("fast-nested").status == "ok"


def test_groups_sum_to_the_profile(run: Run) -> None:
    for path in run.paths:
        assert path.profile is not None
        assert sum(path.profile.groups.values()) == pytest.approx(sum(op.self_ms for op in path.profile.ops))
        assert path.profile.groups["linear"] > 0
    nested = run.path("fast-nested").profile
    assert nested is not None
    assert nested.groups["nested conversion"] > 0


def test_fewer_forwards_are_profiled_where_one_is_long() -> None:
    assert [profiled_forwards(ms) for ms in (1, 100, 500, 60_000)] == [10, 10, 6, 2]


def test_a_model_whose_outputs_are_not_numbers_is_refused_in_a_sentence(minilm: LoadedModel) -> None:
    broken = replace(minilm, model=deepcopy(minilm.model))
    with torch.no_grad():
        next(iter(broken.model.encoder.transformer.layers.parameters())).fill_(float("nan"))
    with pytest.raises(Refusal, match="outputs on this batch are not numbers"):
        _run(broken)
