"""Titles, tags and notes can be changed, and runs deleted and restored; the run itself stays as it was measured."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import URL

from engine.errors import Refusal
from engine.store.derived import MOST_TAGS, NOTE_LENGTH, TAG_LENGTH, TITLE_LENGTH, build_key
from engine.store.queries import RunFilter
from engine.store.store import RESTORABLE_DAYS, Store
from tests.samples import sample_environment
from tests.store.making import a_run, an_experiment, change_row, rows_of

ALL, DELETED = RunFilter(), RunFilter(deleted=True)


class Clock:
    """A clock that the test sets."""

    now = datetime(2026, 11, 28, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_what_a_user_adds_is_listed_and_the_run_stays_as_it_was(store: Store) -> None:
    store.save(a_run())
    store.annotate(
        "a", title="  Before the\n change ", tags=("amx", " two  words ", "AMX", ""), note=" Why.\nHow. "
    )
    row = store.row("a")
    assert row is not None
    assert (row.title, row.renamed, row.tags) == ("Before the change", True, ("amx", "two words"))
    assert row.note == "Why.\nHow."
    assert store.get("a") == a_run()


def test_none_leaves_it_and_empty_takes_it_away(store: Store) -> None:
    store.save(a_run())
    store.annotate("a", title="mine", tags=("x",), note="n")
    store.annotate("a")
    store.annotate("a", tags=("y",))
    row = store.row("a")
    assert row is not None
    assert (row.title, row.tags, row.note) == ("mine", ("y",), "n")
    store.annotate("a", title=" ", tags=(), note="")
    row = store.row("a")
    assert row is not None
    assert (row.title, row.renamed, row.tags, row.note) == (a_run().title, False, (), "")
    assert store.choices().tags == ()
    assert store.find(RunFilter(words="mine")) == ()


def test_a_run_saved_again_keeps_what_a_user_added_and_is_there_again(store: Store) -> None:
    store.save(a_run())
    store.annotate("a", title="mine", tags=("x",), note="n")
    store.delete(["a"])
    store.save(a_run(title="concluded anew"))
    (row,) = store.find(RunFilter(words="mine", tags=("x",)))
    assert (row.title, row.tags, row.note) == ("mine", ("x",), "n")
    store.annotate("a", title="")
    assert store.find(ALL)[0].title == "concluded anew"


def test_a_run_that_nobody_renamed_takes_the_new_title(store: Store) -> None:
    store.save(a_run())
    store.annotate("a", note="n")
    store.save(a_run(title="concluded anew"))
    assert store.find(ALL)[0].title == "concluded anew"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"title": "x" * (TITLE_LENGTH + 1)}, "A title has at most 200 characters; this one has 201"),
        ({"note": "x" * (NOTE_LENGTH + 1)}, "A note has at most 4,000 characters"),
        ({"tags": ("ok", "x" * (TAG_LENGTH + 1))}, "A tag has at most 40 characters"),
        ({"tags": tuple(map(str, range(MOST_TAGS + 1)))}, "A run has at most 20 tags; these are 21"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_too_long_is_refused_and_changes_nothing(
    store: Store, changes: dict[str, object], sentence: str
) -> None:
    store.save(a_run())
    before = store.row("a")
    with pytest.raises(Refusal, match=sentence):
        store.annotate("a", **{"note": "another", **changes})  # type: ignore[arg-type]
    assert store.row("a") == before


def test_the_longest_texts_are_kept_with_every_character(store: Store) -> None:
    store.save(a_run())
    tags = tuple(chr(0x1F600 + number) * TAG_LENGTH for number in range(MOST_TAGS))
    store.annotate("a", title="🤗" * TITLE_LENGTH, tags=tags, note="ß\t'\"%\\\n" * 500 + "\0")
    row = store.row("a")
    assert row is not None
    assert (row.title, row.tags) == ("🤗" * TITLE_LENGTH, tags)
    assert row.note == ("ß\t'\"%\\\n" * 500).strip()


def test_a_run_that_is_not_there_cannot_be_changed(store: Store) -> None:
    store.save(a_run())
    store.delete(["a"])
    for run_id in ("a", "b", "\0"):
        with pytest.raises(Refusal, match="no such run"):
            store.annotate(run_id, note="n")


def test_a_run_that_cannot_be_read_can_be_annotated(store: Store, url: URL) -> None:
    store.save(a_run())
    change_row(url, "runs", "a", "json", "{")
    store.annotate("a", note="look into this")
    assert store.find(ALL)[0].note == "look into this"


def test_a_deleted_run_is_nowhere_until_it_is_restored(store: Store) -> None:
    key = build_key(sample_environment())
    for run_id in ("a", "b"):
        store.save(a_run(run_id))
    store.annotate("a", tags=("x",))
    store.delete(["a", "not there", "\0"])
    assert [row.id for row in store.find(ALL)] == ["b"]
    assert (store.get("a"), store.json_of("a"), store.row("a"), store.count(ALL)) == (None, None, None, 1)
    assert store.choices().tags == ()
    store.delete(["b"])
    assert store.find_same(an_experiment(), key) is None
    deleted = store.find(DELETED)
    assert {row.id for row in deleted} == {"a", "b"}
    assert all(row.deleted_at is not None for row in deleted)
    store.restore(["a"])
    assert store.get("a") == a_run("a")
    (row,) = store.find(ALL)
    assert (row.id, row.tags, row.deleted_at) == ("a", ("x",), None)
    assert store.find_same(an_experiment(), key) == a_run("a")


def test_the_time_to_restore_starts_with_the_first_deletion(url: URL) -> None:
    clock = Clock()
    store = Store(url, now=clock)
    store.save(a_run())
    store.delete(["a"])
    first = store.find(DELETED)[0].deleted_at
    clock.now += timedelta(days=1)
    store.delete(["a"])
    assert store.find(DELETED)[0].deleted_at == first == clock.now - timedelta(days=1)
    store.close()


def test_a_deleted_run_is_gone_for_good_at_the_first_save_after_its_time(url: URL) -> None:
    clock = Clock()
    store = Store(url, now=clock)
    store.save(a_run())
    store.annotate("a", tags=("x",))
    store.delete(["a"])
    clock.now += timedelta(days=RESTORABLE_DAYS, seconds=-1)
    store.save(a_run("b"))
    assert store.count(DELETED) == 1
    clock.now += timedelta(seconds=2)
    store.save(a_run("b"))
    assert store.count(DELETED) == 0
    store.restore(["a"])
    assert store.get("a") is None
    for table, column in (
        ("runs", "id"),
        ("run_rows", "id"),
        ("run_paths", "run_id"),
        ("run_tags", "run_id"),
    ):
        assert rows_of(url, f"SELECT * FROM {table} WHERE {column} = 'a'") == []  # noqa: S608
    store.close()


def test_more_runs_than_a_statement_can_name_are_deleted(url: URL) -> None:
    store = Store(url)
    for number in range(120):
        store.save(a_run(str(number), minutes=number))
    store.close()
    smaller = Store(url, runs_kept=3)
    smaller.save(a_run("last", minutes=1000))
    assert [row.id for row in smaller.find(ALL)] == ["last", "119", "118"]
    assert len(rows_of(url, "SELECT id FROM runs")) == 3
    smaller.close()
