"""What the lab is, and a measurement in three steps."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.catalog.models import CATALOG
from engine.catalog.batches import PRESET_NOTES, PRESETS, find_preset
from engine.catalog.paths import default_paths
from engine.present.words.runs import paths_listed
from pages.kit.choosing import chosen_model, loading_panel, model_label, needs_sentence, start_loading
from pages.kit.running import start_run
from pages.kit.state import the_lab, use_texts

lab = the_lab()


def choose_model() -> None:
    """Make the chosen model the session's model."""
    lab.model = st.session_state.overview_model


def choose_preset() -> None:
    """Make the chosen preset the session's batch."""
    lab.batch = find_preset(st.session_state.overview_preset)
    use_texts(lab.batch.texts)


def run_and_watch() -> None:
    """Start the measurement and go to the Benchmark page, which shows it."""
    start_run()
    lab.watch_run = True


if lab.watch_run:
    lab.watch_run = False
    st.switch_page(nav.BENCHMARK)

st.title("Fastpath Lab")
st.markdown(
    "PyTorch's `nn.TransformerEncoder` has a second, native implementation for inference: the **fastpath**. "
    "Measure here whether your encoder takes it, how much faster it is on this machine, and where the time goes."
)
st.subheader("Measure now")
model_step, batch_step, run_step = st.columns(3)

with model_step.container(border=True, height="stretch"):
    st.markdown("**1 · Model**")
    names = list(CATALOG) if lab.model in CATALOG else [*CATALOG, lab.model]
    st.selectbox(
        "Model",
        names,
        index=names.index(lab.model),
        format_func=model_label,
        key="overview_model",
        on_change=choose_model,
    )
    st.caption(needs_sentence(chosen_model()))
    st.button(
        "Load", key="overview_load", icon=":material/download:", on_click=start_loading, args=(lab.model,)
    )
    loading_panel()
    if card := lab.cards.get(lab.model):
        st.badge(f"{card.title} is loaded", icon=":material/check:", color="green")
        st.caption(f"{card.parameters / 1e6:,.1f} M parameters, {card.shape.num_encoder_layers} layers")

with batch_step.container(border=True, height="stretch"):
    st.markdown("**2 · Batch**")
    st.pills(
        "Preset",
        list(PRESETS),
        default=lab.batch.name if lab.batch.name in PRESETS else None,
        required=lab.batch.name in PRESETS,
        key="overview_preset",
        on_change=choose_preset,
        wrap=True,
    )
    own = f"Your own {len(lab.batch.texts)} texts from the Batch page."
    st.caption(PRESET_NOTES.get(lab.batch.name, own))
    st.page_link(nav.BATCH, label=f"See or edit {lab.batch.name}", icon=":material/edit:")

with run_step.container(border=True, height="stretch"):
    st.markdown("**3 · Run**")
    st.markdown(f"{paths_listed(default_paths())}, in paired rounds until the answer is precise.")
    st.button(
        "Run",
        key="overview_run",
        type="primary",
        icon=":material/play_arrow:",
        shortcut="Ctrl+Enter",
        on_click=run_and_watch,
    )
    st.caption("Takes about a minute; the result opens on the Benchmark page.")

st.subheader("Go on")
st.page_link(nav.MODEL, label="Choose another model, or use your own", icon=":material/deployed_code:")
st.page_link(nav.BATCH, label="Measure your own texts", icon=":material/format_list_bulleted:")
st.page_link(nav.BENCHMARK, label="Choose paths, precision and threads", icon=":material/speed:")
st.page_link(nav.DOCTOR, label="See why the fastpath is taken or not", icon=":material/stethoscope:")
st.page_link(nav.WALKTHROUGH, label="Walk through the Better Transformer tutorial", icon=":material/school:")
