"""Ctrl-C while modules are imported. Only the standard library is imported here."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells have it."""
STOPPED = "Stopped; nothing was written."
_SHOW_CURSOR = "\x1b[?25h"
"""A line of progress hides the cursor."""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once inside the block.

    As an exception it could be lost: libraries catch everything that is raised while they are imported, and Python
    drops what is raised in a destructor. A process that ignores Ctrl-C, or has a handler of its own, is left alone.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_signal: int, _frame: object) -> None:
    with suppress(OSError):
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{STOPPED}\n".encode())
    os._exit(INTERRUPTED)
