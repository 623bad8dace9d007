"""What is asked of the finished runs: the records of a question and its answer, and the statements. Pure.

No statement here reads a run's JSON, so a list costs the same whatever its runs hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    exists,
    func,
    literal,
    select,
    union_all,
)

from engine.errors import Refusal
from engine.records import Record, VerdictWord
from engine.store.derived import of_lines, storable
from engine.store.tables import PRESET, RUN_PATHS, RUN_ROWS, RUN_TAGS

Sort = Literal["newest", "oldest", "fastest", "slowest", "title"]
SEARCH_LENGTH = 200
_FILTERS = {
    "models": "model",
    "batches": "batch",
    "devices": "device",
    "dtypes": "dtype",
    "allocators": "allocator",
    "machines": "machine",
    "verdicts": "verdict",
}
"""Fields of a filter and of the choices, and the column of `run_rows` that each is about."""
_ROW = RUN_ROWS.c
NEWEST_FIRST = (_ROW.created_at.desc(), _ROW.id.desc())
_ORDERS: dict[Sort, tuple[ColumnElement[Any], ...]] = {
    "newest": NEWEST_FIRST,
    "oldest": (_ROW.created_at, _ROW.id),
    "fastest": (_ROW.speedup.desc().nulls_last(), *NEWEST_FIRST),
    "slowest": (_ROW.speedup.asc().nulls_last(), *NEWEST_FIRST),
    "title": (_ROW.searched, *NEWEST_FIRST),
}


class RunRow(Record):
    """A finished run in a list; if a field of the row is damaged, all but the id are None or empty."""

    id: str
    created_at: datetime | None = None
    title: str = ""
    """The one that a user gave, or else the run's own."""
    renamed: bool = False
    """Whether a user gave the title."""
    model: str = ""
    batch: str = ""
    device: str | None = None
    """None, as `dtype` and `allocator`, if the run's JSON cannot be read."""
    dtype: str | None = None
    allocator: str | None = None
    machine: str = ""
    paths: tuple[str, ...] = ()
    """The measured paths in the run's order, the baseline among them."""
    best_path: str | None = None
    """The fastest path but the baseline; None where no other gave a result."""
    verdict: VerdictWord | None = None
    """The verdict on `best_path`."""
    speedup: float | None = None
    """The speedup of `best_path`."""
    experiment_key: str = ""
    """The same for runs of one experiment (engine/alike.py); for `Store.repeats`."""
    tags: tuple[str, ...] = ()
    note: str = ""
    deleted_at: datetime | None = None


class RunFilter(Record):
    """Which runs are wanted: all conditions hold; of several values in one condition, any will do.

    Attributes:
        words: each of them occurs in the title, model, batch, tags or note, in upper or lower case.
        verdicts: of the fastest path.
        tags: the run has one of them.
        paths: the run measured all of them.
        presets_only: leaves out runs of visitors' own texts.
        deleted: the runs that are deleted and can still be restored, instead of those that are not.
    """

    words: str = ""
    models: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    allocators: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    presets_only: bool = False
    deleted: bool = False


class Choices(Record):
    """The values that occur among the runs that are not deleted, each sorted: what a filter can offer."""

    models: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    allocators: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class PathSpeedup(Record):
    """A path's speedup over its run's baseline, in one of several runs of the same experiment."""

    run_id: str
    created_at: datetime
    machine: str
    path: str
    speedup: float
    low: float | None
    high: float | None
    verdict: VerdictWord | None


def rows_query(wanted: RunFilter, sort: Sort, limit: int, offset: int) -> Select[Any]:
    """The columns of `RunRow`, for `row_of`.

    Raises:
        Refusal: the search is too long.
    """
    conditions = _conditions(wanted, reads_all=sort == "title")
    query = _rows().where(*conditions).order_by(*_ORDERS[sort])
    return query.limit(limit).offset(offset)


def row_query(run_id: str) -> Select[Any]:
    """The columns of `RunRow` for one run that is not deleted."""
    return _rows().where(_ROW.id == storable(run_id), _ROW.deleted_at.is_(None))


def count_query(wanted: RunFilter) -> Select[Any]:
    """The number of runs that `rows_query` finds without a limit.

    Raises:
        Refusal: the search is too long.
    """
    conditions = _conditions(wanted, reads_all=bool(wanted.words))
    return select(func.count()).select_from(RUN_ROWS).where(*conditions)


