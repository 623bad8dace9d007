"""How long rounds may take where nobody says so; the same on a page, on the command line and in the doctor. Pure."""

from dataclasses import dataclass
from math import inf

SECONDS_A_PATH = 5.0
"""The baseline's second run counts as a path: three paths have 20 s, nine have 50 s.

Four paths on two cores take under a minute from a cold start to the verdict.
"""
STATES_OF_THE_DOCTOR = 3
"""The doctor times at least three states: the slow path, the model as it is, and the fastpath without sparsity."""
SWEEP_SHARE, SWEEP_MOST = 0.5, 1.5
"""Time of the sparsity sweep / the rounds' budget: what it may use, and what it may use if its rounds are too few.

A round of MiniLM on the tutorial's big batch takes a third of a second on two cores. Eight of them at six ratios, with
their warm-ups, take about 25 s; half of the usual 20 s is never enough there.
"""


def default_budget_s(paths: int, most_s: float = inf) -> float:
    """Seconds of rounds for so many paths: the more there are, the longer a round is.

    Args:
        most_s: what the settings allow at most (`max_budget_s`).
    """
    return min(SECONDS_A_PATH * (paths + 1), most_s)


def examination_budget_s(modifications: int = 0, most_s: float = inf) -> float:
    """The same for an examination; everything that was done to the model on purpose may need a cure, which is timed."""
    return default_budget_s(STATES_OF_THE_DOCTOR + modifications, most_s)


@dataclass(frozen=True)
class SweepBudget:
    """How long the doctor's sparsity sweep may take, its warm-ups included.

    Attributes:
        usual_s: seconds after which it ends if every padding ratio has enough rounds for an interval.
        most_s: seconds after which it ends in any case.
    """

    usual_s: float
    most_s: float


def sweep_budget(rounds_s: float) -> SweepBudget:
    """The time for the sweep of an examination whose rounds may take this many seconds."""
    return SweepBudget(SWEEP_SHARE * rounds_s, SWEEP_MOST * rounds_s)
