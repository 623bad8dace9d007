"""Measure the chosen model and batch on the chosen paths, watch the run live, and read its result."""

from pathlib import Path

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.host import usable_cores
from pages.kit.choosing import choose_paths
from engine.records import Run
from pages.kit.allocators import choose_allocator, offer_other_allocator, show_both_allocators
from pages.kit.all_machines import choose_machine, runs_of_all_machines, show_all_machines, slot_of
from pages.kit.continuing import offer_more, run_to_show
from pages.kit.markdown import as_text
from pages.kit.history import show_run
from pages.kit.job_panel import job_panel
from pages.kit.measuring import choose_precision_and_device, show_model_and_batch, start_and_watch
from pages.kit.results import show_traces
from pages.kit.running import offers_traces, start_run
from pages.kit.state import (
    RUN_SLOT,
    TUTORIAL_ITERATIONS,
    UNTIL_PRECISE,
    settings_changed,
    the_lab,
)

lab = the_lab()


def offer_what_next(run: Run) -> None:
    """Buttons for more rounds of this run, and for the same run with the other allocator."""
    offer_more(run)
    offer_other_allocator(run)


st.title("Benchmark")
show_model_and_batch()
choose_paths()
with st.container(horizontal=True, vertical_alignment="top"):
    st.segmented_control(
        "Rounds",
        [UNTIL_PRECISE, TUTORIAL_ITERATIONS],
        default=UNTIL_PRECISE,
        required=True,
        key="bench_rounds",
        bind="query-params",
    )
    choose_precision_and_device("bench")
    st.selectbox(
        "Threads",
        range(usable_cores() + 1),
        format_func=lambda threads: str(threads) if threads else "as torch chooses",
        key="bench_threads",
        persist_state="session",
        width=180,
    )
    choose_allocator()
    choose_machine()
if offers_traces():
    st.toggle(
        "Keep Chrome traces",
        key="bench_traces",
        persist_state="session",
        help="Every profiled event of every path, for chrome://tracing or Perfetto. Download them below the result.",
    )

view = start_and_watch(RUN_SLOT, "Run", ":material/play_arrow:", "bench_run", start_run)
for machine in lab.all_machines:
    job_panel(slot_of(machine))
if runs := runs_of_all_machines():
    show_all_machines(runs)
elif (run := run_to_show(view)) is not None:
    if lab.recalled:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f":material/history: {as_text(lab.recalled)}")
            st.button(
                "Measure again",
                key="bench_again",
                icon=":material/replay:",
                on_click=start_run,
                args=(True,),
            )
    if settings_changed(run):
        st.info(
            "The settings have changed since this run. Press Run to measure with the new settings.",
            icon=":material/update:",
        )
    show_run(run, key="bench", beside_the_answer=offer_what_next, below_the_speedups=show_both_allocators)
    if lab.traces is not None:
        show_traces(Path(lab.traces.name), key="bench")
elif view is None:
    st.caption("Press Run or Ctrl+Enter. Before timing, each path's answer is compared with the slow path's.")
