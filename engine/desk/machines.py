"""Which machines can measure now: asked now and then, and remembered in between."""

import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)
LAST_S = 2.0
"""How long an answer is used again, because asking a cluster takes time."""
GRACE_S = 30.0
"""How long a machine may be away before what was meant for it alone is given up."""


class Machines:
    """The machines that are there; thread-safe.

    Args:
        list_machines: their names; may be slow, and is never asked twice at once.
        clock: seconds, monotonic.
    """

    def __init__(self, list_machines: Callable[[], tuple[str, ...]], clock: Callable[[], float]) -> None:
        self._list_machines, self._clock = list_machines, clock
        self._asking = threading.Lock()
        self._asked: float | None = None
        self._seen: dict[str, float] = {}
        self.names: tuple[str, ...] = ()

    def look(self) -> None:
        """Ask again, unless the last answer is young or somebody else is asking."""
        if not self._asking.acquire(blocking=self._asked is None):
            return
        try:
            now = self._clock()
            if self._asked is None or now - self._asked >= LAST_S:
                self.names = self._ask()
                self._asked = now
                self._seen |= dict.fromkeys(self.names, now)
        finally:
            self._asking.release()

    def away(self, machine: str) -> bool:
        """Whether this machine has been gone for so long that nobody should wait for it."""
        if machine in self.names:
            return False
        return self._clock() - self._seen.setdefault(machine, self._clock()) > GRACE_S

    def _ask(self) -> tuple[str, ...]:
        try:
            return tuple(self._list_machines())
        except Exception:
            # An unreachable cluster is no reason to end the desk: its queue waits.
            LOG.exception("the machines cannot be listed")
            return ()
