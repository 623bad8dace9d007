"""Which path to choose after a run: the fastest trusted path, or a simpler one that is as fast. Pure.

A path is trusted if its verdict is "faster", its answer agrees, and no profile refutes its claim.
"""

from engine.analysis.break_even import break_even_batches
from engine.analysis.stats import median_interval, paired_ratios, speedup
from engine.analysis.verdict import MARGIN
from engine.catalog.paths import path_spec
from engine.findings import Findings
from engine.records import Interval, PathResult, Record, Run

WORTH_AN_ERROR = 1.1
"""A path in lower precision is offered if it is at least this many times as fast as the exact pick."""


class Pick(Record):
    """A path to choose, with its gain and its costs."""

    name: str
    speedup: float
    speedup_ci95: Interval | None
    max_abs_error: float
    """Largest difference from the baseline's hidden states."""
    error_share: float
    """`max_abs_error` / the largest difference allowed in this precision."""
    break_even_batches: int | None
    weights_mb: float | None
    as_fast: tuple[str, ...] = ()
    """Paths that are as fast, but less simple."""


class Recommendation(Record):
    """Which path to choose; the baseline if `exact` is None."""

    exact: Pick | None
    """The pick with the same answer."""
    approximate: Pick | None
    """The pick in a lower precision, if it is clearly faster than `exact` and its error is acceptable."""
    gain: float | None = None
    """Speedup of `approximate` over `exact`, or over the baseline if there is no `exact`."""


def compared_paths(run: Findings) -> tuple[PathResult, ...]:
    """The measured paths except the baseline, fastest first."""
    measured = [p for p in run.paths if p.name != run.experiment.baseline and p.speedup is not None]
    return tuple(sorted(measured, key=lambda path: -(path.speedup or 0.0)))


def fastest_path(run: Findings, *, profiled: bool = False) -> PathResult | None:
    """The path with the largest speedup, except the baseline; None if there is none.

    Args:
        profiled: consider only paths with a profile.
    """
    return next((path for path in compared_paths(run) if path.profile or not profiled), None)


def recommend(run: Run) -> Recommendation | None:
    """The path to choose after this run; None if nothing was compared with the baseline."""
    if not any(path.samples_ms and path.name != run.experiment.baseline for path in run.paths):
        return None
    trusted = [path for path in run.paths if is_trusted(path)]
    exact = _best([path for path in trusted if keeps_the_answer(run, path)])
    lower = _best([path for path in trusted if not keeps_the_answer(run, path)])
    against = exact[0] if exact else run.baseline
    gain = speedup(paired_ratios(against.samples_ms, lower[0].samples_ms)) if lower else None
    offered = lower if gain is not None and gain >= WORTH_AN_ERROR else None
    return Recommendation(
        exact=pick_of(run, *exact) if exact else None,
        approximate=pick_of(run, *offered) if offered else None,
        gain=gain if offered else None,
    )


def recommended_path(run: Run) -> str:
    """Name of the path to choose after a run: the exact pick, or the baseline if there is none."""
    found = recommend(run)
    return found.exact.name if found and found.exact else run.experiment.baseline


def is_trusted(path: PathResult) -> bool:
    """Whether a path may be recommended at all."""
    refuted = path.evidence is not None and not path.evidence.ok
    agrees = path.agreement is not None and path.agreement.ok
    faster = path.status == "ok" and path.verdict == "faster"
    return faster and agrees and not refuted and path_spec(path.name).for_inference


def keeps_the_answer(run: Findings, path: PathResult) -> bool:
    """Whether a path computes in fp32 or in the precision that the experiment asks for."""
    return path.dtype in ("fp32", run.experiment.dtype)


def _best(paths: list[PathResult]) -> tuple[PathResult, tuple[str, ...]] | None:
    """The simplest path that is as fast as the fastest, and the other paths that are as fast."""
    if not paths:
        return None
    fastest = max(paths, key=lambda path: path.speedup or 0.0)
    equal = [path for path in paths if path is fastest or as_fast(path, fastest)]
    chosen = min(equal, key=lambda path: (_simplicity_key(path.name), -(path.speedup or 0.0)))
    return chosen, tuple(path.name for path in equal if path is not chosen)


def as_fast(path: PathResult, fastest: PathResult) -> bool:
    """Whether the interval of the paired ratio of two paths is within the practical margin."""
    interval = median_interval(paired_ratios(path.samples_ms, fastest.samples_ms))
    return interval is not None and interval[0] >= 1 / (1 + MARGIN) and interval[1] <= 1 + MARGIN


def _simplicity_key(name: str) -> tuple[int, bool]:
    """Sort key, simplest first; a variant in another precision comes right after its base."""
    spec = path_spec(name)
    return spec.simplicity_rank, spec.precision is not None


def pick_of(run: Findings, path: PathResult, equal: tuple[str, ...]) -> Pick:
    """A trusted path as a pick, with its gain and its costs.

    Args:
        equal: paths that are as fast, but less simple.
    """
    agreement = path.agreement
    assert agreement is not None  # noqa: S101  (a trusted path agrees)
    error = agreement.max_abs_error or 0.0
    return Pick(
        name=path.name,
        speedup=path.speedup or 1.0,
        speedup_ci95=path.speedup_ci95,
        max_abs_error=error,
        error_share=error / agreement.tolerance if agreement.tolerance else 0.0,
        break_even_batches=break_even_batches(run, path),
        weights_mb=path.weights_mb,
        as_fast=equal,
    )
