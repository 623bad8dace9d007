"""Which path to choose after a run: the fastest that can be trusted, the simpler of two that are as fast; pure.

A path is trusted where its verdict is "faster", its answer agrees, and no profile refutes what it claims.
"""

from engine.analysis.break_even import break_even_batches
from engine.analysis.stats import median_interval, paired_ratios, speedup
from engine.analysis.verdict import MARGIN
from engine.records import Interval, PathResult, Record, Run

WORTH_AN_ERROR = 1.1
"""How many times faster a lower precision has to be than the pick with the same answer, to be offered beside it."""
NEVER = ("slow-train", "slow-grad")
"""Paths of the tutorial that nobody should run for inference, however they compare."""
SIMPLICITY = (
    "slow",  # the model as it is
    "fast-nested",  # the model as it is, torch's own switches as they stand by default
    "fast-mha",  # one of the switches turned
    "tutorial-mha",
    "bucketed",  # a few lines around the model: no more weights, nothing to install
    "packed",  # this project's module, and a second copy of the weights
    "compile",  # a C++ compiler, and a first call of many seconds
    "hf-sdpa",  # another library, and a second copy of the weights
    "onnxruntime",  # another library, an exported file, and memory that torch does not see
    "openvino",  # the same
)
"""From the simplest to the most involved; a path in a precision of its own ranks as its base, behind it."""


class Pick(Record):
    """A path to choose, with the facts that speak for and against it."""

    name: str
    speedup: float
    speedup_ci95: Interval | None
    max_abs_error: float
    """Largest difference to the baseline's hidden states."""
    error_share: float
    """Of the largest difference that is tolerated in its precision."""
    break_even_batches: int | None
    weights_mb: float | None
    as_fast: tuple[str, ...] = ()
    """Paths that cannot be told from it, and are less simple."""


class Recommendation(Record):
    """What to choose; where `exact` is None the baseline stays."""

    exact: Pick | None
    """The pick with the same answer."""
    approximate: Pick | None
    """In a lower precision and clearly faster still: for those who can live with its error."""
    gain: float | None = None
    """How many times faster `approximate` is than `exact`, or than the baseline where that stays."""


def recommend(run: Run) -> Recommendation | None:
    """What a run speaks for; None where it has nothing to compare with its baseline."""
    if not any(path.samples_ms and path.name != run.experiment.baseline for path in run.paths):
        return None
    trusted = [path for path in run.paths if is_trusted(path)]
    exact = _best([path for path in trusted if keeps_the_answer(run, path)])
    lower = _best([path for path in trusted if not keeps_the_answer(run, path)])
    against = exact[0] if exact else run.baseline
    gain = speedup(paired_ratios(against.samples_ms, lower[0].samples_ms)) if lower else None
    offered = lower if gain is not None and gain >= WORTH_AN_ERROR else None
    return Recommendation(
        exact=_pick(run, *exact) if exact else None,
        approximate=_pick(run, *offered) if offered else None,
        gain=gain if offered else None,
    )


def is_trusted(path: PathResult) -> bool:
    """Whether a path may be recommended at all."""
    refuted = path.evidence is not None and not path.evidence.ok
    agrees = path.agreement is not None and path.agreement.ok
    faster = path.status == "ok" and path.verdict == "faster"
    return faster and agrees and not refuted and path.name not in NEVER


def keeps_the_answer(run: Run, path: PathResult) -> bool:
    """Whether a path computes as exactly as was asked: in the experiment's precision or in fp32."""
    return path.dtype in ("fp32", run.experiment.dtype)


def _best(paths: list[PathResult]) -> tuple[PathResult, tuple[str, ...]] | None:
    """The simplest path that is as fast as the fastest, and the others that are."""
    if not paths:
        return None
    fastest = max(paths, key=lambda path: path.speedup or 0.0)
    equal = [path for path in paths if path is fastest or as_fast(path, fastest)]
    chosen = min(equal, key=lambda path: (_rank(path.name), -(path.speedup or 0.0)))
    return chosen, tuple(path.name for path in equal if path is not chosen)


def as_fast(path: PathResult, fastest: PathResult) -> bool:
    """Whether the interval of two paths' paired ratio lies within the practical margin."""
    interval = median_interval(paired_ratios(path.samples_ms, fastest.samples_ms))
    return interval is not None and interval[0] >= 1 / (1 + MARGIN) and interval[1] <= 1 + MARGIN


def _rank(name: str) -> tuple[int, bool]:
    base, _, precision = name.partition("@")
    place = SIMPLICITY.index(base) if base in SIMPLICITY else len(SIMPLICITY)
    return place, bool(precision)


def _pick(run: Run, path: PathResult, equal: tuple[str, ...]) -> Pick:
    agreement = path.agreement
    assert agreement is not None  # noqa: S101  (what is trusted agrees)
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
