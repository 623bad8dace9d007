"""Sweeps in the store, on both databases: kept cell by cell, read as one, deleted and restored."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from engine.errors import Refusal
from engine.store.opening import writing
from engine.store.store import RESTORABLE_DAYS, Store
from engine.store.sweeps import Sweeps
from engine.store.tables import SWEEP_CELLS
from engine.sweeps import Sweep, SweepCell
from tests.sweep_samples import NOW, a_sweep


class Clock:
    now = NOW

    def __call__(self) -> object:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sweeps(store: Store, clock: Clock) -> Sweeps:
    return Sweeps(store, now=clock)  # type: ignore[arg-type]


def keep(sweeps: Sweeps, sweep: Sweep) -> None:
    for cell in sweep.cells:
        sweeps.keep(sweep.model_copy(update={"cells": ()}), cell)


def other(sweep: Sweep, sweep_id: str, minutes: int) -> Sweep:
    return sweep.model_copy(update={"id": sweep_id, "created_at": NOW + timedelta(minutes=minutes)})


def test_a_sweep_grows_cell_by_cell_and_is_read_as_one(sweeps: Sweeps) -> None:
    sweep = a_sweep(cells=3)
    assert sweeps.get(sweep.id) is None
    keep(sweeps, sweep)
    assert sweeps.get(sweep.id) == sweep
    more = a_sweep(cells=5)
    keep(sweeps, more)
    assert sweeps.get(sweep.id) == more
    (row,) = sweeps.latest()
    assert (row.id, row.done, row.size, row.title) == (sweep.id, 5, 12, sweep.title)
    assert row.created_at == NOW


def test_a_cell_that_is_measured_twice_is_there_once(sweeps: Sweeps) -> None:
    sweep = a_sweep(cells=1)
    keep(sweeps, sweep)
    sweeps.keep(sweep, SweepCell(number=0, reason="no memory"))
    found = sweeps.get(sweep.id)
    assert found is not None
    assert [cell.reason for cell in found.cells] == ["no memory"]


def test_the_newest_sweeps_come_first(sweeps: Sweeps) -> None:
    sweep = a_sweep(cells=1)
    for number, minutes in enumerate((5, 20, 10)):
        keep(sweeps, other(sweep, f"s{number}", minutes))
    assert [row.id for row in sweeps.latest()] == ["s1", "s2", "s0"]
    assert [row.id for row in sweeps.latest(limit=1)] == ["s1"]


def test_a_deleted_sweep_can_be_restored_until_it_is_deleted_for_good(sweeps: Sweeps, clock: Clock) -> None:
    sweep = a_sweep(cells=2)
    keep(sweeps, sweep)
    sweeps.delete(sweep.id)
    assert sweeps.get(sweep.id) is None
    assert sweeps.latest() == ()
    sweeps.restore(sweep.id)
    assert sweeps.get(sweep.id) == sweep
    sweeps.delete(sweep.id)
    clock.now = NOW + timedelta(days=RESTORABLE_DAYS + 1)
    keep(sweeps, other(sweep, "next", 1))
    sweeps.restore(sweep.id)
    assert sweeps.get(sweep.id) is None


def test_the_oldest_beyond_the_limit_are_deleted_with_their_cells(
    sweeps: Sweeps, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.sweeps.SWEEPS_KEPT", 2)
    sweep = a_sweep(cells=1)
    for number in range(4):
        keep(sweeps, other(sweep, f"s{number}", number))
    assert [row.id for row in sweeps.latest()] == ["s3", "s2"]
    with store.transaction("read") as connection:
        assert connection.scalar(select(func.count()).select_from(SWEEP_CELLS)) == 2


def test_damage_costs_one_cell_or_is_said(sweeps: Sweeps, store: Store) -> None:
    sweep = a_sweep(cells=2)
    keep(sweeps, sweep)
    with store.transaction("changed", writing) as connection:
        connection.execute(text("UPDATE sweep_cells SET json = '{' WHERE number = 0"))
    found = sweeps.get(sweep.id)
    assert found is not None
    assert ("damaged" in found.cells[0].reason, found.cells[1]) == (True, sweep.cells[1])
    with store.transaction("changed", writing) as connection:
        connection.execute(text("UPDATE sweeps SET json = '{', created_at = 'x'"))
    with pytest.raises(Refusal, match="This sweep is damaged"):
        sweeps.get(sweep.id)
    assert [row.id for row in sweeps.latest()] == [sweep.id]
