"""The doctor's entry points: they take a model and its call, and return a diagnosis.

The steps: read the facts and predict, try the cures on copies, prove every state by a profiled forward, compare its
answer with the slow path's, and then measure all states in paired rounds.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import torch
from torch import nn

from engine.analysis.stats import CONFIDENCE
from engine.budget import examination_budget_s, sweep_budget
from engine.catalog.modifications import find_modifications
from engine.diagnosis import (
    WITHOUT_SPARSITY,
    Diagnosis,
    Sparsity,
    State,
)
from engine.doctor.curing import JudgedSubject, dangers_after_cures, try_cures
from engine.doctor.modifications import under
from engine.doctor.proving import prove
from engine.doctor.sparsity import SweepPlan, crossover, free_padding, sweepable, swept_shape
from engine.doctor.sparsity import sweep as run_sweep
from engine.doctor.timing import device_of, measure, timing_of
from engine.doctor.values import Examination, Measured, ProvedState
from engine.doctor.verdicts import agrees, best_sparse, paddings, token_count, verdict_of
from engine.doctor.words import explanation, findings, summary
from engine.eligibility.facts import PaddingFacts
from engine.eligibility.subject import Setting, Subject, admit, shared_copy
from engine.errors import Refusal
from engine.events import DoctorRequest, Event, Step
from engine.host import threads_here
from engine.measure.environment import load_average, read_environment
from engine.measure.instruments import Instruments
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel
from engine.records import Batch, Environment, NoiseFloor
from engine.settings import Settings, load_settings

DEFAULT_BUDGET_S = examination_budget_s()


def doctor(
    model: nn.Module,
    example: Any,
    *,
    title: str = "",
    budget_s: float = DEFAULT_BUDGET_S,
    seed: int = 0,
    tell: Callable[[Event], None] = lambda _event: None,
) -> Diagnosis:
    """Find out whether a model's `nn.TransformerEncoder` takes the fastpath on this input, why not, and how it would.

    Call it where you call the model: under the same `no_grad`, autocast and switches. The model does not change.

    Args:
        model: any module that holds an `nn.TransformerEncoder`, `nn.TransformerEncoderLayer` or
            `nn.MultiheadAttention`.
        example: the arguments of the call: one tensor, a tuple of positional or a dict of keyword arguments.
        title: name of the model in the diagnosis; empty for its class name.
        budget_s: longest time for the measuring rounds; 0 measures nothing. The first examination of an encoder size
            on a machine also finds the padding ratio from which sparsity is faster. That takes half of this time
            again, and on a slow machine up to three times this time.
        seed: of the random orders.
        tell: receives an event at every step and round.

    Raises:
        Refusal: the model holds no encoder, or cannot be copied.
    """
    if not isinstance(budget_s, int | float) or not 0 <= budget_s < inf:
        raise Refusal(f"budget_s must be a finite number of seconds, 0 or more; {budget_s!r} is not.")
    instruments = Instruments(tell, time.perf_counter)
    examination = Examination(admit(model, example), instruments, budget_s, seed, load_settings().data_folder)
    return examine(examination, title or type(model).__name__, type(model).__name__)


def examine_request(
    request: DoctorRequest, loaded: LoadedModel, settings: Settings, instruments: Instruments
) -> Diagnosis:
    """Examine a loaded model on a batch, in eval mode and without gradients, unless a modification changes that.

    Raises:
        Refusal: the texts do not fit, or a modification is unknown.
    """
    find_modifications(request.modifications)
    torch.set_num_threads(request.threads or threads_here())
    batch = tokenize(request.batch, loaded.tokenizer, loaded.card.shape, settings)
    tokens = batch.tokens.to(request.device)
    unmodified = Subject(
        shared_copy(loaded.model), (tokens,), setting=Setting(gradients=False, fastpath=True)
    )
    subject = under(unmodified, request.modifications, loaded.card.shape.padding_idx)
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
    """The whole diagnosis of a subject.

    Raises:
        Refusal: no module in it has a fastpath.
    """
    with warnings.catch_warnings():
        # torch warns about what is examined here anyway: nested tensors are a prototype, masks have two dtypes.
        warnings.simplefilter("ignore")
        return _examine(examination, title, model, batch, modifications)


def _examine(
    examination: Examination, title: str, model: str, batch: Batch | None, modifications: tuple[str, ...]
) -> Diagnosis:
    load_before = load_average()
    tell = examination.instruments.tell
    tell(Step(name="examine", text="Reading the conditions"))
    judged, not_tried = try_cures(examination.subject)
    first = judged[0]
    _check_something_to_examine(first)
    tell(Step(name="treat", text="Trying the cures on a copy"))
    seen = tuple(prove(first, judged))
    measured = measure(examination, seen) if examination.budget_s > 0 else None
    environment = _stamped(read_environment(device_of(first), load_before), measured)
    as_it_is = seen[1]
    verdict = verdict_of(as_it_is)
    return Diagnosis(
        created_at=examination.instruments.now(),
        title=title,
        model=model,
        batch=batch,
        modifications=modifications,
        environment=environment,
        layers=len(first.plan.all_layers),
        verdict=verdict,
        summary=summary(verdict, first, as_it_is.forward.proof, agrees(as_it_is)),
        explanation=explanation(verdict, first, as_it_is.forward.proof),
        checks=first.checks,
        dangers=first.dangers,
        dangers_after_cures=dangers_after_cures(judged),
        findings=findings(first, as_it_is.prediction, as_it_is.forward.proof, as_it_is.agreement),
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


def _check_something_to_examine(judged: JudgedSubject) -> None:
    plan = judged.plan
    if not (plan.encoders or plan.layers or plan.attentions):
        raise Refusal(
            "The model holds no nn.TransformerEncoder, nn.TransformerEncoderLayer or nn.MultiheadAttention, so there "
            "is no fastpath to examine."
        )


def _state(seen: ProvedState, measured: Measured | None) -> State:
    return State(
        name=seen.judged.name,
        title=seen.judged.title,
        cure=seen.judged.code,
        prediction=seen.prediction,
        proof=seen.forward.proof,
        agreement=seen.agreement,
        drift=seen.drift,
        timing=measured.timings.get(seen.judged.name) if measured else None,
        offered=seen.offered,
    )


def _sparsity(
    examination: Examination, seen: Sequence[ProvedState], measured: Measured | None, environment: Environment
) -> Sparsity | None:
    first = seen[1].judged
    padding = next(paddings(first), None)
    if padding is None or not token_count(padding):
        return None
    bound = free_padding(padding, first.facts.all_layers)
    sparse = best_sparse(seen)
    if measured is None or sparse is None:
        return bound
    samples = measured.rounds.samples_ms
    dense = samples[WITHOUT_SPARSITY]
    timing = timing_of(
        dense, samples[sparse.judged.name], CONFIDENCE, measured.noise_floor.ci95, measured.situation
    )
    return bound.model_copy(
        update={
            "measured": timing,
            "crossover": _crossover(examination, sparse.judged, padding, environment),
        }
    )


def _crossover(
    examination: Examination, judged: JudgedSubject, padding: PaddingFacts, environment: Environment
) -> Any:
    """The sweep, on a copy of the encoder without the hooks of cures."""
    encoder = sweepable(shared_copy(judged.subject.model))
    if encoder is None or not padding.length or judged.subject.compiled:
        return None
    encoder._forward_hooks.clear()
    encoder._forward_pre_hooks.clear()
    first = judged.facts.all_layers[0]
    plan = SweepPlan(
        shape=swept_shape(len(padding.lengths), padding.length),
        width=first.width,
        ffn=first.ffn,
        heads=first.attention.num_heads,
        layers=len(judged.facts.all_layers),
        dtype=encoder.layers[0].linear1.weight.dtype,
        device=device_of(judged),
    )
    budget = sweep_budget(examination.budget_s)
    words = f"Finding the padding ratio from which sparsity is faster, at most {budget.most_s:.0f} s"
    examination.instruments.tell(Step(name="measure", text=words))
    sweep = partial(run_sweep, encoder, plan, examination.instruments, examination.seed, budget)
    return crossover(sweep, plan, environment, examination.keep)
