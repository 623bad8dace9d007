"""The store: runs come back, answer the same experiment, and survive many writers, kills and damaged rows."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL

from engine.alike import experiment_key
from engine.catalog.batches import PRESETS
from engine.errors import Refusal
from engine.host import default_threads, measuring_environment, this_host
from engine.records import Allocator, Environment, Experiment
from engine.settings import Settings
from engine.store.derived import build_key
from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter
from engine.store.store import Store, store_url, the_store
from tests.samples import sample_environment, sample_run
from tests.store.making import START, a_run, an_experiment, change, change_row, rows_of, with_texts

PROJECT = Path(__file__).parents[2]
LONG_S = 60.0
ALL = RunFilter()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """For what concerns SQLite alone."""
    return tmp_path / "a folder" / FILE_NAME


def test_a_run_comes_back_as_it_was_from_another_process_too(store: Store, url: URL) -> None:
    store.save(a_run())
    another = Store(url)
    assert store.get("a") == a_run() == another.get("a")
    assert store.get("b") is None
    another.close()


def test_rows_come_newest_first_a_page_at_a_time_with_the_best_path(store: Store) -> None:
    for number in (1, 3, 0, 2):
        store.save(a_run(str(number), minutes=number))
    assert [row.id for row in store.find(ALL, limit=3)] == ["3", "2", "1"]
    assert [row.id for row in store.find(ALL, limit=3, offset=3)] == ["0"]
    assert store.count(ALL) == 4
    row = store.find(ALL)[0]
    assert (row.created_at, row.title) == (START + timedelta(minutes=3), a_run().title)
    assert (row.best_path, row.verdict, row.speedup) == ("fast-nested", "faster", 2.0)


def test_a_run_without_another_path_that_ran_has_no_best_path(store: Store) -> None:
    store.save(sample_run().model_copy(update={"paths": sample_run().paths[:1]}))
    row = store.find(ALL)[0]
    assert (row.best_path, row.verdict, row.speedup) == (None, None, None)


def test_runs_of_own_texts_are_distinguished_from_runs_of_presets(store: Store) -> None:
    store.save(a_run("own", experiment=with_texts("my secret")))
    store.save(a_run("preset", experiment=an_experiment(batch=PRESETS["mixed"])))
    presets = RunFilter(presets_only=True)
    # The name alone makes no preset.
    posing = PRESETS["mixed"].model_copy(update={"texts": ("my secret",)})
    store.save(a_run("posing", experiment=an_experiment(batch=posing)))
    assert [row.id for row in store.find(presets)] == ["preset"]
    assert (store.count(presets), store.count(ALL)) == (1, 3)


def test_a_run_saved_again_is_replaced(store: Store) -> None:
    store.save(a_run())
    fewer = a_run(paths=a_run().paths[:1], experiment=an_experiment(paths=("slow",)), title="concluded anew")
    store.save(fewer)
    assert store.get("a") == fewer
    (row,) = store.find(ALL)
    assert (row.title, row.paths, row.best_path) == ("concluded anew", ("slow",), None)
    assert store.repeats(row.experiment_key) == ()


def test_a_run_with_an_endless_id_is_refused(store: Store) -> None:
    store.save(a_run("x" * 64))
    with pytest.raises(Refusal, match="its id has more than 64 characters"):
        store.save(a_run("x" * 65))
    assert store.count(ALL) == 1


def test_the_oldest_runs_beyond_the_limit_are_deleted_for_good(url: URL) -> None:
    store = Store(url, runs_kept=2)
    for number in (2, 0, 3, 1):
        store.save(a_run(str(number), minutes=number))
    assert [row.id for row in store.find(ALL)] == ["3", "2"]
    assert store.count(RunFilter(deleted=True)) == 0
    for table, column in (("runs", "id"), ("run_rows", "id"), ("run_paths", "run_id")):
        kept = rows_of(url, f"SELECT DISTINCT {column} FROM {table} ORDER BY 1")  # noqa: S608
        assert kept == [("2",), ("3",)], table
    store.close()


def test_deleted_runs_do_not_count_towards_the_limit(url: URL) -> None:
    store = Store(url, runs_kept=2)
    for number in range(2):
        store.save(a_run(str(number), minutes=number))
    store.delete(["1"])
    store.save(a_run("2", minutes=2))
    assert [row.id for row in store.find(ALL)] == ["2", "0"]
    store.close()


def test_only_the_owner_may_read_the_file(file: Path) -> None:
    Store(f"sqlite:///{file}").save(a_run())
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "other",
    [
        an_experiment(model="xlmr-base"),
        an_experiment(device="cuda"),
        an_experiment(dtype="bf16"),
        an_experiment(threads=3),
        an_experiment(paths=("slow", "fast-nested", "fast-mha")),
        an_experiment(baseline="fast-nested"),
        an_experiment(iterations=10),
        an_experiment(budget_s=1.0),
        with_texts("Hello world"),
        with_texts("How are you!", "Hello world"),
        with_texts("Hello world", "How are you?"),
    ],
    ids=lambda other: next(
        str(item) for item in other.model_dump().items() if item not in an_experiment().model_dump().items()
    )[:40],
)
def test_a_run_does_not_answer_another_experiment(store: Store, other: Experiment) -> None:
    store.save(a_run())
    assert experiment_key(other) != experiment_key(an_experiment())
    assert store.find_same(other, build_key(sample_environment())) is None


def test_seed_order_of_paths_and_name_and_lengths_of_the_batch_do_not_matter(
    store: Store,
) -> None:
    store.save(a_run())
    same = with_texts(*sample_run().experiment.batch.texts).model_copy(
        update={"seed": 7, "paths": ("fast-nested", "slow")}
    )
    renamed = same.model_copy(update={"batch": same.batch.model_copy(update={"name": "mine"})})
    assert store.find_same(renamed, build_key(sample_environment())) == a_run()


@pytest.mark.parametrize(
    "changes",
    [
        {"torch": "2.13.0+cu130"},
        {"torchtext": "0.18.1"},
        {"cpu": "another"},
        {"cores": 4},
        {"allocator": {"LD_PRELOAD": "libjemalloc.so"}},
        {"machine": "another"},
    ],
    ids=str,
)
def test_a_run_of_another_machine_or_build_does_not_answer(store: Store, changes: dict[str, object]) -> None:
    store.save(a_run())
    other: Environment = sample_environment().model_copy(update=changes)
    assert store.find_same(an_experiment(), build_key(other)) is None


@pytest.mark.parametrize("allocator", ["kept", "system"])
def test_a_run_measured_here_has_this_machines_build_key(allocator: Allocator) -> None:
    """The server's facts of the machine (without torch) and the child's must agree, else no run is found again."""
    code = (
        "from engine.measure.environment import read_environment; from engine.store.derived import build_key;"
        "print(build_key(read_environment('cpu', None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=measuring_environment(allocator),
        capture_output=True,
        text=True,
        check=True,
    )
    assert build_key(this_host(allocator)) == done.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "physical", "threads"),
    [
        ({}, 4, 4),
        ({}, 16, 8),
        ({}, None, 8),
        ({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "5"}, 4, 3),
        ({"MKL_NUM_THREADS": "5"}, 4, 5),
        ({"OMP_NUM_THREADS": "many"}, 4, 4),
        ({"OMP_NUM_THREADS": "0"}, 4, 4),
    ],
)
def test_torchs_own_choice_of_threads(variables: dict[str, str], physical: int | None, threads: int) -> None:
    assert default_threads(variables, 8, physical) == threads


def test_the_newest_readable_run_answers_even_if_a_newer_one_is_damaged(store: Store, url: URL) -> None:
    build = build_key(sample_environment())
    for number in range(3):
        store.save(a_run(str(number), minutes=number))
    assert store.find_same(an_experiment(), build) == a_run("2", minutes=2)
    change_row(url, "runs", "2", "json", "{")
    assert store.find_same(an_experiment(), build) == a_run("1", minutes=1)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[:500], "damaged"),
        (lambda text: text.replace('"rounds"', '"round"'), "damaged"),
        (lambda text: text.replace('"schema_version":1', '"schema_version":2'), "newer version of the lab"),
        (lambda _text: "", "damaged"),
        (lambda _text: '{"schema_version": "x"}', "damaged"),
        (lambda _text: "[" * 100_000, "damaged"),
    ],
)
def test_an_unreadable_row_is_refused_and_kept(
    store: Store, url: URL, damage: Callable[[str], str], sentence: str
) -> None:
    store.save(a_run("bad", minutes=1))
    store.save(a_run("good"))
    damaged = damage(a_run("bad", minutes=1).model_dump_json())
    change_row(url, "runs", "bad", "json", damaged)
    with pytest.raises(Refusal, match=sentence):
        store.get("bad")
    assert store.json_of("bad") == damaged
    assert [row.id for row in store.find(ALL)] == ["bad", "good"]
    assert store.get("good") == a_run("good")


@pytest.mark.parametrize(
    ("column", "value"), [("created_at", "yesterday"), ("verdict", "wow"), ("paths", "\n\n"), ("tags", "a\n")]
)
def test_a_row_with_damaged_columns_stays_in_the_list(
    store: Store, url: URL, column: str, value: str
) -> None:
    store.save(a_run("bad"))
    store.save(a_run("good"))
    change_row(url, "run_rows", "bad", column, value)
    rows = {row.id: row for row in store.find(ALL)}
    assert rows["good"].title == a_run().title
    if column in {"created_at", "verdict"}:
        assert rows["bad"].created_at is None
    assert store.get("bad") == a_run("bad")


def test_a_file_that_is_not_a_database_is_refused_and_not_changed(file: Path) -> None:
    store = Store(f"sqlite:///{file}")
    file.parent.mkdir()
    file.write_bytes(b"These are somebody's notes." * 100)
    for use in (lambda: store.save(a_run()), lambda: store.find(ALL), lambda: store.get("a")):
        with pytest.raises(Refusal, match="their database does not work"):
            use()
    assert file.read_bytes() == b"These are somebody's notes." * 100


def test_a_folder_that_cannot_be_created_is_refused_until_it_can(tmp_path: Path) -> None:
    in_the_way = tmp_path / "data"
    in_the_way.write_text("a file")
    store = Store(f"sqlite:///{in_the_way / FILE_NAME}")
    with pytest.raises(Refusal, match="cannot be kept now"):
        store.save(a_run())
    in_the_way.unlink()
    store.save(a_run())
    assert store.get("a") == a_run()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://lab:secret@127.0.0.1:1/lab", "oracle://lab:secret@host/lab"]
)
def test_an_unreachable_database_is_refused_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refusal, match="cannot be read now") as refused:
        Store(url).find(ALL)
    assert "secret" not in str(refused.value) + caplog.text


def test_a_visitors_texts_do_not_go_to_the_log(
    store: Store, url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    store.count(ALL)
    change(url, "DROP TABLE runs")
    with pytest.raises(Refusal, match="cannot be kept now"):
        store.save(a_run(title="my secret"))
    assert "runs" in caplog.text
    assert "my secret" not in caplog.text


def test_a_missing_driver_is_named_in_the_log_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Refusal, match="cannot be read now"):
        Store("postgresql+psycopg://lab:secret@127.0.0.1:1/lab").count(ALL)
    assert "requirements-postgres.txt" in caplog.text
    assert "secret" not in caplog.text


def test_the_settings_say_where_runs_are_kept(tmp_path: Path) -> None:
    here = store_url(Settings(data_folder=tmp_path))
    assert (here.drivername, here.database) == ("sqlite", str(tmp_path / FILE_NAME))
    with pytest.raises(Refusal, match="FASTPATH_DATABASE_URL is not the URL") as refused:
        store_url(Settings(database_url="host:secret"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("start", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_form_of_a_postgresql_url_uses_the_driver_that_is_there(start: str) -> None:
    there = store_url(Settings(database_url=f"{start}://lab:secret@host/lab"))
    assert (there.drivername, there.host, there.password) == ("postgresql+psycopg", "host", "secret")


def test_the_process_has_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.__dict__, "_fastpath_store", None)
    del sys.__dict__["_fastpath_store"]
    monkeypatch.setenv("FASTPATH_DATA_FOLDER", str(tmp_path))
    the_store().save(a_run())
    assert the_store() is the_store()
    assert (tmp_path / FILE_NAME).exists()


def test_an_older_quiet_run_answers_before_a_newer_one_of_a_busy_machine(store: Store) -> None:
    busy = sample_environment().model_copy(update={"quiet": False, "notes": ("others were at work",)})
    key = build_key(sample_environment())
    store.save(a_run("busy", 1, environment=busy))
    found = store.find_same(an_experiment(), key)
    assert found is not None
    assert found.id == "busy", "better than none"
    store.save(a_run("quiet", 0))
    found = store.find_same(an_experiment(), key)
    assert found is not None
    assert found.id == "quiet"
