"""Faster, slower, same or not sure: one rule, applied to a speedup's interval (docs/how-we-decide.md).

A path is faster or slower only if its whole interval lies beyond the practical margin and beyond the noise floor.
The noise floor is the interval of the baseline against itself. "Not sure" comes with one next step.
"""

from math import ceil, sqrt

from engine.analysis.stats import CONFIDENCE, fewest_samples, half_width, middle_share
from engine.records import Interval, Record, VerdictWord

RULE_VERSION = 1
"""Raised when the same samples may get another verdict than before."""
MARGIN = 0.02
"""Smaller differences do not matter in practice."""
MOST_USEFUL_ROUNDS = 200
"""If more rounds than this would be needed, the next step does not suggest more rounds."""
ROUNDS_TO_SPARE = 2
"""Rounds beyond the fewest that give an interval: the first interval is as wide as the range of the samples."""


class Situation(Record):
    """Facts of the run that the next step depends on."""

    rounds: int
    round_s: float
    """Seconds that one round takes."""
    disturbance: str = ""
    """Why the machine was not quiet; empty if it was."""
    confidence: float = CONFIDENCE
    """Confidence of the interval."""
    confidence_next: float = CONFIDENCE
    """Confidence of the interval after the run is continued."""


class Verdict(Record):
    """A conclusion with its reason and, if it is open, one next step."""

    word: VerdictWord
    reason: str
    next_step: str = ""
    more_rounds: int = 0
    """Predicted number of rounds that would settle it; 0 if it is settled or cannot be predicted."""


def decide(
    interval: Interval | None, noise_floor: Interval | None, situation: Situation, margin: float = MARGIN
) -> Verdict:
    """The verdict on a path whose speedup has this interval.

    Args:
        interval: of the median paired speedup, None with too few rounds.
        noise_floor: the same for the baseline against itself.
        margin: practical margin; with 0.02, differences within 2 % are the same.
    """
    if interval is None:
        more = max(1, fewest_samples(situation.confidence_next) + ROUNDS_TO_SPARE - situation.rounds)
        return _not_sure(f"{situation.rounds} rounds are too few for an interval", more, situation)
    bounds = _bounds(noise_floor, margin)
    low, high = interval
    if low > bounds[1]:
        return Verdict(word="faster", reason=f"the whole interval lies above {bounds[1]:.3g}x")
    if high < bounds[0]:
        return Verdict(word="slower", reason=f"the whole interval lies below {bounds[0]:.3g}x")
    if 1 / (1 + margin) <= low and high <= 1 + margin:
        return Verdict(word="same", reason=f"the whole interval lies within {margin:.0%} of the baseline")
    needed = rounds_needed(interval, bounds, margin, situation)
    return _not_sure(_open_reason(interval, bounds, margin), needed and needed - situation.rounds, situation)


def _bounds(noise_floor: Interval | None, margin: float) -> Interval:
    """Below the first a path is slower, above the second it is faster: the wider of margin and noise floor."""
    low, high = noise_floor or (1.0, 1.0)
    return min(1 / (1 + margin), low), max(1 + margin, high)


def _open_reason(interval: Interval, bounds: Interval, margin: float) -> str:
    wider = bounds[0] < 1 / (1 + margin) or bounds[1] > 1 + margin
    band = "the noise floor" if wider else f"the margin of {margin:.0%}, which counts as no difference"
    seen, limits = (f"{low:.3g}x to {high:.3g}x" for low, high in (interval, bounds))
    return f"the interval {seen} overlaps {band} ({limits})"


def _not_sure(reason: str, more: int | None, situation: Situation) -> Verdict:
    """An open verdict with its one next step.

    Args:
        more: rounds that would settle it; None if that would take too many.
    """
    if situation.disturbance:
        step = f"Measure again when the machine is quiet: {situation.disturbance}."
    elif more is None:
        step = (
            f"More than {MOST_USEFUL_ROUNDS} rounds would be needed, or the difference is inside the noise: "
            "in practice, take the two as equal."
        )
    else:
        step = _more_rounds(more, situation)
    return Verdict(word="not sure", reason=reason, next_step=step, more_rounds=more or 0)


def rounds_needed(interval: Interval, bounds: Interval, margin: float, situation: Situation) -> int | None:
    """Total number of rounds after which the verdict would be clear, if the noise stays the same.

    An interval spans a share of the sorted ratios. The share shrinks with the number of rounds and grows with the
    confidence. None if that would take more than `MOST_USEFUL_ROUNDS`.
    """
    middle = sqrt(interval[0] * interval[1])
    beyond = max(middle / bounds[1], bounds[0] / middle) - 1
    within = min((1 + margin) / middle, (1 + margin) * middle) - 1
    allowed = max(beyond, within)
    width = half_width(interval)
    if allowed <= 0 or width <= 0:
        return None
    share = middle_share(situation.rounds, situation.confidence) * allowed / width
    more = range(situation.rounds + 1, MOST_USEFUL_ROUNDS + 1)
    return next((n for n in more if middle_share(n, situation.confidence_next) <= share), None)


def _more_rounds(count: int, situation: Situation) -> str:
    seconds = count * situation.round_s
    return f"Measure {count} more round{'s' if count > 1 else ''}, about {duration_text(seconds)}."


def duration_text(seconds: float) -> str:
    """A rounded duration in words."""
    if seconds < 1:
        return "a second"
    return f"{ceil(seconds)} s" if seconds < 100 else f"{ceil(seconds / 60)} minutes"
