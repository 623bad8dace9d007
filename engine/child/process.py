"""The measuring process: reads JSON requests, writes JSON events, one a line; it ends when its input ends.

Events go to a private copy of standard output; standard output itself goes to standard error, so that a library's
print cannot break the protocol. Input is read before torch is imported, which takes seconds: if the parent dies
meanwhile, the child must end too.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NoReturn, TextIO

import psutil
from pydantic import ValidationError

from engine.allocator import started_for
from engine.errors import Refusal
from engine.events import Event, Refused, Request, StopRequest, read_request
from engine.settings import load_settings

END_OF_INPUT = 75
"""Exit code if the parent ended (EX_TEMPFAIL of sysexits.h)."""
LEFT, BAD_SETTING = 0, 2
"""Exit codes: memory was short; a setting is not valid."""
IDLE_S = 5.0
"""Seconds without a request after which a child checks the free memory."""
OOM_SCORE = Path("/proc/self/oom_score_adj")
HIGHEST_OOM_SCORE = 1000
"""The highest possible score (man 5 proc_pid_oom_score_adj); a process may always raise its own."""


def main() -> None:
    """Answer requests until the input ends, or until memory is short while the child is idle."""
    raise_oom_score(OOM_SCORE)
    events = _private_output()

    def tell(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    lines: SimpleQueue[str] = SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read_until_the_end, args=(lines, stop), daemon=True).start()
    try:
        settings = load_settings()
    except Refusal as refusal:
        tell(Refused(message=str(refusal)))
        _exit(BAD_SETTING)
    from engine.child.requests import RequestHandler
    from engine.models.memory import memory_available_mb

    def memory_is_short() -> bool:
        return memory_available_mb() < settings.memory_reserve_mb

    handler = RequestHandler(settings, tell, stop.is_set, started_for(os.environ))
    serve(until_memory_is_short(lines, memory_is_short, IDLE_S), handler.answer, tell)
    _exit(LEFT)


def serve(lines: Iterable[str], answer: Callable[[Request], Event], tell: Callable[[Event], None]) -> None:
    """Answer each line of requests with events."""
    for line in lines:
        try:
            request = read_request(line)
        except ValidationError as error:
            tell(Refused(message=f"The request cannot be read: {error.errors()[0]['msg']}."))
            continue
        tell(answer(request))


def until_memory_is_short(
    lines: SimpleQueue[str], memory_is_short: Callable[[], bool], idle_s: float
) -> Iterator[str]:
    """Yield lines as they come; end if memory is short after `idle_s` seconds without one."""
    while True:
        try:
            yield lines.get(timeout=idle_s)
        except Empty:
            if memory_is_short():
                return


def raise_oom_score(score: Path) -> None:
    """Make the kernel end this process before the server when memory runs out; Linux only."""
    with suppress(OSError):
        score.write_text(str(HIGHEST_OOM_SCORE))


def _private_output() -> TextIO:
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def sort_line(line: str, lines: SimpleQueue[str], stop: threading.Event) -> None:
    """Queue a request's line; a wish to stop belongs to the request before it, and is met at once."""
    try:
        StopRequest.model_validate_json(line)
    except ValidationError:
        stop.clear()
        lines.put(line)
    else:
        stop.set()


def _read_until_the_end(lines: SimpleQueue[str], stop: threading.Event) -> None:
    # In a separate thread, so that the parent's death ends the child even during a forward.
    try:
        with open(0, encoding="utf-8", errors="replace", closefd=False) as source:
            for line in source:
                sort_line(line, lines, stop)
    finally:
        _exit(END_OF_INPUT)


def _exit(code: int) -> NoReturn:
    """End at once, with all child processes: the parent may be gone and cannot end the group."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    os._exit(code)
