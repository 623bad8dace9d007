"""The default time for rounds: the same on pages, on the command line and in the doctor. Pure."""

from math import inf

SECONDS_A_PATH = 5.0
"""The baseline's second run counts as a path: three paths have 20 s, nine have 50 s. With this, four paths on two cores
take less than a minute from a cold start to the verdict."""
STATES_OF_THE_DOCTOR = 3
"""The doctor times at least three states: the slow path, the model as it is, and the fastpath without sparsity."""


def default_budget_s(paths: int, most_s: float = inf) -> float:
    """Seconds of rounds for this number of paths; with more paths a round takes longer.

    Args:
        most_s: the limit from the settings (`max_budget_s`).
    """
    return min(SECONDS_A_PATH * (paths + 1), most_s)


def examination_budget_s(modifications: int = 0, most_s: float = inf) -> float:
    """The same for an examination: each modification of the model may add one cure, which is timed as well."""
    return default_budget_s(STATES_OF_THE_DOCTOR + modifications, most_s)
