"""What the page's address names, so that a reload or another browser shows the same: a job or a run, model, batch.

A job is named by its ticket's id, which allows to watch it. What allows to cancel it is in no address
(pages/kit/browser.py). A stored run is named by its id, which stays valid as long as the store keeps the run.
Typed texts never are in an address: only the presets have a name there.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlencode

import streamlit as st

from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.desk.desk import the_desk
from engine.desk.tickets import Ticket
from engine.errors import Refusal
from engine.hosting import find_offered_model, without_internals
from engine.settings import load_settings
from engine.store.store import the_store
from pages.kit.recall import recalled_sentence
from pages.kit.state import (
    ALLOCATOR_SLOT,
    DOCTOR_SLOT,
    RUN_SLOT,
    SWEEP_SLOT,
    own_secret,
    show_stored,
    the_lab,
    use_texts,
    view_of,
)

TICKET, RUN, MODEL, BATCH = "ticket", "run", "model", "batch"
_PREFIXES = {RUN_SLOT: "", DOCTOR_SLOT: "", SWEEP_SLOT: "", ALLOCATOR_SLOT: "other_"}
"""Before a slot's parameters. Any other slot shares its page with others, so its name and "_" come before them."""
_BETWEEN = "."
"""Between id and secret in addresses of earlier versions."""
_JOB_GONE = "The measurement of this link is not known here any more. Finished runs are on the History page."
_RUN_GONE = "The run of this link is not on this server: it was deleted, or it is on another server."


def ticket_of(text: str) -> Ticket:
    """The ticket in an address. The secret is empty but in addresses of earlier versions."""
    ticket_id, _, secret = text.partition(_BETWEEN)
    return Ticket(id=ticket_id, secret=secret)


def find_again(slot: str) -> str:
    """Put the job or the run that the address names into this session's slot; only the first time in a session.

    Returns a sentence if it is not known any more, else an empty string.
    """
    lab = the_lab()
    if slot in lab.sought:
        return ""
    lab.sought.add(slot)
    if slot in lab.tickets or slot in lab.ended or slot in lab.refusals:
        return ""
    ticket, run = _parameters(slot)
    if named := st.query_params.get(ticket):
        return _find_job(slot, ticket_of(named))
    if slot != DOCTOR_SLOT and (run_id := st.query_params.get(run)):
        return _find_run(slot, run_id)
    return ""


def keep_in_address(slot: str) -> None:
    """Write what this slot shows into the address: a stored run by its id, anything else by its ticket's id."""
    lab, view = the_lab(), view_of(slot)
    ticket, names = lab.tickets.get(slot), _parameters(slot)
    run = view.run if view is not None and view.stored else None
    if run is None and ticket is None and slot == RUN_SLOT:
        run = lab.continued  # shown if rounds could not be added to it
    if run is not None:
        _write(names, {names[1]: run.id})
    else:
        _write(names, {names[0]: ticket.id} if ticket is not None else {})


def link_to_share(slot: str) -> str:
    """The address that lets others watch this slot's work; empty where there is none."""
    ticket = the_lab().tickets.get(slot)
    return f"{st.context.url}?{urlencode({TICKET: ticket.id} | _chosen())}" if ticket else ""


def follow_choice() -> tuple[str, ...]:
    """Choose the model and the batch that the address names; then the address names what is chosen.

    An address is followed once: a choice that is made later is written into it. Returns a sentence for each name that
    is not offered here.
    """
    lab, troubles = the_lab(), list[str]()
    named = {name: st.query_params[name] for name in (MODEL, BATCH) if name in st.query_params}
    for name, value in named.items() if named != lab.followed else ():
        try:
            _CHOOSE[name](value)
        except Refusal as refusal:
            troubles.append(without_internals(str(refusal), load_settings()))
    lab.followed = _chosen()
    _write((MODEL, BATCH), lab.followed)
    return tuple(troubles)


def _chosen() -> dict[str, str]:
    """The chosen model and batch by their parameters, without those that an address must not or cannot name."""
    lab = the_lab()
    chosen = {MODEL: lab.model} if _has_public_name(lab.model) else {}
    return chosen | ({BATCH: lab.batch.name} if lab.batch.name in PRESETS else {})


def _has_public_name(model: str) -> bool:
    """Whether a model's name means the same everywhere: not a folder of this server."""
    if model in CATALOG:
        return True
    with suppress(Refusal):
        return find_offered_model(model, load_settings()).source == "hub"
    return False


def _choose_model(name: str) -> None:
    try:
        the_lab().model = find_offered_model(name, load_settings()).name
    except Refusal:
        raise Refusal(
            f"This link asks for a model that is not offered here, {in_brief(name)}: {the_lab().model} stays chosen."
        ) from None


def _choose_batch(name: str) -> None:
    lab = the_lab()
    if name not in PRESETS:
        raise Refusal(
            f"This link asks for a batch that is not offered here, {in_brief(name)}: {lab.batch.name} stays chosen."
        )
    if name != lab.batch.name:
        lab.batch = PRESETS[name]
        use_texts(lab.batch.texts)


_CHOOSE = {MODEL: _choose_model, BATCH: _choose_batch}
LONGEST_NAME = 60


def in_brief(name: str) -> str:
    """A name from an address as a sentence may show it: short, and code, so that no character of it is Markdown."""
    shown = "".join(filter(str.isprintable, name.replace("`", "'")))
    return f"`{shown[:LONGEST_NAME]}`" if shown.strip() else "one without a name"


def _parameters(slot: str) -> tuple[str, str]:
    """The names of a slot's two parameters: of its ticket, and of its run."""
    prefix = _PREFIXES.get(slot, f"{slot}_")
    return f"{prefix}{TICKET}", f"{prefix}{RUN}"


def _find_job(slot: str, named: Ticket) -> str:
    """Adopt a job of the desk, with the power to cancel it if it is this browser's or the address has its secret."""
    desk = the_desk()
    with suppress(Refusal):
        tickets = (named, Ticket(named.id, own_secret()))
        the_lab().tickets[slot] = next(filter(desk.owns, tickets), Ticket(named.id, ""))
        return ""
    return _JOB_GONE


def _find_run(slot: str, run_id: str) -> str:
    """Show a run of the store."""
    try:
        run = the_store().get(run_id)
    except Refusal as refusal:
        return str(refusal)
    if run is None:
        return _RUN_GONE
    show_stored(slot, run)
    if slot == RUN_SLOT:
        the_lab().recalled = recalled_sentence(run, datetime.now(UTC))
    return ""


def _write(names: tuple[str, str], wanted: Mapping[str, str]) -> None:
    """Make the address name exactly what is wanted of these parameters; an address that does is left alone."""
    for name in names:
        if name not in wanted:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != wanted[name]:
            st.query_params[name] = wanted[name]
