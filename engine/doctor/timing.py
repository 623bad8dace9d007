"""Times all states of an examination in the same paired rounds."""

from collections.abc import Sequence
from statistics import median

import torch
from torch import nn

from engine.analysis.conclude import judged
from engine.analysis.quiet import disturbances
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import Situation
from engine.diagnosis import (
    AS_IT_IS,
    SLOW,
    WITHOUT_SPARSITY,
    Timing,
)
from engine.doctor.curing import JudgedSubject
from engine.doctor.values import Examination, Measured, ProvedState
from engine.doctor.verdicts import best_sparse
from engine.eligibility.subject import Subject
from engine.measure.profiling import synchronize
from engine.measure.race import Entry, Race, race
from engine.measure.rounds import BASELINE_AGAIN, Rounds, StopRule, Timed
from engine.records import NoiseFloor


def device_of(judged: JudgedSubject) -> str:
    """The device of the model's parameters; "cpu" if it has none."""
    parameter = next(judged.subject.model.parameters(), None)
    return str(parameter.device) if parameter is not None else "cpu"


def measure(examination: Examination, seen: Sequence[ProvedState]) -> Measured | None:
    """Time every state that does not raise, and the last sparse state without sparsity, in the same rounds.

    None if every state raises.
    """
    subjects = {state.judged.name: state.judged.subject for state in seen if not state.forward.proof.error}
    sparse = best_sparse(seen)
    if sparse:
        subjects[WITHOUT_SPARSITY] = sparse.judged.subject.changed(_no_nested)
    baseline = next((name for name in (AS_IT_IS, SLOW) if name in subjects), None)
    if baseline is None:
        return None
    titles = {state.judged.name: state.judged.title for state in seen}
    device = torch.device(device_of(seen[0].judged))
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
        name: timing_of(samples[baseline], samples[name], confidence, floor, situation, name == baseline)
        for name in samples
        if name != BASELINE_AGAIN
    }
    noise_floor = NoiseFloor(samples_ms=tuple(samples[BASELINE_AGAIN]), ci95=floor)
    return Measured(baseline, rounds, timings, noise_floor, situation)


def timing_of(
    baseline: Sequence[float],
    samples: Sequence[float],
    confidence: float,
    floor: tuple[float, float] | None,
    situation: Situation,
    is_baseline: bool = False,
) -> Timing:
    """The timing of a state against the baseline of the same rounds."""
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


def _no_nested(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
