"""Adding rounds to a run: the button beside its answer, and which run is shown meanwhile."""

import streamlit as st

from engine.analysis.continuing import More, continuation, more_of
from engine.desk.tickets import TicketView
from engine.present.words.runs import more_words
from engine.records import Run
from engine.settings import load_settings
from pages.kit.all_machines import machines
from pages.kit.state import RUN_SLOT, live, submit, the_lab


def run_to_show(view: TicketView | None) -> Run | None:
    """The run of the slot; while rounds are added, or if that failed, the run before."""
    return view.run if view is not None and view.run is not None else the_lab().continued


def offer_more(run: Run) -> None:
    """A button that adds rounds to this run, as many as its next step advises."""
    if sum(bool(path.samples_ms) for path in run.paths) < 2:
        return
    more = more_of(run)
    st.button(
        more_words(more),
        key="bench_more",
        icon=":material/add:",
        on_click=_measure_on,
        args=(run, more),
        disabled=live(RUN_SLOT),
        help="Adds rounds to this run; all rounds are judged together. Each time the result is seen is one more chance "
        "to be wrong, so the intervals get wider each time.",
    )


def _measure_on(run: Run, more: More) -> None:
    lab = the_lab()
    lab.continued, lab.recalled, lab.traces = run, "", None
    where = run.environment.machine if run.environment.machine in machines() else ""
    submit(RUN_SLOT, lambda: continuation(run, more, load_settings().max_budget_s), where)
