"""The memory allocator on the Benchmark page: choose it, measure with the other one, compare both."""

from typing import get_args

import streamlit as st

from engine.allocator import DEFAULTS, KEPT, allocator_words
from engine.analysis.allocators import BothAllocators, both_allocators
from engine.analysis.tutorial_steps import tutorial_steps
from engine.errors import Refusal
from engine.events import RunRequest
from engine.present.charts.allocators import allocator_chart
from engine.present.charts.explanations import steps_chart, steps_words
from engine.present.words.allocators import HELP, LABELS, costs_sentence
from engine.records import DEFAULT_ALLOCATOR, Allocator, Experiment, Run
from pages.kit.address import find_again, keep_in_address
from pages.kit.all_machines import machines
from pages.kit.job_panel import job_panel
from pages.kit.recall import build_here, recall
from pages.kit.saving import save_menu_of
from pages.kit.state import ALLOCATOR_SLOT, RUN_SLOT, live, show_stored, submit, view_of


def choose_allocator() -> None:
    """The choice of the allocator for the next run."""
    st.segmented_control(
        "Freed memory",
        get_args(Allocator),
        default=DEFAULT_ALLOCATOR,
        required=True,
        format_func=lambda allocator: LABELS[allocator],
        key="bench_allocator",
        bind="query-params",
        help=HELP,
    )


def with_the_other_allocator(experiment: Experiment) -> Experiment:
    """The same experiment under the other allocator."""
    other: Allocator = "system" if experiment.allocator == "kept" else "kept"
    return experiment.model_copy(update={"allocator": other})


def offer_other_allocator(run: Run) -> None:
    """A button that measures the same with the other allocator, until that is done; and its progress."""
    lost = find_again(ALLOCATOR_SLOT)
    # The job may end while the page is drawn. The button comes last, so that it never waits for a job that has ended.
    place = st.container()
    if lost:
        st.warning(lost, icon=":material/link_off:")
    job_panel(ALLOCATOR_SLOT)
    keep_in_address(ALLOCATOR_SLOT)
    if _both_of(run) is None and allocator_words(run.environment) in (KEPT, DEFAULTS):
        with place:
            _show_button(run)


def _show_button(run: Run) -> None:
    other = with_the_other_allocator(run.experiment).allocator
    label = "with the system's allocator" if other == "system" else "with freed memory kept"
    st.button(
        f"Measure {label} too",
        key="bench_other_allocator",
        icon=":material/memory:",
        help="Measures the same experiment again, to show how the allocator changes each path's time.",
        on_click=start_other,
        args=(run,),
        disabled=live(ALLOCATOR_SLOT) or live(RUN_SLOT),
    )


def start_other(run: Run) -> None:
    """Measure the run's experiment with the other allocator, on the same machine; a callback."""
    experiment = with_the_other_allocator(run.experiment)
    machine = run.environment.machine if run.environment.machine in machines() else ""
    known = recall(experiment, build_here(experiment.allocator)) if not machine else None
    if known is None:
        submit(ALLOCATOR_SLOT, lambda: RunRequest(experiment=experiment), machine)
    else:
        show_stored(ALLOCATOR_SLOT, known.run)


def _both_of(run: Run) -> BothAllocators | None:
    """The run beside the one with the other allocator; None if that was not measured for this experiment."""
    view = view_of(ALLOCATOR_SLOT)
    if view is None or view.run is None:
        return None
    try:
        return both_allocators(run, view.run)
    except Refusal:
        return None


def show_both_allocators(run: Run) -> None:
    """Both allocators side by side, once the other one was measured."""
    both = _both_of(run)
    if both is None:
        return
    st.subheader("What the allocator costs")
    words = costs_sentence(both)
    st.altair_chart(allocator_chart(both), key="bench_allocators", alt=words)
    st.caption(words)
    save_menu_of((both.kept, both.system), "allocators", "bench")
    if len(tutorial_steps(both.system)) > 1:
        steps = steps_words(both.system, both)
        st.altair_chart(steps_chart(both.system, both), key="bench_allocators_steps", alt=steps)
        st.caption(steps)
