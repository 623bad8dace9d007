"""What answers requests at one machine, one after another: fresh children that measure, or one that stays warm.

A child is owned by its worker until it is detached; who detaches it ends it.
"""

import logging
import threading
from collections.abc import Callable

from engine.desk.jobs import Job
from engine.desk.process import Child, ChildDied, StartChild
from engine.events import ENDINGS, Event, Failed, Request

LOG = logging.getLogger(__name__)


class Worker:
    """One request at a time; `detach` may be called by any thread, the rest by the worker's own.

    Attributes:
        machine: where its children run; the empty name is this machine.
        job: what it works on; kept by the desk, under the desk's lock.
        open: whether it has a thread; likewise, and the thread ends where it is set back.
    """

    def __init__(self, machine: str, start_child: StartChild, warm: bool) -> None:
        self.machine = machine
        self.job: Job | None = None
        self.open = False
        self._start_child, self._warm = start_child, warm
        self._guard = threading.Lock()
        self._child: Child | None = None

    def answer(self, request: Request, begin: Callable[[], bool], tell: Callable[[Event], None]) -> Event:
        """The ending of a request; a death or a defect is told as a failure.

        Args:
            begin: called when a child is there; False where nobody wants the answer any more.
            tell: is given every event but the ending.
        """
        try:
            return self._answer(request, begin, tell)
        except ChildDied as death:
            return Failed(message=str(death))
        except Exception:
            # The worker must outlive any defect, or every later ticket would wait for ever.
            LOG.exception("the worker of machine %r could not do its work", self.machine)
            return Failed(message="The work could not be started or read; the server's log says why.")

    def detach(self) -> Child | None:
        """Take the child away from the worker, to end it."""
        with self._guard:
            child, self._child = self._child, None
            return child

    def _answer(self, request: Request, begin: Callable[[], bool], tell: Callable[[Event], None]) -> Event:
        child, rested = self._child_at_work()
        heard = answered = False
        try:
            if not begin():
                return Failed(message="Cancelled while the measuring process was being started.")
            for event in child.ask(request):
                heard = True
                if isinstance(event, ENDINGS):
                    answered = True
                    return event
                tell(event)
        except ChildDied:
            if self._owns(child):  # else it was ended on purpose
                LOG.warning("a child of machine %r died\n%s", self.machine, child.log_tail())
            if heard or not (rested and self._owns(child)):
                raise
        finally:
            if not (answered and self._warm and self._owns(child)):
                self._part_with(child)
        # A warm child may have left between two requests, when memory was short: that is nobody's failure.
        return self._answer(request, begin, tell)

    def _child_at_work(self) -> tuple[Child, bool]:
        """A child, and whether it has rested here since an earlier request."""
        with self._guard:
            if self._child is not None and self._child.alive:
                return self._child, True
        old = self.detach()
        if old is not None:
            old.close()
        child = self._start_child(self.machine)
        with self._guard:
            self._child = child
        return child, False

    def _owns(self, child: Child) -> bool:
        with self._guard:
            return self._child is child

    def _part_with(self, child: Child) -> None:
        with self._guard:
            if self._child is child:
                self._child = None
        child.close()
