"""From a run's raw samples to its conclusions; pure, so a newer rule can judge any stored run again."""

from collections.abc import Sequence
from statistics import median

from engine.analysis.quiet import disturbances
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.analysis.verdict import Situation, Verdict, decide
from engine.records import Environment, Interval, NoiseFloor, PathResult, Run

Judgement = tuple[float, Interval | None, Verdict]
"""A path's speedup, its interval and the verdict on it."""


def concluded(run: Run) -> Run:
    """The same run with medians, intervals, speedups, verdicts and `quiet` computed from its samples and conditions.

    The speedups' intervals hold together with 95 % confidence: with k comparisons, each has 1 - 0.05 / k.
    In a continued run they are wider, because its rounds are judged more than once (`shared_confidence`).
    """
    floor = _noise_floor(run)
    environment = _stamped(run)
    seen = run.model_copy(update={"noise_floor": floor, "environment": environment})
    verdicts = judgements(seen)
    paths = tuple(
        _path(path, seen, verdicts.get(path.name)) if path.samples_ms else path for path in run.paths
    )
    return seen.model_copy(update={"paths": paths})


def concludes_alike(stored: Run, again: Run) -> bool:
    """Whether two conclusions of one run's samples are the same: every figure, verdict and stamp.

    Sentences are left out: a later version may say the same in other words.
    """
    return _without_sentences(stored) == _without_sentences(again)


def _without_sentences(run: Run) -> Run:
    paths = tuple(path.model_copy(update={"verdict_reason": "", "next_step": ""}) for path in run.paths)
    environment = run.environment.model_copy(update={"notes": ()})
    return run.model_copy(update={"paths": paths, "environment": environment})


def judgements(run: Run) -> dict[str, Judgement]:
    """Speedup, interval and verdict of every measured path but the baseline, from the samples and the noise floor."""
    others = [path for path in run.paths if path.samples_ms and path.name != run.experiment.baseline]
    situation = _situation(run, len(others))
    baseline, floor = run.baseline.samples_ms, run.noise_floor.ci95
    return {
        path.name: judged(baseline, path.samples_ms, situation.confidence, floor, situation)
        for path in others
    }


def round_s(run: Run) -> float:
    """Seconds that one round takes, with the baseline's second run."""
    floor_ms = sum(run.noise_floor.samples_ms) * run.baseline.calls_per_sample
    paths_ms = sum(sum(path.samples_ms) * path.calls_per_sample for path in run.paths)
    return (floor_ms + paths_ms) / 1000 / max(1, run.rounds)


def _stamped(run: Run) -> Environment:
    if not run.conditions:
        return run.environment
    notes = (*run.environment.standing_notes, *disturbances(run.conditions))
    return run.environment.model_copy(update={"quiet": not notes, "notes": notes})


def _situation(run: Run, comparisons: int) -> Situation:
    return Situation(
        rounds=run.rounds,
        round_s=round_s(run),
        disturbance="; ".join(run.environment.notes),
        confidence=shared_confidence(comparisons, run.looks),
        confidence_next=shared_confidence(comparisons, run.looks + 1),
    )


def _noise_floor(run: Run) -> NoiseFloor:
    floor = run.noise_floor
    if not floor.samples_ms:
        return floor
    ratios = paired_ratios(run.baseline.samples_ms, floor.samples_ms)
    return floor.model_copy(update={"ci95": median_interval(ratios, shared_confidence(1, run.looks))})


def _path(path: PathResult, run: Run, judgement: Judgement | None) -> PathResult:
    median_ms = median(path.samples_ms)
    conclusions: dict[str, object] = {
        "median_ms": median_ms,
        "ci95_ms": median_interval(path.samples_ms, shared_confidence(1, run.looks)),
        "real_tokens_per_s": run.experiment.batch.real_tokens / median_ms * 1000,
    }
    if judgement is None:
        conclusions |= {"speedup": 1.0, "verdict_reason": "the baseline"}
    else:
        ratio, interval, verdict = judgement
        conclusions |= {
            "speedup": ratio,
            "speedup_ci95": interval,
            "verdict": verdict.word,
            "verdict_reason": verdict.reason,
            "next_step": verdict.next_step,
        }
    return path.model_copy(update=conclusions)


def judged(
    baseline: Sequence[float],
    samples: Sequence[float],
    confidence: float,
    floor: Interval | None,
    situation: Situation,
) -> Judgement:
    """A path's paired speedup over the baseline, its interval at this confidence, and the verdict on it.

    Args:
        baseline: ms per call, one sample a round.
        samples: the same for the path, in the same rounds.
    """
    ratios = paired_ratios(baseline, samples)
    interval = median_interval(ratios, confidence)
    return speedup(ratios), interval, decide(interval, floor, situation)
