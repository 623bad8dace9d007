"""The queue of one or more machines: which requests wait, which run where, and which is next.

Uses no process, thread or clock; the rules are in `fairness` and `estimates`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from engine.desk.estimates import left_s, starts_in_s
from engine.desk.fairness import Waiting, fair_order, next_for, place_of

_NEWCOMER = ""
"""Id of an assumed new request."""


class Turns:
    """Waiting and running requests.

    Args:
        one_each: whether a visitor may have only one running request, even if machines are free.
    """

    def __init__(self, one_each: bool) -> None:
        self._one_each = one_each
        self._count = 0
        self._waiting: dict[str, Waiting] = {}
        self._running: dict[str, Waiting] = {}
        self._last_turns: dict[str, int] = {}

    def add(self, job_id: str, visitor: str, machine: str, expected_s: float) -> None:
        """Put a request into the queue."""
        self._waiting[job_id] = Waiting(job_id, visitor, machine, self._tick(), expected_s)

    def remove(self, job_id: str) -> None:
        """Take a request off the queue; does nothing if it is not there."""
        self._waiting.pop(job_id, None)

    def hand_out(self, machines: Collection[str]) -> Iterator[tuple[str, str]]:
        """Start the next request of every free machine; yields (machine, id of the request)."""
        for machine in machines:
            if machine not in self._running:
                chosen = next_for(machine, self.order(), self._with_full_share())
                if chosen is not None:
                    self._running[machine] = self._waiting.pop(chosen.id)
                    yield machine, chosen.id

    def free(self, machine: str) -> None:
        """Mark a machine as free: its request has ended."""
        visitor = self._running.pop(machine).visitor
        if any(request.visitor == visitor for request in self._waiting.values()):
            self._last_turns[visitor] = self._tick()
        else:
            # The visitor's next request arrives after this turn, so this turn cannot change its place.
            self._last_turns.pop(visitor, None)

    def order(self) -> list[Waiting]:
        """The queue, first come first."""
        running = [request.visitor for request in self._running.values()]
        return fair_order(self._waiting.values(), running, self._last_turns)

    def waits(self, job_id: str) -> bool:
        """Whether a request is in the queue."""
        return job_id in self._waiting

    def waiting_of(self, visitor: str) -> int:
        """How many requests of this visitor are in the queue."""
        return Counter(request.visitor for request in self._waiting.values())[visitor]

    def all_of(self, visitor: str) -> int:
        """How many requests of this visitor wait or run."""
        running = Counter(request.visitor for request in self._running.values())[visitor]
        return self.waiting_of(visitor) + running

    @property
    def has_work(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def waiting(self) -> int:
        """How many requests are in the queue."""
        return len(self._waiting)

    @property
    def busy(self) -> frozenset[str]:
        """Machines that run a request."""
        return frozenset(self._running)

    def place(self, job_id: str) -> int:
        """How many requests come before this one, a running one included; 0 if it is not in the queue."""
        request = self._waiting.get(job_id)
        return place_of(request, self.order(), self.busy) if request else 0

    def starts_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> dict[str, float]:
        """Estimated seconds until each waiting request starts, by its id.

        Args:
            machines: the machines that can measure now.
            running_s: how long each running request has run, by its id.
        """
        return starts_in_s(self.order(), self._free_in_s(machines, running_s))

    def newcomer_starts_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> float | None:
        """Estimated seconds until a new request would start; None without a machine."""
        newcomer = Waiting(_NEWCOMER, "", "", self._count + 1, 0.0)
        order = [*self.order(), newcomer]
        return starts_in_s(order, self._free_in_s(machines, running_s)).get(_NEWCOMER)

    def left_s(self, job_id: str, running_s: float) -> float | None:
        """Estimated seconds until a running request ends; None if it does not run, or takes longer than expected."""
        for request in self._running.values():
            if request.id == job_id and running_s < request.expected_s:
                return left_s(request.expected_s, running_s)
        return None

    def _free_in_s(self, machines: Collection[str], running_s: Mapping[str, float]) -> dict[str, float]:
        return {
            machine: left_s(self._running[machine].expected_s, running_s.get(self._running[machine].id, 0.0))
            if machine in self._running
            else 0.0
            for machine in machines
        }

    def _with_full_share(self) -> frozenset[str]:
        running = frozenset(request.visitor for request in self._running.values())
        return running if self._one_each else frozenset()

    def _tick(self) -> int:
        self._count += 1
        return self._count
