"""Starting measurements: an answer from the store if there is one, else a job at the desk, on one machine or all."""

from tempfile import TemporaryDirectory

import streamlit as st

from engine.errors import Refusal
from engine.events import RunRequest
from engine.settings import load_settings
from pages.kit.all_machines import chosen_machines, machines, slot_of
from pages.kit.recall import Recalled, build_here, recall
from pages.kit.state import (
    ALLOCATOR_SLOT,
    DOCTOR_SLOT,
    RUN_SLOT,
    examination_of_session,
    experiment_of_session,
    forget,
    show_stored,
    submit,
    the_lab,
)

ONLY_HERE = ("",)


def offers_traces() -> bool:
    """Whether traces can be kept: not on a public server, and not if another machine measures and would keep them."""
    return not load_settings().hosted and machines() == ONLY_HERE


def start_run(again: bool = False) -> None:
    """Measure the chosen model and batch; a callback.

    Args:
        again: measure even if the store has the answer.
    """
    lab = the_lab()
    lab.all_machines, lab.recalled, lab.traces, lab.continued = (), "", _traces_folder(), None
    forget(ALLOCATOR_SLOT)
    known = None if again else _recalled()
    if known is not None:
        _show_recalled(known)
        return
    chosen = chosen_machines()
    if len(chosen) > 1:
        forget(RUN_SLOT)
        lab.all_machines = chosen
        for machine in chosen:
            submit(slot_of(machine), _request, machine)
    else:
        submit(RUN_SLOT, _request, chosen[0])


def start_examination() -> None:
    """Have the doctor examine the chosen model and batch; a callback."""
    the_lab().examined = examination_of_session()
    submit(DOCTOR_SLOT, examination_of_session)


def _request() -> RunRequest:
    traces = the_lab().traces
    return RunRequest(experiment=experiment_of_session(), trace_dir=traces.name if traces else None)


def _traces_folder() -> TemporaryDirectory[str] | None:
    wanted = st.session_state.get("bench_traces", False) and offers_traces()
    return TemporaryDirectory(prefix="fastpath-traces-") if wanted else None


def _recalled() -> Recalled | None:
    """The stored answer, if this machine measures and no traces are wanted."""
    if the_lab().traces is not None or machines() != ONLY_HERE:
        return None
    try:
        experiment = experiment_of_session()
        return recall(experiment, build_here(experiment.allocator))
    except Refusal:
        return None  # submitting it shows why it is refused


def _show_recalled(known: Recalled) -> None:
    show_stored(RUN_SLOT, known.run)
    the_lab().recalled = known.sentence
