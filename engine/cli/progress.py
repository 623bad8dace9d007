"""What a person sees and can do while a command measures: progress on standard error, and Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engine.cli.interrupts import tell_at_once
from engine.events import CellStarted, Download, Event, Round, Step
from engine.present.words.sweeps import cell_words

Tell = Callable[[Event], None]


@contextmanager
def stop_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C ends the rounds and keeps what was measured; the second one drops everything.

    Args:
        stop: tells the measuring process to end its rounds.
    """
    asked = False

    def interrupted(_signal: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop()
        tell_at_once("Stopping after this round; press again to drop everything.")

    previous = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def progress() -> Iterator[Tell]:
    """A line of progress that events update; nothing where standard error is not a terminal."""
    # Drawn only on an event, never by a timer thread, which would compete with the measurement.
    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    )
    task, cell = bars.add_task("Starting", total=None), ""

    def tell(event: Event) -> None:
        nonlocal cell
        if isinstance(event, CellStarted):
            cell = f"{cell_words(event.done, event.of, event.title, event.left_s)}. "
        elif isinstance(event, Step):
            bars.update(task, description=cell + event.text, total=None, completed=0)
        elif isinstance(event, Round):
            bars.update(task, total=event.at_most, completed=event.done)
        elif isinstance(event, Download):
            bars.update(
                task, description=f"Fetching {event.file}", total=event.total_mb, completed=event.received_mb
            )
        bars.refresh()

    with bars:
        yield tell
