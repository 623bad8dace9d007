"""What every page shows of the machine: whether it is free, the visitor's place in the queue, and finished jobs."""

import streamlit as st

from engine.desk.desk import the_desk
from engine.desk.tickets import DeskView, TicketView
from engine.present.words.ages import duration_words
from pages.kit import nav
from pages.kit.state import (
    ANNOUNCED_SLOTS,
    DOCTOR_SLOT,
    RUN_SLOT,
    SWEEP_SLOT,
    live,
    newly_ended,
    the_lab,
    view_of,
)

POLL_S = 3.0
_SHOWN_ON = {
    RUN_SLOT: ("benchmark", "Your measurement"),
    DOCTOR_SLOT: ("doctor", "Your examination"),
    SWEEP_SLOT: ("sweep", "Your sweep"),
}
_ICONS = {"done": ":material/check_circle:", "cancelled": ":material/stop_circle:"}


def machine_status() -> None:
    """The status line in the sidebar; it polls only while somebody measures or this visitor's job is live."""
    desk, lab = the_desk(), the_lab()
    desk.seen(lab.visitor)
    now = desk.view(lab.visitor)
    own = any(live(slot) for slot in ANNOUNCED_SLOTS)

    @st.fragment(run_every=POLL_S if now.measuring or now.waiting or own else None)
    def draw() -> None:
        desk.seen(lab.visitor)
        view = desk.view(lab.visitor)
        st.caption(f":material/memory: {status_words(view, measuring_own=_runs_own())}")
        if own and not any(live(slot) for slot in ANNOUNCED_SLOTS):
            # The frame announces the end, and only a redraw of the whole page draws the frame.
            st.rerun()

    draw()


def _runs_own() -> bool:
    views = (view_of(slot) for slot in ANNOUNCED_SLOTS)
    return any(view is not None and view.state == "running" for view in views)


def status_words(view: DeskView, *, measuring_own: bool) -> str:
    """Free, busy, or the visitor's place in the queue."""
    if measuring_own:
        return "Measuring yours"
    wait = f", about {duration_words(view.wait_s)}" if view.wait_s else ""
    if view.place:
        return f"Your place in the queue: {view.place}{wait}"
    if len(view.machines) > 1:
        return f"{len(view.free)} of {len(view.machines)} machines free"
    if not view.machines:
        return "No measuring machine is connected"
    if view.measuring or view.waiting:
        waiting = f", {view.waiting} waiting" if view.waiting else ""
        return f"Machine measuring{waiting}"
    return "Machine free"


def announce_endings(page_name: str) -> None:
    """A toast for the visitor's job that ended while another page is open; its own page shows the result."""
    for slot, view in newly_ended():
        shown_on, what = _SHOWN_ON[slot]
        if page_name != shown_on:
            st.toast(
                ending_words(what, view), icon=_ICONS.get(view.state, ":material/error:"), duration="long"
            )


def ending_words(what: str, view: TicketView) -> str:
    """How the visitor's job ended."""
    if view.state == "done":
        return f"{what} is done: {view.title}." if view.title else f"{what} is done."
    return f"{what} ended: {view.message}"


def page_name(url_path: str) -> str:
    """The name of a page's file, from its address; the first page's address is empty."""
    return url_path or nav.OVERVIEW.removeprefix("pages/").removesuffix(".py")
