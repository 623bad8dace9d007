"""The desk: queues requests, gives tickets, and runs one measurement at a time on each machine.

Each measurement gets a new child process, so that none inherits state. Loading and tokenizing go to the assistant,
one child that keeps its models and is restarted if it has died. The ledger holds the jobs; this module adds the
lock and the threads.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from engine.desk.backend import THIS_MACHINE, backend
from engine.desk.jobs import Job
from engine.desk.journal import Journal, open_journal
from engine.desk.ledger import EndState, Ledger
from engine.desk.limits import Limits
from engine.desk.machines import Machines
from engine.desk.process import Child, StartChild, local_child
from engine.desk.tickets import DeskView, Ticket, TicketView, opens
from engine.desk.worker import Worker
from engine.diagnosis import Diagnosis
from engine.errors import Refusal
from engine.events import CellDone, Event, Refused, Request, SweepRequest
from engine.records import Run
from engine.settings import Settings, load_settings
from engine.store.store import the_store
from engine.store.sweeps import the_sweeps
from engine.sweeps import Sweep, SweepCell

LOG = logging.getLogger(__name__)
TICK_S = 0.5
"""Seconds between two checks of the limits, while there is work."""
_ANCHOR = "_fastpath_desk"
_ANCHOR_LOCK = "_fastpath_desk_lock"


class Desk:
    """Thread-safe; returns immutable values only.

    Args:
        start_child: starts a child on a machine; may be slow; never called under the lock.
        machines: gives the names of the machines that can measure now; the empty name is this one.
        journal: keeps the queue across restarts; None keeps nothing.
        on_finished: gets each result before its ticket is done.
        on_cell: gets each cell of a sweep before its ticket counts it.
        clock: seconds, monotonic.
        now: the time of day, in UTC.
    """

    def __init__(  # noqa: PLR0913  (all have defaults)
        self,
        start_child: StartChild = local_child,
        machines: Callable[[], tuple[str, ...]] = lambda: (THIS_MACHINE,),
        *,
        journal: Journal | None = None,
        on_finished: Callable[[Run | Diagnosis], None] = lambda _result: None,
        on_cell: Callable[[Sweep, SweepCell], None] = lambda _sweep, _cell: None,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._start_child, self._on_finished, self._on_cell = start_child, on_finished, on_cell
        self._machines = Machines(machines, clock)
        self._ledger = Ledger(limits, self._machines, journal, clock, now)
        self._changed = threading.Condition()
        self._assistant = Worker(THIS_MACHINE, start_child, warm=True)
        self._workers: dict[str, Worker] = {}
        self._watched = False
        if journal is not None:
            self._machines.look()
            with self._changed:
                self._ledger.remember(journal.entries())
                self._hand_out()

    def submit(self, request: Request, visitor: str = "", machine: str = "", secret: str = "") -> Ticket:
        """Queue a request: measurements for a machine, anything else for the assistant.

        Args:
            visitor: who takes turns with other visitors; requests without a visitor count as one visitor.
            machine: the only machine that may run it; empty for the first free one.
            secret: what will allow to cancel it; empty for a new random secret.

        Raises:
            Refusal: the visitor's share is used up, or there is no such machine.
        """
        self._machines.look()
        with self._changed:
            ticket = self._ledger.take(request, visitor, machine, secret)
            self._hand_out()
        return ticket

    def snapshot(self, ticket_id: str) -> TicketView:
        """The state of a ticket now; the caller counts as a viewer, also from another visitor's session.

        Raises:
            Refusal: there is no such ticket, or its job ended long ago and was dropped.
        """
        with self._changed:
            job = self._ledger.find(ticket_id)
            self._ledger.seen(job.visitor)
            return self._ledger.shown(job)

    def wait(self, ticket_id: str, timeout_s: float) -> TicketView:
        """The state of a ticket once it has ended, or after this many seconds.

        Raises:
            Refusal: there is no such ticket, or its job ended long ago and was dropped.
        """
        with self._changed:
            job = self._ledger.find(ticket_id)
            self._changed.wait_for(lambda: job.view.ended, timeout_s)
            return self._ledger.shown(job)

    def owns(self, ticket: Ticket) -> bool:
        """Whether the secret is the ticket's, so that its holder may cancel.

        Raises:
            Refusal: there is no such ticket, or its job ended long ago and was dropped.
        """
        with self._changed:
            return opens(ticket.secret, self._ledger.find(ticket.id).digest)

    def cancel(self, ticket: Ticket) -> None:
        """Take the job off the queue, or kill its process group; does nothing once it has ended.

        Raises:
            Refusal: the secret is not the ticket's, or the ticket is no longer known.
        """
        with self._changed:
            job = self._ledger.find(ticket.id)
            if not opens(ticket.secret, job.digest):
                raise Refusal("Only the visitor who started this measurement can cancel it; it continues.")
            kept = "the cells that were complete are kept" if job.view.sweep_id else "your settings are kept"
            child = self._end(job, "cancelled", f"Cancelled; {kept}.")
        _kill(child)

    def seen(self, visitor: str) -> None:
        """Note that a viewer of this visitor is present: the visitor's queued jobs stay queued."""
        with self._changed:
            self._ledger.seen(visitor)

    def ticket_of_sweep(self, sweep_id: str) -> str:
        """The id of the ticket whose job measures this sweep, or waits to; empty where there is none."""
        with self._changed:
            return self._ledger.ticket_of_sweep(sweep_id)

    def view(self, visitor: str = "") -> DeskView:
        """How busy the machines are, and the place of this visitor's first measurement."""
        self._machines.look()
        with self._changed:
            return self._ledger.desk_view(visitor)

    def _hand_out(self) -> None:
        """Start waiting jobs on free machines; called under the lock, as are the next three methods."""
        for job, machine in self._ledger.hand_out():
            worker = self._worker(machine) if job.timed else self._assistant
            worker.job = job
            if not worker.open:
                # Threads start with the first request: an unused desk has none.
                worker.open = True
                _start(partial(self._work, worker), f"desk-{machine or 'here'}")
        if self._ledger.has_work and not self._watched:
            self._watched = True
            _start(self._watch, "desk-watch")
        self._changed.notify_all()

    def _worker(self, machine: str) -> Worker:
        if machine not in self._workers:
            self._workers[machine] = Worker(machine, self._start_child, warm=False)
        return self._workers[machine]

    def _end(self, job: Job, state: EndState, message: str) -> Child | None:
        """End a job early; gives the child to kill once the lock is released."""
        if not self._ledger.end(job, state, message):
            return None
        self._changed.notify_all()
        workers = (self._assistant, *self._workers.values())
        return next((worker.detach() for worker in workers if worker.job is job), None)

    def _close_workers(self) -> None:
        """End the threads of machines that have left."""
        for machine in self._workers.keys() - set(self._machines.names):
            if self._workers[machine].job is None:
                self._workers.pop(machine).open = False
                self._changed.notify_all()

    def _work(self, worker: Worker) -> None:
        """The thread of a worker: runs one job after another until the worker is closed."""
        while (job := self._next(worker)) is not None:
            request = job.request
            if request is not None:
                ending = self._answer(worker, job, request)
                stored = job.view.ended or self._keep(ending)
                with self._changed:
                    self._ledger.conclude(job, request, ending, stored=stored)
            with self._changed:
                worker.job = None
                self._ledger.free(job, worker.machine)
                self._hand_out()

    def _next(self, worker: Worker) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: worker.job is not None or not worker.open)
            return worker.job

    def _answer(self, worker: Worker, job: Job, request: Request) -> Event:
        begin, tell = partial(self._begin, worker, job), partial(self._tell, job, request)
        ending = worker.answer(request, begin, tell)
        lacks_memory = isinstance(ending, Refused) and ending.lack == "memory"
        if lacks_memory and worker is not self._assistant and self._ended_idle_assistant(worker.machine):
            return worker.answer(request, begin, tell)
        return ending

    def _begin(self, worker: Worker, job: Job) -> bool:
        with self._changed:
            begun = self._ledger.begin(job, worker.machine)
            self._changed.notify_all()
            return begun

    def _tell(self, job: Job, request: Request, event: Event) -> None:
        stored = True
        if isinstance(event, CellDone) and isinstance(request, SweepRequest):
            stored = self._keep_cell(request.sweep, event.cell)
        with self._changed:
            self._ledger.hear(job, event, stored=stored)
            self._changed.notify_all()

    def _ended_idle_assistant(self, machine: str) -> bool:
        """End the assistant if it is idle on this machine: its models take memory that a measurement needs."""
        with self._changed:
            idle = machine == THIS_MACHINE and self._assistant.job is None
            child = self._assistant.detach() if idle else None
        if child is not None:
            child.close()
        return child is not None

    def _keep(self, ending: Event) -> bool:
        """Store the result, if there is one; False if that fails: the visitor still gets it, the history lacks it."""
        result = getattr(ending, "run", None) or getattr(ending, "diagnosis", None)
        if result is not None:
            try:
                self._on_finished(result)
            except Exception:
                LOG.exception("a result could not be stored")
                return False
        return True

    def _keep_cell(self, sweep: Sweep, cell: SweepCell) -> bool:
        """Store a cell; False if that fails: the sweep goes on, and the cell can be measured again."""
        try:
            self._on_cell(sweep, cell)
        except Exception:
            LOG.exception("a cell of a sweep could not be stored")
            return False
        return True

    def _watch(self) -> None:
        """The thread that applies limits and updates the machines; it sleeps while there is no work."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ledger.has_work)
            self._machines.look()
            with self._changed:
                children = [self._end(*due) for due in self._ledger.due()]
                self._close_workers()
                self._hand_out()
            for child in children:
                _kill(child)
            time.sleep(TICK_S)


def _start(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def _kill(child: Child | None) -> None:
    if child is not None:
        child.kill()


def the_desk() -> Desk:
    """The one desk of this process.

    It is an attribute of `sys`, because any visitor can clear Streamlit's caches by one message, and Streamlit's
    file watcher removes project modules, with their globals, from `sys.modules` on every edit.
    """
    with sys.__dict__.setdefault(_ANCHOR_LOCK, threading.Lock()):
        if _ANCHOR not in sys.__dict__:
            sys.__dict__[_ANCHOR] = _open_desk(load_settings())
    desk: Desk = sys.__dict__[_ANCHOR]
    return desk


def _open_desk(settings: Settings) -> Desk:
    start_child, machines = backend(settings)
    return Desk(
        start_child,
        machines,
        journal=open_journal(settings.data_folder),
        on_finished=_keep_in_store,
        on_cell=_keep_cell_in_store,
        limits=Limits.of(settings),
    )


def _keep_in_store(result: Run | Diagnosis) -> None:
    if isinstance(result, Run):
        the_store().save(result)


def _keep_cell_in_store(sweep: Sweep, cell: SweepCell) -> None:
    the_sweeps().keep(sweep, cell)
