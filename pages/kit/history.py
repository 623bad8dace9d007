"""A stored run on the History page: its heading, what can be changed about it, its result, and its repetitions."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from engine.alike import experiment_key
from engine.analysis.conclude import concluded
from engine.errors import Refusal
from engine.present.charts.repeats import of_this_machine, repeats_chart, repeats_words
from engine.present.words.ages import age_words
from engine.present.words.judged_again import judged_again_words
from engine.records import Run
from engine.store.derived import MOST_TAGS, NOTE_LENGTH, TITLE_LENGTH
from engine.store.queries import RunRow
from engine.store.store import the_store
from pages.kit.markdown import as_text
from pages.kit.history_actions import delete_runs
from pages.kit.history_list import close_popovers, popover_key
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

_TITLE, _TAGS, _NOTE = "history_edit_title_", "history_edit_tags_", "history_edit_note_"


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


def show_heading(run: Run, row: RunRow | None, now: datetime) -> None:
    """What was measured, when and where, and what users have added to it."""
    title = row.title if row else run.title
    st.subheader(as_text(title))
    own_title = (run.title,) if title != run.title else ()
    when = when_and_where(run.created_at, run.environment.machine, now, reader_zone())
    st.caption(as_text(". ".join((*own_title, when))))
    if row and row.tags:
        with st.container(horizontal=True, gap="small"):
            for tag in row.tags:
                st.badge(as_text(tag), color="gray", icon=":material/sell:")
    if row and row.note:
        st.markdown(as_text(row.note).replace("\n", "  \n"))


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


def show_changes(row: RunRow, tags: Sequence[str]) -> None:
    """The form for title, tags and note, and the button that deletes.

    Args:
        tags: those in use, to choose from.
    """
    with st.container(horizontal=True, gap="small"):
        with (
            st.popover("Title, tags, note", icon=":material/edit:", key=popover_key("history_edit")),
            st.form(f"history_edit_{row.id}", border=False),
        ):
            st.text_input("Title", row.title, max_chars=TITLE_LENGTH, key=f"{_TITLE}{row.id}")
            st.multiselect(
                "Tags",
                sorted({*tags, *row.tags}, key=str.casefold),
                default=list(row.tags),
                accept_new_options=True,
                max_selections=MOST_TAGS,
                key=f"{_TAGS}{row.id}",
                placeholder="A tag, new or in use",
            )
            st.text_area("Note", row.note, max_chars=NOTE_LENGTH, key=f"{_NOTE}{row.id}")
            st.form_submit_button("Save", type="primary", on_click=_annotate, args=(row.id,))
        offer_deletion(row.id)


def offer_deletion(run_id: str) -> None:
    """A button that deletes the run and goes back to the list, where this can be undone."""
    st.button("Delete", key="history_delete", icon=":material/delete:", on_click=_delete, args=(run_id,))


def _annotate(run_id: str) -> None:
    close_popovers()
    session = st.session_state
    try:
        the_store().annotate(
            run_id,
            title=session[f"{_TITLE}{run_id}"],
            tags=tuple(session[f"{_TAGS}{run_id}"]),
            note=session[f"{_NOTE}{run_id}"],
        )
    except Refusal as refusal:
        st.toast(str(refusal), icon=":material/error:", duration="long")


def _delete(run_id: str) -> None:
    delete_runs((run_id,))
    close_run()


def run_as_judged(run: Run) -> Run:
    """The run with its stored conclusions, or, if the reader wants it, with those that follow from its samples.

    Where both are the same, nothing is shown.
    """
    words = judged_again_words(run)
    if not words:
        return run
    with st.container(border=True):
        st.markdown(f":orange[:material/rule:] {as_text(words)}")
        st.caption(
            "An older version of the lab judged this run by another rule, or its file was edited. The stored run is "
            "not changed."
        )
        again = st.toggle("Show what follows from the samples", key=f"history_again_{run.id}")
    return concluded(run) if again else run


def show_repeats(run: Run, key: str) -> None:
    """Each path's speedup over the runs of this experiment on this machine; nothing if this is the only one."""
    found = the_store().repeats(experiment_key(run.experiment))
    points = of_this_machine(found, run.environment.machine)
    if not points:
        return
    words = repeats_words(points)
    with st.container(border=True):
        st.markdown(f"**:material/history: {as_text(words)}**")
        st.altair_chart(repeats_chart(points, run.id), key=f"{key}_repeats", alt=words)
