"""The frame of the app: page configuration, navigation and the machine chip; every page runs inside it."""

import streamlit as st

from engine.desk.desk import the_desk
from pages.kit import nav

CHIP_POLL_S = 3.0

nav.configure_page()
page = st.navigation(nav.page_list())


def machine_chip() -> None:
    """How busy the measuring machine is; it polls only while somebody measures."""
    busy = the_desk().view()

    @st.fragment(run_every=CHIP_POLL_S if busy.measuring else None)
    def chip() -> None:
        now = the_desk().view()
        waiting = f", {now.waiting} waiting" if now.waiting else ""
        st.caption(f":material/memory: Machine {'measuring' if now.measuring else 'free'}{waiting}")

    chip()


with st.sidebar:
    machine_chip()
nav.run_in_frame(page)
