"""The doctor's one door: a subject goes in, a diagnosis comes out.

In order: read the facts and predict, try the cures on copies, prove every state by a profiled forward, compare its
answer with the slow path's, and only then measure all of them in paired rounds.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from engine.analysis.conclude import judged
from engine.analysis.quiet import disturbances
from engine.analysis.stats import CONFIDENCE, median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import Situation
from engine.budget import examination_budget_s
from engine.catalog.modifications import find_modifications
from engine.diagnosis import (
    AS_IT_IS,
    SLOW,
    WITHOUT_SPARSITY,
    Diagnosis,
    Prediction,
    Proof,
    Sparsity,
    State,
    Taken,
    Timing,
)
from engine.doctor.modifications import under
from engine.doctor.proof import Observation, observe, reference
from engine.doctor.sparsity import SweepPlan, crossover, free_padding, sweepable, swept_shape
from engine.doctor.sparsity import sweep as run_sweep
from engine.doctor.treatment import Treated, by_the_slow_path, treat
from engine.doctor.words import findings, summary
from engine.eligibility.dangers import first_error
from engine.eligibility.facts import PaddingFacts
from engine.eligibility.module_reading import draws_dropout
from engine.eligibility.plan import predicted
from engine.eligibility.subject import Setting, Subject, admit, shared_copy
from engine.errors import Refusal
from engine.events import DoctorRequest, Event, Step
from engine.host import threads_here
from engine.measure.agreement import compare
from engine.measure.environment import load_average, read_environment
from engine.measure.instruments import Instruments
from engine.measure.profiling import synchronize
from engine.measure.race import Entry, Race, race
from engine.measure.rounds import BASELINE_AGAIN, Rounds, StopRule, Timed
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel
from engine.records import Agreement, Batch, DType, Environment, NoiseFloor
from engine.settings import Settings, load_settings

DEFAULT_BUDGET_S = examination_budget_s()
SWEEP_SHARE = 0.5
"""Time of the sweep, as a share of the rounds' budget."""
_DTYPES: dict[torch.dtype, DType] = {torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Seen:
    """A state with what its forward showed."""

    treated: Treated
    prediction: Prediction
    observe: Observation
    agreement: Agreement | None
    drift: Agreement | None

    @property
    def offered(self) -> bool:
        """Whether its result may be recommended: right before it ran, and right when it ran."""
        agrees = self.agreement is None or self.agreement.ok
        return agrees and not self.treated.misleads and not self.observe.proof.error

    @property
    def converts(self) -> bool:
        """Whether sparsity is on, and its answer right."""
        return self.offered and self.observe.proof.counts.nested_conversions > 0


@dataclass(frozen=True)
class Examination:
    """What every step of one examination works with.

    Attributes:
        keep: folder for what is worth keeping, the crossover's sweep; None keeps nothing.
    """

    subject: Subject
    instruments: Instruments
    budget_s: float
    seed: int
    keep: Path | None


@dataclass(frozen=True)
class Measured:
    """All states timed in the same rounds."""

    baseline: str
    rounds: Rounds
    timings: dict[str, Timing]
    noise_floor: NoiseFloor
    situation: Situation


def doctor(
    model: nn.Module,
    example: Any,
    *,
    title: str = "",
    budget_s: float = DEFAULT_BUDGET_S,
    seed: int = 0,
    tell: Callable[[Event], None] = lambda _event: None,
) -> Diagnosis:
    """Say whether a model's `nn.TransformerEncoder` takes the fastpath on this input, why not, and what cures it.

    Call it where you call the model: under the same `no_grad`, autocast and switches. The model is not changed.

    Args:
        model: any module that holds an `nn.TransformerEncoder`, `nn.TransformerEncoderLayer` or
            `nn.MultiheadAttention`.
        example: what the model is called with: one tensor, a tuple of positional or a dict of keyword arguments.
        budget_s: longest time for the measuring rounds; 0 measures nothing. The first examination of an encoder's
            size on a machine takes half as long again, to find the padding from which sparsity pays.
        tell: is given an event at every step and round.

    Raises:
        Refusal: the model holds no encoder, or cannot be copied.
    """
    if not isinstance(budget_s, int | float) or not 0 <= budget_s < inf:
        raise Refusal(f"budget_s is a number of seconds from 0 on; {budget_s!r} is not.")
    instruments = Instruments(tell, time.perf_counter)
    examination = Examination(admit(model, example), instruments, budget_s, seed, load_settings().data_folder)
    return examine(examination, title or type(model).__name__, type(model).__name__)


def examine_request(
    request: DoctorRequest, loaded: LoadedModel, settings: Settings, instruments: Instruments
) -> Diagnosis:
    """Examine a loaded model on a batch, as people call it: eval mode and no gradients, unless modifications say else.

    Raises:
        Refusal: the texts do not fit, or a modification is unknown.
    """
    find_modifications(request.modifications)
    torch.set_num_threads(request.threads or threads_here())
    batch = tokenize(request.batch, loaded.tokenizer, loaded.card.shape, settings)
    tokens = batch.tokens.to(request.device)
    healthy = Subject(shared_copy(loaded.model), (tokens,), setting=Setting(gradients=False, fastpath=True))
    subject = under(healthy, request.modifications, loaded.card.shape.padding_idx)
    budget_s = min(request.budget_s, settings.max_budget_s)
    examination = Examination(subject, instruments, budget_s, request.seed, settings.data_folder)
    title = f"{loaded.card.title}, {batch.record.name}, {request.device} {request.dtype}"
    return examine(examination, title, request.model, batch.record, request.modifications)


def examine(
    examination: Examination,
    title: str,
    model: str,
    batch: Batch | None = None,
    modifications: tuple[str, ...] = (),
) -> Diagnosis:
    """Everything the doctor can say of a subject.

    Raises:
        Refusal: there is nothing in it that has a fastpath.
    """
    with warnings.catch_warnings():
        # torch warns of what is examined here anyway: nested tensors as a prototype, masks of two kinds.
        warnings.simplefilter("ignore")
        return _examine(examination, title, model, batch, modifications)


def _examine(
    examination: Examination, title: str, model: str, batch: Batch | None, modifications: tuple[str, ...]
) -> Diagnosis:
    load_before = load_average()
    tell = examination.instruments.tell
    tell(Step(name="examine", text="Reading the conditions"))
    treated, not_tried = treat(examination.subject)
    first = treated[0]
    _check_something_to_examine(first)
    tell(Step(name="treat", text="Trying the cures on a copy"))
    seen = tuple(_prove(first, treated))
    measured = _measure(examination, seen) if examination.budget_s > 0 else None
    environment = _stamped(read_environment(_device(first), load_before), measured)
    as_it_is = seen[1]
    verdict = _verdict(as_it_is)
    return Diagnosis(
        created_at=examination.instruments.now(),
        title=title,
        model=model,
        batch=batch,
        modifications=modifications,
        environment=environment,
        layers=len(first.plan.all_layers),
        verdict=verdict,
        summary=summary(verdict, first, as_it_is.observe.proof, _agrees(as_it_is)),
        checks=first.checks,
        dangers=first.dangers,
        findings=findings(first, as_it_is.prediction, as_it_is.observe.proof, as_it_is.agreement),
        states=tuple(_state(state, measured) for state in seen),
        baseline=measured.baseline if measured else "",
        not_tried=not_tried,
        noise_floor=measured.noise_floor if measured else NoiseFloor(),
        rounds=len(measured.rounds.order) if measured else 0,
        stop_reason=measured.rounds.stop_reason if measured else "",
        sparsity=_sparsity(examination, seen, measured, environment),
    )


def _stamped(environment: Environment, measured: Measured | None) -> Environment:
    if measured is None or not measured.situation.disturbance:
        return environment
    notes = (*environment.notes, measured.situation.disturbance)
    return environment.model_copy(update={"quiet": False, "notes": notes})


def _check_something_to_examine(treated: Treated) -> None:
    plan = treated.plan
    if not (plan.encoders or plan.layers or plan.attentions):
        raise Refusal(
            "The model holds no nn.TransformerEncoder, nn.TransformerEncoderLayer or nn.MultiheadAttention, so there "
            "is no fastpath to examine."
        )


def _device(treated: Treated) -> str:
    parameter = next(treated.subject.model.parameters(), None)
    return str(parameter.device) if parameter is not None else "cpu"


def _prove(first: Treated, treated: Sequence[Treated]) -> Iterator[Seen]:
    """The slow path first, then every state, each with one profiled forward and its answer compared."""
    slow = by_the_slow_path(first)
    slow_seen = observe(slow.subject)
    original = [] if slow_seen.proof.error else slow_seen.outputs
    yield Seen(slow, predicted(slow.plan, first_error(slow.dangers)), slow_seen, None, None)
    for state in treated:
        right = original if state is first else reference(state.subject)
        seen = observe(state.subject)
        yield Seen(
            state,
            predicted(state.plan, first_error(state.dangers)),
            seen,
            None if _draws(state.subject.model) else _compared(right, seen.outputs, seen.real, state),
            None if state is first else _compared(original, right, seen.real, state),
        )


def _draws(model: nn.Module) -> bool:
    """Whether a forward draws dropout, so that two of them cannot be compared."""
    return any(draws_dropout(module) for module in model.modules())


def _compared(
    right: Sequence[Tensor], outputs: Sequence[Tensor], real: Sequence[Tensor | None], treated: Treated
) -> Agreement | None:
    """Outputs against the right ones, on real tokens only; None where they cannot be laid beside each other."""
    if not right or [output.shape for output in right] != [output.shape for output in outputs]:
        return None
    masks = real if len(real) == len(right) else [None] * len(right)
    dtype = _DTYPES.get(outputs[0].dtype, "bf16" if treated.facts.setting.cpu_autocast else "fp32")
    rows = [
        (_real_rows(a, mask), _real_rows(b, mask)) for a, b, mask in zip(right, outputs, masks, strict=True)
    ]
    found = [compare(a, b, dtype) for a, b in rows if a.numel()]
    return max(found, key=lambda one: (not one.ok, one.max_abs_error or 0.0), default=None)


def _real_rows(states: Tensor, real: Tensor | None) -> Tensor:
    """The real tokens' states, (tokens, width) float32; all of them where the mask has another shape."""
    if real is not None and states.shape[:-1] == real.shape:
        return states[real].float()
    if real is not None and states.ndim == 3 and states.shape[:2] == real.T.shape:
        return states[real.T].float()
    return states.reshape(-1, states.shape[-1]).float() if states.ndim else states.reshape(1, 1).float()


def _verdict(seen: Seen) -> Taken:
    proof = seen.observe.proof
    wanted = seen.treated.plan
    if proof.error or not _native(proof):
        return "not taken"
    if not seen.offered:
        return "taken but wrong"
    layers = sum(layer.call.calls if layer.call else 1 for layer in wanted.all_layers)
    fused = proof.counts.fused_layers >= layers
    alone = proof.counts.native_attentions >= len(wanted.attentions) if not layers else True
    return "taken" if fused and alone and _sparsity_satisfied(seen) else "partly taken"


def _agrees(seen: Seen) -> bool:
    return seen.agreement is not None and seen.agreement.ok


def _native(proof: Proof) -> int:
    return proof.counts.fused_layers + proof.counts.nested_conversions + proof.counts.native_attentions


def _sparsity_satisfied(seen: Seen) -> bool:
    """Whether every encoder with padding to leave out leaves it out."""
    with_padding = sum(1 for padding in _paddings(seen.treated) if sum(padding.lengths) < _tokens(padding))
    return seen.observe.proof.counts.nested_conversions >= with_padding


def _tokens(padding: PaddingFacts) -> int:
    return len(padding.lengths) * padding.length


def _paddings(treated: Treated) -> Iterator[PaddingFacts]:
    for encoder in treated.facts.encoders:
        if encoder.call and encoder.call.padding:
            yield encoder.call.padding


def _state(seen: Seen, measured: Measured | None) -> State:
    return State(
        name=seen.treated.name,
        title=seen.treated.title,
        cure=seen.treated.code,
        prediction=seen.prediction,
        proof=seen.observe.proof,
        agreement=seen.agreement,
        drift=seen.drift,
        timing=measured.timings.get(seen.treated.name) if measured else None,
        offered=seen.offered,
    )


def _measure(examination: Examination, seen: Sequence[Seen]) -> Measured | None:
    """Time every state that comes to its end, and the last sparse one with sparsity off, in the same rounds."""
    subjects = {state.treated.name: state.treated.subject for state in seen if not state.observe.proof.error}
    sparse = _best_sparse(seen)
    if sparse:
        subjects[WITHOUT_SPARSITY] = sparse.treated.subject.changed(_no_nested)
    baseline = next((name for name in (AS_IT_IS, SLOW) if name in subjects), None)
    if baseline is None:
        return None
    titles = {state.treated.name: state.treated.title for state in seen}
    device = torch.device(_device(seen[0].treated))
    entries = {
        name: Entry(titles.get(name, "Without sparsity"), _timed(subject, device))
        for name, subject in subjects.items()
    }
    entered = Race(entries, baseline, StopRule(examination.budget_s), examination.seed)
    with torch.random.fork_rng(devices=[]):
        found = race(entered, examination.instruments)
    return _concluded(baseline, found.rounds, "; ".join(disturbances(found.conditions)))


def _timed(subject: Subject, device: torch.device) -> Timed:
    forward = subject.forward()

    def call() -> None:
        forward()
        synchronize(device)

    return Timed(call, subject.setting.held)


def _concluded(baseline: str, rounds: Rounds, disturbance: str) -> Measured:
    samples = rounds.samples_ms
    floor = median_interval(paired_ratios(samples[baseline], samples[BASELINE_AGAIN]))
    confidence = shared_confidence(len(samples) - 2)
    round_s = sum(map(median, samples.values())) / 1000
    situation = Situation(rounds=len(rounds.order), round_s=round_s, disturbance=disturbance)
    timings = {
        name: _timing(samples[baseline], samples[name], confidence, floor, situation, name == baseline)
        for name in samples
        if name != BASELINE_AGAIN
    }
    noise_floor = NoiseFloor(samples_ms=tuple(samples[BASELINE_AGAIN]), ci95=floor)
    return Measured(baseline, rounds, timings, noise_floor, situation)


def _timing(
    baseline: Sequence[float],
    samples: Sequence[float],
    confidence: float,
    floor: tuple[float, float] | None,
    situation: Situation,
    is_baseline: bool = False,
) -> Timing:
    if is_baseline:
        return Timing(median_ms=median(samples), speedup=1.0, samples_ms=tuple(samples))
    ratio, interval, verdict = judged(baseline, samples, confidence, floor, situation)
    return Timing(
        median_ms=median(samples),
        speedup=ratio,
        speedup_ci95=interval,
        verdict=verdict.word,
        samples_ms=tuple(samples),
    )


def _best_sparse(seen: Sequence[Seen]) -> Seen | None:
    return next((state for state in reversed(seen) if state.converts), None)


def _no_nested(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False


def _sparsity(
    examination: Examination, seen: Sequence[Seen], measured: Measured | None, environment: Environment
) -> Sparsity | None:
    first = seen[1].treated
    padding = next(_paddings(first), None)
    if padding is None or not _tokens(padding):
        return None
    bound = free_padding(padding, first.facts.all_layers)
    sparse = _best_sparse(seen)
    if measured is None or sparse is None:
        return bound
    samples = measured.rounds.samples_ms
    dense = samples[WITHOUT_SPARSITY]
    timing = _timing(
        dense, samples[sparse.treated.name], CONFIDENCE, measured.noise_floor.ci95, measured.situation
    )
    return bound.model_copy(
        update={
            "measured": timing,
            "crossover": _crossover(examination, sparse.treated, padding, environment),
        }
    )


def _crossover(
    examination: Examination, treated: Treated, padding: PaddingFacts, environment: Environment
) -> Any:
    """The sweep on a bare copy of the encoder, without hooks that a cure may have put around it."""
    encoder = sweepable(shared_copy(treated.subject.model))
    if encoder is None or not padding.length or treated.subject.compiled:
        return None
    encoder._forward_hooks.clear()
    encoder._forward_pre_hooks.clear()
    first = treated.facts.all_layers[0]
    plan = SweepPlan(
        shape=swept_shape(len(padding.lengths), padding.length),
        width=first.width,
        ffn=first.ffn,
        heads=first.attention.num_heads,
        layers=len(treated.facts.all_layers),
        dtype=encoder.layers[0].linear1.weight.dtype,
        device=_device(treated),
    )
    examination.instruments.tell(Step(name="measure", text="Finding the padding from which sparsity pays"))
    sweep = partial(
        run_sweep,
        encoder,
        plan,
        examination.instruments,
        examination.seed,
        examination.budget_s * SWEEP_SHARE,
    )
    return crossover(sweep, plan, environment, examination.keep)
