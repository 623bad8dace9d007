"""The command line: `python -m engine COMMAND`.

The commands are models, paths, modifications, run, tutorial, doctor, compare, conclude and script.
Results go to standard output, progress and refusals to standard error; a refusal exits with code 2. torch is
imported only by the commands that measure or examine.
"""

import os
import sys
import traceback

import typer
from rich.console import Console

from engine.cli.comparing import compare, conclude
from engine.cli.examining import doctor
from engine.cli.exits import DEFECT, REFUSED
from engine.cli.exporting import script
from engine.cli.listing import models, modifications, paths
from engine.cli.measuring import run, tutorial
from engine.errors import Refusal

app = typer.Typer(
    help="Is the fastpath of nn.TransformerEncoder taken, is it faster here, and why?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (models, paths, modifications, run, tutorial, doctor, compare, conclude, script):
    app.command()(command)


@app.command(hidden=True)
def child() -> None:
    """Measure for a parent process: JSON requests in, JSON events out."""
    from engine.child.process import main as serve

    serve()


def main() -> None:
    """Run the command line; a refusal is one sentence on standard error and exit code 2."""
    # torch's profiler logs its start and stop to standard error unless this is set before torch is loaded.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        app()
    except Refusal as refusal:
        sys.exit(_refused(refusal))
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped; nothing was written.")
        sys.exit(130)
    except Exception:  # whatever it is, it must not end with code 1
        traceback.print_exc()
        sys.exit(DEFECT)


def _refused(refusal: Refusal) -> int:
    Console(stderr=True, soft_wrap=True).print(str(refusal), style="red", markup=False, highlight=False)
    return REFUSED
