"""Runs the requests of one machine one after another: in a new child each, or in one child that is kept.

A worker owns its child until the child is detached; the caller of `detach` must end it.
"""

import logging
import threading
from collections.abc import Callable

from engine.desk.jobs import Job
from engine.desk.process import Child, ChildDied, StartChild
from engine.events import ENDINGS, Event, Failed, Request, allocator_of
from engine.records import Allocator

LOG = logging.getLogger(__name__)


class Worker:
    """Runs one request at a time. Any thread may call `detach`; only the worker's own thread calls the rest.

    Attributes:
        machine: where its children run; the empty name is this machine.
        job: its current job; set by the desk, under the desk's lock.
        open: whether it has a thread; set by the desk too. The thread ends once it is False.
    """

    def __init__(self, machine: str, start_child: StartChild, warm: bool) -> None:
        self.machine = machine
        self.job: Job | None = None
        self.open = False
        self._start_child, self._warm = start_child, warm
        self._guard = threading.Lock()
        self._child: Child | None = None
        self._allocator: Allocator = "system"

    def answer(self, request: Request, begin: Callable[[], bool], tell: Callable[[Event], None]) -> Event:
        """The last event of a request; a dead child or a defect gives a `Failed`.

        Args:
            begin: called once a child has started; returns False if the job has ended meanwhile.
            tell: gets every event but the last.
        """
        try:
            return self._answer(request, begin, tell)
        except ChildDied as death:
            return Failed(message=str(death))
        except Exception:
            # The worker goes on after any defect, else every later job would wait for ever.
            LOG.exception("the worker of machine %r failed", self.machine)
            return Failed(
                message="The measurement could not be started, or its process sent something unreadable; "
                "the server's log says why."
            )

    def detach(self) -> Child | None:
        """Take the child from the worker, in order to end it."""
        with self._guard:
            child, self._child = self._child, None
            return child

    def _answer(self, request: Request, begin: Callable[[], bool], tell: Callable[[Event], None]) -> Event:
        child, reused = self._started_child(allocator_of(request))
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
            if self._owns(child):  # else the desk ended it
                LOG.warning("a child of machine %r died\n%s", self.machine, child.log_tail())
            # Ask again only if a reused child died before its first event.
            if heard or not (reused and self._owns(child)):
                raise
        finally:
            if not (answered and self._warm and self._owns(child)):
                self._close_child(child)
        # A kept child may exit between two requests, when memory is short: start another and ask again.
        return self._answer(request, begin, tell)

    def _started_child(self, allocator: Allocator | None) -> tuple[Child, bool]:
        """A child, and whether it has answered an earlier request.

        Args:
            allocator: the one it must have been started for; None for any.
        """
        with self._guard:
            fits = allocator in (None, self._allocator)
            if self._child is not None and self._child.alive and fits:
                return self._child, True
        old = self.detach()
        if old is not None:
            old.close()
        child = self._start_child(self.machine, allocator or "system")
        with self._guard:
            self._child, self._allocator = child, allocator or "system"
        return child, False

    def _owns(self, child: Child) -> bool:
        with self._guard:
            return self._child is child

    def _close_child(self, child: Child) -> None:
        with self._guard:
            if self._child is child:
                self._child = None
        child.close()
