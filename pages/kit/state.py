"""One typed object a session: what is chosen, what is typed, and the tickets of the work that runs for it.

Widgets own their own values under their keys; whatever more than one page needs stands here.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex
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
from engine.store import the_store

OWN_TEXTS = "own texts"
RUN_SLOT = "run"
DOCTOR_SLOT = "doctor"
ALLOCATOR_SLOT = "run-other-allocator"
"""The last run once more, with the other allocator."""
TOLD_SLOTS = (RUN_SLOT, DOCTOR_SLOT)
"""Work that takes long enough for people to go elsewhere."""
PATH_KEYS: dict[PathGroup, str] = {
    "tutorial": "bench_paths",
    "beyond": "bench_beyond",
    "lower precision": "bench_lower",
}
"""Keys of the Benchmark page's choices of paths, a group each."""
UNTIL_PRECISE, TUTORIAL_ITERATIONS = "Until precise", "10, as in the tutorial"


@dataclass
class Lab:
    """The state of one session; plain data, so that a reloaded module finds nothing it does not know.

    Attributes:
        model: name of the chosen model, loaded or not.
        cards: what was loaded in this session, by the model's name.
        batch: the last texts that were accepted.
        draft: the texts as typed, accepted or not.
        draft_revision: part of the editors' keys; a new one is the only sure way to show other texts in them.
        grid_base: the texts that the grid's edits are counted from; must not change while it is edited.
        watch_run: whether the Overview is to go where the run it started is shown.
        tokenized_for: the model and the texts that the tokenize slot is about.
        tickets, ended: work by the slot that shows it, and the last views of what has ended.
        refusals: why a slot's work could not even be asked for.
        continued: the run that more rounds were asked for; None where the slot's run is a new one.
        examined: what the doctor was asked last; None before the first examination.
        all_machines: machines that were asked for the same run together; empty for an ordinary one.
        recalled: the sentence about an answer from the store; empty for what was measured.
        visitor: whose turn this session's work takes at the desk.
        announced: tickets whose end was seen or told.
        traces: folder of the last run's Chrome traces, removed with the session; None where none were asked for.
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
    announced: set[str] = field(default_factory=set)
    traces: TemporaryDirectory[str] | None = None


def the_lab() -> Lab:
    """The state of this session."""
    lab: Lab = st.session_state.setdefault("lab", Lab())
    return lab


def submit(slot: str, make_request: Callable[[], Request], machine: str = "") -> None:
    """Hand work to the desk, or keep why it is refused; what stood in the slot before is forgotten.

    For callbacks, which run before the page is drawn: the slot's panel shows the refusal in its place.
    """
    lab = the_lab()
    forget(slot)
    try:
        request = make_request()
        check_request(request, load_settings(), usable_cores())
        lab.tickets[slot] = the_desk().submit(request, lab.visitor, machine)
    except Refusal as refusal:
        lab.refusals[slot] = without_internals(str(refusal), load_settings())


def forget(slot: str) -> None:
    """Leave the slot empty; work that lives in it goes on at the desk."""
    lab = the_lab()
    for kept in (lab.tickets, lab.ended, lab.refusals):
        kept.pop(slot, None)


def view_of(slot: str) -> TicketView | None:
    """The work in this slot now; None where there is none, or the desk has forgotten it."""
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
    """What a desk that was started anew knows by its number only is in the store."""
    if view.run is not None or not view.run_id:
        return view
    with suppress(Refusal):
        return replace(view, run=the_store().get(view.run_id))
    return view


def live(slot: str) -> bool:
    """Whether the work in this slot goes on."""
    view = view_of(slot)
    return view is not None and not view.ended


def newly_ended() -> tuple[tuple[str, TicketView], ...]:
    """Slots whose measurement has ended since the last time, each told once."""
    lab = the_lab()
    found = []
    for slot in TOLD_SLOTS:
        view = view_of(slot)
        if view is not None and view.ended and view.id not in lab.announced:
            lab.announced.add(view.id)
            found.append((slot, view))
    return tuple(found)


def cancel(slot: str) -> None:
    """Stop the work in this slot."""
    ticket = the_lab().tickets.get(slot)
    if ticket is not None:
        # Our own ticket: refused only where it ended so long ago that it was forgotten.
        with suppress(Refusal):
            the_desk().cancel(ticket)


def use_texts(texts: tuple[str, ...]) -> None:
    """Show other texts in the editors: of a preset or an upload."""
    lab = the_lab()
    lab.draft, lab.draft_revision = texts, lab.draft_revision + 1


def named_batch(texts: tuple[str, ...]) -> Batch:
    """These texts as a batch, under the name of the preset they are, if they are one."""
    for preset in PRESETS.values():
        if preset.texts == texts:
            return preset
    return Batch(name=OWN_TEXTS, texts=texts)


def experiment_of_session() -> Experiment:
    """The chosen model and batch with the settings of the Benchmark page, or its defaults before it was opened.

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
    """Whether the session would now measure something else than this run did."""
    measured = as_measured(run)
    try:
        now = experiment_of_session()
    except Refusal:
        return True
    if now.threads is None and run.environment.machine != this_machine():
        # What torch chooses on another machine is not known here.
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
