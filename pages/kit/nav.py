"""The list of pages, and the guard that opens every page inside the frame.

Until some session has called `st.navigation`, Streamlit uses a `pages` folder beside the entrypoint for its older
navigation. The first visitor of `/benchmark` after a start would then get the page without its frame.
"""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

_IN_FRAME, _PATH = "_in_frame", "_page_path"

OVERVIEW, MODEL, BATCH = "pages/overview.py", "pages/model.py", "pages/batch.py"
BENCHMARK, DOCTOR, WALKTHROUGH = "pages/benchmark.py", "pages/doctor.py", "pages/walkthrough.py"
HISTORY, COMPARE, SWEEP = "pages/history.py", "pages/compare.py", "pages/sweep.py"
LINK = "pages/link.py"


def configure_page() -> None:
    """The tab's icon and the width of every page; each page sets its own title.

    The icon is a file, because Streamlit fetches named icons from a font server, and a classroom may have no network.
    """
    st.set_page_config(page_icon=str(Path(__file__).with_name("bolt.svg")), layout="wide")


def page_list() -> dict[str, list[StreamlitPage]]:
    """The pages by section. A page's address is its file's name: with `url_path` set, direct links would fail."""
    return {
        "": [st.Page(OVERVIEW, title="Overview", icon=":material/home:", default=True)],
        "Measure": [
            st.Page(MODEL, title="Model", icon=":material/deployed_code:"),
            st.Page(BATCH, title="Batch", icon=":material/format_list_bulleted:"),
            st.Page(BENCHMARK, title="Benchmark", icon=":material/speed:"),
            st.Page(DOCTOR, title="Doctor", icon=":material/stethoscope:"),
            st.Page(SWEEP, title="Sweep", icon=":material/grid_on:"),
            st.Page(HISTORY, title="History", icon=":material/history:"),
            st.Page(COMPARE, title="Compare", icon=":material/compare_arrows:"),
        ],
        "Learn": [st.Page(WALKTHROUGH, title="Walkthrough", icon=":material/school:")],
        # Opened by links only, so it is in no menu.
        "Links": [
            st.Page(LINK, title="Run from a link", icon=":material/link:", visibility="hidden"),
        ],
    }


def run_in_frame(page: StreamlitPage) -> None:
    """Run the chosen page; called once, by the entrypoint."""
    st.session_state[_IN_FRAME], st.session_state[_PATH] = True, page.url_path
    try:
        page.run()
    finally:
        st.session_state[_IN_FRAME] = False


def base_address() -> str:
    """The address of this app in the visitor's browser, without a page; empty where it is not known."""
    here = (st.context.url or "").rstrip("/")
    path: str = st.session_state.get(_PATH, "")
    return here.removesuffix(f"/{path}") if path else here


def guard() -> None:
    """First statement of every page: without its frame, the page restarts through the entrypoint."""
    if not st.session_state.get(_IN_FRAME):
        configure_page()
        st.navigation(page_list())
        st.rerun()
