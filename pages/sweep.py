"""One run for every combination of batch size, length, padding and threads: which path is best where."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.errors import Refusal
from engine.hosting import without_internals
from engine.settings import load_settings
from pages.kit.measuring import choose_precision_and_device, start_and_watch
from pages.kit.choosing import chosen_model
from pages.kit.state import SWEEP_SLOT
from pages.kit.sweep_list import show_list
from pages.kit.sweep_result import show_sweep
from pages.kit.sweeping import (
    choose_axes,
    follow_live,
    name_in_address,
    opened_sweep,
    start_sweep,
    watch_cells,
    with_settings,
)

st.title("Sweep")
with st.container(horizontal=True, vertical_alignment="center"):
    st.page_link(nav.MODEL, label=chosen_model().title, icon=":material/deployed_code:")
with with_settings():
    choose_axes()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choose_precision_and_device("sweep")

follow_live()
view = start_and_watch(SWEEP_SLOT, "Sweep", ":material/grid_on:", "sweep_start", start_sweep)
name_in_address(view)
try:
    sweep = opened_sweep(view)
    watch_cells(view)
    if sweep is not None:
        show_sweep(sweep)
    elif view is None:
        st.caption(
            "Every combination is measured on a batch of exactly that shape. The token ids are drawn, so no texts are "
            "needed."
        )
    show_list(sweep)
except Refusal as refusal:
    st.error(without_internals(str(refusal), load_settings()), icon=":material/database_off:")
