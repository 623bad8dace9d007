"""Finished runs that this server keeps: find them, compare them, tag them, take them away and bring them in."""

from datetime import UTC, datetime

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.errors import Refusal
from engine.settings import load_settings
from engine.store.queries import Choices, RunFilter, Sort
from engine.store.store import the_store
from pages.kit.markdown import as_text
from pages.kit.history import (
    close_run,
    offer_deletion,
    open_run,
    reader_zone,
    run_as_judged,
    show_changes,
    show_heading,
    show_repeats,
    show_run,
    show_unreadable,
)
from pages.kit.history_actions import counted, show_actions, show_notices
from pages.kit.history_filters import (
    PAGE_KEY,
    choose_runs,
    clear_filters,
    first_page,
    is_narrowed,
    narrowing_words,
)
from pages.kit.history_import import offer_import
from pages.kit.history_list import show_table
from pages.kit.linking import RUN_PARAMETER

RUNS_ON_A_PAGE = 20
HOSTED = load_settings().hosted


def show_list() -> None:
    """Search and filters, then the runs that match, a page at a time; a public server lists no visitors' texts."""
    show_notices()
    if HOSTED:
        st.caption("Runs of visitors' own texts are not listed. The link to such a run opens it.")
    choices = the_store().choices(presets_only=HOSTED)
    wanted, sort = choose_runs(choices, hosted=HOSTED)
    total = the_store().count(wanted)
    if total:
        show_found(choices, wanted, sort, total)
    elif is_narrowed(wanted):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("No deleted run matches." if wanted.deleted else "No run matches.", width="content")
            offer_clearing()
    else:
        st.markdown("There are no runs yet. Each run that finishes on the Benchmark page is kept here.")
        st.page_link(nav.BENCHMARK, label="Measure one", icon=":material/speed:")
        if not HOSTED:
            offer_import()


def show_found(choices: Choices, wanted: RunFilter, sort: Sort, total: int) -> None:
    """The number of runs that match, what can be done with them, one page of them, and the way to other pages."""
    with st.container(horizontal=True, vertical_alignment="center", height="content"):
        found = counted(total, "deleted run" if wanted.deleted else "run")
        words = narrowing_words(wanted)
        st.markdown(f"**{found}**{f': {as_text(words)}' if words else ''}", width="content")
        if is_narrowed(wanted):
            offer_clearing()
        if not HOSTED:
            st.space("stretch")
            offer_import()
    show_actions(choices.tags, hosted=HOSTED, deleted=wanted.deleted)
    place, pages = st.container(), -(-total // RUNS_ON_A_PAGE)
    if st.session_state.get(PAGE_KEY, 1) > pages:
        first_page()
    number = st.pagination(pages, key=PAGE_KEY, bind="query-params") if pages > 1 else 1
    rows = the_store().find(wanted, sort, RUNS_ON_A_PAGE, (number - 1) * RUNS_ON_A_PAGE)
    with place:
        show_table(rows, datetime.now(UTC), reader_zone(), open_run)


def offer_clearing() -> None:
    """A button that shows every run again."""
    st.button(
        "Clear the filters",
        key="history_clear",
        type="tertiary",
        icon=":material/filter_alt_off:",
        on_click=clear_filters,
    )


def show_opened(run_id: str) -> None:
    """One stored run, or why it cannot be shown."""
    st.button("All runs", key="history_close", icon=":material/arrow_back:", on_click=close_run)
    row = the_store().row(run_id)
    try:
        run = the_store().get(run_id)
    except Refusal as refusal:
        show_unreadable(run_id, str(refusal))
        if not HOSTED:
            offer_deletion(run_id)
        return
    if run is None:
        st.info("This server has no such run: it was deleted, or it is on another server.")
        return
    show_heading(run, row, datetime.now(UTC))
    if row is not None and not HOSTED:
        show_changes(row, the_store().choices().tags)
    show_run(run_as_judged(run), "history", below_the_speedups=lambda run: show_repeats(run, "history"))


st.title("History")
try:
    if opened := st.query_params.get(RUN_PARAMETER):
        show_opened(opened)
    else:
        show_list()
except Refusal as refusal:
    st.error(str(refusal), icon=":material/database_off:")
