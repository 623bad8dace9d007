"""The one door: an experiment goes in, events come out on the way, a run comes back.

In order: tokenize, prepare every path, check that their outputs agree, warm up, measure rounds, and only then
profile. A path that fails is kept with its reason; the others go on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import median

import torch

from engine.analysis.conclude import concluded
from engine.catalog import PATHS, find_paths
from engine.errors import Refusal
from engine.events import Event, Round, Step
from engine.measure.agreement import compare, disagreement, hidden_states
from engine.measure.environment import listen, read_environment
from engine.measure.inputs import TokenBatch, tokenize
from engine.measure.models import LoadedModel
from engine.measure.paths import EXECUTION_PATHS, ExecutionPath, PreparedPath, slow
from engine.measure.profiling import (
    PROFILED_FORWARDS,
    evidence,
    peak_memory_mb,
    profile,
    synchronize,
)
from engine.measure.rounds import BASELINE_AGAIN, Clock, Rounds, StopRule, Timed, run_rounds, warm_up
from engine.records import Experiment, NoiseFloor, PathResult, Run
from engine.settings import Settings

Tell = Callable[[Event], None]

PROFILE_S = 3.0
"""Time that the profiled forwards of one path may take, as far as more than two of them are concerned."""


@dataclass(frozen=True)
class Bench:
    """What every step of one experiment works with."""

    experiment: Experiment
    loaded: LoadedModel
    batch: TokenBatch
    tell: Tell
    clock: Clock
    trace_dir: Path | None

    @property
    def layers(self) -> int:
        """Layers of the encoder, which the paths' promises count."""
        return self.loaded.card.shape.num_encoder_layers


@dataclass(frozen=True)
class Candidate:
    """A path that has been called once, with what is known of it so far."""

    path: ExecutionPath
    prepared: PreparedPath
    result: PathResult

    def failed(self, reason: str) -> "Candidate":
        """The same path, out of the race."""
        return self.with_(status="failed", reason=reason)

    def with_(self, **facts: object) -> "Candidate":
        """The same path with more facts in its result."""
        return replace(self, result=self.result.model_copy(update=facts))


def run_experiment(
    experiment: Experiment,
    loaded: LoadedModel,
    settings: Settings,
    tell: Tell,
    clock: Clock,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    trace_dir: Path | None = None,
) -> Run:
    """Measure an experiment on a loaded model.

    Args:
        clock: seconds, monotonic.
        trace_dir: folder for Chrome traces, one file a path.

    Raises:
        Refusal: the texts do not fit, a path is unknown, or the baseline itself cannot run.
    """
    find_paths(experiment.paths)
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    tell(Step(name="tokenize", text="Turning the texts into tokens"))
    batch = tokenize(experiment.batch, loaded.tokenizer, loaded.card.shape, settings)
    batch = replace(batch, tokens=batch.tokens.to(experiment.device))
    bench = Bench(experiment, loaded, batch, tell, clock, trace_dir)
    candidates = _checked(bench)
    before = listen()
    rounds = _measured(bench, candidates, min(experiment.budget_s, settings.max_budget_s))
    results = tuple(_profiled(bench, candidate, rounds).result for candidate in candidates)
    created_at = now()
    return concluded(
        Run(
            id=_run_id(experiment, created_at),
            created_at=created_at,
            title=f"{loaded.card.title}, {batch.record.name}, {experiment.device} {experiment.dtype}",
            experiment=experiment.model_copy(
                update={"batch": batch.record, "threads": torch.get_num_threads()}
            ),
            model_card=loaded.card,
            environment=read_environment(experiment.device, before),
            paths=results,
            noise_floor=NoiseFloor(samples_ms=tuple(rounds.samples_ms[BASELINE_AGAIN])),
            rounds=len(rounds.order),
            stop_reason=rounds.stop_reason,
            order=tuple(rounds.order),
        )
    )


