"""The History page's list: one table of runs with a selection that outlives pages and filters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from engine.present.words.ages import age_words
from engine.present.charts.runs import chart_label
from engine.present.words.runs import speedup_text
from engine.store.queries import RunRow

TABLE_KEY, OPEN_KEY = "history_table", "history_open"
VERDICT_COLOURS = {"faster": "green", "slower": "red", "same": "gray", "not sure": "orange"}
TITLE_PX, ANSWER_PX = 208, 126
"""Widths of columns: a telephone shows a run's title and its answer."""
DAMAGED = "A run whose entry is damaged"


@dataclass
class Shelf:
    """What the History page remembers in a session.

    Attributes:
        selected: ids in the order in which they were selected.
        comparing: the Compare page is to be shown next, which only a running script can do.
        deleted: ids that *Undo* restores.
        told: sentences about the last import or change.
        warned: sentences about what could not be done in it.
        popovers: part of the popovers' keys.
    """

    selected: tuple[str, ...] = ()
    comparing: bool = False
    deleted: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    popovers: int = 0


def the_shelf() -> Shelf:
    """The History page's memory of this session."""
    shelf: Shelf = st.session_state.setdefault("history_shelf", Shelf())
    return shelf


def popover_key(name: str) -> str:
    """The key of a popover that `close_popovers` closes."""
    return f"{name}_{the_shelf().popovers}"


def close_popovers() -> None:
    """Close the popovers with such keys; for callbacks of what is inside them.

    A popover has no command to close it. With another key it is another popover, and these begin closed.
    """
    the_shelf().popovers += 1


def select(run_ids: Sequence[str]) -> None:
    """Select these runs and no others; the table shows it when it is drawn next."""
    the_shelf().selected = tuple(run_ids)


def show_table(rows: Sequence[RunRow], now: datetime, zone: tzinfo, open_run: Callable[[str], None]) -> None:
    """The runs as a table: a click on a title opens its run, the boxes at the left select.

    Args:
        now: with a time zone.
        zone: the reader's.
        open_run: called with a run's id.
    """
    ids = tuple(row.id for row in rows)
    _show_selection(ids)
    table = runs_table(rows, now, zone)
    st.dataframe(
        table,
        key=TABLE_KEY,
        on_select=partial(_keep_selection, ids),
        selection_mode="multi-row",
        hide_index=True,
        height="content",
        column_config=_columns(table, partial(_open_clicked, ids, open_run)),
        alt="Finished runs",
    )


def runs_table(rows: Sequence[RunRow], now: datetime, zone: tzinfo) -> pd.DataFrame:
    """One row for each run.

    Columns: Run, Answer (of the fastest path), Fastest path, Measured; Machine, if there are several; Tags and
    Deleted, if a row has any.
    """
    several_machines = len({row.machine for row in rows}) > 1
    cells = [
        {
            "Run": row.title or DAMAGED,
            "Answer": [answer_words(row)] if row.best_path else [],
            "Fastest path": chart_label(row.best_path) if row.best_path else "",
            "Measured": time_words(row.created_at, now, zone),
            **({"Machine": row.machine} if several_machines else {}),
            **({"Tags": list(row.tags)} if any(row.tags for row in rows) else {}),
            **({"Deleted": age_words(row.deleted_at, now)} if row.deleted_at else {}),
        }
        for row in rows
    ]
    return pd.DataFrame(cells)


def answer_words(row: RunRow) -> str:
    """The verdict on a run's fastest path, and its speedup: faster (2.1x)."""
    value = f" ({speedup_text(row.speedup)})" if row.speedup is not None else ""
    return f"{row.verdict or 'not sure'}{value}"


def _verdict_of(answer: str) -> str:
    return answer.partition(" (")[0]


def time_words(moment: datetime | None, now: datetime, zone: tzinfo) -> str:
    """A time in the reader's zone, and how long ago it was."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}, {age_words(moment, now)}" if moment else ""


def _columns(table: pd.DataFrame, open_clicked: Callable[[], None]) -> dict[str, Any]:
    answers = sorted({answer for answers in table["Answer"] for answer in answers})
    tags = sorted({tag for tags in table.get("Tags", ()) for tag in tags})
    return {
        "Run": st.column_config.ButtonColumn(
            key=OPEN_KEY, on_click=open_clicked, type="tertiary", alignment="left", width=TITLE_PX
        ),
        "Answer": st.column_config.MultiselectColumn(
            options=answers,
            color=[VERDICT_COLOURS[_verdict_of(answer)] for answer in answers],
            width=ANSWER_PX,
        ),
        "Tags": st.column_config.MultiselectColumn(options=tags, color="gray"),
    }


def _show_selection(ids: Sequence[str]) -> None:
    """Make the table's boxes those of the selection, whichever page of the list is shown."""
    selected = the_shelf().selected
    rows = [place for place, run_id in enumerate(ids) if run_id in selected]
    state = st.session_state.get(TABLE_KEY)
    if (list(state["selection"]["rows"]) if state else []) != rows:
        st.session_state[TABLE_KEY] = {"selection": {"rows": rows}}


def _keep_selection(ids: Sequence[str]) -> None:
    rows = st.session_state[TABLE_KEY]["selection"]["rows"]
    marked = [ids[row] for row in rows if row < len(ids)]
    before = the_shelf().selected
    kept = [run_id for run_id in before if run_id in marked or run_id not in ids]
    select([*kept, *(run_id for run_id in marked if run_id not in before)])


def _open_clicked(ids: Sequence[str], open_run: Callable[[str], None]) -> None:
    row = st.session_state[OPEN_KEY]["row"]
    if row < len(ids):
        open_run(ids[row])