def choices_query(presets_only: bool) -> CompoundSelect[Any]:
    """Every value that occurs, as a pair of the field of `Choices` and the value."""
    listed = _conditions(RunFilter(presets_only=presets_only))
    parts = [
        select(_field(field), _ROW[column].label("value")).where(_ROW[column] > "", *listed).distinct()
        for field, column in _FILTERS.items()
    ]
    path, tag = RUN_PATHS.alias(), RUN_TAGS.alias()
    paths = select(RUN_PATHS.c.path).distinct().subquery()
    measured = exists().where(
        path.c.path == paths.c.path, path.c.status == "ok", path.c.run_id == _ROW.id, *listed
    )
    tags = select(RUN_TAGS.c.tag).distinct().subquery()
    tagged = exists().where(tag.c.tag == tags.c.tag, tag.c.run_id == _ROW.id, *listed)
    return union_all(
        *parts,
        select(_field("paths"), paths.c.path).where(measured),
        select(_field("tags"), tags.c.tag).where(tagged),
    )


def repeats_query(experiment_key: str, limit: int) -> Select[Any]:
    """The columns of `PathSpeedup` for the newest `limit` runs of an experiment, oldest first."""
    newest = (
        select(_ROW.id, _ROW.created_at, _ROW.machine)
        .where(_ROW.experiment_key == experiment_key, _ROW.deleted_at.is_(None))
        .order_by(*NEWEST_FIRST)
        .limit(limit)
        .subquery()
    )
    path = RUN_PATHS.c
    columns = (
        newest.c.created_at,
        newest.c.machine,
        path.run_id,
        path.path,
        path.speedup,
        path.low,
        path.high,
    )
    return (
        select(*columns, path.verdict)
        .join_from(newest, RUN_PATHS, newest.c.id == path.run_id)
        .where(path.speedup.is_not(None), path.is_baseline.is_(False))
        .order_by(newest.c.created_at, newest.c.id, path.path)
    )


def row_of(values: Mapping[Any, Any]) -> RunRow:
    """A row of `rows_query`; of a damaged one only the id."""
    try:
        columns = {**values, "paths": of_lines(values["paths"]), "tags": of_lines(values["tags"])}
        return RunRow.model_validate(columns)
    except ValidationError:
        return RunRow(id=str(values["id"]))


def choices_of(pairs: Iterable[Sequence[str]]) -> Choices:
    """The answer to `choices_query`."""
    found: dict[str, list[str]] = {}
    for field, value in pairs:
        found.setdefault(field, []).append(value)
    # Not in the order of the database, which depends on its settings.
    return Choices.model_validate(
        {
            field: sorted(values, key=lambda value: (value.casefold(), value))
            for field, values in found.items()
        }
    )


def _rows() -> Select[Any]:
    return select(*(_ROW[name] for name in RunRow.model_fields))


def _field(name: str) -> ColumnElement[str]:
    return literal(name, Text).label("field")


def _conditions(wanted: RunFilter, *, reads_all: bool = False) -> list[ColumnElement[bool]]:
    """The conditions of a filter.

    Args:
        reads_all: every row has to be read anyway. SQLite then must not read them in the order of an index on
            `deleted_at`, which takes three times as long.
    """
    deleted_at = func.nullif(_ROW.deleted_at, "") if reads_all else _ROW.deleted_at
    conditions: list[ColumnElement[bool]] = [
        deleted_at.is_not(None) if wanted.deleted else deleted_at.is_(None)
    ]
    if wanted.presets_only:
        conditions.append(_ROW.texts == PRESET)
    for field, column in _FILTERS.items():
        if values := getattr(wanted, field):
            conditions.append(_ROW[column].in_([storable(value) for value in values]))
    if wanted.tags:
        tagged = select(RUN_TAGS.c.run_id).where(RUN_TAGS.c.tag.in_([storable(tag) for tag in wanted.tags]))
        conditions.append(_ROW.id.in_(tagged))
    for path in dict.fromkeys(wanted.paths):
        measured = select(RUN_PATHS.c.run_id).where(
            RUN_PATHS.c.path == storable(path), RUN_PATHS.c.status == "ok"
        )
        conditions.append(_ROW.id.in_(measured))
    return conditions + [_ROW.searched.contains(word, autoescape=True) for word in _words(wanted.words)]


def _words(search: str) -> tuple[str, ...]:
    if len(search) > SEARCH_LENGTH:
        raise Refusal(
            f"A search has at most {SEARCH_LENGTH} characters; this one has {len(search):,}. Use fewer words."
        )
    return tuple(dict.fromkeys(storable(search).casefold().split()))