def _checked(bench: Bench) -> tuple[Candidate, ...]:
    bench.tell(Step(name="check", text="Checking that all paths give the same answer"))
    baseline = _first_call(bench, bench.experiment.baseline)
    if baseline.result.status != "ok":
        raise Refusal(
            f"The baseline {baseline.path.name} cannot run this batch, so nothing can be compared: "
            f"{baseline.result.reason}"
        )
    reference = hidden_states(_reference(bench, baseline), bench.batch)
    others = (_first_call(bench, name) for name in bench.experiment.paths if name != baseline.path.name)
    checked = {c.path.name: _compared(bench, c, reference) for c in (baseline, *others)}
    return tuple(checked[name] for name in bench.experiment.paths)


def _reference(bench: Bench, baseline: Candidate) -> PreparedPath:
    """What outputs are compared with: the baseline, or the fair slow path where the baseline draws dropout."""
    return slow.PATH.prepare(bench.loaded.model) if baseline.path.stochastic else baseline.prepared


def _first_call(bench: Bench, name: str) -> Candidate:
    path = EXECUTION_PATHS[name]
    candidate = Candidate(
        path,
        path.prepare(bench.loaded.model),
        PathResult(name=name, dtype=bench.experiment.dtype, status="ok"),
    )
    start = bench.clock()
    try:
        with candidate.prepared.switches():
            candidate.prepared.forward(bench.batch.tokens)
            synchronize(bench.batch.tokens.device)
    except (RuntimeError, IndexError, ValueError, AssertionError) as error:
        return candidate.failed(_first_line(error))
    return candidate.with_(first_call_ms=(bench.clock() - start) * 1000)


def _compared(bench: Bench, candidate: Candidate, reference: torch.Tensor) -> Candidate:
    if candidate.result.status != "ok" or candidate.path.stochastic:
        return candidate
    states = hidden_states(candidate.prepared, bench.batch)
    agreement = compare(reference, states, bench.experiment.dtype)
    candidate = candidate.with_(agreement=agreement)
    reason = disagreement(agreement)
    return candidate.failed(reason) if reason else candidate


def _measured(bench: Bench, candidates: tuple[Candidate, ...], budget_s: float) -> Rounds:
    runnable = {c.path.name: _timed(c.prepared, bench.batch) for c in candidates if c.result.status == "ok"}
    for name, timed in runnable.items():
        bench.tell(Step(name="warm-up", text=f"Warming up: {PATHS[name].title}"))
        warm_up(timed, bench.clock)
    rule = StopRule(budget_s, bench.experiment.iterations)
    baseline = bench.experiment.baseline

    def tell_round(rounds: Rounds) -> None:
        speedups = {name: i for name, i in rounds.speedups(baseline).items() if name != BASELINE_AGAIN}
        bench.tell(Round(done=len(rounds.order), at_most=rule.at_most, speedups=speedups))

    bench.tell(Step(name="measure", text="Measuring rounds"))
    return run_rounds(runnable, baseline, rule, bench.clock, Random(bench.experiment.seed), tell_round)


def _timed(prepared: PreparedPath, batch: TokenBatch) -> Timed:
    def call() -> None:
        prepared.forward(batch.tokens)
        synchronize(batch.tokens.device)

    return Timed(call, prepared.switches)


def _profiled(bench: Bench, candidate: Candidate, rounds: Rounds) -> Candidate:
    name = candidate.path.name
    if candidate.result.status != "ok":
        return candidate
    bench.tell(Step(name="profile", text=f"Profiling: {PATHS[name].title}"))
    median_ms = median(rounds.samples_ms[name])
    trace = bench.trace_dir / f"{name}.json.gz" if bench.trace_dir else None
    forwards = profiled_forwards(median_ms)
    profiled = profile(candidate.prepared, bench.batch.tokens, bench.clock, forwards, trace)
    return candidate.with_(
        samples_ms=tuple(rounds.samples_ms[name]),
        evidence=evidence(candidate.path, bench.layers, profiled),
        profile=profiled.table(median_ms),
        peak_memory_mb=peak_memory_mb(candidate.prepared, bench.batch.tokens),
    )


def profiled_forwards(median_ms: float) -> int:
    """The tutorial's ten, or fewer where a forward is so long that ten would keep people waiting."""
    return max(2, min(PROFILED_FORWARDS, int(PROFILE_S * 1000 / median_ms)))


def _run_id(experiment: Experiment, created_at: datetime) -> str:
    return sha256(f"{created_at.isoformat()} {experiment.model_dump_json()}".encode()).hexdigest()[:12]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
