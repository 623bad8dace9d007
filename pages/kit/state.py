"""The state of a session in one typed object: what is chosen, what is typed, and the tickets of its jobs.

Widgets keep their own values under their keys; what more than one page needs is kept here.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex, token_urlsafe
from tempfile import TemporaryDirectory

import streamlit as st
from pydantic import ValidationError

from engine.alike import CHOICE, SETUP, as_measured, differing
from engine.budget import default_budget_s, examination_budget_s
from engine.catalog.models import DEFAULT_MODEL
from engine.catalog.paths import BASELINE, PathGroup, default_paths
from engine.desk.desk import the_desk
from engine.desk.tickets import Ticket, TicketView
from engine.errors import Refusal
from engine.events import DoctorRequest, Request
from engine.host import this_machine, usable_cores, with_threads
from engine.hosting import check_request, without_internals
from engine.catalog.batches import DEFAULT_PRESET, PRESETS
from engine.records import DEFAULT_ALLOCATOR, Batch, Experiment, ModelCard, Run, refusal_of
from engine.settings import load_settings
from engine.store.store import the_store
from pages.kit.browser import browser_secret

OWN_TEXTS = "own texts"
RUN_SLOT = "run"
DOCTOR_SLOT = "doctor"
SWEEP_SLOT = "sweep"
ALLOCATOR_SLOT = "run-other-allocator"
"""The last run again, with the other allocator."""
ANNOUNCED_SLOTS = (RUN_SLOT, DOCTOR_SLOT, SWEEP_SLOT)
"""Jobs that take so long that visitors open another page meanwhile."""
PATH_KEYS: dict[PathGroup, str] = {
    "tutorial": "bench_paths",
    "beyond": "bench_beyond",
    "lower precision": "bench_lower",
}
"""Widget keys of the Benchmark page's choices of paths, by group."""
UNTIL_PRECISE, TUTORIAL_ITERATIONS = "Until precise", "10, as in the tutorial"


@dataclass
class Lab:
    """The state of one session; plain data, so that a reloaded module can still read it.

    Attributes:
        model: name of the chosen model, loaded or not.
        cards: what was loaded in this session, by the model's name.
        batch: the last texts that were accepted.
        draft: the texts as typed, accepted or not.
        draft_revision: part of the editors' keys; a new number makes them show other texts.
        grid_base: the texts that the grid's edits refer to; must not change while it is edited.
        watch_run: whether the Overview should switch to the Benchmark page, which shows the run it started.
        tokenized_for: the model and the texts of the tokenize slot.
        tickets, ended: jobs by the slot that shows them, and the last views of jobs that have ended.
        refusals: why a slot's request was refused.
        continued: the run that rounds are added to; None where the slot's run is a new one.
        examined: the last request to the doctor; None before the first examination.
        all_machines: machines that measure the same run together; empty for an ordinary run.
        recalled: the sentence about an answer from the store; empty for a measured run.
        visitor: the id by which the desk knows this session.
        secret: what allows to cancel this session's jobs, where the browser has no secret of its own.
        sought: slots whose job was looked for in the page's address.
        followed: the model and the batch in the page's address, by parameter, as they were followed or written last.
        deleted_sweep: the sweep that was deleted last, which can be restored; empty where there is none.
        announced: tickets whose end was shown.
        traces: folder of the last run's Chrome traces, removed with the session; None where none were wanted.
    """

    model: str = DEFAULT_MODEL
    cards: dict[str, ModelCard] = field(default_factory=dict)
    batch: Batch = PRESETS[DEFAULT_PRESET]
    draft: tuple[str, ...] = PRESETS[DEFAULT_PRESET].texts
    draft_revision: int = 0
    grid_base: tuple[str, ...] = ()
    watch_run: bool = False
    tokenized_for: tuple[str, tuple[str, ...]] | None = None
    tickets: dict[str, Ticket] = field(default_factory=dict)
    ended: dict[str, TicketView] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    continued: Run | None = None
    examined: DoctorRequest | None = None
    all_machines: tuple[str, ...] = ()
    recalled: str = ""
    visitor: str = field(default_factory=lambda: token_hex(8))
    secret: str = field(default_factory=lambda: token_urlsafe(16))
    sought: set[str] = field(default_factory=set)
    followed: dict[str, str] = field(default_factory=dict)
    deleted_sweep: str = ""
    announced: set[str] = field(default_factory=set)
    traces: TemporaryDirectory[str] | None = None


def the_lab() -> Lab:
    """The state of this session."""
    lab: Lab = st.session_state.setdefault("lab", Lab())
    return lab


def submit(slot: str, make_request: Callable[[], Request], machine: str = "") -> None:
    """Give a request to the desk, or keep the reason if it is refused; the slot's earlier job is forgotten.

    For callbacks, which run before the page is drawn: the slot's panel then shows the refusal.
    """
    lab = the_lab()
    forget(slot)
    try:
        request = make_request()
        check_request(request, load_settings(), usable_cores())
        lab.tickets[slot] = the_desk().submit(request, lab.visitor, machine, own_secret())
    except Refusal as refusal:
        lab.refusals[slot] = without_internals(str(refusal), load_settings())


