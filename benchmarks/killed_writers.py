"""Kills writers of a store and looks for what they had been told is kept (a part of `benchmarks.history`)."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from sqlalchemy import URL, create_engine, func, select, text

from engine.store.store import Store
from engine.store.tables import RUN_ROWS, RUNS

TOGETHER = 2
"""Writers at a time; each is killed while the other writes."""
FIRST_RUNS, LONGEST_S = 3, 0.1
"""A writer is killed at a random time after it has saved some runs."""


def kills(url: URL, count: int, random: Random) -> dict[str, object]:
    """Start writers and kill each with SIGKILL in the middle of its writing; how much was lost."""
    told: list[str] = []
    writers = [_writer(url, f"kill{number}-") for number in range(min(TOGETHER, count))]
    for number in range(count):
        victim = writers.pop(0)
        told += _told_until_killed(victim, random)
        if number + TOGETHER < count:
            writers.append(_writer(url, f"kill{number + TOGETHER}-"))
    store = Store(url, runs_kept=1_000_000)
    lost = [run_id for run_id in told if store.get(run_id) is None or store.row(run_id) is None]
    store.close()
    return {
        "kills": count,
        "runs that writers were told are kept": len(told),
        "runs lost": len(lost),
        "database intact": _is_intact(url),
    }


def _writer(url: URL, name: str) -> subprocess.Popen[str]:
    address = url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "benchmarks.storing_process", address, name, "1000000"]
    root = Path(__file__).parents[1]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def _told_until_killed(writer: subprocess.Popen[str], random: Random) -> Sequence[str]:
    assert writer.stdout is not None
    first = [writer.stdout.readline() for _ in range(FIRST_RUNS)]
    time.sleep(random.uniform(0, LONGEST_S))
    writer.kill()
    lines = [*first, *writer.communicate()[0].splitlines(keepends=True)]
    # The last line may be incomplete.
    return [line.strip() for line in lines if line.endswith("\n")]


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
