"""The live panel of a measurement or another job: its place in the queue, its step, its rounds, a Cancel button.

It polls only while the job is live, and only the panel is drawn again.
"""

import streamlit as st

from engine.desk.tickets import TicketView
from engine.hosting import without_internals
from engine.present.words.ages import duration_words
from engine.present.charts.runs import LIVE_HEIGHT, closing_in_spec, closing_in_words
from engine.present.words.sweeps import cell_words
from engine.records import Run
from engine.settings import load_settings
from engine.sweeps import counted
from pages.kit.state import cancel, the_lab, view_of

STAGE_STARTS = {
    "wait": 0.0,
    "load": 0.02,
    "compile": 0.04,
    "tokenize": 0.05,
    "check": 0.07,
    "examine": 0.08,
    "prepare": 0.1,
    "treat": 0.15,
    "warm-up": 0.2,
    "measure": 0.3,
    "profile": 0.8,
}
"""The share of the progress bar at which each stage begins."""
POLL_S = 1.0
CANCELLED_ELSEWHERE = "The person who started this measurement cancelled it; no result was kept."
NOT_STORED = (
    "The result could not be stored, because the database of finished runs does not work: this page shows it, and the "
    "History page will not, so download its JSON now."
)
CELLS_NOT_STORED = (
    "{cells} of this sweep could not be stored, because the database of finished runs does not work. The other cells "
    "are kept: when the database works again, resume the sweep to measure what is missing."
)
WAITING_POLL_S = 3.0
"""Longer than `POLL_S`, because a queued job changes rarely."""


def job_panel(slot: str, link: str = "") -> TicketView | None:
    """Draw the panel while the job in this slot is live, or its error once it has ended; return its view.

    Args:
        link: an address where others can watch it; empty where there is none.
    """
    view = view_of(slot)
    if view is None or view.ended:
        _show_trouble(slot, view)
        return view
    queued = view.state == "queued"

    @st.fragment(run_every=WAITING_POLL_S if queued and view.place > 1 else POLL_S)
    def panel() -> None:
        now = view_of(slot)
        if now is None or now.ended or (queued and now.state == "running"):
            st.rerun()
        _warn_of_cells(now)
        with st.container(border=True):
            _draw(now)
            _offer(slot, link)

    panel()
    return view


def own(slot: str) -> bool:
    """Whether this session started the job in this slot, and does not only watch it."""
    ticket = the_lab().tickets.get(slot)
    return ticket is not None and bool(ticket.secret)


def _offer(slot: str, link: str) -> None:
    with st.container(horizontal=True):
        if own(slot):
            st.button("Cancel", key=f"cancel_{slot}", icon=":material/stop:", on_click=cancel, args=(slot,))
        else:
            st.caption("Only the person who started this can cancel it.")
        if link:
            with st.popover("Link", icon=":material/link:"):
                st.caption(
                    "Anybody with this link can watch. The measurement continues when you close this page."
                )
                st.code(link, language=None)


def _show_trouble(slot: str, view: TicketView | None) -> None:
    refusal = the_lab().refusals.get(slot)
    if refusal:
        st.error(refusal, icon=":material/block:")
        return
    if view is None:
        return
    _warn_of_cells(view)
    if view.state in ("failed", "interrupted"):
        st.error(without_internals(view.message, load_settings()), icon=":material/error:")
    elif view.state == "cancelled":
        st.info(view.message if own(slot) else CANCELLED_ELSEWHERE, icon=":material/stop_circle:")
    elif view.run is not None and not view.stored:
        _offer_to_save(slot, view.run)
    elif view.run_id and view.run is None:
        st.warning("The run ended, but its result is no longer in the store.", icon=":material/error:")


def _warn_of_cells(view: TicketView) -> None:
    if view.cells_not_stored:
        cells = counted(view.cells_not_stored, "cell")
        st.warning(CELLS_NOT_STORED.format(cells=cells), icon=":material/database_off:")


def _offer_to_save(slot: str, run: Run) -> None:
    """The result is on this page alone: say so, and offer it as a file at once."""
    st.warning(NOT_STORED, icon=":material/database_off:")
    st.download_button(
        "Run (.json)",
        lambda: run.model_dump_json(indent=1),
        file_name=f"fastpath-{run.id}.json",
        mime="application/json",
        key=f"save_{slot}",
        icon=":material/download:",
        on_click="ignore",
    )


def _draw(view: TicketView) -> None:
    if view.state == "queued":
        st.progress(0.0, text=waiting_words(view))
    elif view.download is not None:
        st.progress(_share(view.download.received_mb, view.download.total_mb), text=_download_text(view))
    else:
        st.progress(share_done(view), text=progress_words(view))
    if len(view.history) > 1:
        st.vega_lite_chart(
            spec=closing_in_spec(view.history),
            height=LIVE_HEIGHT,
            key=f"live_{view.id}",
            alt="Speedup so far of each path, with its 95 % interval, which narrows round by round",
        )
        st.caption(f"Speedup so far, 95 % interval: {closing_in_words(view.history[-1])}")


def waiting_words(view: TicketView) -> str:
    """What a queued job waits for, and about how long."""
    if view.place == 0:
        return "Starting. Only one measurement runs at a time, so that none disturbs another."
    before = "1 measurement" if view.place == 1 else f"{view.place} measurements"
    wait = f", about {duration_words(view.wait_s)}" if view.wait_s is not None else ""
    return f"Waiting: {before} before you{wait}. One runs at a time, so that none disturbs another."


def share_done(view: TicketView) -> float:
    """The share of the job that is done, 0 to 1: complete cells of a sweep, and the stages of the run or the cell."""
    if not view.cells_of:
        return _share_of_run(view)
    present = _share_of_run(view) if view.cells_done < view.cells_of else 0.0
    return min((view.cells_done + present) / view.cells_of, 1.0)


def _share_of_run(view: TicketView) -> float:
    """Each stage begins at a fixed share, and rounds add to theirs."""
    start = STAGE_STARTS.get(view.stage, 0.0)
    if view.stage != "measure":
        return start
    return start + (STAGE_STARTS["profile"] - start) * _share(view.rounds_done, view.rounds_at_most)


def progress_words(view: TicketView) -> str:
    """The stage of the job, its rounds while it measures, and the time left where that is known."""
    text = view.step or "Starting the process"
    if view.rounds_done and view.stage == "measure":
        text = f"{text}: {view.rounds_done} done, {view.rounds_at_most} at most"
    if view.cell:
        return f"{cell_words(view.cells_done, view.cells_of, view.cell, view.left_s)}. {text}"
    return text if view.left_s is None else f"{text}; about {duration_words(view.left_s)} left"


def _share(done: float, of: float | None) -> float:
    return min(done / of, 1.0) if of else 0.0


def _download_text(view: TicketView) -> str:
    assert view.download is not None  # noqa: S101  (the caller asked)
    total = f" of {view.download.total_mb:,.0f}" if view.download.total_mb else ""
    return f"Fetching {view.download.file}: {view.download.received_mb:,.0f}{total} MB"
