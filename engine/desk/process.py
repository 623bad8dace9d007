"""A child process with the protocol of `engine.events`: a JSON request in, JSON events out, one a line.

The child leads its own process group, so killing the group ends all that it has started.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from engine.events import ENDINGS, Event, Request, StopRequest, read_event
from engine.host import measuring_environment
from engine.records import Allocator, Record

PROJECT = Path(__file__).parents[2]
CHILD_COMMAND = (sys.executable, "-m", "engine", "child")
LOG_TAIL_BYTES = 4_000


class ChildDied(Exception):  # noqa: N818  (a state of a process, not an error of the caller)
    """The child's output ended, or was not an event, before it answered; the message is for the user."""

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


class Child(Protocol):
    """A child, local or remote, as the desk uses it; any thread may call `kill`, which returns at once."""

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""

    def ask(self, request: Request) -> Iterator[Event]:
        """Send a request and yield its events as they come; the last is one of `ENDINGS`.

        Raises:
            ChildDied: the child ended, or sent something that is not an event, before it answered.
        """

    def log_tail(self) -> str:
        """The end of its standard error."""

    def kill(self) -> None:
        """End it and all that it has started."""

    def close(self) -> None:
        """End it and release its resources."""


StartChild = Callable[[str, Allocator], Child]
"""Starts a child on a machine for an allocator; the empty name is this machine."""


class ChildProcess:
    """A child on this machine; not thread-safe, except `kill`, which any thread may call.

    Args:
        environment: its variables, which say what its allocator does (engine/allocator.py); None for the parent's.
    """

    def __init__(
        self,
        command: Sequence[str] = CHILD_COMMAND,
        cwd: Path = PROJECT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # A file, not a pipe: it is not read while the child works, and a full pipe would block the child.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            errors="replace",  # a child may be killed in the middle of a character
            start_new_session=True,
        )
        self._ended = False
        threading.Thread(target=self._end_together, name="child-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id; also the id of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child can take another request."""
        return self._process.poll() is None

    def ask(self, request: Request) -> Iterator[Event]:
        """Send a request and yield its events as they come; the last is one of `ENDINGS`.

        Raises:
            ChildDied: the child ended, or sent something that is not an event, before it answered.
        """
        self._send(request)
        assert self._process.stdout is not None  # noqa: S101  (a pipe, see `__init__`)
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # killed in the middle of a line
            event = _read(line)
            yield event
            if isinstance(event, ENDINGS):
                return
        return_code = self._process.wait()
        raise ChildDied(_death_sentence(return_code), killed=return_code == -signal.SIGKILL)

    def stop(self) -> None:
        """Ask for the end of the rounds; what was measured is kept, and the request ends as it would have."""
        self._send(StopRequest())

    def log_tail(self) -> str:
        """The end of the child's standard error, for the server's log."""
        with suppress(ValueError):
            self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return self._log.read().decode(errors="replace")
        return ""

    def kill(self) -> None:
        """Kill the process group; does nothing if it has ended."""
        # Once the group has ended, the system may reuse its id.
        if not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the group, reap the child and close its files."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _end_together(self) -> None:
        # A grandchild that runs on would keep the output open, and the desk would read for ever.
        self._process.wait()
        self.kill()
        self._ended = True

    def _send(self, request: Record) -> None:
        assert self._process.stdin is not None  # noqa: S101  (a pipe, see `__init__`)
        # If the child has ended already, `ask` sees the end of its output.
        with suppress(BrokenPipeError):
            self._process.stdin.write(request.model_dump_json() + "\n")
            self._process.stdin.flush()


def _read(line: str) -> Event:
    try:
        return read_event(line)
    except ValidationError:
        raise ChildDied(
            "The measuring process sent something unreadable, so it was stopped; nothing was kept. "
            "Try again, and look at the server's log if it happens again."
        ) from None


def _death_sentence(return_code: int) -> str:
    if return_code == -signal.SIGKILL:
        return (
            "The measuring process was killed by the system, most often for lack of memory; "
            "your settings are kept: try a smaller model or batch."
        )
    return (
        f"The measuring process ended (exit code {return_code}) before it answered; your settings are kept: "
        "try again, and look at the server's log if it happens again."
    )


def local_child(_machine: str, allocator: Allocator) -> ChildProcess:
    """A child on this machine."""
    return ChildProcess(environment=measuring_environment(allocator))