def own_secret() -> str:
    """What allows to cancel the jobs started here: the browser's secret, which a reload keeps, or the session's."""
    return browser_secret() or the_lab().secret


def show_stored(slot: str, run: Run) -> None:
    """Show a stored run in this slot, in place of its job; its end is not announced."""
    lab = the_lab()
    forget(slot)
    lab.ended[slot] = TicketView(id=run.id, state="done", title=run.title, run=run, run_id=run.id)
    lab.announced.add(run.id)


def forget(slot: str) -> None:
    """Empty the slot; a job that still runs goes on at the desk."""
    lab = the_lab()
    for kept in (lab.tickets, lab.ended, lab.refusals):
        kept.pop(slot, None)


def view_of(slot: str) -> TicketView | None:
    """The job in this slot now; None where there is none, or the desk has forgotten it."""
    lab = the_lab()
    if slot in lab.ended:
        return lab.ended[slot]
    if slot not in lab.tickets:
        return None
    try:
        view = the_desk().snapshot(lab.tickets[slot].id)
    except Refusal:
        return None
    if view.ended:
        view = lab.ended[slot] = _with_stored_run(view)
    return view


def _with_stored_run(view: TicketView) -> TicketView:
    """After a restart the desk knows only the run's id: load the run from the store."""
    if view.run is not None or not view.run_id:
        return view
    with suppress(Refusal):
        return replace(view, run=the_store().get(view.run_id))
    return view


def live(slot: str) -> bool:
    """Whether the job in this slot has not ended."""
    view = view_of(slot)
    return view is not None and not view.ended


def newly_ended() -> tuple[tuple[str, TicketView], ...]:
    """Slots whose job has ended since the last call, each returned once."""
    lab = the_lab()
    found = []
    for slot in ANNOUNCED_SLOTS:
        view = view_of(slot)
        if view is not None and view.ended and view.id not in lab.announced:
            lab.announced.add(view.id)
            found.append((slot, view))
    return tuple(found)


def cancel(slot: str) -> None:
    """Stop the job in this slot."""
    ticket = the_lab().tickets.get(slot)
    if ticket is not None:
        # It is this session's ticket, so it is refused only if the desk has forgotten it long after its end.
        with suppress(Refusal):
            the_desk().cancel(ticket)


def use_texts(texts: tuple[str, ...]) -> None:
    """Show these texts in the editors: those of a preset or an upload."""
    lab = the_lab()
    lab.draft, lab.draft_revision = texts, lab.draft_revision + 1


def named_batch(texts: tuple[str, ...]) -> Batch:
    """These texts as a batch; if they are a preset's texts, that preset."""
    for preset in PRESETS.values():
        if preset.texts == texts:
            return preset
    return Batch(name=OWN_TEXTS, texts=texts)


def experiment_of_session() -> Experiment:
    """The chosen model and batch with the settings of the Benchmark page; its defaults before it was opened.

    Raises:
        Refusal: the settings do not fit together.
    """
    lab, session = the_lab(), st.session_state
    chosen = [name for key in PATH_KEYS.values() for name in session.get(key) or ()] or default_paths()
    rounds = session.get("bench_rounds", UNTIL_PRECISE)
    paths = (BASELINE, *(name for name in chosen if name != BASELINE))
    try:
        return Experiment(
            model=lab.model,
            batch=lab.batch,
            paths=paths,
            device=session.get("bench_device") or "cpu",
            dtype=session.get("bench_dtype") or "fp32",
            threads=session.get("bench_threads") or None,
            iterations=10 if rounds == TUTORIAL_ITERATIONS else None,
            budget_s=default_budget_s(len(paths), load_settings().max_budget_s),
            allocator=session.get("bench_allocator") or DEFAULT_ALLOCATOR,
        )
    except ValidationError as error:
        raise refusal_of(error, "experiment") from None


def settings_changed(run: Run) -> bool:
    """Whether the current settings would measure something else than this run did."""
    measured = as_measured(run)
    try:
        now = experiment_of_session()
    except Refusal:
        return True
    if now.threads is None and run.environment.machine != this_machine():
        # The number of threads that torch chooses on another machine is not known here.
        now = now.model_copy(update={"threads": measured.threads})
    return bool(differing(with_threads(now), measured, (*SETUP, *CHOICE)))


def examination_of_session() -> DoctorRequest:
    """The chosen model and batch with the settings of the Doctor page."""
    lab, session = the_lab(), st.session_state
    modifications = tuple(session.get("doctor_modifications") or ())
    return DoctorRequest(
        model=lab.model,
        batch=lab.batch,
        modifications=modifications,
        device=session.get("doctor_device") or "cpu",
        dtype=session.get("doctor_dtype") or "fp32",
        budget_s=examination_budget_s(len(modifications), load_settings().max_budget_s),
        allocator=DEFAULT_ALLOCATOR,
    )
