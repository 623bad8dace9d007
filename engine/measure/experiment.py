"""Measures an experiment: takes an `Experiment`, sends events, returns a `Run`. It is the only entry to a run.

The steps: tokenize, prepare every path, check that their outputs agree, warm up, measure rounds, profile, and measure
the highest arithmetic rate and bandwidth of the machine. A path that fails is kept with its reason; the others go on.
"""

from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from statistics import median

import torch

from engine.analysis.conclude import concluded
from engine.analysis.continuing import check_all_run, check_same_conditions, continued
from engine.catalog.paths import BASELINE, PATHS, find_paths
from engine.eligibility.dangers import dangers
from engine.eligibility.plan import plan_of
from engine.eligibility.reading import presumed_facts
from engine.errors import Refusal, first_line
from engine.events import Step
from engine.host import with_threads
from engine.measure.agreement import compare, disagreement, hidden_states
from engine.measure.bench import Bench, Candidate, Extent, PathStock
from engine.measure.environment import load_average, read_environment
from engine.measure.instruments import Instruments
from engine.measure.profiling import (
    PROFILED_FORWARDS,
    page_faults,
    peak_memory_mb,
    profile,
    synchronize,
)
from engine.measure.race import Entry, Race, RaceResult, race
from engine.measure.roofline import WORKING_MB, measure_roofline
from engine.measure.rounds import (
    BASELINE_AGAIN,
    PRECISION,
    Earlier,
    StopRule,
    Timed,
)
from engine.models.inputs import TokenBatch, tokenize
from engine.models.loading import LoadedModel
from engine.models.memory import check_memory, memory_available_mb
from engine.paths import EXECUTION_PATHS, ExecutionPath, PreparedPath
from engine.records import (
    BYTES_PER_VALUE,
    MEGABYTE,
    Experiment,
    ModelCard,
    NoiseFloor,
    PathResult,
    Roofline,
    Run,
)
from engine.settings import Settings

__all__ = ["Bench", "Candidate", "Instruments", "checked", "run_experiment"]

PROFILE_S = 3.0
"""Time limit for the profiled forwards of one path; two forwards are profiled in any case."""


def run_experiment(
    experiment: Experiment,
    loaded: LoadedModel,
    settings: Settings,
    instruments: Instruments,
    continues: Run | None = None,
    extent: Extent = Extent(),  # noqa: B008  (frozen)
    stock: PathStock | None = None,
) -> Run:
    """Measure an experiment on a loaded model.

    Args:
        continues: a run of the same experiment. Its rounds come first in the returned run; its profiles and peaks are
            kept, not measured again.
        stock: paths that were prepared for this model and these threads; those that are missing are added.

    Raises:
        Refusal: the texts do not fit, a path is unknown, the baseline itself cannot run, or the conditions are not
            those of the run to continue.
    """
    find_paths(experiment.paths)
    experiment = with_threads(experiment)
    assert experiment.threads is not None  # noqa: S101  (with_threads has set it)
    torch.set_num_threads(experiment.threads)
    bench = replace(
        _bench(experiment, loaded, settings, instruments),
        continues=continues,
        extent=extent,
        stock={} if stock is None else stock,
    )
    if continues is not None:
        check_same_conditions(continues, read_environment(experiment.device, None), loaded.card)
    candidates = checked(bench)
    if continues is not None:
        check_all_run(candidate.result for candidate in candidates)
    load_before = load_average()
    measured = _measured(bench, candidates, min(experiment.budget_s, settings.max_budget_s))
    run = concluded(_run_of(bench, candidates, measured, load_before))
    return run if continues is None else continued(continues, run)


def _bench(
    experiment: Experiment, loaded: LoadedModel, settings: Settings, instruments: Instruments
) -> Bench:
    """Tokenize the texts and gather everything that the later steps need."""
    instruments.tell(Step(name="tokenize", text="Turning the texts into tokens"))
    batch = tokenize(experiment.batch, loaded.tokenizer, loaded.card.shape, settings)
    batch = replace(batch, tokens=batch.tokens.to(experiment.device))
    exports = _exports(loaded.card, settings)
    return Bench(experiment, loaded, batch, instruments, exports, settings.memory_reserve_mb)


def _run_of(
    bench: Bench, candidates: tuple[Candidate, ...], measured: RaceResult, load_before: float | None
) -> Run:
    """The record of the measured rounds; a run that continues another has no profiles and no peaks of its own."""
    experiment, card, batch = bench.experiment, bench.loaded.card, bench.batch.record
    is_new = bench.continues is None
    rounds = measured.rounds
    seen = tuple(_with_samples(bench, candidate, measured) for candidate in candidates)
    if is_new:
        seen = tuple(_profiled(bench, candidate) for candidate in seen)
    roofline = _roofline(bench) if is_new and bench.extent.costs else None
    created_at = bench.instruments.now()
    return Run(
        id=_run_id(experiment, created_at),
        created_at=created_at,
        title=f"{card.title}, {batch.name}, {experiment.device} {experiment.dtype}",
        experiment=experiment.model_copy(update={"batch": batch}),
        model_card=card,
        environment=read_environment(experiment.device, load_before),
        paths=tuple(candidate.result for candidate in seen),
        noise_floor=NoiseFloor(samples_ms=tuple(rounds.samples_ms[BASELINE_AGAIN])),
        rounds=len(rounds.order),
        stop_reason=rounds.stop_reason,
        order=tuple(rounds.order),
        conditions=measured.conditions,
        roofline=roofline,
    )


