"""Steps that the tests of the History page share."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamlit.testing.v1 import AppTest

from engine.records import Run
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from pages.kit import nav
from tests.pages.test_app import SAMPLE

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_run(run_id: str, age: timedelta = timedelta(0), **changes: object) -> Run:
    return SAMPLE.model_copy(update={"id": run_id, "created_at": datetime.now(UTC) - age, **changes})


def damage(tmp_path: Path, run_id: str, json: str) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE runs SET json = ? WHERE id = ?", (json, run_id))


def history(app: AppTest) -> AppTest:
    app.switch_page(nav.HISTORY).run()
    assert not app.exception
    assert app.title[0].value == "History"
    return app


def listed(app: AppTest) -> list[str]:
    """The titles in the table; empty where no table is shown."""
    return [title for table in app.dataframe for title in table.value["Run"]]


def opened(app: AppTest, run_id: str) -> AppTest:
    app.query_params["run"] = run_id
    return history(app)


def select(app: AppTest, *run_ids: str) -> AppTest:
    """Select runs; the table's own boxes are drawn on a canvas, so a browser tests these (tests/e2e)."""
    app.session_state["history_shelf"].selected = run_ids
    return app.run()


def store_named(store: Store, *names: str) -> None:
    """Runs whose ids are their titles, the newest first."""
    for number, name in enumerate(names):
        store.save(a_run(name, timedelta(minutes=number), title=name))
