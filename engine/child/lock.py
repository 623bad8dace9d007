"""One measurement at a time on a machine, whoever asks: a lock on a file that every server and its user can reach.

The system gives the lock back when its holder dies, however it dies.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import Refusal
from engine.events import Event, Step

POLL_S = 0.1
TELL_S = 10.0
"""How often somebody who waits says so, so that the desk knows that nobody has fallen asleep."""
WAITING = Step(name="wait", text="Waiting for another program on this machine to end its measurement")


@contextmanager
def machine_lock(path: Path, tell: Callable[[Event], None], tell_s: float = TELL_S) -> Iterator[None]:
    """Hold the machine for oneself; tells a step at once and then now and then while somebody else holds it.

    Args:
        path: the file, the same for everybody who measures on this machine.
        tell_s: seconds between two tellings.

    Raises:
        Refusal: the file cannot be opened by this user.
    """
    # Everybody may open it, because the next one to measure may be another user.
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
    patience_s = 0.0
    while True:
        try:
            lock.acquire(timeout=patience_s, poll_interval=POLL_S)
        except Timeout:
            tell(WAITING)
            patience_s = tell_s
        else:
            return
