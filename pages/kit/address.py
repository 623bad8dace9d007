"""The ticket in the page's address: a reload, or another browser, finds the work again.

The address of the one who started it carries the ticket's secret, which cancels; a link to share carries the id alone.
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
    """The ticket that an address names; without a secret it may look and not cancel."""
    ticket_id, _, secret = text.partition(_BETWEEN)
    return Ticket(id=ticket_id, secret=secret)


def find_again(slot: str) -> str:
    """Take up the work that the address names, where this session has none in its slot.

    Gives one sentence where the address names work that nobody knows any more; else nothing.
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
    return "The measurement this link leads to is not known here any more; finished ones are on the History page."


def keep_in_address(slot: str) -> None:
    """Let the address name the work in this slot."""
    ticket = the_lab().tickets.get(slot)
    if ticket is None:
        return
    named = f"{ticket.id}{_BETWEEN}{ticket.secret}" if ticket.secret else ticket.id
    if st.query_params.get(TICKET) != named:
        st.query_params[TICKET] = named


def link_to_share(slot: str) -> str:
    """Address of this page with the work in this slot, for somebody who may look; empty where there is none."""
    ticket = the_lab().tickets.get(slot)
    return f"{st.context.url}?{TICKET}={ticket.id}" if ticket else ""
