"""The child process that measures for a command: started with an allocator, stopped by Ctrl-C, read until it ends.

A command so measures in the same way as the desk, and its own process imports no torch.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import typer

from engine.allocator import allocator_settings
from engine.catalog.models import find_model
from engine.cli.exits import DEFECT
from engine.cli.progress import Tell, progress, stop_on_interrupt
from engine.cli.streams import tell_user
from engine.desk.process import PROJECT, ChildDied, ChildProcess
from engine.diagnosis import Diagnosis
from engine.errors import Refusal
from engine.events import (
    ENDINGS,
    CellDone,
    Diagnosed,
    DoctorRequest,
    Download,
    Event,
    Failed,
    Finished,
    Refused,
    RunRequest,
    Step,
    SweepRequest,
    allocator_of,
    model_of,
)
from engine.host import measuring_environment
from engine.records import Allocator, Run
from engine.sweeps import SweepCell

# -P keeps the user's folder off the path: a file called torch.py in it must not be imported.
COMMAND = (sys.executable, "-P", "-m", "engine", "child")
NOT_YET_MEASURING = ("wait", "load", "compile")
Measuring = RunRequest | DoctorRequest | SweepRequest


def measure(request: RunRequest) -> Run:
    """Measure an experiment in a new child process.

    Raises:
        Refusal: it cannot be met, or the child ended before it answered.
    """
    ending = _ending(request)
    assert isinstance(ending, Finished)  # noqa: S101  (the only good ending of a run)
    return ending.run


def examine(request: DoctorRequest) -> Diagnosis:
    """Let the doctor examine a model of the catalogue in a new child process.

    Raises:
        Refusal: it cannot be met, or the child ended before it answered.
    """
    ending = _ending(request)
    assert isinstance(ending, Diagnosed)  # noqa: S101  (the only good ending of an examination)
    return ending.diagnosis


def sweep_cells(request: SweepRequest, keep: Callable[[SweepCell], None]) -> None:
    """Measure the missing cells of a sweep in a new child process, until all are complete or Ctrl-C stops it.

    Args:
        keep: gets each cell when it is complete.

    Raises:
        Refusal: it cannot be met, or the child ended before all cells were complete.
    """

    def hear(event: Event) -> None:
        if isinstance(event, CellDone):
            keep(event.cell)

    _ending(request, hear)


def restart_for(allocator: Allocator) -> None:
    """Restart this command as a process with this allocator; return if the process has it already.

    For the user's own code, which runs in the command's process, with its terminal, folder and tracebacks.
    """
    environment = measuring_environment(allocator)
    if allocator_settings(environment) != allocator_settings(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  (this very command)


def _ending(request: Measuring, hear: Callable[[Event], None] = lambda _event: None) -> Event:
    """The last event of a request.

    Args:
        hear: gets every event before it.
    """
    title = find_model(model_of(request)).title
    # In the user's folder, because models, traces and settings may be named from there.
    child = ChildProcess(COMMAND, Path.cwd(), _environment(allocator_of(request) or "system"))
    try:
        with progress() as tell:
            tell(Step(name="load", text=f"Loading {title}"))
            ending = _last_event(child, request, (hear, tell))
    except ChildDied as death:
        _print_log(child)
        raise Refusal(_death_words(death, isinstance(request, SweepRequest))) from None
    finally:
        child.close()
    if isinstance(ending, Failed):
        _print_log(child)
        tell_user(ending.message)
        raise typer.Exit(DEFECT)
    if isinstance(ending, Refused):
        raise Refusal(ending.message)
    return ending


def _last_event(child: ChildProcess, request: Measuring, listeners: Iterable[Tell]) -> Event:
    """The last event of a request. Before measuring begins, Ctrl-C drops everything; after that it ends the rounds."""
    measuring = False
    with ExitStack() as stack:
        for event in child.ask(request):
            if isinstance(event, ENDINGS):
                return event
            if not measuring and not _is_before_measuring(event):
                stack.enter_context(stop_on_interrupt(child.stop))
                measuring = True
            for listener in listeners:
                listener(event)
    raise AssertionError("a child that does not answer has died")


def _is_before_measuring(event: Event) -> bool:
    return isinstance(event, Download) or (isinstance(event, Step) and event.name in NOT_YET_MEASURING)


def _environment(allocator: Allocator) -> dict[str, str]:
    environment = measuring_environment(allocator)
    path = [str(PROJECT), *filter(None, [environment.get("PYTHONPATH", "")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(path)}


def _print_log(child: ChildProcess) -> None:
    if log := child.log_tail():
        tell_user(log)


def _death_words(death: ChildDied, of_sweep: bool) -> str:
    lost = "so the sweep is not complete" if of_sweep else "so nothing was measured"
    if death.killed:
        return (
            f"The system killed the measuring process, most often because memory ran out, {lost}: "
            "try a smaller model or batch."
        )
    return f"The measuring process ended before it answered, {lost}; its last output is above."
