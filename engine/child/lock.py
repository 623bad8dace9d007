"""One measurement at a time on a machine: a lock on a file that all servers and users of the machine share.

The system releases the lock when the process that holds it ends.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import Refusal
from engine.events import Event, Step

POLL_S = 0.1
TELL_S = 10.0
"""Seconds between two events of a waiting process; silence would make the desk end it."""
WAITING = Step(name="wait", text="Waiting for another program on this machine to end its measurement")


@contextmanager
def machine_lock(path: Path, tell: Callable[[Event], None], tell_s: float = TELL_S) -> Iterator[None]:
    """Hold the machine's lock; while another process holds it, report a `Step` at once and every `tell_s`.

    Args:
        path: the file, the same for every process that measures on this machine.
        tell_s: seconds between two events.

    Raises:
        Refusal: the file cannot be opened by this user.
    """
    # Every user may open it: the next process to measure may be another user's.
    lock = FileLock(path, mode=0o666)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, tell, tell_s)
    except OSError as error:
        raise Refusal(
            f"The file {path} that keeps measurements apart cannot be used ({error.strerror}), so nothing was "
            "measured: name another one in FASTPATH_LOCK_FILE, the same for every server on this machine."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, tell: Callable[[Event], None], tell_s: float) -> None:
    timeout_s = 0.0
    while True:
        try:
            lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
        except Timeout:
            tell(WAITING)
            timeout_s = tell_s
        else:
            return
