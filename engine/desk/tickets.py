"""What a visitor holds and sees of a piece of work: a ticket with its secret, and an immutable view.

A view changes only by `advanced`, a pure function of the view before and one event of the child.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.events import Download, Event
from engine.records import Batch, Interval, ModelCard, Run

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Ticket:
    """Proof of a submission: anybody may look by the id, only the holder of the secret may cancel."""

    id: str
    secret: str


@dataclass(frozen=True)
class TicketView:
    """One piece of work as it is now.

    Attributes:
        place: pieces of work that come first, the running one included; 0 once it runs.
        step: the stage of the work in words for people.
        speedups: 95 % interval of each path's speedup so far.
        message: why it failed or was refused, in one sentence for people.
    """

    id: str
    state: State = "queued"
    place: int = 0
    step: str = ""
    rounds_done: int = 0
    rounds_at_most: int = 0
    speedups: Mapping[str, Interval] = field(default_factory=dict)
    download: Download | None = None
    run: Run | None = None
    card: ModelCard | None = None
    batch: Batch | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


_CHANGES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "step": lambda event: {"step": event.text, "download": None},
    "download": lambda event: {"download": event},
    "round": lambda event: {
        "rounds_done": event.done,
        "rounds_at_most": event.at_most,
        "speedups": dict(event.speedups),
    },
    "finished": lambda event: {"state": "done", "run": event.run},
    "loaded": lambda event: {"state": "done", "card": event.card},
    "tokenized": lambda event: {"state": "done", "batch": event.batch},
    "refused": lambda event: {"state": "failed", "message": event.message},
    "failed": lambda event: {"state": "failed", "message": event.message},
}


def advanced(view: TicketView, event: Event) -> TicketView:
    """The view after one more event; a view that has ended stays as it is."""
    return view if view.ended else replace(view, **_CHANGES[event.kind](event))
