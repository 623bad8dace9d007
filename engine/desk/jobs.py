"""A job of the desk: the request, the visitor, and the view that is shown."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from engine.desk.journal import Ended, Entry, Queued, Started
from engine.desk.tickets import Ticket, TicketView, advanced, digest_of
from engine.events import CellDone, Event, Request, RunRequest, Step, SweepRequest, model_of

TIMED = ("run", "doctor", "sweep")
"""Requests that measure time: a machine runs only one of them at once."""
CUT_OFF = (
    "The server stopped in the middle of this measurement, so it was interrupted and nothing was kept; "
    "start it again."
)
SWEEP_CUT_OFF = (
    "The server stopped in the middle of this sweep. The cells that were complete are kept: "
    "open the sweep and resume it."
)
RUN_IN_STORE = "Measured before the server was restarted; the result is in the history."
NOT_IN_STORE = (
    "This was measured before the server was restarted, but its result could not be stored, so it is lost; "
    "measure it again."
)


@dataclass
class Job:
    """Changed only under the desk's lock.

    Attributes:
        digest: hash of the ticket's secret; only the visitor has the secret.
        machine: the only machine that may run it; empty for any.
        timed: whether it measures time.
        request: None once it has ended.
        started: when it began, in seconds of the desk's clock; reset while it waits for another program.
        limited_from: from when on the limit of its time counts: its start, or that of a sweep's present cell.
        heard: when the child sent its last event.
    """

    id: str
    digest: str
    visitor: str
    machine: str
    timed: bool
    request: Request | None
    view: TicketView
    started: float = 0.0
    limited_from: float = 0.0
    heard: float = 0.0

    def begin(self, machine: str, clock_s: float, at: datetime) -> None:
        """A child for this job has started."""
        self.started = self.limited_from = self.heard = clock_s
        self.view = replace(self.view, state="running", machine=machine, started_at=at)

    def hear(self, event: Event, clock_s: float) -> None:
        """The child has sent an event."""
        self.heard = clock_s
        if isinstance(event, Step) and event.name == "wait":
            self.started = self.limited_from = clock_s
        if isinstance(event, CellDone):
            self.limited_from = clock_s
        self.view = advanced(self.view, event)

    def close(self, at: datetime) -> None:
        """The job has ended; its request is dropped, because texts are long and private."""
        self.view = replace(self.view, ended_at=at)
        self.request = None

    def forget_result(self) -> None:
        """Drop the result but for the run's id, which links need."""
        self.view = replace(self.view, run=None, diagnosis=None, batch=None, card=None, history=())

    def queued_line(self) -> Queued:
        """The journal line from which it can be queued again."""
        assert self.view.queued_at is not None  # noqa: S101  (set with the ticket)
        return Queued(
            id=self.id,
            digest=self.digest,
            visitor=self.visitor,
            machine=self.machine,
            title=self.view.title,
            sweep_id=self.view.sweep_id,
            at=self.view.queued_at,
            request=self.request,
        )

    def started_line(self) -> Started:
        """The journal line of its start."""
        return Started.model_validate(
            {"id": self.id, "machine": self.view.machine, "at": self.view.started_at}
        )

    def ended_line(self) -> Ended:
        """The journal line of its end; after a restart, a result that was not stored is lost."""
        view = self.view
        how = {"state": view.state, "message": view.message, "run_id": view.run_id}
        if not view.stored:
            how = {"state": "interrupted", "message": NOT_IN_STORE}
        return Ended.model_validate({"id": self.id, "at": view.ended_at, **how})


def new_job(
    request: Request, visitor: str, machine: str, at: datetime, secret: str = ""
) -> tuple[Job, Ticket]:
    """A waiting job and its ticket.

    Args:
        secret: the ticket's secret; empty for a new random one.
    """
    ticket = Ticket(id=secrets.token_hex(6), secret=secret or secrets.token_urlsafe(16))
    view = TicketView(
        ticket.id, title=title_of(request), machine=machine, queued_at=at, sweep_id=sweep_id_of(request)
    )
    return Job(
        ticket.id, digest_of(ticket.secret), visitor, machine, request.do in TIMED, request, view
    ), ticket


def sweep_id_of(request: Request) -> str:
    """The id of the sweep that a request measures; empty for other requests."""
    return request.id if isinstance(request, SweepRequest) else ""


def title_of(request: Request) -> str:
    """Model and batch of a request, as a title."""
    if isinstance(request, SweepRequest):
        return request.title
    batch = request.experiment.batch if isinstance(request, RunRequest) else getattr(request, "batch", None)
    return model_of(request) + (f", {batch.name}" if batch else "")


def remembered(entry: Entry) -> Job:
    """The job of a journal entry; a job that was running then has no child now."""
    queued, started, ended = entry.queued, entry.started, entry.ended
    view = TicketView(
        queued.id,
        title=queued.title,
        machine=started.machine if started else queued.machine,
        sweep_id=queued.sweep_id,
        queued_at=queued.at,
        started_at=started.at if started else None,
    )
    if ended is not None:
        message = ended.message or (RUN_IN_STORE if ended.run_id else "")
        view = replace(view, state=ended.state, ended_at=ended.at, message=message, run_id=ended.run_id)
    elif started is not None:
        view = replace(view, state="running")
    request = _again(queued.request)
    return Job(queued.id, queued.digest, queued.visitor, queued.machine, True, request, view)


def _again(request: Request | None) -> Request | None:
    # The folder for traces belonged to a session of the earlier server.
    return request.model_copy(update={"trace_dir": None}) if isinstance(request, RunRequest) else request
