"""A process that saves runs one after another, as fast as it can, and tells each id once it is kept.

Arguments: the database's URL, a name that the ids begin with, how many runs.
"""

import sys
from collections.abc import Callable

from benchmarks.stored_runs import TEMPLATE
from engine.records import read_run
from engine.store.store import Store


def store_runs(url: str, name: str, runs: int, tell: Callable[[str], object]) -> None:
    """Save so many runs."""
    store, run = Store(url, runs_kept=1_000_000), read_run(TEMPLATE.read_bytes())
    for number in range(runs):
        run_id = f"{name}-{number}"
        store.save(run.model_copy(update={"id": run_id}))
        tell(run_id)


def _print(run_id: str) -> None:
    sys.stdout.write(run_id + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    store_runs(sys.argv[1], sys.argv[2], int(sys.argv[3]), _print)
