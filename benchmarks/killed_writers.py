"""Kills writers of a store and looks for what they had been told is kept (a part of `benchmarks.history`)."""

import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from random import Random

from sqlalchemy import URL, create_engine, func, select, text

from benchmarks.storing_process import store_runs
from engine.store.store import Store
from engine.store.tables import RUN_ROWS, RUNS

TOGETHER = 2
"""Writers at a time; each is killed while the other writes."""
FIRST_RUNS, LONGEST_S = 2, 0.1
"""A writer is killed at a random time after it has saved some runs."""


@dataclass(frozen=True)
class Writer:
    """A process that saves runs, and the pipe through which it tells what is kept."""

    process: ForkServerProcess
    told: Connection


def kills(url: URL, count: int, random: Random) -> dict[str, object]:
    """Start writers and kill each with SIGKILL in the middle of its writing; how much was lost."""
    told: list[str] = []
    started = [_start(url, f"kill{number}") for number in range(min(TOGETHER, count))]
    for number in range(count):
        told += _told_until_killed(started.pop(0), random)
        if number + TOGETHER < count:
            started.append(_start(url, f"kill{number + TOGETHER}"))
    store = Store(url, runs_kept=1_000_000)
    lost = [run_id for run_id in told if store.get(run_id) is None or store.row(run_id) is None]
    store.close()
    return {
        "kills": count,
        "runs that writers were told are kept": len(told),
        "runs lost": len(lost),
        "database intact": _is_intact(url),
    }


def write(url: str, name: str, pipe: Connection) -> None:
    """What a writer does until it is killed."""
    store_runs(url, name, 1_000_000, pipe.send)


def _start(url: URL, name: str) -> Writer:
    # Forked from a process that has imported everything, so that 200 of them start in little time.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe(duplex=False)
    address = url.render_as_string(hide_password=False)
    process = context.Process(target=write, args=(address, name, there), daemon=True)
    process.start()
    there.close()
    return Writer(process, here)


def _told_until_killed(writer: Writer, random: Random) -> list[str]:
    told = [writer.told.recv() for _ in range(FIRST_RUNS)]
    time.sleep(random.uniform(0, LONGEST_S))
    writer.process.kill()
    try:
        while True:
            told.append(writer.told.recv())
    except EOFError:
        # The pipe ends with the writer, perhaps within a message.
        writer.process.join()
        return told


def _is_intact(url: URL) -> bool:
    """Whether every run has its row, and SQLite finds no fault with the file."""
    engine = create_engine(url)
    with engine.connect() as connection:
        runs = connection.scalar(select(func.count()).select_from(RUNS))
        rows = connection.scalar(select(func.count()).select_from(RUN_ROWS))
        whole = url.get_backend_name() != "sqlite" or (
            connection.scalar(text("PRAGMA integrity_check")) == "ok"
        )
    engine.dispose()
    return runs == rows and whole
