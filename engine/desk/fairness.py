"""The order of the queue, as pure functions of the waiting and the running requests.

Visitors take turns (round robin); a visitor's own requests keep their order.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A request in the queue.

    Attributes:
        machine: the only machine that may run it; empty for any.
        arrived: its number in the order of arrival.
        expected_s: estimate of how long it will take.
    """

    id: str
    visitor: str
    machine: str
    arrived: int
    expected_s: float

    def may_go_to(self, machine: str) -> bool:
        """Whether that machine may run it."""
        return self.machine in {"", machine}

    def competes_with(self, other: "Waiting") -> bool:
        """Whether some machine may run both."""
        return self.may_go_to(other.machine) or other.machine == ""


def fair_order(
    waiting: Iterable[Waiting], running: Collection[str], last_turns: Mapping[str, int]
) -> list[Waiting]:
    """The queue, first come first: round robin between visitors.

    A visitor's second request comes after everybody's first; a running request counts as a first. Ties go to the
    request that has waited longer: since its arrival, or since the visitor's last turn if that was later. That
    moment never changes, so no request waits for ever.

    Args:
        waiting: the queue in any order.
        running: visitors of the running requests, one entry for each request.
        last_turns: when a visitor's last turn ended, on the scale of `Waiting.arrived`.
    """
    ahead = Counter(running)
    ranked = []
    for request in sorted(waiting, key=lambda request: request.arrived):
        since = max(request.arrived, last_turns.get(request.visitor, 0))
        ranked.append((ahead[request.visitor], since, request.arrived, request))
        ahead[request.visitor] += 1
    return [request for *_, request in sorted(ranked, key=lambda rank: rank[:3])]


def next_for(machine: str, order: Iterable[Waiting], excluded: Collection[str] = ()) -> Waiting | None:
    """The first request that this machine may run, from a visitor who is not excluded."""
    for request in order:
        if request.may_go_to(machine) and request.visitor not in excluded:
            return request
    return None


def place_of(request: Waiting, order: Sequence[Waiting], busy: Collection[str]) -> int:
    """How many requests come before this one; one more if a machine that may run it is busy.

    Args:
        order: the queue, first come first.
        busy: machines that run a request.
    """
    before = order[: order.index(request)]
    is_busy = any(request.may_go_to(machine) for machine in busy)
    return sum(request.competes_with(other) for other in before) + is_busy
