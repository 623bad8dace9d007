"""A queue in front of one or more machines: who waits, who is served where, and who comes next.

Knows no process, no thread and no clock; what it decides is in `fairness` and `estimates`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from engine.desk.estimates import left_s, starts_in_s
from engine.desk.fairness import Waiting, fair_order, next_for, place_of

_NEWCOMER = ""
"""Id of a request that nobody has made yet."""


class Turns:
    """Who waits and who is served.

    Args:
        one_each: whether a visitor is served at one machine only, whatever else is free.
    """

    def __init__(self, one_each: bool) -> None:
        self._one_each = one_each
        self._count = 0
        self._waiting: dict[str, Waiting] = {}
        self._served: dict[str, Waiting] = {}
        self._last_turns: dict[str, int] = {}

    def add(self, job_id: str, visitor: str, machine: str, expected_s: float) -> None:
        """Let a request wait."""
        self._waiting[job_id] = Waiting(job_id, visitor, machine, self._tick(), expected_s)

    def remove(self, job_id: str) -> None:
        """Take a request off the queue, if it is there."""
        self._waiting.pop(job_id, None)

    def hand_out(self, machines: Collection[str]) -> Iterator[tuple[str, str]]:
        """Give every free machine its next request; gives (machine, id of the request)."""
        for machine in machines:
            if machine not in self._served:
                chosen = next_for(machine, self.order(), self._sated())
                if chosen is not None:
                    self._served[machine] = self._waiting.pop(chosen.id)
                    yield machine, chosen.id

    def free(self, machine: str) -> None:
        """A machine has done its request."""
        visitor = self._served.pop(machine).visitor
        if any(request.visitor == visitor for request in self._waiting.values()):
            self._last_turns[visitor] = self._tick()
        else:
            # Whatever the visitor asks next arrives later than this turn, so that it need not be remembered.
            self._last_turns.pop(visitor, None)

    def order(self) -> list[Waiting]:
        """The queue, first come first."""
        served = [request.visitor for request in self._served.values()]
        return fair_order(self._waiting.values(), served, self._last_turns)

    def waits(self, job_id: str) -> bool:
        """Whether a request is in the queue."""
        return job_id in self._waiting

    def waiting_of(self, visitor: str) -> int:
        """How many requests of this visitor are in the queue."""
        return Counter(request.visitor for request in self._waiting.values())[visitor]

    def all_of(self, visitor: str) -> int:
        """How many requests of this visitor wait or are being served."""
        served = Counter(request.visitor for request in self._served.values())[visitor]
        return self.waiting_of(visitor) + served

    @property
    def lives(self) -> bool:
        """Whether anybody waits or is served."""
        return bool(self._waiting or self._served)

    @property
    def waiting(self) -> int:
        """How many requests are in the queue."""
        return len(self._waiting)

    @property
    def busy(self) -> frozenset[str]:
        """Machines that serve somebody."""
        return frozenset(self._served)

    def place(self, job_id: str) -> int:
        """How many requests come before this one, one that is served included; 0 for what does not wait."""
        request = self._waiting.get(job_id)
        return place_of(request, self.order(), self.busy) if request else 0

    def starts_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> dict[str, float]:
        """Estimate of the seconds until each request in the queue starts, by its id.

        Args:
            machines: those that are there.
            running_s: how long each request that is served has been running, by its id.
        """
        return starts_in_s(self.order(), self._free_in_s(machines, running_s))

    def newcomer_starts_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> float | None:
        """Estimate of the seconds until a new request would start; None where there is no machine."""
        newcomer = Waiting(_NEWCOMER, "", "", self._count + 1, 0.0)
        order = [*self.order(), newcomer]
        return starts_in_s(order, self._free_in_s(machines, running_s)).get(_NEWCOMER)

    def left_s(self, job_id: str, running_s: float) -> float | None:
        """Estimate of the seconds that what is being served still takes; None where it is not."""
        for request in self._served.values():
            if request.id == job_id:
                return left_s(request.expected_s, running_s)
        return None

    def _free_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> dict[str, float]:
        return {
            machine: left_s(self._served[machine].expected_s, running_s.get(self._served[machine].id, 0.0))
            if machine in self._served
            else 0.0
            for machine in machines
        }

    def _sated(self) -> frozenset[str]:
        served = frozenset(request.visitor for request in self._served.values())
        return served if self._one_each else frozenset()

    def _tick(self) -> int:
        self._count += 1
        return self._count
