"""The commands, and what a command ends with.

The commands are models, paths, modifications, run, tutorial, sweep, doctor, compare, conclude, report, script and
link.
Results go to standard output, progress and refusals to standard error; a refusal exits with code 2. torch is
imported only by the commands that measure or examine.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress

import typer

from engine.cli.comparing import compare, conclude
from engine.cli.examining import doctor
from engine.cli.exits import DEFECT, REFUSED
from engine.cli.exporting import report, script
from engine.cli.interrupts import INTERRUPTED, STOPPED
from engine.cli.linking import link
from engine.cli.listing import models, modifications, paths
from engine.cli.measuring import run, tutorial
from engine.cli.streams import GuardedFile, guard_streams, tell_user
from engine.cli.sweeping import sweep
from engine.errors import Refusal

app = typer.Typer(
    help="Is the fastpath of nn.TransformerEncoder taken, is it faster here, and why?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = (
    models,
    paths,
    modifications,
    run,
    tutorial,
    sweep,
    doctor,
    compare,
    conclude,
    report,
    script,
    link,
)
for command in COMMANDS:
    app.command()(command)


@app.command(hidden=True)
def child() -> None:
    """Measure for a parent process: JSON requests in, JSON events out."""
    from engine.child.process import main as serve

    serve()


def run_commands() -> int:
    """Run the command line; its exit code. A refusal is one sentence on standard error."""
    # torch's profiler logs its start and stop to standard error unless this is set before torch is loaded.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    output = guard_streams()
    try:
        app()
        code = 0
    except BaseException as ending:  # whatever it is, it must not end with code 1
        code = _code_of(ending, output)
    return _flushed(code, output)


def _code_of(ending: BaseException, output: GuardedFile | None) -> int:
    """The exit code of what ended a command, and a sentence for people or a traceback for us."""
    if output is not None and output.failure is not None:
        return REFUSED
    if any(isinstance(cause, KeyboardInterrupt) for cause in _with_causes(ending)):
        tell_user(STOPPED)
        return INTERRUPTED
    if isinstance(ending, Refusal):
        tell_user(str(ending), style="red")
        return REFUSED
    if isinstance(ending, SystemExit) and isinstance(ending.code, int):
        return ending.code
    traceback.print_exception(ending)
    return DEFECT


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was made of: typer turns Ctrl-C into an exit."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _flushed(code: int, output: GuardedFile | None) -> int:
    """The exit code after standard output was written: a full one is told, a reader that has left is not."""
    with suppress(OSError):
        sys.stdout.flush()
    if output is None or output.failure is None:
        return code
    if not isinstance(output.failure, BrokenPipeError):
        tell_user(
            f"The result cannot be printed on standard output ({output.failure.strerror}): make room, or choose "
            "another place.",
            style="red",
        )
    return REFUSED
