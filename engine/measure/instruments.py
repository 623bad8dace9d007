"""What measuring is handed from outside: somebody to tell, clocks, a wish to stop, a place for traces."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.events import Event
from engine.measure.rounds import Clock


@dataclass(frozen=True)
class Instruments:
    """What an experiment is handed from outside.

    Attributes:
        tell: is given an event at every step and round.
        clock: seconds, monotonic.
        now: the time of day that the run is stamped with.
        stop_asked: asked after every round; True ends the rounds and keeps what was measured.
        trace_dir: folder for Chrome traces, one file a path; None writes none.
    """

    tell: Callable[[Event], None]
    clock: Clock
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    stop_asked: Callable[[], bool] = lambda: False
    trace_dir: Path | None = None
