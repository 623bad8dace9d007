"""The frame of the app: page configuration, navigation, the machine's state, and notices of finished jobs."""

import streamlit as st

from pages.kit import nav
from pages.kit.machine_status import announce_endings, machine_status, page_name

nav.configure_page()
page = st.navigation(nav.page_list())

with st.sidebar:
    machine_status()
announce_endings(page_name(page.url_path))
nav.run_in_frame(page)
