"""A run that its link carries: nothing of it was measured here, and nothing of it is kept."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.errors import Refusal
from engine.present.links.codec import read_link
from pages.kit.linking import RUN_PARAMETER
from pages.kit.opened import show_shared

st.title("Run from a link")
if text := st.query_params.get(RUN_PARAMETER, "").strip():
    try:
        show_shared(read_link(text))
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/link_off:")
else:
    st.markdown(
        "This page shows a run that a link carries. *Copy link*, beside a finished run, makes such a link."
    )
    st.page_link(nav.HISTORY, label="Finished runs of this server", icon=":material/history:")
