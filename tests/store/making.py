"""Runs for the store's tests, and changes to their rows behind the store's back."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import URL, create_engine, text

from engine.analysis.conclude import concluded
from engine.records import Batch, Experiment, Run
from tests.samples import sample_run

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_run(run_id: str = "a", minutes: int = 0, **changes: object) -> Run:
    run = concluded(sample_run())
    return run.model_copy(update={"id": run_id, "created_at": START + timedelta(minutes=minutes), **changes})


def an_experiment(**changes: object) -> Experiment:
    return sample_run().experiment.model_copy(update=changes)


def with_texts(*texts: str) -> Experiment:
    return an_experiment(batch=Batch(name=sample_run().experiment.batch.name, texts=texts))


def change(url: URL, statement: str, **values: object) -> int:
    """Run one statement; the number of rows that it changed."""
    engine = create_engine(url)
    with engine.begin() as connection:
        changed = connection.execute(text(statement), values).rowcount
    engine.dispose()
    return changed


def change_row(url: URL, table: str, run_id: str, column: str, value: object) -> None:
    assert change(url, f"UPDATE {table} SET {column} = :value WHERE id = :id", value=value, id=run_id) == 1  # noqa: S608


def rows_of(url: URL, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found
