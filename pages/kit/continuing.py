"""Measuring a run further: the button beside its answer, and the run that is shown while its rounds go on."""

import streamlit as st

from engine.analysis.continuing import More, continuation, more_of
from engine.desk.tickets import TicketView
from engine.present.words.runs import more_words
from engine.records import Run
from engine.settings import load_settings
from pages.kit.all_machines import machines
from pages.kit.state import RUN_SLOT, live, submit, the_lab


def run_to_show(view: TicketView | None) -> Run | None:
    """The run of the slot; while it is measured further, and where that came to nothing, the run as it was."""
    return view.run if view is not None and view.run is not None else the_lab().continued


def offer_more(run: Run) -> None:
    """A button that measures further rounds of this run, as many as its next step says."""
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
        help="Further rounds of the same run, judged with those that are there. Every look at the answer is one more "
        "chance to be wrong, so the intervals are taken wider each time.",
    )


def _measure_on(run: Run, more: More) -> None:
    lab = the_lab()
    lab.continued, lab.recalled, lab.traces = run, "", None
    where = run.environment.machine if run.environment.machine in machines() else ""
    submit(RUN_SLOT, lambda: continuation(run, more, load_settings().max_budget_s), where)
