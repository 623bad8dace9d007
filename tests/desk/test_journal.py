"""The journal after a crash: incomplete lines, dropped texts, and one writer only."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.desk.journal import ENDED_KEPT, Ended, Journal, Queued, Started, entries_of, open_journal
from engine.events import RunRequest
from engine.records import Batch, Experiment

AT = datetime(2026, 1, 2, tzinfo=UTC)
PRIVATE = "my private text"
REQUEST = RunRequest(
    experiment=Experiment(model="m", batch=Batch(name="b", texts=(PRIVATE,)), paths=("slow",))
)


def queued(ticket: str) -> Queued:
    return Queued(id=ticket, digest="d", visitor="ann", machine="", title="m, b", at=AT, request=REQUEST)


def ended(ticket: str) -> Ended:
    return Ended(id=ticket, state="done", at=AT, run_id="r")


def reopened(journal: Journal, folder: Path) -> Journal:
    journal.close()
    return Journal(folder)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_what_was_written_is_read_again_in_order(journal: Journal, tmp_path: Path) -> None:
    lines = [queued("a"), queued("b"), Started(id="a", machine="left", at=AT)]
    for line in lines:
        journal.write(line)
    first, second = reopened(journal, tmp_path).entries()
    assert (first.queued, first.started, first.ended) == (lines[0], lines[2], None)
    assert (second.queued, second.started) == (lines[1], None)


def test_only_an_incomplete_last_line_is_lost(journal: Journal, tmp_path: Path) -> None:
    journal.write(queued("a"))
    journal.write(queued("b"))
    journal.close()
    file = tmp_path / "journal-1.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    again = Journal(tmp_path)
    again.write(queued("c"))
    assert [entry.queued.id for entry in again.entries()] == ["a", "c"]


def test_the_texts_of_ended_jobs_are_dropped(journal: Journal, tmp_path: Path) -> None:
    journal.write(queued("a"))
    journal.write(ended("a"))
    (entry,) = reopened(journal, tmp_path).entries()
    assert entry.ended == ended("a")
    assert PRIVATE not in (tmp_path / "journal-1.jsonl").read_text()


def test_old_ended_jobs_are_dropped_and_the_queue_is_kept(journal: Journal, tmp_path: Path) -> None:
    journal.write(queued("waiting"))
    for number in range(ENDED_KEPT + 5):
        journal.write(queued(str(number)))
        journal.write(ended(str(number)))
    kept = [entry.queued.id for entry in reopened(journal, tmp_path).entries()]
    assert kept == ["waiting", *map(str, range(5, ENDED_KEPT + 5))]


def test_the_file_is_compacted_before_it_grows_too_large(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.close()
    monkeypatch.setattr("engine.desk.journal.COMPACT_BYTES", 10_000)
    busy = Journal(tmp_path)
    for number in range(ENDED_KEPT * 5):
        busy.write(queued(str(number)))
        busy.write(ended(str(number)))
    assert len(busy.entries()) < ENDED_KEPT * 2


def test_a_second_server_uses_another_journal(journal: Journal, tmp_path: Path) -> None:
    journal.write(queued("a"))
    assert Journal(tmp_path).entries() == ()
    assert len(reopened(journal, tmp_path).entries()) == 1


def test_only_its_owner_may_read_it(journal: Journal, tmp_path: Path) -> None:
    journal.write(queued("a"))
    assert (tmp_path / "journal-1.jsonl").stat().st_mode & 0o077 == 0


def test_without_a_writable_folder_there_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert open_journal(tmp_path / "file") is None


def test_an_end_without_a_start_is_ignored() -> None:
    assert entries_of([ended("a").model_dump_json()]) == ()
