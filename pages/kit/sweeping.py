"""Starting a sweep, resuming it, and finding the one that the page shows."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime

import streamlit as st

from engine.catalog.paths import BASELINE, PATHS, default_paths
from engine.desk.desk import the_desk
from engine.desk.tickets import TicketView
from engine.errors import Refusal
from engine.events import SweepRequest, request_of
from engine.host import threads_here, usable_cores
from engine.hosting import check_request, without_internals
from engine.present.words.runs import path_title
from engine.present.words.sweeps import estimate_sentence
from engine.records import DEFAULT_ALLOCATOR
from engine.settings import load_settings
from engine.store.sweeps import the_sweeps
from engine.sweeps import Sweep, SweepPlan, check_fits, checked_plan, expected_s, new_sweep, read_numbers
from pages.kit.address import TICKET
from pages.kit.choosing import chosen_model
from pages.kit.state import SWEEP_SLOT, live, submit, the_lab, view_of

SWEEP_PARAMETER = "sweep"
"""The address parameter with the id of the sweep that is shown, so that a link opens it."""
WATCH_S = 2.0
_FIELDS = (
    ("Texts in the batch", "sweep_batch_sizes", "1, 8, 32"),
    ("Tokens of the longest text", "sweep_lengths", "32, 128"),
    ("Padding ratios", "sweep_padding", "0, 0.3, 0.6"),
    ("Threads", "sweep_threads", ""),
)
_HELP = {
    "sweep_lengths": "Special tokens included.",
    "sweep_padding": "Padding tokens / all tokens, such as 0.3 or 30%.",
    "sweep_threads": "Empty: the one number that torch chooses.",
}


def with_settings() -> AbstractContextManager[object]:
    """The place of the settings: folded away while a sweep is shown."""
    shown = SWEEP_PARAMETER in st.query_params
    return st.expander("Settings of the next sweep", icon=":material/tune:") if shown else st.container()


def choose_axes() -> None:
    """The values of each axis as lists, the paths, and about how long the sweep takes."""
    with st.grid(4, min_column_width=160):
        for label, key, value in _FIELDS:
            st.text_input(
                label,
                value=value,
                key=key,
                persist_state="session",
                help=_HELP.get(key),
                placeholder="as torch chooses" if not value else None,
            )
    st.multiselect(
        "Paths",
        [name for name in PATHS if name != BASELINE],
        default=[name for name in default_paths() if name != BASELINE],
        format_func=path_title,
        key="sweep_paths",
        persist_state="session",
        help="The slow path is always measured too: it is the baseline.",
    )
    _show_estimate()


def _show_estimate() -> None:
    """How many cells there are and about how long they take, or why they cannot be measured."""
    try:
        plan = plan_of_session()
        _check(plan)
    except Refusal as refusal:
        words = without_internals(str(refusal), load_settings())
        st.caption(f":material/block: {words}")
        return
    seconds = expected_s(plan, chosen_model().shape, threads_here())
    st.caption(f":material/timer: {estimate_sentence(plan.size, seconds)}")


def plan_of_session() -> SweepPlan:
    """The chosen model with the settings of the page.

    Raises:
        Refusal: a list holds something else than numbers, or the sweep is too large.
    """
    session = st.session_state
    typed = {key: str(session.get(key, value)) for _, key, value in _FIELDS}
    names = {key: label for label, key, _ in _FIELDS}

    def numbers(key: str) -> tuple[float, ...]:
        return read_numbers(typed[key], f"“{names[key]}”", whole=key != "sweep_padding")

    return checked_plan(
        model=the_lab().model,
        paths=(BASELINE, *(session.get("sweep_paths") or ())),
        batch_sizes=numbers("sweep_batch_sizes"),
        lengths=numbers("sweep_lengths"),
        padding=numbers("sweep_padding"),
        threads=numbers("sweep_threads") if typed["sweep_threads"].strip() else (),
        device=session.get("sweep_device") or "cpu",
        dtype=session.get("sweep_dtype") or "fp32",
        allocator=DEFAULT_ALLOCATOR,
    )


def _check(plan: SweepPlan) -> None:
    settings = load_settings()
    check_fits(plan, chosen_model().shape, settings.max_tokens, settings.max_texts)
    check_request(_request(plan), settings, usable_cores())


def _request(plan: SweepPlan) -> SweepRequest:
    return request_of(new_sweep(plan, chosen_model().title, datetime.now(UTC)))


def start_sweep() -> None:
    """Measure the sweep that the settings describe; a callback."""

    def request() -> SweepRequest:
        plan = plan_of_session()
        _check(plan)
        return _request(plan)

    st.query_params.pop(SWEEP_PARAMETER, None)
    submit(SWEEP_SLOT, request)


def resume(sweep: Sweep) -> None:
    """Measure the cells that are missing; a callback."""
    submit(SWEEP_SLOT, lambda: request_of(sweep))


def open_sweep(sweep_id: str) -> None:
    """Show this sweep; a callback."""
    st.query_params[SWEEP_PARAMETER] = sweep_id


def close_sweep() -> None:
    """Show no sweep; a callback."""
    st.query_params.pop(SWEEP_PARAMETER, None)


def name_in_address(view: TicketView | None) -> None:
    """Name the sweep that is being measured in the address, unless the address names one already."""
    if view is not None and not view.ended and view.sweep_id and SWEEP_PARAMETER not in st.query_params:
        st.query_params[SWEEP_PARAMETER] = view.sweep_id


def opened_sweep(view: TicketView | None) -> Sweep | None:
    """The sweep that the address names, with the cells that are stored; None before its first cell.

    Raises:
        Refusal: it cannot be read.
    """
    named = st.query_params.get(SWEEP_PARAMETER)
    if not named:
        return None
    sweep = the_sweeps().get(named)
    if sweep is None and not (view is not None and view.sweep_id == named):
        st.info("This server has no such sweep: it was deleted, or it is on another server.")
    return sweep


def is_live(sweep: Sweep) -> bool:
    """Whether this session's job measures this sweep now."""
    view = view_of(SWEEP_SLOT)
    return view is not None and not view.ended and view.sweep_id == sweep.id


def follow_live() -> None:
    """If the address names a sweep that is being measured now, by anybody, name its ticket too: the page watches it."""
    named = st.query_params.get(SWEEP_PARAMETER)
    if named and TICKET not in st.query_params and SWEEP_SLOT not in the_lab().tickets:
        ticket_id = the_desk().ticket_of_sweep(named)
        if ticket_id:
            st.query_params[TICKET] = ticket_id
            # The address is read once in a session, perhaps before it named this sweep.
            the_lab().sought.discard(SWEEP_SLOT)


def can_resume(sweep: Sweep) -> bool:
    """Whether cells are missing and nothing of this session is being measured."""
    return not sweep.finished and not live(SWEEP_SLOT)


def watch_cells(view: TicketView | None) -> None:
    """Draw the page again when another cell of the shown sweep is complete."""
    if view is None or view.ended or view.sweep_id != st.query_params.get(SWEEP_PARAMETER):
        return
    shown = view.cells_done

    @st.fragment(run_every=WATCH_S)
    def watch() -> None:
        now = view_of(SWEEP_SLOT)
        if now is not None and not now.ended and now.cells_done > shown:
            st.rerun()

    watch()
