"""Estimates of how long jobs take, as pure functions of the jobs before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from engine.catalog.models import CATALOG
from engine.desk.fairness import Waiting
from engine.events import DoctorRequest, Request, RunRequest, SweepRequest, model_of
from engine.host import threads_here
from engine.sweeps import expected_s as expected_sweep_s

START_S = 15.0
"""A child's start, loading, warm-up and profile: the estimate before the first job has ended."""
LEAST_SHARE = 0.1
"""A job that runs longer than expected is assumed to need this share of the expected time again."""


@dataclass(frozen=True)
class Duration:
    """How long a job took."""

    do: str
    model: str
    seconds: float


def expected_s(request: Request, past: Sequence[Duration]) -> float:
    """Estimated seconds of a request: the median of the same kind and model, of the same kind, or from its budget.

    Sweeps differ too much in their number of cells, so a sweep is estimated from its plan.
    """
    if isinstance(request, SweepRequest):
        spec = CATALOG.get(request.plan.model)
        return expected_sweep_s(request.plan, spec.shape if spec else None, threads_here(), request.done)
    kind = [duration for duration in past if duration.do == request.do]
    like = [duration.seconds for duration in kind if duration.model == model_of(request)]
    seen = like or [duration.seconds for duration in kind]
    return median(seen) if seen else START_S + budget_s(request)


def budget_s(request: Request) -> float:
    """Longest time in seconds that a request asks its rounds to take."""
    if isinstance(request, RunRequest):
        return request.experiment.budget_s
    return request.budget_s if isinstance(request, DoctorRequest) else 0.0


def left_s(expected: float, running_s: float) -> float:
    """Estimated seconds until a running job ends."""
    return max(expected - running_s, expected * LEAST_SHARE)


def starts_in_s(order: Iterable[Waiting], free_in_s: Mapping[str, float]) -> dict[str, float]:
    """Seconds until each request of the queue starts, by its id; absent if no machine may run it.

    Args:
        order: the queue, first come first.
        free_in_s: seconds until each machine is free.
    """
    free, starts = dict(free_in_s), dict[str, float]()
    for request in order:
        machines = [machine for machine in free if request.may_go_to(machine)]
        if machines:
            first = min(machines, key=lambda machine: free[machine])
            starts[request.id] = free[first]
            free[first] += request.expected_s
    return starts
