"""From a run's raw samples to its conclusions; pure, so any stored run can be concluded again by a newer rule."""

from collections.abc import Sequence
from statistics import median

from engine.analysis.stats import median_interval, paired_log_ratios, speedup, speedup_interval
from engine.analysis.verdict import decide
from engine.records import NoiseFloor, PathResult, Run


def concluded(run: Run) -> Run:
    """The same run with medians, intervals, speedups and verdicts computed from its samples."""
    baseline = run.baseline.samples_ms
    floor = _noise_floor(run.noise_floor, baseline)
    paths = tuple(_path(path, run, baseline, floor) if path.samples_ms else path for path in run.paths)
    return run.model_copy(update={"paths": paths, "noise_floor": floor})


def _noise_floor(floor: NoiseFloor, baseline: Sequence[float]) -> NoiseFloor:
    if not floor.samples_ms:
        return floor
    interval = speedup_interval(paired_log_ratios(baseline, floor.samples_ms))
    return floor.model_copy(update={"ci95": interval})


def _path(path: PathResult, run: Run, baseline: Sequence[float], floor: NoiseFloor) -> PathResult:
    median_ms = median(path.samples_ms)
    conclusions: dict[str, object] = {
        "median_ms": median_ms,
        "ci95_ms": median_interval(path.samples_ms),
        "real_tokens_per_s": run.experiment.batch.real_tokens / median_ms * 1000,
    }
    if path.name == run.experiment.baseline:
        conclusions |= {"speedup": 1.0, "verdict_reason": "the baseline"}
    else:
        ratios = paired_log_ratios(baseline, path.samples_ms)
        interval = speedup_interval(ratios)
        verdict = decide(interval, floor.ci95, len(ratios))
        conclusions |= {
            "speedup": speedup(ratios),
            "speedup_ci95": interval,
            "verdict": verdict.word,
            "verdict_reason": verdict.reason,
            "next_step": verdict.next_step,
        }
    return path.model_copy(update=conclusions)
