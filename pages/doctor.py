"""Whether the fastpath is really taken for the chosen model and batch, why not, and what each cure gains."""

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
    "Faults to add",
    list(MODIFICATIONS),
    format_func=lambda name: MODIFICATIONS[name].title,
    key="doctor_modifications",
    bind="query-params",
    placeholder="Nothing: examine the model as it is",
    help="Break a working model on purpose, and see whether the doctor finds the cause.",
)
if chosen:
    st.code("\n".join(MODIFICATIONS[name].code for name in chosen), wrap_lines=True)

view = start_and_watch(DOCTOR_SLOT, "Examine", ":material/stethoscope:", "doctor_examine", start_examination)
if view is None:
    st.caption(
        "The doctor checks every condition that torch checks before it takes the fastpath, for this model and batch. "
        "One profiled forward proves the result. Then the doctor tries each cure on a copy and measures its gain."
    )
elif view.diagnosis is not None:
    if lab.examined != examination_of_session():
        st.info(
            "The settings have changed since this examination. Press Examine to examine with the new settings.",
            icon=":material/update:",
        )
    show_diagnosis(view.diagnosis)
