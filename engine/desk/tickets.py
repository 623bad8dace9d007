"""Tickets with their secrets, and immutable views of a job and of the desk.

`advanced` gives the next view from the last one and one event of the child; it is pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Literal

from engine.diagnosis import Diagnosis
from engine.events import (
    CellDone,
    CellStarted,
    Diagnosed,
    Download,
    Event,
    Failed,
    Finished,
    Loaded,
    Refused,
    Round,
    Step,
    Swept,
    Tokenized,
)
from engine.records import Batch, Interval, ModelCard, Run

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "interrupted")
HISTORY_KEPT = 60
"""Most rounds whose intervals a view keeps, enough for a sparkline."""


@dataclass(frozen=True)
class Ticket:
    """Proof of a submission: anybody may read its state by the id; cancelling needs the secret."""

    id: str
    secret: str


def digest_of(secret: str) -> str:
    """The hash of a secret: the desk stores this and never the secret."""
    return sha256(secret.encode()).hexdigest()


def opens(secret: str, digest: str) -> bool:
    """Whether this secret has this digest."""
    return compare_digest(digest_of(secret), digest)


@dataclass(frozen=True)
class TicketView:
    """The state of one job.

    Attributes:
        title: model and batch of the request.
        place: jobs that come first, a running one included; 0 once it runs.
        wait_s: estimated seconds until it starts; None if unknown, or once it runs.
        left_s: estimated seconds until a running job ends; None if unknown. A sweep estimates it from its cells.
        machine: the machine that runs it, or that was requested; empty for this one.
        step: the stage of the job, as text for the user.
        stage: the same by its name (`engine.events.Step`); empty before the first.
        history: 95 % interval of each path's speedup after each of the last rounds, oldest first.
        run: the result; None once it is old: then only `run_id` is kept.
        stored: whether the result could be stored; True for a job without a result.
        sweep_id: of the sweep that it measures; empty for other jobs.
        cell: the place of the cell that is being measured, in words.
        cells_done, cells_of: complete cells of the sweep, and all its cells.
        cells_not_stored: complete cells of the sweep that could not be stored.
        message: why it failed or was refused, in one sentence for the user.
    """

    id: str
    state: State = "queued"
    title: str = ""
    place: int = 0
    wait_s: float | None = None
    left_s: float | None = None
    machine: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    step: str = ""
    stage: str = ""
    rounds_done: int = 0
    rounds_at_most: int = 0
    history: tuple[Mapping[str, Interval], ...] = ()
    download: Download | None = None
    run: Run | None = None
    run_id: str = ""
    stored: bool = True
    card: ModelCard | None = None
    batch: Batch | None = None
    diagnosis: Diagnosis | None = None
    sweep_id: str = ""
    cell: str = ""
    cells_done: int = 0
    cells_of: int = 0
    cells_not_stored: int = 0
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.state in ENDED


@dataclass(frozen=True)
class DeskView:
    """How busy the desk is; the sidebar shows it.

    Attributes:
        measuring: whether any machine measures now.
        waiting: measurements in the queue, of all visitors.
        place: the place of the visitor's first measurement, 0 if it runs; None if they have none.
        wait_s: estimated seconds until it starts, or until a new measurement would.
        machines: the machines that can measure; the empty name is this one.
        free: those of them that measure nothing now.
    """

    measuring: bool
    waiting: int
    place: int | None = None
    wait_s: float | None = None
    machines: tuple[str, ...] = ("",)
    free: tuple[str, ...] = ()


def advanced(view: TicketView, event: Event) -> TicketView:
    """The view after one more event; a view that has ended stays as it is."""
    if view.ended:
        return view
    match event:
        case Step(name=stage, text=text):
            return replace(view, step=text, stage=stage, download=None)
        case Download():
            return replace(view, download=event)
        case Round():
            return _after_round(view, event)
        case CellStarted() | CellDone():
            return _of_sweep(view, event)
        case _:
            return _ended(view, event)


def _of_sweep(view: TicketView, event: CellStarted | CellDone) -> TicketView:
    counted = replace(view, cells_done=event.done, cells_of=event.of)
    if isinstance(event, CellDone):
        return counted
    return replace(
        counted, cell=event.title, left_s=event.left_s, rounds_done=0, rounds_at_most=0, history=()
    )


def _after_round(view: TicketView, event: Round) -> TicketView:
    history = (*view.history, dict(event.speedups))[-HISTORY_KEPT:] if event.speedups else view.history
    return replace(
        view,
        rounds_done=event.done,
        rounds_at_most=event.at_most,
        history=history,
    )


def _ended(
    view: TicketView, event: Finished | Loaded | Tokenized | Diagnosed | Swept | Refused | Failed
) -> TicketView:
    done = replace(view, state="done", left_s=None)
    match event:
        case Refused(message=message) | Failed(message=message):
            return replace(view, state="failed", left_s=None, message=message)
        case Finished(run=run):
            return replace(done, run=run, run_id=run.id)
        case Loaded(card=card):
            return replace(done, card=card)
        case Tokenized(batch=batch):
            return replace(done, batch=batch)
        case Diagnosed(diagnosis=diagnosis):
            return replace(done, diagnosis=diagnosis)
        case Swept(done=cells, of=of):
            return replace(done, cells_done=cells, cells_of=of)
