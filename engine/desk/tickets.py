"""What a visitor holds and sees: a ticket with its secret, and immutable views of a piece of work and of the desk.

A view changes only by `advanced`, a pure function of the view before and one event of the child.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Literal

from engine.diagnosis import Diagnosis
from engine.events import Download, Event
from engine.records import Batch, Interval, ModelCard, Run

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "interrupted")
HISTORY_KEPT = 60
"""Most rounds whose intervals a view keeps, enough for a sparkline."""


@dataclass(frozen=True)
class Ticket:
    """Proof of a submission: anybody may look by the id, only the holder of the secret may cancel."""

    id: str
    secret: str


def digest_of(secret: str) -> str:
    """What is kept of a secret: enough to recognise it, not enough to use it."""
    return sha256(secret.encode()).hexdigest()


def opens(secret: str, digest: str) -> bool:
    """Whether this secret is the one of this digest."""
    return compare_digest(digest_of(secret), digest)


@dataclass(frozen=True)
class TicketView:
    """One piece of work as it is now.

    Attributes:
        title: what is asked for, in a few words.
        place: pieces of work that come first, a running one included; 0 once it runs.
        wait_s: estimate of the seconds until it starts; None where nobody can tell, or once it runs.
        left_s: estimate of the seconds that a running one still takes; None where nobody can tell.
        machine: the machine that measures it, or that was asked for; empty for this one.
        step: the stage of the work in words for people.
        speedups: 95 % interval of each path's speedup so far.
        history: the same after each of the last rounds, oldest first.
        run: what was measured; None once it is so old that only `run_id` is kept.
        message: why it failed or was refused, in one sentence for people.
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
    rounds_done: int = 0
    rounds_at_most: int = 0
    speedups: Mapping[str, Interval] = field(default_factory=dict)
    history: tuple[Mapping[str, Interval], ...] = ()
    download: Download | None = None
    run: Run | None = None
    run_id: str = ""
    card: ModelCard | None = None
    batch: Batch | None = None
    diagnosis: Diagnosis | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


@dataclass(frozen=True)
class DeskView:
    """How busy the desk is: what the machine chip shows.

    Attributes:
        measuring: whether anything is measured now, on any machine.
        waiting: measurements in the queue, of all visitors.
        place: the visitor's own place, 0 where theirs runs; None where they have none.
        wait_s: estimate of the seconds until the visitor's own starts, or until a new one would.
        machines: those that measure now or could; the empty name is this one.
        free: those of them that measure nothing.
    """

    measuring: bool
    waiting: int
    place: int | None = None
    wait_s: float | None = None
    machines: tuple[str, ...] = ("",)
    free: tuple[str, ...] = ()


_CHANGES: dict[str, Callable[[TicketView, Any], dict[str, Any]]] = {
    "step": lambda _view, event: {"step": event.text, "download": None},
    "download": lambda _view, event: {"download": event},
    "round": lambda view, event: {
        "rounds_done": event.done,
        "rounds_at_most": event.at_most,
        "speedups": dict(event.speedups),
        "history": _with(view.history, event.speedups),
    },
    "finished": lambda _view, event: {"state": "done", "run": event.run, "run_id": event.run.id},
    "loaded": lambda _view, event: {"state": "done", "card": event.card},
    "tokenized": lambda _view, event: {"state": "done", "batch": event.batch},
    "diagnosed": lambda _view, event: {"state": "done", "diagnosis": event.diagnosis},
    "refused": lambda _view, event: {"state": "failed", "message": event.message},
    "failed": lambda _view, event: {"state": "failed", "message": event.message},
}


def advanced(view: TicketView, event: Event) -> TicketView:
    """The view after one more event; a view that has ended stays as it is."""
    return view if view.ended else replace(view, **_CHANGES[event.kind](view, event))


def _with(
    history: tuple[Mapping[str, Interval], ...], speedups: Mapping[str, Interval]
) -> tuple[Mapping[str, Interval], ...]:
    return (*history, dict(speedups))[-HISTORY_KEPT:] if speedups else history
