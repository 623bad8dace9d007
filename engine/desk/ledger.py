"""All jobs of the desk and the rules by which their state changes; the one source of truth.

Uses no process and no thread: the desk calls it under its lock and hands in the clocks.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Literal

from engine.desk.backend import THIS_MACHINE
from engine.desk.estimates import Duration, expected_s
from engine.desk.jobs import CUT_OFF, SWEEP_CUT_OFF, Job, new_job, remembered
from engine.desk.journal import Ended, Entry, Journal, Queued, Started
from engine.desk.limits import (
    Limits,
    abandoned,
    machine_gone,
    overdue,
    quick_share_used_up,
    share_used_up,
)
from engine.desk.machines import Machines
from engine.desk.tickets import DeskView, Ticket, TicketView
from engine.desk.turns import Turns
from engine.errors import Refusal
from engine.events import Event, Request, model_of

TICKETS_KEPT = 500
RESULTS_KEPT = 50
"""Ended jobs whose result stays in memory. Older ones keep the run's id; the store has the run."""
DURATIONS_KEPT = 100

EndState = Literal["failed", "cancelled", "interrupted"]


class Ledger:
    """Jobs, their queue and their journal; not thread-safe.

    Args:
        machines: the machines that can measure; the assistant runs on this one.
        journal: keeps the queue across restarts; None keeps nothing.
        clock: seconds, monotonic.
        now: the time of day, in UTC.
    """

    def __init__(
        self,
        limits: Limits,
        machines: Machines,
        journal: Journal | None,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._limits, self._machines, self._journal = limits, machines, journal
        self._clock, self._now = clock, now
        self._jobs: dict[str, Job] = {}
        self._measuring, self._quick = Turns(limits.one_each), Turns(one_each=False)
        self._durations: deque[Duration] = deque(maxlen=DURATIONS_KEPT)
        self._seen: dict[str, float] = {}

    @property
    def has_work(self) -> bool:
        """Whether any job waits or runs."""
        return self._measuring.has_work or self._quick.has_work

    def find(self, ticket_id: str) -> Job:
        """The job of a ticket.

        Raises:
            Refusal: there is no such ticket, or its job ended long ago and was dropped.
        """
        job = self._jobs.get(ticket_id)
        if job is None:
            raise Refusal("This measurement is no longer known here; your settings are kept: start it again.")
        return job

    def shown(self, job: Job) -> TicketView:
        """The view of a job now, with its place in the queue and its estimates."""
        turns = self._turns(job)
        if turns.waits(job.id):
            machines = self._machines.names if job.timed else (THIS_MACHINE,)
            wait_s = turns.starts_in_s(machines, self._running_s()).get(job.id)
            return replace(job.view, place=turns.place(job.id), wait_s=wait_s)
        if job.view.state == "running" and job.view.left_s is None:
            return replace(job.view, left_s=turns.left_s(job.id, self._clock() - job.started))
        return job.view

    def timed_of(self, visitor: str) -> tuple[TicketView, ...]:
        """The measurements and examinations of a visitor, newest first."""
        own = [job for job in self._jobs.values() if job.timed and job.visitor == visitor]
        return tuple(self.shown(job) for job in reversed(own))

    def ticket_of_sweep(self, sweep_id: str) -> str:
        """The id of the live job of this sweep; empty where there is none."""
        live = (job.id for job in self._jobs.values() if job.view.sweep_id == sweep_id and not job.view.ended)
        return next(live, "")

    def desk_view(self, visitor: str) -> DeskView:
        """How busy the machines are, and the place of this visitor's first measurement."""
        machines, busy = self._machines.names, self._measuring.busy
        own = [view for view in self.timed_of(visitor) if not view.ended]
        first = min(own, key=lambda view: view.place, default=None)
        newcomer_s = self._measuring.newcomer_starts_in_s(machines, self._running_s())
        return DeskView(
            measuring=bool(busy),
            waiting=self._measuring.waiting,
            place=first.place if first else None,
            wait_s=first.wait_s if first else newcomer_s,
            machines=machines,
            free=tuple(machine for machine in machines if machine not in busy),
        )

    def take(self, request: Request, visitor: str, machine: str, secret: str = "") -> Ticket:
        """Queue a request; its ticket has this secret, or a new random one.

        Raises:
            Refusal: the visitor's share is used up, or there is no such machine.
        """
        job, ticket = new_job(request, visitor, machine, self._now(), secret)
        self._check(job)
        self._forget_old()
        if job.timed:
            self._write(job.queued_line())
        self._queue(job, request)
        return ticket

    def remember(self, entries: Iterable[Entry]) -> None:
        """Take over an earlier server's journal: waiting jobs stay queued, running ones are interrupted."""
        for entry in entries:
            job = remembered(entry)
            if job.request is not None and job.view.state == "queued":
                self._queue(job, job.request)
            else:
                self._jobs[job.id] = job
                self.end(job, "interrupted", SWEEP_CUT_OFF if job.view.sweep_id else CUT_OFF)

    def seen(self, visitor: str) -> None:
        """Note that a viewer of this visitor is present."""
        if visitor in self._seen:
            self._seen[visitor] = self._clock()

    def hand_out(self) -> list[tuple[Job, str]]:
        """Start the next job of every free machine; gives (job, machine) for each."""
        chosen = [
            *self._measuring.hand_out(self._machines.names),
            *self._quick.hand_out((THIS_MACHINE,)),
        ]
        return [(self._jobs[job_id], machine) for machine, job_id in chosen]

    def begin(self, job: Job, machine: str) -> bool:
        """A child for this job has started; False if the job has ended meanwhile."""
        if job.view.ended:
            return False
        job.begin(machine, self._clock(), self._now())
        if job.timed:
            self._write(job.started_line())
        return True

    def hear(self, job: Job, event: Event, *, stored: bool = True) -> None:
        """The child has sent an event that is not an ending.

        Args:
            stored: False if it is a cell of a sweep that could not be stored.
        """
        job.hear(event, self._clock())
        if not stored:
            job.view = replace(job.view, cells_not_stored=job.view.cells_not_stored + 1)

    def conclude(self, job: Job, request: Request, ending: Event, *, stored: bool = True) -> None:
        """The child has answered or died; a job that has ended already stays as it is.

        Args:
            stored: False if there is a result that could not be stored.
        """
        if not job.view.ended:
            job.hear(ending, self._clock())
            job.view = replace(job.view, stored=stored)
            self._close(job)
            if job.view.state == "done":
                seconds = self._clock() - job.started
                self._durations.append(Duration(request.do, model_of(request), seconds))

    def end(self, job: Job, state: EndState, message: str) -> bool:
        """End a job early; False if it has ended already."""
        if job.view.ended:
            return False
        self._turns(job).remove(job.id)
        job.view = replace(job.view, state=state, message=message)
        self._close(job)
        return True

    def free(self, job: Job, machine: str) -> None:
        """Mark the machine of an ended job as free."""
        self._turns(job).free(machine)

    def due(self) -> list[tuple[Job, EndState, str]]:
        """Jobs that must end now: (job, state, reason)."""
        return [(job, *end) for job in self._jobs.values() if (end := self._end_due(job)) is not None]

    def _end_due(self, job: Job) -> tuple[EndState, str] | None:
        now = self._clock()
        if job.view.state == "running":
            since = job.limited_from if self._limits.cells_apart else job.started
            sentence = overdue(self._limits, now - since, now - job.heard)
            return ("failed", sentence) if sentence else None
        if not self._measuring.waits(job.id):
            return None
        if job.machine and self._machines.away(job.machine):
            return "failed", machine_gone(job.machine)
        if job.visitor and now - self._seen[job.visitor] > self._limits.grace_s:
            return "cancelled", abandoned(self._limits)
        return None

    def _check(self, job: Job) -> None:
        if job.machine and job.machine not in self._machines.names:
            raise Refusal(machine_gone(job.machine))
        if job.timed:
            used_up = share_used_up(self._limits, self._measuring.waiting_of(job.visitor))
        else:
            used_up = quick_share_used_up(self._limits, self._quick.all_of(job.visitor))
        if used_up:
            raise Refusal(used_up)

    def _queue(self, job: Job, request: Request) -> None:
        self._jobs[job.id] = job
        self._seen[job.visitor] = self._clock()
        self._turns(job).add(job.id, job.visitor, job.machine, expected_s(request, self._durations))

    def _close(self, job: Job) -> None:
        job.close(self._now())
        if job.timed:
            self._write(job.ended_line())

    def _turns(self, job: Job) -> Turns:
        return self._measuring if job.timed else self._quick

    def _running_s(self) -> dict[str, float]:
        running = (job for job in self._jobs.values() if job.view.state == "running")
        return {job.id: self._clock() - job.started for job in running}

    def _write(self, line: Queued | Started | Ended) -> None:
        if self._journal is not None:
            self._journal.write(line)

    def _forget_old(self) -> None:
        ended = [job for job in self._jobs.values() if job.view.ended]
        for job in _all_but_last(RESULTS_KEPT, ended):
            job.forget_result()
        for job in _all_but_last(TICKETS_KEPT, ended):
            del self._jobs[job.id]
        owners = {job.visitor for job in self._jobs.values()}
        self._seen = {visitor: at for visitor, at in self._seen.items() if visitor in owners}


def _all_but_last(count: int, jobs: list[Job]) -> Iterator[Job]:
    return iter(jobs[: max(0, len(jobs) - count)])
