"""The machines that can measure now; the answer is kept for a short time."""

import logging
import threading
from collections.abc import Callable

LOG = logging.getLogger(__name__)
LAST_S = 2.0
"""How long an answer stays valid: asking a cluster takes time."""
GRACE_S = 30.0
"""How long a machine may be away before the jobs for it alone fail."""


class Machines:
    """The machines that can measure; thread-safe.

    Args:
        list_machines: gives their names; may be slow, and is never called twice at once.
        clock: seconds, monotonic.
    """

    def __init__(self, list_machines: Callable[[], tuple[str, ...]], clock: Callable[[], float]) -> None:
        self._list_machines, self._clock = list_machines, clock
        self._asking = threading.Lock()
        self._asked: float | None = None
        self._seen: dict[str, float] = {}
        self.names: tuple[str, ...] = ()

    def look(self) -> None:
        """Update `names`, unless they are fresh or another thread updates them."""
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
        """Whether this machine has been away for longer than `GRACE_S`."""
        if machine in self.names:
            return False
        return self._clock() - self._seen.setdefault(machine, self._clock()) > GRACE_S

    def _ask(self) -> tuple[str, ...]:
        try:
            return tuple(self._list_machines())
        except Exception:
            # While the cluster cannot be reached, the queue waits.
            LOG.exception("the machines cannot be listed")
            return ()
