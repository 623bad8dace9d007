"""The parts of the History page: a card per finished run, an opened run, and the button that deletes it."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from engine.errors import Refusal
from engine.present.words.ages import age_words
from engine.present.words.runs import path_noun, sentence_case, speedup_text
from engine.records import Run
from engine.store.queries import RunRow
from engine.store.store import the_store
from pages.kit.doctor import as_text
from pages.kit.linking import RUN_PARAMETER, offer_links
from pages.kit.results import (
    show_downloads,
    show_explanations,
    show_operators,
    show_proof,
    show_recommendation,
    show_roofline,
    show_rounds,
    show_speedups,
    show_verdict,
)

_ICONS = {
    "faster": ":material/trending_up:",
    "slower": ":material/trending_down:",
    "same": ":material/trending_flat:",
    "not sure": ":material/help:",
}


def verdict_words(row: RunRow) -> str:
    """The verdict on a run's fastest path in a few words."""
    if row.best_path is None:
        return "no path was compared with the slow path"
    noun = path_noun(row.best_path)
    value = f" ({speedup_text(row.speedup)})" if row.speedup is not None else ""
    match row.verdict:
        case "faster" | "slower":
            return f"{noun} is {row.verdict}{value}"
        case "same":
            return f"{noun} is as fast as the slow path{value}"
        case _:
            return f"{noun}: not sure{value}"


def when_and_where(measured_at: datetime | None, machine: str, now: datetime, zone: tzinfo) -> str:
    """When a run was measured in the reader's time zone, how long ago, and on which machine.

    Args:
        measured_at, now: with a time zone.
        machine: its host name; empty where the run has none.
        zone: the reader's.
    """
    when = (
        f"{measured_at.astimezone(zone):%Y-%m-%d %H:%M}, {age_words(measured_at, now)}"
        if measured_at
        else "At an unknown time"
    )
    return f"{when}, on {machine or 'an unnamed machine'}"


def reader_zone() -> tzinfo:
    """The time zone of the reader's browser; UTC where it is not known."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def open_run(run_id: str) -> None:
    """Show this run; a callback of a button, because a link to the open page would not change the address."""
    st.query_params[RUN_PARAMETER] = run_id


def close_run() -> None:
    """Go back to the list; a callback."""
    st.query_params.pop(RUN_PARAMETER, None)


def show_card(row: RunRow, now: datetime) -> None:
    """One finished run in the list, with a button that opens it."""
    title, words = row.title or "A run whose entry is damaged", verdict_words(row)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(gap="xxsmall"):
            st.markdown(f"{_ICONS.get(row.verdict or '', ':material/help:')} **{as_text(title)}**")
            st.markdown(as_text(f"{sentence_case(words)}."))
            st.caption(as_text(when_and_where(row.created_at, row.machine, now, reader_zone())))
        st.button(
            "Open",
            key=f"history_open_{row.id}",
            help=f"Open {as_text(title)}",
            on_click=open_run,
            args=(row.id,),
        )


def show_heading(run: Run, now: datetime) -> None:
    """What was measured, when and where."""
    st.subheader(as_text(run.title))
    st.caption(as_text(when_and_where(run.created_at, run.environment.machine, now, reader_zone())))


def show_run(
    run: Run,
    key: str,
    beside_the_answer: Callable[[Run], None] = lambda _run: None,
    below_the_speedups: Callable[[Run], None] = lambda _run: None,
) -> None:
    """A finished run from its verdict to its downloads, as on the Benchmark page.

    Args:
        beside_the_answer: draws the buttons below the verdict.
        below_the_speedups: draws what those buttons have measured.
    """
    show_verdict(run)
    offer_links(run, key)
    beside_the_answer(run)
    show_recommendation(run)
    show_speedups(run, key)
    below_the_speedups(run)
    st.subheader("Is the fastpath really taken?")
    show_proof(run)
    st.subheader("Where the time goes")
    show_operators(run, key)
    st.subheader("Where the difference comes from")
    show_explanations(run, key)
    show_roofline(run, key)
    show_rounds(run, key)
    st.subheader("Download")
    show_downloads(run, key)


def show_unreadable(run_id: str, why: str) -> None:
    """Why a stored run cannot be read, and its JSON as stored."""
    st.error(why, icon=":material/broken_image:")
    text = the_store().json_of(run_id)
    if text is not None:
        st.download_button(
            "Run (.json)",
            text,
            file_name=f"fastpath-{run_id}.json",
            mime="application/json",
            key="history_download_raw",
            icon=":material/download:",
            on_click="ignore",
        )


def offer_deletion(run_id: str) -> None:
    """A button to delete a run, which asks for confirmation."""
    with st.popover("Delete", icon=":material/delete:", key="history_delete"):
        st.markdown("Links to the run stop working.")
        st.button(
            "Delete this run",
            key="history_delete_sure",
            type="primary",
            on_click=_forget,
            args=(run_id,),
        )


def _forget(run_id: str) -> None:
    try:
        the_store().delete([run_id])
    except Refusal as refusal:
        st.toast(str(refusal), icon=":material/error:", duration="long")
        return
    close_run()
    st.toast("The run is deleted.", icon=":material/delete:")
