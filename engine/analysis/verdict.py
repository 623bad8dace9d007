"""Faster, slower, same or not sure: one rule, applied to a speedup's interval (docs/how-we-decide.md).

A path is faster or slower only where its whole interval lies beyond the practical margin and beyond the noise
floor, which is the interval of the baseline against itself. What stays open gets one next step.
"""

from math import ceil, sqrt

from engine.analysis.stats import MIN_SAMPLES, half_width
from engine.records import Interval, Record, VerdictWord

MARGIN = 0.02
"""Differences smaller than this are of no practical use."""
MOST_ROUNDS_WORTH = 200
"""Where more rounds than this would be needed, more rounds are no advice."""


class Situation(Record):
    """What the verdict's advice depends on."""

    rounds: int
    round_s: float
    """Seconds that one round takes."""
    disturbance: str = ""
    """Why the machine was not quiet; empty where it was."""


class Verdict(Record):
    """A conclusion with its reason and, where it is open, one next step."""

    word: VerdictWord
    reason: str
    next_step: str = ""


def decide(
    interval: Interval | None, noise_floor: Interval | None, situation: Situation, margin: float = MARGIN
) -> Verdict:
    """The verdict on a path whose speedup has this interval.

    Args:
        interval: of the median paired speedup, None with too few rounds.
        noise_floor: the same for the baseline against itself.
        margin: practical margin; 0.02 calls differences within 2 % the same.
    """
    if interval is None:
        more = max(1, MIN_SAMPLES + 2 - situation.rounds)
        reason = f"{situation.rounds} rounds are too few for an interval"
        step = _quieter(situation) if situation.disturbance else _more_rounds(more, situation)
        return Verdict(word="not sure", reason=reason, next_step=step)
    bounds = _bounds(noise_floor, margin)
    low, high = interval
    if low > bounds[1]:
        return Verdict(word="faster", reason=f"the whole interval lies above {bounds[1]:.3g}x")
    if high < bounds[0]:
        return Verdict(word="slower", reason=f"the whole interval lies below {bounds[0]:.3g}x")
    if 1 / (1 + margin) <= low and high <= 1 + margin:
        return Verdict(word="same", reason=f"the whole interval lies within {margin:.0%} of the baseline")
    return Verdict(
        word="not sure",
        reason=_open_reason(interval, bounds, margin),
        next_step=_next_step(interval, bounds, margin, situation),
    )


def _bounds(noise_floor: Interval | None, margin: float) -> Interval:
    """Below the first a path is slower, above the second it is faster: the wider of margin and noise floor."""
    low, high = noise_floor or (1.0, 1.0)
    return min(1 / (1 + margin), low), max(1 + margin, high)


def _open_reason(interval: Interval, bounds: Interval, margin: float) -> str:
    wider = bounds[0] < 1 / (1 + margin) or bounds[1] > 1 + margin
    band = "what this machine makes of two equal paths" if wider else f"the practical margin of {margin:.0%}"
    seen, limits = (f"{low:.3g}x to {high:.3g}x" for low, high in (interval, bounds))
    return f"the interval {seen} touches {band} ({limits})"


def _next_step(interval: Interval, bounds: Interval, margin: float, situation: Situation) -> str:
    if situation.disturbance:
        return _quieter(situation)
    needed = rounds_needed(interval, bounds, margin, situation.rounds)
    if needed is None:
        return "The difference, if any, is about as small as what this machine can resolve: take the two as equal."
    return _more_rounds(needed - situation.rounds, situation)


def rounds_needed(interval: Interval, bounds: Interval, margin: float, rounds: int) -> int | None:
    """Rounds after which the interval would be off the open bounds, if it shrinks with the root of the rounds.

    None where that would take more than `MOST_ROUNDS_WORTH`.
    """
    middle = sqrt(interval[0] * interval[1])
    beyond = max(middle / bounds[1], bounds[0] / middle) - 1
    within = min((1 + margin) / middle, (1 + margin) * middle) - 1
    allowed = max(beyond, within)
    if allowed <= 0:
        return None
    shrink = half_width(interval) / allowed
    needed = max(rounds + 1, ceil(rounds * shrink * shrink))
    return needed if needed <= MOST_ROUNDS_WORTH else None


def _quieter(situation: Situation) -> str:
    return f"Measure again when the machine is quiet: {situation.disturbance}."


def _more_rounds(count: int, situation: Situation) -> str:
    seconds = count * situation.round_s
    return f"Measure {count} more round{'s' if count > 1 else ''}, about {_duration(seconds)}."


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    return f"{ceil(seconds)} s" if seconds < 100 else f"{ceil(seconds / 60)} minutes"
