"""Finished runs that this server keeps: find one, read it as on the Benchmark page, download it, delete it."""

from datetime import UTC, datetime

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.errors import Refusal
from engine.settings import load_settings
from engine.store.queries import RunFilter
from engine.store.store import the_store
from pages.kit.history import (
    close_run,
    offer_deletion,
    show_card,
    show_heading,
    show_run,
    show_unreadable,
)
from pages.kit.linking import RUN_PARAMETER

RUNS_ON_A_PAGE = 10
HOSTED = load_settings().hosted


def show_list() -> None:
    """The newest runs, page by page; a public server does not list runs of visitors' own texts."""
    store = the_store()
    wanted = RunFilter(presets_only=HOSTED)
    total = store.count(wanted)
    if HOSTED:
        st.caption("Runs of visitors' own texts are not listed. The link to such a run opens it.")
    if not total:
        st.markdown("There are no runs yet. Each run that finishes on the Benchmark page is kept here.")
        st.page_link(nav.BENCHMARK, label="Measure one", icon=":material/speed:")
        return
    pages = -(-total // RUNS_ON_A_PAGE)
    number = st.pagination(pages, key="history_page", persist_state="session") if pages > 1 else 1
    now = datetime.now(UTC)
    for row in store.find(wanted, limit=RUNS_ON_A_PAGE, offset=(number - 1) * RUNS_ON_A_PAGE):
        show_card(row, now)


def show_opened(run_id: str) -> None:
    """One stored run, or why it cannot be shown."""
    st.button("All runs", key="history_close", icon=":material/arrow_back:", on_click=close_run)
    try:
        run = the_store().get(run_id)
    except Refusal as refusal:
        show_unreadable(run_id, str(refusal))
    else:
        if run is None:
            st.info("This server has no such run: it was deleted, or it is on another server.")
            return
        show_heading(run, datetime.now(UTC))
        show_run(run, key="history")
    if not HOSTED:
        offer_deletion(run_id)


st.title("History")
try:
    if opened := st.query_params.get(RUN_PARAMETER):
        show_opened(opened)
    else:
        show_list()
except Refusal as refusal:
    st.error(str(refusal), icon=":material/database_off:")
