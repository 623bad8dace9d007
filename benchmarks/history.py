"""Is the History page's database fast with 10,000 runs, and does it survive kills? On SQLite and PostgreSQL.

    python -m benchmarks.history [--runs 10000] [--kills 200] [--only "queries, SQLite"]

Targets, server time: what the page asks together under 300 ms, what a filter asks under 100 ms. After SIGKILLs of its
writers the database is intact, and no run that a writer had been told is kept is lost. PostgreSQL is a server of the
script's own on loopback, from Debian's package.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine, insert, text

from benchmarks.killed_writers import kills
from benchmarks.postgres import postgres_server, programs
from benchmarks.stored_runs import added_by_user, stored_runs
from engine.records import MEGABYTE
from engine.store.derived import run_values
from engine.store.opening import FILE_NAME, open_database
from engine.store.queries import RunFilter, Sort
from engine.store.store import Store
from engine.store.tables import RUNS

RESULT = Path(__file__).parent / "results" / "history.json"
ON_A_PAGE = 20
"""As many as the page shows."""
TIMES = 15
PAGE_TARGET_MS, FILTER_TARGET_MS = 300.0, 100.0
SAVES = 30
AT_ONCE = 200
FILTERS: dict[str, RunFilter] = {
    "a model": RunFilter(models=("minilm",)),
    "a batch": RunFilter(batches=("mixed",)),
    "a machine and a precision": RunFilter(machines=("lab-1",), dtypes=("bf16",)),
    "two verdicts": RunFilter(verdicts=("faster", "not sure")),
    "a tag": RunFilter(tags=("nightly",)),
    "two paths": RunFilter(paths=("packed", "compile")),
    "presets only": RunFilter(presets_only=True),
    "a word": RunFilter(words="minilm"),
    "three words": RunFilter(words="driver's MIXED bf16"),
    "a word that nothing has": RunFilter(words="nowhere"),
    "everything": RunFilter(
        words="cpu",
        models=("minilm", "xlmr-base"),
        devices=("cpu",),
        allocators=("kept",),
        verdicts=("faster",),
        paths=("packed", "compile"),
        presets_only=True,
    ),
    "deleted": RunFilter(deleted=True),
}
SORTS: tuple[Sort, ...] = ("newest", "oldest", "fastest", "slowest", "title")


def main() -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", help="One part; the figures of the others stay as they were kept.")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, object]]] = {}
    for name, opened in {"SQLite": _sqlite, "PostgreSQL": _postgresql}.items():
        parts[f"queries, {name}"] = partial(_with, opened, lambda url: queries(url, arguments.runs))
        parts[f"kills, {name}"] = partial(_with, opened, lambda url: kills(url, arguments.kills, Random(0)))
    figures: dict[str, object] = {}
    for name in [arguments.only] if arguments.only else parts:
        figures[name] = {"load of the minute before": round(os.getloadavg()[0], 2), **parts[name]()}
    if arguments.only and RESULT.exists():
        figures = json.loads(RESULT.read_text(encoding="utf-8"))["figures"] | figures
    from benchmarks.harness import keep  # imports torch, which no server does

    keep("history", figures)


def _with(
    opened: Callable[[], AbstractContextManager[URL]], ask: Callable[[URL], dict[str, object]]
) -> dict[str, object]:
    with opened() as url:
        return ask(url)


@contextmanager
def _sqlite() -> Iterator[URL]:
    with TemporaryDirectory(prefix="lab-history-") as folder:
        yield URL.create("sqlite", database=f"{folder}/{FILE_NAME}")


@contextmanager
def _postgresql() -> Iterator[URL]:
    found = programs()
    assert found is not None, "PostgreSQL is not installed: apt-get install postgresql"
    with postgres_server(found) as url:
        yield url


def queries(url: URL, runs: int) -> dict[str, object]:
    """Times of what the History page asks of a store of so many runs, filled first."""
    random = Random(0)
    size_mb = fill_as_an_older_lab(url, runs, random)
    store = Store(url, runs_kept=runs)
    opening_s = _seconds(lambda: store.count(RunFilter()))
    assert store.count(RunFilter(devices=("cpu", "cuda"))) == runs, "a run could not be read"
    _annotate_some(store, random)
    _gather_statistics(url)
    page = timed(lambda: _page(store))
    filters = {name: timed(lambda wanted=wanted: _filter(store, wanted)) for name, wanted in FILTERS.items()}  # type: ignore[misc]
    sorts = {f"sorted: {sort}": timed(lambda sort=sort: _filter(store, RunFilter(), sort)) for sort in SORTS}  # type: ignore[misc]
    last = timed(lambda: store.find(RunFilter(), "newest", ON_A_PAGE, runs - ON_A_PAGE))
    shown = filters | sorts | {"the last page": last}
    figures = {
        "runs": runs,
        "json of all runs, MB": round(size_mb),
        "first start with a database of an older lab, s": round(opening_s, 1),
        "second start, s": round(_seconds(lambda: Store(url).count(RunFilter())), 2),
        "page: find, count and choices, ms": page,
        "page, target met": page["median"] < PAGE_TARGET_MS,
        "filter: find and count, ms": shown,
        "filter, target met": max(each["median"] for each in shown.values()) < FILTER_TARGET_MS,
        "sparklines of a page, ms": timed(lambda: _sparklines(store)),
        "save into a full store, ms": _saves(store, runs, random),
    }
    store.close()
    return figures


def fill_as_an_older_lab(url: URL, runs: int, random: Random) -> float:
    """Fill `runs` alone, as a lab from before the lists left it; the MB of its JSON."""
    engine, size = open_database(url), 0
    coming = stored_runs(runs, random)
    while rows := [run_values(run) for run in islice(coming, AT_ONCE)]:
        size += sum(len(str(row["json"])) for row in rows)
        with engine.begin() as connection:
            connection.execute(insert(RUNS), rows)
    engine.dispose()
    return size / MEGABYTE


def timed(ask: Callable[[], object]) -> dict[str, float]:
    """Median and largest time in ms, the first of all included, and this process's median processor time.

    With SQLite the processor time is all that a query needs, whatever else runs on the machine.
    """
    times, processor = [], []
    for _ in range(TIMES):
        start = time.process_time()
        times.append(_seconds(ask) * 1000)
        processor.append((time.process_time() - start) * 1000)
    return _spread(times) | {"processor": round(median(processor), 1)}


def _spread(times_ms: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(times_ms), 1), "most": round(max(times_ms), 1)}


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _page(store: Store) -> None:
    assert len(store.find(RunFilter(), limit=ON_A_PAGE)) == ON_A_PAGE
    assert store.count(RunFilter()) > ON_A_PAGE
    assert len(store.choices().models) > 1


def _filter(store: Store, wanted: RunFilter, sort: Sort = "newest") -> None:
    store.find(wanted, sort, ON_A_PAGE)
    store.count(wanted)


def _sparklines(store: Store) -> None:
    for row in store.find(RunFilter(), limit=ON_A_PAGE):
        assert store.repeats(row.experiment_key)


def _saves(store: Store, runs: int, random: Random) -> dict[str, float]:
    """Each one also deletes the oldest run."""
    more = [
        run.model_copy(update={"id": f"more-{number}"})
        for number, run in enumerate(stored_runs(SAVES, random))
    ]
    times = [_seconds(lambda run=run: store.save(run)) * 1000 for run in more]  # type: ignore[misc]
    assert store.count(RunFilter()) == runs
    return _spread(times)


def _annotate_some(store: Store, random: Random) -> None:
    rows = store.find(RunFilter(), limit=100_000)
    for row in rows:
        if added := added_by_user(random):
            store.annotate(row.id, **added)  # type: ignore[arg-type]
    # As many as a user deletes at once, and they stay deleted.
    store.delete([row.id for row in rows[-20:]])
    store.restore([row.id for row in rows[-20:]])


def _gather_statistics(url: URL) -> None:
    """What PostgreSQL does by itself a minute later."""
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        engine.dispose()


if __name__ == "__main__":
    main()
