"""The ticket in the page's address, so that a reload or another browser finds the work again.

The address of the person who started it contains the ticket's secret, which allows to cancel. A link to share
contains the id only.
"""

from contextlib import suppress

import streamlit as st

from engine.desk.desk import the_desk
from engine.desk.tickets import Ticket
from engine.errors import Refusal
from pages.kit.state import the_lab

TICKET = "ticket"
_BETWEEN = "."


def ticket_of(text: str) -> Ticket:
    """The ticket in an address; without its secret it allows to watch, not to cancel."""
    ticket_id, _, secret = text.partition(_BETWEEN)
    return Ticket(id=ticket_id, secret=secret)


def find_again(slot: str) -> str:
    """Put the work that the address names into this session's slot, if the slot is empty.

    Returns a sentence if the desk does not know that work any more, else an empty string.
    """
    lab, named = the_lab(), st.query_params.get(TICKET)
    if not named or slot in lab.tickets or slot in lab.refusals:
        return ""
    ticket = ticket_of(named)
    with suppress(Refusal):
        the_desk().snapshot(ticket.id)
        lab.tickets[slot] = ticket
        return ""
    del st.query_params[TICKET]
    return "The measurement of this link is not known here any more. Finished runs are on the History page."


def keep_in_address(slot: str) -> None:
    """Write the ticket of this slot's work into the address."""
    ticket = the_lab().tickets.get(slot)
    if ticket is None:
        return
    named = f"{ticket.id}{_BETWEEN}{ticket.secret}" if ticket.secret else ticket.id
    if st.query_params.get(TICKET) != named:
        st.query_params[TICKET] = named


def link_to_share(slot: str) -> str:
    """The address that lets others watch this slot's work; empty where there is none."""
    ticket = the_lab().tickets.get(slot)
    return f"{st.context.url}?{TICKET}={ticket.id}" if ticket else ""
