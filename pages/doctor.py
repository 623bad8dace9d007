"""Whether the fastpath is really taken for the chosen model and batch, why not, and what a cure would bring."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.catalog.modifications import MODIFICATIONS
from pages.kit.doctor import show_diagnosis
from pages.kit.measuring import choose_precision_and_device, show_model_and_batch, start_and_watch
from pages.kit.running import start_examination
from pages.kit.state import DOCTOR_SLOT, examination_of_session, the_lab

lab = the_lab()

st.title("Doctor")
show_model_and_batch()
with st.container(horizontal=True, vertical_alignment="bottom"):
    choose_precision_and_device("doctor")
chosen = st.multiselect(
    "What did you do to it?",
    list(MODIFICATIONS),
    format_func=lambda name: MODIFICATIONS[name].title,
    key="doctor_modifications",
    bind="query-params",
    placeholder="Nothing: examine it as it is",
    help="Break a healthy model on purpose, and watch the doctor find it.",
)
if chosen:
    st.code("\n".join(MODIFICATIONS[name].code for name in chosen), wrap_lines=True)

view = start_and_watch(DOCTOR_SLOT, "Examine", ":material/stethoscope:", "doctor_examine", start_examination)
if view is None:
    st.caption(
        "The doctor holds the model and the batch against every condition that torch checks before it takes the "
        "fastpath, and proves the outcome by one profiled forward. Then it tries each cure on a copy, and measures "
        "what it brings."
    )
elif view.diagnosis is not None:
    if lab.examined != examination_of_session():
        st.info(
            "The settings have changed since this examination; Examine looks at the new ones.",
            icon=":material/update:",
        )
    show_diagnosis(view.diagnosis)
