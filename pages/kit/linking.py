"""The control that hands a finished run on: a link to this server's copy, and a link that carries the result itself."""

from urllib.parse import urlencode

import streamlit as st

from engine.errors import Refusal
from engine.present.links.codec import LINK_PATH, link_of
from engine.present.links.words import CARRIED, left_out_sentence, size_words
from engine.records import Run
from pages.kit import nav
from pages.kit.state import the_lab

RUN_PARAMETER = "run"
"""The parameter with a run's id on the History page, and with the whole link on the page of links."""


def offer_links(run: Run, key: str) -> None:
    """A *Copy link* button. It opens a dialog, so both links are made when they are wanted and not in every redraw."""
    if st.button("Copy link", key=f"{key}_links", icon=":material/link:"):
        st.dialog("Copy link", width="medium")(show_links)(run)


def show_links(run: Run) -> None:
    """Both links, each with what it needs; what the second leaves out is said before it."""
    _show_link_to_this_server(run)
    _show_link_with_the_result(run)


def is_stored(run: Run) -> bool:
    """Whether this server's store has the run, as far as this session knows."""
    return all(view.stored for view in the_lab().ended.values() if view.run_id == run.id)


def _show_link_to_this_server(run: Run) -> None:
    st.markdown("**:material/dns: Link to this server**")
    if not is_stored(run):
        st.caption("There is none: this result could not be stored.")
        return
    st.caption(
        "Shows the whole run, every round included. It needs this server, and works while the run is kept here."
    )
    st.code(f"{nav.base_address()}/history?{urlencode({RUN_PARAMETER: run.id})}", language=None)


def _show_link_with_the_result(run: Run) -> None:
    st.markdown("**:material/package_2: Link that carries the result**")
    try:
        text, shared = link_of(run)
    except Refusal as refusal:
        st.caption(str(refusal))
        return
    st.caption(
        f"Carries {CARRIED} in its own {size_words(text)}, so nobody has to keep the run. It opens in any lab: "
        "to open it in another one, replace what stands before `/link`."
    )
    st.caption(f"{left_out_sentence(shared)} Whoever has the link can read the rest.")
    st.code(f"{nav.base_address()}{LINK_PATH}{text}", language=None)
