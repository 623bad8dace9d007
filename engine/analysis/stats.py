"""Medians, percentiles and their intervals by order statistics, without assumptions about the noise; no scipy."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import count as counting
from math import ceil, log, sqrt

from engine.records import Interval, Record

CONFIDENCE = 0.95
MOST_HALVINGS = 24
"""How often a judgement's share of the risk is halved."""
LEAST_RISK = 2.0**-52
"""The share of each judgement after that. A smaller one would round its confidence to 1, which no number of samples
gives. As many judgements as a run may have rounds, of as many paths as it may have, still stay below 10 % together."""


class Percentile(Record):
    """A percentile, or how many more samples it needs."""

    q: float
    value: float | None
    missing: int
    """Samples still needed; 0 if there is a value."""


@lru_cache(maxsize=4096)
def interval_rank(count: int, confidence: float = CONFIDENCE) -> int | None:
    """Largest k with P(the median lies outside the k-th smallest to k-th largest of `count` samples) <= 1 - confidence.

    The number of samples below the median is binomial(count, 1/2). None if even the full range is too narrow.
    """
    tail, rank, ways, all_ways = 0.0, 0, 1, 2**count
    for below in range(count // 2):
        tail += ways / all_ways
        if 2 * tail > 1 - confidence:
            break
        rank = below + 1
        ways = ways * (count - below) // (below + 1)
    return rank or None


@lru_cache(maxsize=256)
def fewest_samples(confidence: float = CONFIDENCE) -> int:
    """Fewest samples that give an interval at this confidence: 6 for 95 %, 9 for eight intervals that share 95 %."""
    return next(n for n in counting(1) if interval_rank(n, confidence) is not None)


def middle_share(count: int, confidence: float = CONFIDENCE) -> float:
    """Share of the sorted samples that the median's interval spans; 1 if there is no interval."""
    rank = interval_rank(count, confidence)
    return 1.0 if rank is None else (count + 1 - 2 * rank) / (count + 1)


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Interval that contains the true median with at least this confidence; None with too few samples."""
    rank = interval_rank(len(samples), confidence)
    if rank is None:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


def samples_needed(q: float, confidence: float = CONFIDENCE) -> int:
    """Fewest samples of which the largest lies above the q-quantile with this confidence: q**n <= 1 - confidence.

    29 for p90, 59 for p95, 299 for p99 (the bound that MLPerf's load generator uses for early stopping).
    """
    return ceil(log(1 - confidence) / log(q))


def percentile(samples: Sequence[float], q: float) -> Percentile:
    """The q-quantile by nearest rank; with too few samples, how many are missing."""
    missing = max(0, samples_needed(q) - len(samples))
    value = None if missing else sorted(samples)[ceil(q * len(samples)) - 1]
    return Percentile(q=q, value=value, missing=missing)


def paired_ratios(baseline: Sequence[float], other: Sequence[float]) -> list[float]:
    """Baseline time / other time of each round: above 1 if the other is faster."""
    return [a / b for a, b in zip(baseline, other, strict=True)]


def speedup(ratios: Sequence[float]) -> float:
    """Median paired speedup; for an even number of rounds, the geometric mean of the two middle ratios.

    This is the exponential of the median log-ratio. It uses only divisions and a square root, which every machine
    rounds in the same way, so a stored run gives the same bits everywhere.
    """
    ordered = sorted(ratios)
    return sqrt(ordered[(len(ordered) - 1) // 2] * ordered[len(ordered) // 2])


def half_width(interval: Interval) -> float:
    """Half the width of a speedup's interval, relative to the geometric mean of its ends."""
    return sqrt(interval[1] / interval[0]) - 1


def shared_confidence(comparisons: int, looks: int = 1) -> float:
    """Confidence of each interval, so that several hold together with 95 % (Bonferroni).

    Args:
        looks: how many times the samples have been judged, with this time. The first judgement may be wrong in 5 % of
            cases, each further one in half as many as the one before. Together that is less than 10 %, however often
            a run is continued.
    """
    if looks - 1 > MOST_HALVINGS:
        return 1 - LEAST_RISK
    return 1 - (1 - CONFIDENCE) / (max(1, comparisons) * 2.0 ** (looks - 1))
