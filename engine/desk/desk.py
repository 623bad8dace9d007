"""The desk: takes requests, hands out tickets, and lets one measurement run at a time, in order of arrival.

Measurements get a fresh child each, so that none inherits another's state. Loading and tokenizing go to the
assistant, one warm child that keeps its models; it is started again when it has died.
"""

import logging
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from engine.desk.process import ChildDied, ChildProcess
from engine.desk.tickets import Ticket, TicketView, advanced
from engine.errors import Refusal
from engine.events import Event, Request

LOG = logging.getLogger(__name__)
TICKETS_KEPT = 500
_ANCHOR = "_fastpath_desk"


@dataclass
class _Job:
    ticket: Ticket
    request: Request
    view: TicketView


@dataclass
class _Lane:
    """A queue with one worker; `warm` keeps its child from one job to the next."""

    name: str
    warm: bool
    waiting: deque[_Job] = field(default_factory=deque)
    current: _Job | None = None
    child: ChildProcess | None = None
    thread: threading.Thread | None = None


@dataclass(frozen=True)
class DeskView:
    """How busy the desk is: what the machine chip shows."""

    measuring: bool
    waiting: int


class Desk:
    """Thread-safe; what it hands out is immutable."""

    def __init__(self, start_child: Callable[[], ChildProcess] = ChildProcess) -> None:
        self._start_child = start_child
        self._changed = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._measuring = _Lane("measuring", warm=False)
        self._assistant = _Lane("assistant", warm=True)

    def submit(self, request: Request) -> Ticket:
        """Queue a request: a run for the measuring lane, anything else for the assistant."""
        ticket = Ticket(id=secrets.token_hex(6), secret=secrets.token_urlsafe(16))
        job = _Job(ticket, request, TicketView(ticket.id))
        lane = self._measuring if request.do == "run" else self._assistant
        with self._changed:
            self._forget_old_tickets()
            self._jobs[ticket.id] = job
            lane.waiting.append(job)
            self._ensure_worker(lane)
            self._changed.notify_all()
        return ticket

    def snapshot(self, ticket_id: str) -> TicketView:
        """The state of a ticket now.

        Raises:
            Refusal: no such ticket, or one that ended so long ago that it was forgotten.
        """
        with self._changed:
            job = self._find(ticket_id)
            return replace(job.view, place=self._place(job))

    def wait(self, ticket_id: str, timeout_s: float) -> TicketView:
        """The state of a ticket once it has ended, or after this many seconds."""
        with self._changed:
            job = self._find(ticket_id)
            self._changed.wait_for(lambda: job.view.ended, timeout_s)
        return self.snapshot(ticket_id)

    def cancel(self, ticket: Ticket) -> None:
        """Take the ticket's work off the queue, or kill its process group; harmless once it has ended.

        Raises:
            Refusal: the secret is not the ticket's.
        """
        with self._changed:
            job = self._find(ticket.id)
            if not secrets.compare_digest(job.ticket.secret, ticket.secret):
                raise Refusal("Only the visitor who started this measurement can cancel it; it goes on.")
            if not job.view.ended:
                job.view = replace(job.view, state="cancelled", message="Cancelled; your settings are kept.")
                self._stop(job)
                self._changed.notify_all()

    def view(self) -> DeskView:
        """How busy the measuring lane is."""
        with self._changed:
            return DeskView(self._measuring.current is not None, len(self._measuring.waiting))

    def _find(self, ticket_id: str) -> _Job:
        job = self._jobs.get(ticket_id)
        if job is None:
            raise Refusal(
                "This measurement is not known here any more; your settings are kept: start it again."
            )
        return job

    def _place(self, job: _Job) -> int:
        for lane in (self._measuring, self._assistant):
            if job in lane.waiting:
                return lane.waiting.index(job) + (lane.current is not None)
        return 0

    def _stop(self, job: _Job) -> None:
        for lane in (self._measuring, self._assistant):
            if job in lane.waiting:
                lane.waiting.remove(job)
            elif job is lane.current and lane.child is not None:
                lane.child.kill()

    def _forget_old_tickets(self) -> None:
        ended = [ticket_id for ticket_id, job in self._jobs.items() if job.view.ended]
        for ticket_id in ended[: max(0, len(ended) - TICKETS_KEPT)]:
            del self._jobs[ticket_id]

    def _ensure_worker(self, lane: _Lane) -> None:
        # Started with the first request, so that a desk that nobody uses costs nothing.
        if lane.thread is None:
            lane.thread = threading.Thread(
                target=self._serve, args=(lane,), name=f"desk-{lane.name}", daemon=True
            )
            lane.thread.start()

    def _serve(self, lane: _Lane) -> None:
        while True:
            job = self._next(lane)
            try:
                self._work(lane, job)
            except ChildDied as death:
                self._fail(lane, job, str(death))
            except Exception:
                # The worker must outlive any defect, or every later ticket would wait for ever.
                LOG.exception("the %s lane could not do its work", lane.name)
                self._fail(lane, job, "The work could not be started or read; the server's log says why.")
            finally:
                self._release(lane)

    def _next(self, lane: _Lane) -> _Job:
        with self._changed:
            self._changed.wait_for(lambda: bool(lane.waiting))
            lane.current = lane.waiting.popleft()
            return lane.current

    def _work(self, lane: _Lane, job: _Job) -> None:
        child = self._child_for(lane)
        with self._changed:
            if job.view.ended:
                raise ChildDied("cancelled while the child was being started")
            job.view = replace(job.view, state="running")
            self._changed.notify_all()
        for event in child.ask(job.request):
            self._tell(job, event)

    def _child_for(self, lane: _Lane) -> ChildProcess:
        with self._changed:
            if lane.child is None or not lane.child.alive:
                if lane.child is not None:
                    lane.child.close()
                lane.child = self._start_child()
            return lane.child

    def _tell(self, job: _Job, event: Event) -> None:
        with self._changed:
            job.view = advanced(job.view, event)
            self._changed.notify_all()

    def _fail(self, lane: _Lane, job: _Job, message: str) -> None:
        with self._changed:
            child, lane.child = lane.child, None
            if not job.view.ended:
                job.view = replace(job.view, state="failed", message=message)
                LOG.error("%s: %s\n%s", lane.name, message, child.log_tail() if child else "")
            self._changed.notify_all()
        if child is not None:
            child.close()

    def _release(self, lane: _Lane) -> None:
        child = None
        with self._changed:
            lane.current = None
            if not lane.warm:
                child, lane.child = lane.child, None
        if child is not None:
            child.close()


def the_desk() -> Desk:
    """The one desk of this process.

    It hangs on `sys` because nothing else lasts: any visitor can clear Streamlit's caches by one message, and
    its file watcher throws project modules, with their globals, out of `sys.modules` on every edit.
    """
    desk: Desk = sys.__dict__.setdefault(_ANCHOR, Desk())
    return desk
