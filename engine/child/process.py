"""The process that measures: one JSON request a line in, JSON events a line out; end of input means stop.

Events leave on a private copy of standard output, and standard output itself is joined to standard error, so that
a stray print of some library cannot break the protocol. Input is read before torch is imported, which takes seconds:
a child whose parent dies meanwhile must end too.
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

from engine.errors import Refusal
from engine.events import Event, Refused, Request, read_request
from engine.settings import load_settings

END_OF_INPUT = 75
"""Exit code where the parent went away (EX_TEMPFAIL of sysexits.h)."""
LEFT, BAD_SETTING = 0, 2
"""Exit codes where memory was short, and where a setting does not fit."""
IDLE_S = 5.0
"""How long a child rests before it looks whether its memory is needed elsewhere."""
OOM_SCORE = Path("/proc/self/oom_score_adj")
FIRST_TO_GO = 1000
"""The highest score there is (man 5 proc_pid_oom_score_adj); raising one's own needs no rights."""


def main() -> None:
    """Serve requests until the input ends, or until memory is short while there is nothing to do."""
    volunteer_for_the_oom_killer(OOM_SCORE)
    events = _private_output()

    def tell(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read_until_the_end, args=(lines,), daemon=True).start()
    try:
        settings = load_settings()
    except Refusal as refusal:
        tell(Refused(message=str(refusal)))
        _exit(BAD_SETTING)
    from engine.child.requests import RequestHandler
    from engine.models.memory import memory_available_mb

    def memory_is_short() -> bool:
        return memory_available_mb() < settings.memory_reserve_mb

    serve(until_memory_is_short(lines, memory_is_short, IDLE_S), RequestHandler(settings, tell).answer, tell)
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
    """Lines as they come; ends where memory is short after so many seconds without one."""
    while True:
        try:
            yield lines.get(timeout=idle_s)
        except Empty:
            if memory_is_short():
                return


def volunteer_for_the_oom_killer(score: Path) -> None:
    """Have the kernel end this process, and not the server, when memory runs out; does nothing but on Linux."""
    with suppress(OSError):
        score.write_text(str(FIRST_TO_GO))


def _private_output() -> TextIO:
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _read_until_the_end(lines: SimpleQueue[str]) -> None:
    # A thread of its own, so that a parent's death ends the child even in the middle of a forward.
    try:
        with open(0, encoding="utf-8", errors="replace", closefd=False) as source:
            for line in source:
                lines.put(line)
    finally:
        _exit(END_OF_INPUT)


def _exit(code: int) -> NoReturn:
    """End at once: what the child has started goes first, because nobody may be left to end the group."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    os._exit(code)