def _exports(card: ModelCard, settings: Settings) -> Path:
    """The folder for exports of exactly these weights by this version of torch."""
    facts = f"{card.checksum} {card.shape.model_dump_json()} {card.dtype}"
    fingerprint = sha256(facts.encode()).hexdigest()[:16]
    return settings.data_folder / "exports" / f"{fingerprint}-torch-{torch.__version__.partition('+')[0]}"


def checked(bench: Bench) -> tuple[Candidate, ...]:
    """Every path of an experiment, called once and compared with the slow path; a dangerous path is not called.

    Raises:
        Refusal: the batch is all padding, the baseline itself cannot run, or its outputs are NaN or infinite.
    """
    if not bool(bench.batch.real().any()):
        raise Refusal("The batch holds nothing but padding, so there is nothing to encode or to compare.")
    bench.instruments.tell(Step(name="check", text="Checking that all paths give the same answer"))
    baseline = _first_call(bench, bench.experiment.baseline)
    if baseline.result.status != "ok":
        raise Refusal(
            f"The baseline {baseline.path.name} cannot run this batch, so nothing can be compared: "
            f"{baseline.result.reason}"
        )
    reference = hidden_states(_reference(bench, baseline), bench.batch)
    if not bool(reference.isfinite().all()):
        raise Refusal(
            f"The slow path's outputs on this batch are not numbers (NaN or infinite) in {bench.experiment.dtype}, so "
            "nothing can be compared and nothing was measured: check the model's weights, or choose fp32."
        )
    others = (_first_call(bench, name) for name in bench.experiment.paths if name != baseline.path.name)
    checked = {c.path.name: _compared(bench, c, reference) for c in (baseline, *others)}
    return tuple(checked[name] for name in bench.experiment.paths)


def _reference(bench: Bench, baseline: Candidate) -> PreparedPath:
    """The path whose outputs are the reference: the baseline, or the fair slow path if the baseline draws dropout."""
    return (
        EXECUTION_PATHS[BASELINE].prepare(bench.loaded.model) if baseline.path.stochastic else baseline.ready
    )


def _first_call(bench: Bench, name: str) -> Candidate:
    candidate = _prepared(bench, name)
    if candidate.result.status != "ok":
        return candidate
    try:
        danger = _danger(bench, candidate.ready)
        if danger:
            return candidate.with_(status="unavailable", reason=danger)
        start = bench.instruments.clock()
        with candidate.ready.switches():
            candidate.ready.forward(bench.batch.tokens)
            synchronize(bench.batch.tokens.device)
    except Exception as error:  # other libraries may raise anything; the other paths go on
        return candidate.failed(first_line(error))
    return candidate.with_(first_call_ms=(bench.instruments.clock() - start) * 1000)


def _prepared(bench: Bench, name: str) -> Candidate:
    path = EXECUTION_PATHS[name]
    result = PathResult(name=name, dtype=path.precision or bench.experiment.dtype, status="ok")
    bench.instruments.tell(Step(name="prepare", text=f"Preparing: {PATHS[name].title}"))
    known = name in bench.stock
    try:
        prepared, prepare_ms = bench.stock.get(name) or _newly_prepared(bench, path)
    except Refusal as refusal:
        return Candidate(path, None, result).with_(status="unavailable", reason=str(refusal))
    except Exception as error:  # as above
        return Candidate(path, None, result).failed(first_line(error))
    return Candidate(path, prepared, result, known).with_(
        prepare_ms=prepare_ms, prepare_note=prepared.note, weights_mb=prepared.weights_mb
    )


def _newly_prepared(bench: Bench, path: ExecutionPath) -> tuple[PreparedPath, float]:
    _check_memory(bench, path)
    start = bench.instruments.clock()
    prepared = path.prepare(bench.loaded.model, bench.exports)
    bench.stock[path.name] = prepared, (bench.instruments.clock() - start) * 1000
    return bench.stock[path.name]


def _check_memory(bench: Bench, path: ExecutionPath) -> None:
    """Refuse a path, before it is prepared, if its copy of the weights does not fit into memory."""
    if path.copies:
        shape, precision = bench.loaded.card.shape, path.precision or bench.experiment.dtype
        needed = path.copies * shape.parameters * BYTES_PER_VALUE[precision] / MEGABYTE
        title = f"{PATHS[path.name].title} of {bench.loaded.card.title}"
        check_memory(title, needed, memory_available_mb(), bench.memory_reserve_mb)


