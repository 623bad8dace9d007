"""The queue on disk, for a restart after a crash: one JSON line for each change of a measurement.

Lines are flushed at once: they survive a killed process, but not a power failure. A server locks its journal while
it runs, so a second server on the same folder uses another journal.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter, ValidationError

from engine.events import Request
from engine.records import Record

LOG = logging.getLogger(__name__)
ENDED_KEPT = 200
COMPACT_BYTES = 20_000_000


class Queued(Record):
    """A request was queued; `request` is dropped once it has ended, because texts are long and private."""

    happened: Literal["queued"] = "queued"
    id: str
    digest: str
    visitor: str
    machine: str
    title: str
    at: datetime
    request: Request | None
    sweep_id: str = ""
    """Of the sweep that it measures; empty for other requests, and in journals of older versions."""


class Started(Record):
    """A machine started the job."""

    happened: Literal["started"] = "started"
    id: str
    machine: str
    at: datetime


class Ended(Record):
    """The job has ended."""

    happened: Literal["ended"] = "ended"
    id: str
    state: Literal["done", "failed", "cancelled", "interrupted"]
    at: datetime
    message: str = ""
    run_id: str = ""


Line = Annotated[Queued | Started | Ended, Field(discriminator="happened")]
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


@dataclass(frozen=True)
class Entry:
    """The lines of one ticket."""

    queued: Queued
    started: Started | None = None
    ended: Ended | None = None

    def lines(self) -> Iterator[Line]:
        """The entry's lines in order of time."""
        request = None if self.ended else self.queued.request
        yield self.queued.model_copy(update={"request": request})
        yield from (line for line in (self.started, self.ended) if line is not None)


def entries_of(lines: Iterable[str]) -> tuple[Entry, ...]:
    """The entry of each ticket in a journal, in the order of queueing.

    Unreadable lines are skipped: the last line may be incomplete, and a newer version may have written others.
    """
    entries: dict[str, Entry] = {}
    for text in lines:
        try:
            line = _LINE.validate_json(text)
        except ValidationError:
            LOG.warning("skipped an unreadable line of the journal: %.80s", text)
            continue
        if isinstance(line, Queued):
            entries[line.id] = Entry(line)
        elif line.id in entries:
            entries[line.id] = _with(entries[line.id], line)
    return tuple(entries.values())


def _with(entry: Entry, line: Started | Ended) -> Entry:
    return replace(entry, started=line) if isinstance(line, Started) else replace(entry, ended=line)


def worth_keeping(entries: Iterable[Entry]) -> list[Entry]:
    """All entries that have not ended, and the last `ENDED_KEPT` that have."""
    entries = list(entries)
    ended = [entry for entry in entries if entry.ended]
    forgotten = {entry.queued.id for entry in ended[: max(0, len(ended) - ENDED_KEPT)]}
    return [entry for entry in entries if entry.queued.id not in forgotten]


class Journal:
    """A file of lines that only this process writes; the caller must write from one thread at a time.

    A full or broken disk is only logged: the queue goes on without the journal.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = _first_free(folder)
        self._compact()

    def entries(self) -> tuple[Entry, ...]:
        """The entries in the file."""
        with self._path.open(encoding="utf-8", errors="replace") as lines:
            return entries_of(lines)

    def write(self, line: Queued | Started | Ended) -> None:
        """Append a line."""
        try:
            self._file.write(line.model_dump_json() + "\n")
            self._file.flush()
            if self._file.tell() > self._compact_at:
                self._file.close()
                self._compact()
        except (OSError, ValueError):
            LOG.exception("the journal cannot be written: the queue will be lost in a crash")

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()
        self._lock.release()

    def _compact(self) -> None:
        kept = worth_keeping(self.entries())
        shorter = self._path.with_suffix(".new")
        with open(shorter, "w", encoding="utf-8", opener=_private) as file:
            file.writelines(line.model_dump_json() + "\n" for entry in kept for line in entry.lines())
        shorter.replace(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._compact_at = self._file.tell() + COMPACT_BYTES


def open_journal(folder: Path) -> Journal | None:
    """A journal in this folder; None, with a line in the log, if it cannot be opened."""
    try:
        return Journal(folder)
    except OSError:
        LOG.exception("no journal in %s: the queue will be lost in a crash", folder)
        return None


def _first_free(folder: Path) -> tuple[Path, FileLock]:
    for number in count(1):
        path = folder / f"journal-{number}.jsonl"
        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        path.touch(mode=0o600)
        return path, lock
    raise AssertionError("numbers do not end")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
