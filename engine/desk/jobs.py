"""One piece of work as the desk keeps it: what was asked, by whom, and the view that visitors are shown."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from engine.desk.estimates import model_of
from engine.desk.journal import Ended, Entry, Queued, Started
from engine.desk.tickets import Ticket, TicketView, advanced, digest_of
from engine.events import Event, Request, RunRequest, Step

TIMED = ("run", "doctor")
"""Requests that measure time, so that only one of them may run at once on a machine."""
CUT_OFF = (
    "The server stopped in the middle of this measurement, so it was cut off and nothing of it was kept; "
    "start it again."
)
RUN_IN_STORE = "Measured before the server was started again; its result is in the history."


@dataclass
class Job:
    """Changed only under the desk's lock.

    Attributes:
        digest: of the ticket's secret, which only the visitor keeps.
        machine: the only machine it may go to; empty for any.
        timed: whether it measures time.
        request: None once it has ended.
        started: when it began, in seconds of the desk's clock; later while it waited for another program.
        heard: when the child told something last.
    """

    id: str
    digest: str
    visitor: str
    machine: str
    timed: bool
    request: Request | None
    view: TicketView
    started: float = 0.0
    heard: float = 0.0

    def begin(self, machine: str, clock_s: float, at: datetime) -> None:
        """A child is there."""
        self.started = self.heard = clock_s
        self.view = replace(self.view, state="running", machine=machine, started_at=at)

    def hear(self, event: Event, clock_s: float) -> None:
        """A child has told something."""
        self.heard = clock_s
        if isinstance(event, Step) and event.name == "wait":
            self.started = clock_s
        self.view = advanced(self.view, event)

    def close(self, at: datetime) -> None:
        """Nothing more will happen; the request is forgotten, because texts are long and private."""
        self.view = replace(self.view, ended_at=at)
        self.request = None

    def forget_result(self) -> None:
        """Keep of the result what a link needs: the run's id."""
        self.view = replace(self.view, run=None, diagnosis=None, batch=None, card=None, history=())

    def queued_line(self) -> Queued:
        """What the journal must know to queue it again."""
        assert self.view.queued_at is not None  # noqa: S101  (set with the ticket)
        return Queued(
            id=self.id,
            digest=self.digest,
            visitor=self.visitor,
            machine=self.machine,
            title=self.view.title,
            at=self.view.queued_at,
            request=self.request,
        )

    def started_line(self) -> Started:
        """What the journal must know once it runs."""
        return Started.model_validate(
            {"id": self.id, "machine": self.view.machine, "at": self.view.started_at}
        )

    def ended_line(self) -> Ended:
        """What the journal must know once it has ended."""
        view = self.view
        return Ended.model_validate(
            {
                "id": self.id,
                "state": view.state,
                "at": view.ended_at,
                "message": view.message,
                "run_id": view.run_id,
            }
        )


def new_job(request: Request, visitor: str, machine: str, at: datetime) -> tuple[Job, Ticket]:
    """A piece of work that waits, and the ticket for it."""
    ticket = Ticket(id=secrets.token_hex(6), secret=secrets.token_urlsafe(16))
    view = TicketView(ticket.id, title=title_of(request), machine=machine, queued_at=at)
    return Job(
        ticket.id, digest_of(ticket.secret), visitor, machine, request.do in TIMED, request, view
    ), ticket


def title_of(request: Request) -> str:
    """What a request asks for, in a few words."""
    batch = request.experiment.batch if isinstance(request, RunRequest) else getattr(request, "batch", None)
    return model_of(request) + (f", {batch.name}" if batch else "")


def remembered(entry: Entry) -> Job:
    """A piece of work as the journal knows it; what was running then has no child any more."""
    queued, started, ended = entry.queued, entry.started, entry.ended
    view = TicketView(
        queued.id,
        title=queued.title,
        machine=started.machine if started else queued.machine,
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
    # The folder for traces belonged to a session of the server that is gone.
    return request.model_copy(update={"trace_dir": None}) if isinstance(request, RunRequest) else request
