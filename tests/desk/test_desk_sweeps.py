"""A sweep at the desk: its cells are kept as they land, whatever happens to the child or the server."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.desk.desk import Desk
from engine.desk.jobs import SWEEP_CUT_OFF
from engine.desk.journal import Journal
from engine.desk.limits import Limits
from engine.events import CellDone, CellStarted, Round, Step, SweepRequest, request_of
from engine.settings import Settings
from engine.sweeps import Sweep, SweepCell, new_sweep
from tests.desk.test_desk import LONG_S, fake_child, until
from tests.desk.test_ledger import Office
from tests.sweep_samples import NOW, a_cell, a_plan

Kept = list[tuple[Sweep, SweepCell]]


def sweep_of(model: str) -> SweepRequest:
    return request_of(new_sweep(a_plan(model=model), "MiniLM", NOW))


@pytest.fixture
def kept() -> Kept:
    return []


@pytest.fixture
def desk(kept: Kept) -> Desk:
    return Desk(fake_child, on_cell=lambda sweep, cell: kept.append((sweep, cell)))


def numbers(kept: Kept) -> list[int]:
    return [cell.number for _, cell in kept]


def test_cancelling_keeps_the_complete_cells(desk: Desk, kept: Kept) -> None:
    request = sweep_of("hang")
    ticket = desk.submit(request)
    until(lambda: desk.snapshot(ticket.id).rounds_done > 0)
    view = desk.snapshot(ticket.id)
    assert (view.sweep_id, view.cells_done, view.cells_of) == (request.id, 2, 12)
    assert view.title == request.title
    assert desk.ticket_of_sweep(request.id) == ticket.id
    desk.cancel(ticket)
    view = desk.snapshot(ticket.id)
    assert (view.state, view.message) == ("cancelled", "Cancelled; the cells that were complete are kept.")
    assert numbers(kept) == [0, 1]
    assert kept[0][0] == request.sweep
    assert desk.ticket_of_sweep(request.id) == ""


def test_a_child_that_dies_costs_only_the_present_cell(desk: Desk, kept: Kept) -> None:
    ticket = desk.submit(sweep_of("die"))
    view = desk.wait(ticket.id, LONG_S)
    assert view.state == "failed"
    assert numbers(kept) == [0, 1]


def test_a_store_that_fails_does_not_end_the_sweep() -> None:
    def full(_sweep: Sweep, _cell: SweepCell) -> None:
        raise OSError("disk full")

    desk = Desk(fake_child, on_cell=full)
    ticket = desk.submit(sweep_of("refuse"))
    view = desk.wait(ticket.id, LONG_S)
    assert "answered by" in view.message
    assert (view.cells_done, view.cells_not_stored) == (2, 2)


def restarted(folder: Path, desk: Desk) -> Desk:
    """Another server on the journal of the first, which has died."""
    journal = desk._ledger._journal
    assert journal is not None
    journal.close()
    return Desk(fake_child, journal=Journal(folder))


def test_after_a_restart_a_running_sweep_is_interrupted_and_a_queued_one_is_measured(tmp_path: Path) -> None:
    desk = Desk(fake_child, journal=Journal(tmp_path))
    running, queued = sweep_of("hang"), sweep_of("refuse")
    first, second = desk.submit(running), desk.submit(queued)
    until(lambda: desk.snapshot(first.id).rounds_done > 0)
    again = restarted(tmp_path, desk)
    view = again.snapshot(first.id)
    assert (view.state, view.message, view.sweep_id) == ("interrupted", SWEEP_CUT_OFF, running.id)
    assert "answered by" in again.wait(second.id, LONG_S).message
    desk.cancel(first)


def seconds_until_the_limit(limits: Limits) -> float:
    """How long a sweep may run whose cells take 40 seconds each, the fourth of them for ever."""
    desk, plan = Office(limits), a_plan()
    job = desk.ledger.find(desk.ledger.take(sweep_of("m"), "", "").id)
    desk.start()
    start_s = desk.clock_s
    while not (ended := desk.end_what_is_due()):
        desk.clock_s += 10
        done = int((desk.clock_s - start_s) // 40)
        if job.view.cells_done < min(done, 3):
            cell = a_cell(plan, done, plan.places[done])
            desk.ledger.hear(job, CellDone(cell=cell, done=done, of=12))
    ((_, state, message),) = ended
    assert (state, "longer than the limit" in message) == ("failed", True)
    return desk.clock_s - start_s


def test_the_limit_of_time_counts_for_each_cell_and_on_a_shared_server_for_the_sweep() -> None:
    """A sweep may be longer than any run, but nobody may hold a shared machine for hours."""
    limits = Limits(longest_s=100, silence_s=1000)
    assert seconds_until_the_limit(limits) == 230
    assert seconds_until_the_limit(replace(limits, cells_apart=False)) == 110
    assert (Limits.of(Settings(hosted=True)).cells_apart, Limits.of(Settings()).cells_apart) == (False, True)


def test_the_view_shows_the_present_cell_and_the_time_left() -> None:
    desk = Office()
    job = desk.ledger.find(desk.ledger.take(sweep_of("m"), "", "").id)
    desk.start()
    assert (desk.shown(job).left_s or 0) > 40, "before the first cell, from the plan"
    desk.ledger.hear(job, CellStarted(title="8 texts x 16 tokens", done=2, of=12, left_s=70.0))
    desk.ledger.hear(job, Step(name="measure", text="Measuring rounds"))
    desk.ledger.hear(job, Round(done=3, at_most=8, speedups={"packed": (1.0, 2.0)}))
    view = desk.shown(job)
    assert (view.cell, view.cells_done, view.left_s, view.rounds_done) == ("8 texts x 16 tokens", 2, 70.0, 3)
    desk.ledger.hear(job, CellStarted(title="next", done=3, of=12, left_s=60.0))
    view = desk.shown(job)
    assert (view.rounds_done, view.history) == (0, ()), "the rounds of the cell before are not this one's"
