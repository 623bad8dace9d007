"""Ctrl-C: the end of a process while modules are imported, and sentences from a signal's handler.

Only the standard library is imported here.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells have it."""
STOPPED = "Stopped; nothing was written."
_SHOW_CURSOR, _CLEAR_LINE = "\x1b[?25h", "\r\x1b[2K"
"""A line of progress hides the cursor, and stands on the line where a sentence is to be."""


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
    tell_at_once(STOPPED, _SHOW_CURSOR)
    os._exit(INTERRUPTED)


def tell_at_once(sentence: str, at_first: str = _CLEAR_LINE) -> None:
    """Print a sentence on standard error, from a signal's handler.

    A handler may run in the middle of a write to `sys.stderr`, which then refuses another one ("reentrant call",
    RuntimeError); the descriptor takes it.

    Args:
        at_first: control characters for a terminal.
    """
    with suppress(OSError):
        os.write(2, f"{at_first if os.isatty(2) else ''}{sentence}\n".encode())
