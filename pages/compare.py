"""Two to six runs side by side: what differs, what has become faster or slower, and where the time went."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.analysis.compare import FEWEST_RUNS, compare_runs
from engine.errors import Refusal
from pages.kit.comparing import (
    choose_runs,
    labels_of,
    read_chosen,
    show_chosen,
    swap,
    the_choice,
    upload_runs,
)
from pages.kit.comparison import (
    show_answer,
    show_changes,
    show_differences,
    show_downloads,
    show_machines,
    show_operators,
    show_speedups,
    show_two_paths,
)
from engine.records import Run


def show_comparison(runs: list[Run]) -> None:
    """What differs first, because it decides what the answer means; then the answer and what it rests on."""
    comparison = compare_runs(runs)
    show_differences(comparison)
    show_answer(comparison)
    show_changes(comparison)
    show_speedups(comparison)
    st.subheader("Where the time went")
    show_operators(runs, comparison)
    show_machines(runs, comparison)
    st.subheader("Download")
    show_downloads(comparison)


def show_page() -> None:
    """The choice of runs, and the comparison of those that can be read."""
    state = the_choice()
    runs = read_chosen(state)
    keys, labels = tuple(runs), labels_of(state, runs)
    show_chosen(state, runs, labels)
    enough = len(runs) >= FEWEST_RUNS
    if enough:
        st.button(
            "Swap A and B", key="compare_swap", icon=":material/swap_vert:", on_click=swap, args=(keys,)
        )
    with st.expander("Choose runs", icon=":material/checklist:", expanded=not enough):
        choose_runs(keys, labels)
        upload_runs(state)
    if enough:
        show_comparison(list(runs.values()))
    elif runs:
        st.markdown("Choose a second run to compare with it. Until then, here are two paths of this run.")
        show_two_paths(runs[keys[0]])
    else:
        st.markdown("Choose a reference and one to five runs to compare with it.")


st.title("Compare")
try:
    show_page()
except Refusal as refusal:
    st.error(str(refusal), icon=":material/database_off:")
