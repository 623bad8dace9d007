"""The sweeps that this server keeps, newest first; open, delete, undo."""

from datetime import UTC, datetime

import streamlit as st

from engine.errors import Refusal
from engine.settings import load_settings
from engine.store.sweeps import SweepRow, the_sweeps
from engine.sweeps import Sweep
from pages.kit.markdown import as_text
from pages.kit.history import reader_zone, when_and_where
from pages.kit.state import the_lab
from pages.kit.sweeping import close_sweep, is_live, open_sweep

LISTED = 20


def show_list(shown: Sweep | None) -> None:
    """The newest sweeps but the one that is shown, and the offer to undo a deletion.

    Raises:
        Refusal: they cannot be read.
    """
    _offer_undo()
    rows = [row for row in the_sweeps().latest(LISTED) if shown is None or row.id != shown.id]
    if not rows:
        return
    st.subheader("Earlier sweeps" if shown else "Sweeps")
    now = datetime.now(UTC)
    for row in rows:
        _card(row, now)


def _card(row: SweepRow, now: datetime) -> None:
    state = f"{row.done} of {row.size} cells" + ("" if row.done >= row.size else ", stopped")
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(gap="xxsmall"):
            st.markdown(f"**{as_text(row.title or 'A sweep whose entry is damaged')}**")
            st.caption(as_text(f"{state}. {when_and_where(row.created_at, row.machine, now, reader_zone())}"))
        st.button(
            "Open",
            key=f"sweep_open_{row.id}",
            help=f"Open {as_text(row.title)}",
            on_click=open_sweep,
            args=(row.id,),
        )


def offer_deletion(sweep: Sweep) -> None:
    """A button that deletes a sweep, which can be undone; not on a shared server, and not while it is measured."""
    if not load_settings().hosted:
        st.button(
            "Delete",
            key="sweep_delete",
            icon=":material/delete:",
            on_click=_delete,
            args=(sweep.id,),
            disabled=is_live(sweep),
        )


def _delete(sweep_id: str) -> None:
    try:
        the_sweeps().delete(sweep_id)
    except Refusal as refusal:
        st.toast(str(refusal), icon=":material/error:", duration="long")
        return
    the_lab().deleted_sweep = sweep_id
    close_sweep()


def _offer_undo() -> None:
    if the_lab().deleted_sweep:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(":material/delete: The sweep is deleted.")
            st.button("Undo", key="sweep_undo", icon=":material/undo:", on_click=_restore)


def _restore() -> None:
    lab = the_lab()
    sweep_id, lab.deleted_sweep = lab.deleted_sweep, ""
    try:
        the_sweeps().restore(sweep_id)
    except Refusal as refusal:
        st.toast(str(refusal), icon=":material/error:", duration="long")
        return
    open_sweep(sweep_id)
