"""The live panel of a piece of work: its place in the queue, its step, its rounds, and a way to stop it.

It polls only while the work is live, and only the panel is drawn again.
"""

import streamlit as st

from engine.desk.tickets import TicketView
from engine.present.charts import live_chart
from pages.kit.state import cancel, the_lab, view_of

POLL_S = 1.0


def job_panel(slot: str) -> TicketView | None:
    """Draw the panel while the work in this slot is live, and the trouble it met; give its view."""
    view = view_of(slot)
    if view is None or view.ended:
        _show_trouble(slot, view)
        return view

    @st.fragment(run_every=POLL_S)
    def panel() -> None:
        now = view_of(slot)
        if now is None or now.ended:
            st.rerun()
        with st.container(border=True):
            _draw(now)
            st.button("Cancel", key=f"cancel_{slot}", icon=":material/stop:", on_click=cancel, args=(slot,))

    panel()
    return view


def _show_trouble(slot: str, view: TicketView | None) -> None:
    refusal = the_lab().refusals.get(slot)
    if refusal:
        st.error(refusal, icon=":material/block:")
    elif view is None:
        return
    elif view.state == "failed":
        st.error(view.message, icon=":material/error:")
    elif view.state == "cancelled":
        st.info(view.message, icon=":material/stop_circle:")


def _draw(view: TicketView) -> None:
    if view.state == "queued":
        ahead = "Starting" if view.place == 0 else f"Waiting: {view.place} before you"
        st.progress(0.0, text=f"{ahead}. One measurement runs at a time, so that none disturbs another.")
    elif view.download is not None:
        st.progress(_share(view.download.received_mb, view.download.total_mb), text=_download_text(view))
    elif view.rounds_done:
        text = f"{view.step}: {view.rounds_done} done, {view.rounds_at_most} at most"
        st.progress(_share(view.rounds_done, view.rounds_at_most), text=text)
    else:
        st.progress(0.0, text=view.step or "Starting the process")
    if view.speedups:
        chart = live_chart(dict(view.speedups))
        st.altair_chart(
            chart, key=f"live_{view.id}", alt="Speedup so far of each path, with its 95 % interval"
        )


def _share(done: float, of: float | None) -> float:
    return min(done / of, 1.0) if of else 0.0


def _download_text(view: TicketView) -> str:
    assert view.download is not None  # noqa: S101  (the caller asked)
    total = f" of {view.download.total_mb:,.0f}" if view.download.total_mb else ""
    return f"Fetching {view.download.file}: {view.download.received_mb:,.0f}{total} MB"