def _danger(bench: Bench, prepared: PreparedPath) -> str:
    """Why this path would be silently wrong or raise on this batch, found without running it; empty if it is safe."""
    if prepared.encoder is None:
        return ""
    with prepared.switches():
        facts = presumed_facts(prepared.encoder, bench.batch.tokens, bench.batch.padding_id)
    found = [danger for danger in dangers(plan_of(facts), {}) if danger.effect != "ignored"]
    return f"{found[0].has}: {found[0].why}" if found else ""


def _compared(bench: Bench, candidate: Candidate, reference: torch.Tensor) -> Candidate:
    if candidate.result.status != "ok" or candidate.path.stochastic:
        return candidate
    states = hidden_states(candidate.ready, bench.batch)
    agreement = compare(reference, states, candidate.result.dtype)
    candidate = candidate.with_(agreement=agreement)
    reason = disagreement(agreement)
    return candidate.failed(reason) if reason else candidate


def _measured(bench: Bench, candidates: tuple[Candidate, ...], budget_s: float) -> RaceResult:
    before = bench.continues
    entries = {c.path.name: _entry(bench, c) for c in candidates if c.result.status == "ok"}
    # A user who continues a run wants more rounds, however precise it is already.
    rule = StopRule(
        budget_s,
        bench.experiment.iterations,
        min_rounds=bench.extent.min_rounds,
        precision=None if before else PRECISION,
        most_s=budget_s * bench.extent.stretch,
    )
    what = Race(
        entries,
        bench.experiment.baseline,
        rule,
        bench.experiment.seed,
        warm_up_cap_s=bench.extent.warm_up_cap_s,
        earlier=_earlier(before) if before else Earlier(),
    )
    return race(what, bench.instruments)


def _entry(bench: Bench, candidate: Candidate) -> Entry:
    name = candidate.path.name
    calls = bench.continues.path(name).calls_per_sample if bench.continues else None
    first_ms = candidate.result.first_call_ms
    # The first call of a new path also compiles, allocates and loads; that of a known one is a call as any other.
    before_ms = (first_ms,) if candidate.known and first_ms is not None else ()
    return Entry(PATHS[name].title, _timed(candidate.ready, bench.batch), calls, before_ms)


def _earlier(run: Run) -> Earlier:
    samples_ms = {path.name: path.samples_ms for path in run.paths}
    return Earlier(samples_ms | {BASELINE_AGAIN: run.noise_floor.samples_ms}, run.looks)


def _with_samples(bench: Bench, candidate: Candidate, measured: RaceResult) -> Candidate:
    name = candidate.path.name
    if candidate.result.status != "ok":
        return candidate
    return candidate.with_(
        samples_ms=tuple(measured.rounds.samples_ms[name]),
        warm_up_calls=measured.warm_up_calls[name],
        calls_per_sample=measured.calls_per_sample[name],
        # Counted before any profiler runs: its memory keeps the allocator from giving memory back.
        page_faults=page_faults(candidate.ready, bench.batch.tokens) if bench.extent.costs else None,
    )


def _timed(prepared: PreparedPath, batch: TokenBatch) -> Timed:
    def call() -> None:
        prepared.forward(batch.tokens)
        synchronize(batch.tokens.device)

    return Timed(call, prepared.switches)


def _profiled(bench: Bench, candidate: Candidate) -> Candidate:
    name = candidate.path.name
    if candidate.result.status != "ok":
        return candidate
    bench.instruments.tell(Step(name="profile", text=f"Profiling: {PATHS[name].title}"))
    median_ms = median(candidate.result.samples_ms)
    trace = bench.instruments.trace_dir / f"{name}.json.gz" if bench.instruments.trace_dir else None
    forwards = min(profiled_forwards(median_ms), bench.extent.most_profiled)
    profiled = profile(candidate.ready, bench.batch.tokens, bench.instruments.clock, forwards, trace)
    inside_torch = not PATHS[name].outside_torch
    measures_memory = inside_torch and bench.extent.costs
    return candidate.with_(
        evidence=candidate.ready.promise.evidence(profiled.calls),
        # Of a path outside torch the profiler sees only the head. That proves that torch did not run the encoder,
        # but a table of it would mislead.
        profile=profiled.table(median_ms) if inside_torch else None,
        peak_memory_mb=peak_memory_mb(candidate.ready, bench.batch.tokens) if measures_memory else None,
    )


def _roofline(bench: Bench) -> Roofline | None:
    """The peaks of the machine; None if they cannot be measured, so that the run is kept all the same."""
    bench.instruments.tell(Step(name="profile", text="Measuring the peaks of this machine"))
    try:
        check_memory("The bandwidth measurement", WORKING_MB, memory_available_mb(), bench.memory_reserve_mb)
        return measure_roofline(bench.batch.tokens.device, bench.instruments.clock)
    except (Refusal, RuntimeError):
        return None


def profiled_forwards(median_ms: float) -> int:
    """How many forwards to profile: the tutorial's ten, or fewer if ten would take longer than `PROFILE_S`."""
    return max(2, min(PROFILED_FORWARDS, int(PROFILE_S * 1000 / median_ms)))


def _run_id(experiment: Experiment, created_at: datetime) -> str:
    return sha256(f"{created_at.isoformat()} {experiment.model_dump_json()}".encode()).hexdigest()[:12]
