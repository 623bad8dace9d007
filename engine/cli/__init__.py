"""The command line: `python -m engine COMMAND`, and `fastpath COMMAND`.

This file imports next to nothing, so that Ctrl-C is met from the start: importing the commands takes half a second.
"""

import sys

from engine.cli.interrupts import ending_at_once


def main() -> None:
    """Run the command line, and exit with its code (engine/cli/exits.py)."""
    with ending_at_once():
        from engine.cli.commands import run_commands
    sys.exit(run_commands())
