"""What measuring gets from outside: a receiver of events, clocks, a request to stop, a folder for traces."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.events import Event
from engine.measure.rounds import Clock


@dataclass(frozen=True)
class Instruments:
    """What an experiment gets from outside.

    Attributes:
        tell: receives an event at every step and round.
        clock: seconds, monotonic.
        now: the date and time for the run's record.
        stop_asked: called after every round; True ends the rounds and keeps what was measured.
        trace_dir: folder for Chrome traces, one file a path; None writes none.
    """

    tell: Callable[[Event], None]
    clock: Clock
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    stop_asked: Callable[[], bool] = lambda: False
    trace_dir: Path | None = None
