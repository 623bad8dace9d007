"""Sweeps in the database of finished runs: every cell is kept when it lands, so that a crash loses one at most."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, delete, func, select, update

from engine.errors import Refusal
from engine.records import Record
from engine.store.derived import storable, time_text
from engine.store.opening import writing
from engine.store.store import RESTORABLE_DAYS, Store, the_store
from engine.store.tables import SWEEP_CELLS, SWEEPS, insert_into, upsert_into
from engine.sweeps import Sweep, SweepCell

SWEEPS_KEPT = 500
"""Sweeps in the database; beyond it the oldest are deleted."""
_IS_THERE = SWEEPS.c.deleted_at.is_(None)
_DAMAGED = "The stored result of this cell is damaged, or was written by a newer version; it is not changed."


class SweepRow(Record):
    """A sweep in a list."""

    id: str
    created_at: datetime | None = None
    """None if it is damaged."""
    title: str = ""
    machine: str = ""
    size: int = 0
    """Cells of its plan."""
    done: int = 0
    """Cells that are complete."""


class Sweeps:
    """The sweeps of a store; thread-safe. Every method raises a Refusal if the database cannot be used.

    Args:
        now: the time of day, in UTC.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._now = store, now

    def keep(self, sweep: Sweep, cell: SweepCell) -> None:
        """Insert a cell, and its sweep if this is its first cell; a cell with its number is replaced."""
        with self._store.transaction("kept", writing) as connection:
            added = connection.execute(
                insert_into(SWEEPS, connection).values(_values(sweep)).on_conflict_do_nothing()
            )
            row = {"sweep_id": sweep.id, "number": cell.number, "json": cell.model_dump_json()}
            connection.execute(upsert_into(SWEEP_CELLS, connection).values(row))
            if cell.run is not None:
                machine = storable(cell.run.environment.machine)
                unnamed = (SWEEPS.c.id == sweep.id) & (SWEEPS.c.machine == "")
                connection.execute(update(SWEEPS).where(unnamed).values(machine=machine))
            if added.rowcount:
                self._forget_superfluous(connection)

    def get(self, sweep_id: str) -> Sweep | None:
        """The sweep of this id with its cells; None if there is none, or it is deleted.

        Raises:
            Refusal: it cannot be read by this version (it stays as it is), or the database cannot be used.
        """
        one = select(SWEEPS.c.json).where(SWEEPS.c.id == storable(sweep_id), _IS_THERE)
        cells = (
            select(SWEEP_CELLS.c.number, SWEEP_CELLS.c.json)
            .where(SWEEP_CELLS.c.sweep_id == storable(sweep_id))
            .order_by(SWEEP_CELLS.c.number)
        )
        with self._store.transaction("read") as connection:
            text = connection.scalar(one)
            rows = connection.execute(cells).mappings().all() if text is not None else []
        return None if text is None else _sweep(text, rows)

    def latest(self, limit: int = 20) -> tuple[SweepRow, ...]:
        """The newest sweeps, newest first."""
        done = (
            select(func.count())
            .where(SWEEP_CELLS.c.sweep_id == SWEEPS.c.id)
            .correlate(SWEEPS)
            .scalar_subquery()
            .label("done")
        )
        columns = [SWEEPS.c[name] for name in SweepRow.model_fields if name != "done"]
        query = select(*columns, done).where(_IS_THERE)
        query = query.order_by(SWEEPS.c.created_at.desc(), SWEEPS.c.id).limit(limit)
        with self._store.transaction("read") as connection:
            found = connection.execute(query).mappings().all()
        return tuple(map(_row, found))

    def delete(self, sweep_id: str) -> None:
        """Delete a sweep; for RESTORABLE_DAYS it can be restored. Does nothing if there is none."""
        self._set_deleted(sweep_id, time_text(self._now()))

    def restore(self, sweep_id: str) -> None:
        """Undo the deletion of a sweep; does nothing if it is deleted for good."""
        self._set_deleted(sweep_id, None)

    def _set_deleted(self, sweep_id: str, moment: str | None) -> None:
        with self._store.transaction("restored" if moment is None else "deleted", writing) as connection:
            chosen = update(SWEEPS).where(SWEEPS.c.id == storable(sweep_id))
            connection.execute(chosen.values(deleted_at=moment))

    def _forget_superfluous(self, connection: Connection) -> None:
        oldest = time_text(self._now() - timedelta(days=RESTORABLE_DAYS))
        surplus = select(SWEEPS.c.id).where(_IS_THERE).order_by(SWEEPS.c.created_at.desc(), SWEEPS.c.id)
        gone = [
            *connection.scalars(surplus.offset(SWEEPS_KEPT)).all(),
            *connection.scalars(select(SWEEPS.c.id).where(SWEEPS.c.deleted_at < oldest)).all(),
        ]
        if gone:
            connection.execute(delete(SWEEP_CELLS).where(SWEEP_CELLS.c.sweep_id.in_(gone)))
            connection.execute(delete(SWEEPS).where(SWEEPS.c.id.in_(gone)))


def _values(sweep: Sweep) -> dict[str, object]:
    return {
        "id": sweep.id,
        "created_at": time_text(sweep.created_at),
        "title": storable(sweep.title),
        "model": storable(sweep.plan.model),
        "machine": "",
        "size": sweep.plan.size,
        "json": sweep.model_copy(update={"cells": ()}).model_dump_json(),
        "deleted_at": None,
    }


def _sweep(text: str, rows: Iterable[Mapping[Any, Any]]) -> Sweep:
    try:
        sweep = Sweep.model_validate_json(text)
    except ValidationError:
        raise Refusal(
            "This sweep is damaged, or was written by a newer version of the lab; it is kept as it is: sweep again."
        ) from None
    return sweep.model_copy(update={"cells": tuple(map(_cell, rows))})


def _cell(row: Mapping[Any, Any]) -> SweepCell:
    try:
        return SweepCell.model_validate_json(row["json"])
    except ValidationError:
        return SweepCell(number=row["number"], reason=_DAMAGED)


def _row(values: Mapping[Any, Any]) -> SweepRow:
    try:
        return SweepRow.model_validate(dict(values))
    except ValidationError:
        return SweepRow(id=str(values["id"]))


def the_sweeps() -> Sweeps:
    """The sweeps of this process's store.

    Raises:
        Refusal: a setting is not valid.
    """
    return Sweeps(the_store())
