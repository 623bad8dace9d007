"""Faster, slower, same or not sure: one rule, applied to a speedup's interval.

A path is faster or slower only where its whole interval lies beyond the practical margin and beyond the noise
floor, which is the interval of the baseline against itself.
"""

from engine.analysis.stats import MIN_SAMPLES
from engine.records import Interval, Record, VerdictWord

MARGIN = 0.02
"""Differences smaller than this are of no practical use."""


class Verdict(Record):
    """A conclusion with its reason and, where it is open, one next step."""

    word: VerdictWord
    reason: str
    next_step: str = ""


def decide(
    interval: Interval | None, noise_floor: Interval | None, rounds: int, margin: float = MARGIN
) -> Verdict:
    """The verdict on a path whose speedup has this 95 % interval."""
    if interval is None:
        return Verdict(
            word="not sure",
            reason=f"{rounds} rounds are too few for an interval",
            next_step=f"Measure at least {MIN_SAMPLES} rounds.",
        )
    low, high = interval
    same_low, same_high = 1 / (1 + margin), 1 + margin
    floor_low, floor_high = noise_floor or (1.0, 1.0)
    if low > max(same_high, floor_high):
        return Verdict(
            word="faster", reason=f"the whole interval lies above {max(same_high, floor_high):.2f}x"
        )
    if high < min(same_low, floor_low):
        return Verdict(word="slower", reason=f"the whole interval lies below {min(same_low, floor_low):.2f}x")
    if same_low <= low and high <= same_high:
        return Verdict(word="same", reason=f"the whole interval lies within {margin:.0%} of the baseline")
    return Verdict(
        word="not sure",
        reason=f"the interval {low:.2f}x to {high:.2f}x does not separate from what this machine's noise can do",
        next_step="Measure more rounds while nothing else runs.",
    )
