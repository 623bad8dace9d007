"""From a run's raw samples to its conclusions; pure, so any stored run can be concluded again by a newer rule."""

from collections.abc import Sequence
from statistics import median

from engine.analysis.quiet import disturbances
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.analysis.verdict import Situation, Verdict, decide
from engine.records import Environment, Interval, NoiseFloor, PathResult, Run


def concluded(run: Run) -> Run:
    """The same run with medians, intervals, speedups, verdicts and the quiet stamp computed from what was seen.

    The speedups' intervals hold together with 95 % confidence: with k comparisons, each is taken at 1 - 0.05 / k.
    """
    baseline = run.baseline.samples_ms
    floor = _noise_floor(run.noise_floor, baseline)
    measured = [path for path in run.paths if path.samples_ms]
    confidence = shared_confidence(len(measured) - 1)
    environment = _stamped(run)
    situation = _situation(run, environment)
    paths = tuple(
        _path(path, run, confidence, floor.ci95, situation) if path.samples_ms else path for path in run.paths
    )
    return run.model_copy(update={"paths": paths, "noise_floor": floor, "environment": environment})


def _stamped(run: Run) -> Environment:
    if not run.conditions:
        return run.environment
    known = [note for note in run.environment.notes if note.startswith("the process is held")]
    notes = (*known, *disturbances(run.conditions))
    return run.environment.model_copy(update={"quiet": not notes, "notes": notes})


def _situation(run: Run, environment: Environment) -> Situation:
    round_s = (
        sum(sum(path.samples_ms) * path.calls_per_sample for path in run.paths) / 1000 / max(1, run.rounds)
    )
    return Situation(rounds=run.rounds, round_s=round_s, disturbance="; ".join(environment.notes))


def _noise_floor(floor: NoiseFloor, baseline: Sequence[float]) -> NoiseFloor:
    if not floor.samples_ms:
        return floor
    return floor.model_copy(update={"ci95": median_interval(paired_ratios(baseline, floor.samples_ms))})


def _path(
    path: PathResult, run: Run, confidence: float, floor: Interval | None, situation: Situation
) -> PathResult:
    median_ms = median(path.samples_ms)
    conclusions: dict[str, object] = {
        "median_ms": median_ms,
        "ci95_ms": median_interval(path.samples_ms),
        "real_tokens_per_s": run.experiment.batch.real_tokens / median_ms * 1000,
    }
    if path.name == run.experiment.baseline:
        conclusions |= {"speedup": 1.0, "verdict_reason": "the baseline"}
    else:
        ratio, interval, verdict = judged(
            run.baseline.samples_ms, path.samples_ms, confidence, floor, situation
        )
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
) -> tuple[float, Interval | None, Verdict]:
    """A path's paired speedup over the baseline, its interval at this confidence, and the verdict on it.

    Args:
        baseline: ms per call, one sample a round.
        samples: the same of the path, in the same rounds.
    """
    ratios = paired_ratios(baseline, samples)
    interval = median_interval(ratios, confidence)
    return speedup(ratios), interval, decide(interval, floor, situation)
