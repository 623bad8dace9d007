"""A database of an older version is brought up to date by the first start, while old and new labs go on using it."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, create_engine

from engine.errors import Refusal
from engine.store.derived import build_key
from engine.store.opening import open_database, writing
from engine.store.queries import RunFilter
from engine.store.store import Store
from engine.store.tables import METADATA
from tests.samples import a_run_with_costs, sample_environment
from tests.store.making import a_run, an_experiment, change, rows_of

PROJECT = Path(__file__).parents[2]
OLD = PROJECT / "tests" / "data" / "runs_before_lists.sql"
OLD_ORDER = ["newer", "damaged", "alone", "bf16", "own", "costs", "again", "plain"]
ALL = RunFilter()
TOGETHER = 3
"""Processes or threads that open the old database at the same time."""
OLD_LABS_INSERT = """
INSERT INTO runs (id, created_at, title, model, batch, texts, best_path, verdict, speedup, machine, experiment_key,
build_key, json) VALUES (:id, '2026-11-23T13:00:00.000000+00:00', 'of an old lab', 'minilm', 'tutorial-small', 'preset',
'fast-nested', 'faster', 2.0, '', 'a key', 'another', :json) ON CONFLICT (id) DO UPDATE SET title = excluded.title
"""
"""How labs from before the lists save."""


@pytest.fixture
def old(url: URL) -> URL:
    """A database as the last version without migrations left it (as SQL, made by that version)."""
    script = OLD.read_text(encoding="utf-8")
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        Path(url.database).parent.mkdir()
        with sqlite3.connect(url.database) as connection:
            connection.executescript(script)
            connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        return url
    engine = create_engine(url)
    with engine.connect() as connection:
        # Past SQLAlchemy and without parameters, so that a whole script goes through.
        connection.connection.driver_connection.execute(script)  # type: ignore[union-attr]
    engine.dispose()
    return url


def test_an_old_database_is_migrated_by_the_first_start(old: URL) -> None:
    before = rows_of(old, "SELECT * FROM runs ORDER BY id")
    store = Store(old)
    assert [row.id for row in store.find(ALL)] == OLD_ORDER
    assert rows_of(old, "SELECT * FROM runs ORDER BY id") == before
    for run_id in OLD_ORDER[2:]:
        run = store.get(run_id)
        assert run is not None
        assert run.id == run_id
    for run_id, sentence in (("damaged", "damaged"), ("newer", "newer version of the lab")):
        with pytest.raises(Refusal, match=sentence):
            store.get(run_id)
    assert rows_of(old, "SELECT version_num FROM alembic_version") == [("0003",)]
    store.close()


def test_the_new_columns_are_filled_from_the_json(old: URL) -> None:
    store = Store(old)
    assert [row.id for row in store.find(RunFilter(dtypes=("bf16",), allocators=("kept",)))] == ["bf16"]
    assert [row.id for row in store.find(RunFilter(machines=("lab-1",)))] == ["again"]
    assert [row.id for row in store.find(RunFilter(paths=("packed@bf16",)))] == ["costs"]
    assert [row.id for row in store.find(RunFilter(words="XLM-R"))] == ["bf16"]
    assert store.count(RunFilter(presets_only=True)) == 7
    costs = store.row("costs")
    assert costs is not None
    assert costs.paths == tuple(path.name for path in a_run_with_costs().paths)
    assert [one.run_id for one in store.repeats(costs.experiment_key)] == ["costs"] * 3
    same = store.find_same(an_experiment(), build_key(sample_environment()))
    assert same is not None
    assert same.id == "plain"
    store.close()


def test_runs_that_cannot_be_read_are_listed_as_before(old: URL) -> None:
    store = Store(old)
    newer, damaged = store.find(ALL, limit=2)
    assert (newer.id, newer.title, newer.verdict, newer.speedup) == (
        "newer",
        "from a newer lab",
        "faster",
        2.0,
    )
    assert (damaged.id, damaged.title, damaged.machine) == ("damaged", "damaged on the disk", "")
    assert (damaged.device, damaged.dtype, damaged.paths) == (None, None, ())
    assert [row.id for row in store.find(RunFilter(words="newer lab"))] == ["newer"]
    store.close()


def test_what_an_older_lab_saves_meanwhile_is_not_lost(old: URL) -> None:
    store = Store(old)
    store.annotate("plain", title="mine")
    for run_id in ("late", "plain"):
        change(old, OLD_LABS_INSERT, id=run_id, json=a_run(run_id, minutes=60).model_dump_json())
    change(old, "DELETE FROM runs WHERE id = 'own'")
    assert store.get("late") == a_run("late", minutes=60)
    store.close()
    again = Store(old)
    assert [row.id for row in again.find(ALL)] == ["late", *(one for one in OLD_ORDER if one != "own")]
    plain = again.row("plain")
    assert plain is not None
    assert plain.title == "mine"
    again.close()


def test_a_json_of_another_run_does_not_take_its_place(old: URL) -> None:
    change(old, OLD_LABS_INSERT, id="posing", json=a_run("plain", title="false").model_dump_json())
    for _ in range(2):
        store = Store(old)
        titles = {row.id: row.title for row in store.find(ALL, limit=20)}
        assert titles["posing"] == "of an old lab"
        assert titles["plain"] != "false"
        store.close()


def test_processes_that_start_together_migrate_once_and_lose_nothing(old: URL) -> None:
    address = old.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "benchmarks.storing_process", address]
    started = [
        subprocess.Popen([*command, f"new{number}", "1"], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
        for number in range(TOGETHER)
    ]
    assert [process.communicate(timeout=60)[1] for process in started] == [""] * TOGETHER
    store = Store(old)
    found = [row.id for row in store.find(ALL, limit=20)]
    assert sorted(found) == sorted([*OLD_ORDER, *(f"new{number}-0" for number in range(TOGETHER))])
    store.close()


def test_threads_that_open_stores_together_migrate_once(old: URL) -> None:
    """Alembic keeps its work in globals."""
    stores = [Store(old) for _ in range(TOGETHER)]
    with ThreadPoolExecutor(TOGETHER) as threads:
        found = list(threads.map(lambda store: [row.id for row in store.find(ALL)], stores))
    assert found == [OLD_ORDER] * TOGETHER
    for store in stores:
        store.close()


def test_a_step_that_fails_leaves_the_old_database(old: URL) -> None:
    before = rows_of(old, "SELECT * FROM runs ORDER BY id")
    change(old, "CREATE TABLE run_tags (unexpected INTEGER)")
    with pytest.raises(Refusal, match="left as it is"):
        Store(old).find(ALL)
    assert rows_of(old, "SELECT * FROM runs ORDER BY id") == before
    change(old, "DROP TABLE run_tags")
    store = Store(old)
    assert [row.id for row in store.find(ALL)] == OLD_ORDER, "the tables of the failed step were in the way"
    store.close()


def test_a_database_that_a_newer_version_has_migrated_is_used(store: Store, url: URL) -> None:
    store.save(a_run())
    change(url, "UPDATE alembic_version SET version_num = '9999'")
    another = Store(url)
    another.save(a_run("b"))
    assert another.count(ALL) == 2
    assert rows_of(url, "SELECT version_num FROM alembic_version") == [("9999",)]
    another.close()


def test_the_steps_make_the_tables_that_the_code_names(url: URL) -> None:
    engine = open_database(url)
    with writing(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
