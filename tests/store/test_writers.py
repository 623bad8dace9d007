"""Many writers at once, and writers that are killed: no run is lost."""

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import URL

from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter
from engine.store.store import Store
from tests.store.making import a_run

PROJECT = Path(__file__).parents[2]
LONG_S = 60.0
ALL = RunFilter()


def test_processes_that_start_together_all_store_their_runs_while_others_read(store: Store, url: URL) -> None:
    writers = [_writer(url, f"writer{number}", runs=15) for number in range(3)]
    while any(writer.poll() is None for writer in writers):
        store.find(ALL, limit=5)
        store.count(ALL)
    told = [writer.communicate(timeout=LONG_S) for writer in writers]
    assert [errors for _, errors in told] == [""] * 3
    kept = {row.id for row in store.find(ALL, limit=100)}
    assert kept == {f"writer{number}-{run}" for number in range(3) for run in range(15)}


def test_a_new_store_waits_for_a_writer_where_sqlite_does_not(tmp_path: Path) -> None:
    """Switching the write-ahead log on is refused at once, whatever the time-out, while another process writes."""
    file = tmp_path / FILE_NAME
    store = Store(f"sqlite:///{file}")
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE busy (number)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.commit)
    release.start()
    store.save(a_run())
    release.join()
    other.close()
    assert store.get("a") == a_run()


def test_threads_share_a_store(store: Store) -> None:
    def save_some(name: int) -> None:
        for number in range(5):
            store.save(a_run(f"{name}-{number}"))

    threads = [threading.Thread(target=save_some, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert store.count(ALL) == 30


def test_stored_runs_survive_a_killed_process(store: Store, url: URL) -> None:
    """`python -m benchmarks.history --kills 200` does this 200 times."""
    for number in range(3):
        writer = _writer(url, f"victim{number}", runs=100_000)
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(10)]
        writer.send_signal(signal.SIGKILL)
        told += writer.communicate(timeout=LONG_S)[0].split()
        assert len(told) >= 10
        # Its last line may be incomplete.
        for run_id in told[:-1]:
            assert store.get(run_id) is not None
            assert store.row(run_id) is not None
    store.save(a_run("after"))
    if url.database and url.get_backend_name() == "sqlite":
        with sqlite3.connect(url.database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _writer(url: URL, name: str, runs: int) -> "subprocess.Popen[str]":
    address = url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.storing_process", address, name, str(runs)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
