"""Whether the fastpath is really taken for the chosen model and batch, why not, and what a cure would bring."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.catalog.modifications import MODIFICATIONS
from pages.kit.choosing import chosen_model, devices
from pages.kit.doctor import show_diagnosis
from pages.kit.address import find_again, keep_in_address, link_to_share
from pages.kit.job_panel import job_panel
from pages.kit.running import start_examination
from pages.kit.state import DOCTOR_SLOT, examination_of_session, the_lab, view_of

lab = the_lab()
lost = find_again(DOCTOR_SLOT)

st.title("Doctor")
with st.container(horizontal=True, vertical_alignment="center"):
    texts = "1 text" if len(lab.batch.texts) == 1 else f"{len(lab.batch.texts)} texts"
    st.page_link(nav.MODEL, label=chosen_model().title, icon=":material/deployed_code:")
    st.page_link(nav.BATCH, label=f"{lab.batch.name}, {texts}", icon=":material/format_list_bulleted:")

with st.container(horizontal=True, vertical_alignment="bottom"):
    st.segmented_control(
        "Precision",
        ["fp32", "bf16", "fp16"],
        default="fp32",
        required=True,
        key="doctor_dtype",
        bind="query-params",
    )
    if len(devices()) > 1:
        st.segmented_control(
            "Device", devices(), default="cpu", required=True, key="doctor_device", bind="query-params"
        )
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

before = view_of(DOCTOR_SLOT)
st.button(
    "Examine",
    key="doctor_examine",
    type="primary",
    icon=":material/stethoscope:",
    shortcut="Ctrl+Enter",
    on_click=start_examination,
    disabled=before is not None and not before.ended,
)
if lost:
    st.warning(lost, icon=":material/link_off:")
view = job_panel(DOCTOR_SLOT, link_to_share(DOCTOR_SLOT))
keep_in_address(DOCTOR_SLOT)
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
