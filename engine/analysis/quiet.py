"""Whether the machine was quiet while it measured, and if not, why: judged from the conditions of every round."""

from collections.abc import Sequence
from statistics import median

from engine.records import Conditions

OTHERS_SHARE = 0.10
"""If other processes use more than this share of the cores in the median round, the machine is not quiet."""
STEAL_SHARE = 0.02
"""The same for time that the hypervisor gave to another guest."""
SLOW_PULSE = 1.3
"""A pulse is slow if it takes more than this many times the median pulse."""
SLOW_PULSES = 0.2
"""If the pulse is slow in more than this share of the rounds, the machine is not quiet."""


def disturbances(conditions: Sequence[Conditions]) -> tuple[str, ...]:
    """Why the machine was not quiet: other processes first, then the hypervisor, then the pulse. Empty if it was."""
    if not conditions:
        return ()
    return tuple(filter(None, (_others(conditions), _steal(conditions), _pulses(conditions))))


def slow_pulses(conditions: Sequence[Conditions]) -> tuple[int, ...]:
    """Rounds, counted from 0, in which the pulse took far longer than in the others."""
    usual = median(round_.pulse_ms for round_ in conditions)
    return tuple(i for i, round_ in enumerate(conditions) if round_.pulse_ms > SLOW_PULSE * usual)


def _others(conditions: Sequence[Conditions]) -> str:
    shares = [round_.others_share for round_ in conditions if round_.others_share is not None]
    if not shares or median(shares) <= OTHERS_SHARE:
        return ""
    return f"other processes used {median(shares):.0%} of the CPU"


def _steal(conditions: Sequence[Conditions]) -> str:
    shares = [round_.steal_share for round_ in conditions if round_.steal_share is not None]
    if not shares or median(shares) <= STEAL_SHARE:
        return ""
    return f"the hypervisor took {median(shares):.0%} of the CPU for another guest"


def _pulses(conditions: Sequence[Conditions]) -> str:
    slow = len(slow_pulses(conditions))
    if slow <= SLOW_PULSES * len(conditions):
        return ""
    longer = f"more than {SLOW_PULSE:g} times its usual time"
    return f"a short test calculation took {longer} in {slow} of {len(conditions)} rounds"
