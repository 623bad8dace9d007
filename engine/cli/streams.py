"""Standard output and standard error of a command, which may be full or closed.

A failed write is remembered, and nothing more is written. So a command ends with one sentence and a code of its own;
Python would end with a traceback and the code 1 or 120, and 1 means "regressed".
"""

import io
import os
import re
import sys
from typing import Any, TextIO

from rich.console import Console

LONGEST_WORD = 300
"""Longer words in a sentence, such as a name of 5,000 letters, are shortened."""


class GuardedFile(io.FileIO):
    """An open file descriptor that takes writes without effect after the first one that fails.

    Args:
        descriptor: stays open when this object is closed.
        told: whether the first failure is raised; else it is only remembered.

    Attributes:
        failure: the first error; None if there was none.
    """

    def __init__(self, descriptor: int, *, told: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._told = told
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write bytes.

        Raises:
            OSError: it is the first one, and `told`.
        """
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
                if self._told:
                    raise
        return memoryview(data).nbytes


def guard_streams() -> GuardedFile | None:
    """Replace `sys.stdout` and `sys.stderr` by guarded ones; the file of standard output, or None on Windows."""
    if os.name != "posix":  # a Windows console is no file
        return None
    for _ in range(3):  # a descriptor from 0 to 2 that is closed would be given to the next file
        free = os.open(os.devnull, os.O_RDWR)
        if free > 2:
            os.close(free)
            break
    file = GuardedFile(1, told=True)
    sys.stdout = _guarded(sys.stdout, file)
    sys.stderr = _guarded(sys.stderr, GuardedFile(2, told=False))
    return file


def _guarded(stream: Any, file: GuardedFile) -> TextIO:
    """A stream like this one; Python has None for a stream that was closed when it started."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=getattr(stream, "errors", "backslashreplace"),
        line_buffering=getattr(stream, "line_buffering", False),
    )


def tell_user(text: str, style: str | None = None) -> None:
    """Print a sentence on standard error, with very long words shortened."""
    shown = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:60]}...", text)
    Console(stderr=True, soft_wrap=True).print(shown, style=style, markup=False, highlight=False)
