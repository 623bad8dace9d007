"""Whose turn it is: the order of the queue, as pure functions of who waits and who was served.

Visitors take turns, however much each of them asks for; a visitor's own requests keep their order.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A request in the queue.

    Attributes:
        machine: the only machine it may go to; empty for any.
        arrived: number of its arrival, higher than that of anything before it.
        expected_s: estimate of how long it will take.
    """

    id: str
    visitor: str
    machine: str
    arrived: int
    expected_s: float

    def may_go_to(self, machine: str) -> bool:
        """Whether that machine may serve it."""
        return self.machine in {"", machine}

    def competes_with(self, other: "Waiting") -> bool:
        """Whether some machine may serve both."""
        return self.may_go_to(other.machine) or other.machine == ""


def fair_order(
    waiting: Iterable[Waiting], being_served: Collection[str], last_turns: Mapping[str, int]
) -> list[Waiting]:
    """The queue, first come first: round robin between visitors.

    A visitor's second request stands behind everybody's first, and one that is being served counts as a first. In
    a tie goes first who has waited longer: since the arrival, or since the visitor's last turn if that was later.
    That moment never changes, so nobody can be overtaken for ever.

    Args:
        waiting: the queue in any order.
        being_served: visitors of the requests that run now, one entry for each.
        last_turns: when a visitor's last turn ended, on the scale of `Waiting.arrived`.
    """
    ahead = Counter(being_served)
    ranked = []
    for request in sorted(waiting, key=lambda request: request.arrived):
        since = max(request.arrived, last_turns.get(request.visitor, 0))
        ranked.append((ahead[request.visitor], since, request.arrived, request))
        ahead[request.visitor] += 1
    return [request for *_, request in sorted(ranked, key=lambda rank: rank[:3])]


def next_for(machine: str, order: Iterable[Waiting], sated: Collection[str] = ()) -> Waiting | None:
    """The first of the queue that this machine may serve, but for visitors who have their share already."""
    for request in order:
        if request.may_go_to(machine) and request.visitor not in sated:
            return request
    return None


def place_of(request: Waiting, order: Sequence[Waiting], busy: Collection[str]) -> int:
    """How many requests come before this one, counting one that runs where it could go.

    Args:
        order: the queue, first come first.
        busy: machines that serve somebody now.
    """
    before = order[: order.index(request)]
    served_first = any(request.may_go_to(machine) for machine in busy)
    return sum(request.competes_with(other) for other in before) + served_first
