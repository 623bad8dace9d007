"""Choose a model and load it; its card shows what was loaded."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.catalog.models import CATALOG
from engine.desk.tickets import TicketView
from pages.kit.choosing import (
    SOURCES,
    loading_panel,
    model_label,
    needs_sentence,
    offered_sources,
    show_card,
    start_loading,
)
from pages.kit.state import the_lab

lab = the_lab()


def draw_choice() -> None:
    """Draw the choice of a model."""
    source = st.segmented_control(
        "Where from",
        offered_sources(),
        default="embedded",
        required=True,
        format_func=SOURCES.__getitem__,
        key="model_source",
        persist_state="session",
    )
    if source == "own":
        st.text_input(
            "Folder on the server, or owner/name on the Hugging Face hub",
            key="model_own",
            persist_state="session",
            placeholder="sentence-transformers/all-MiniLM-L12-v2",
            help="A folder needs config.json and model.safetensors of the BERT or RoBERTa family.",
        )
        return
    names = [spec.name for spec in CATALOG.values() if spec.source == source]
    name = st.radio(
        "Model",
        names,
        format_func=model_label,
        captions=[needs_sentence(CATALOG[name]) for name in names],
        key=f"model_{source}",
        persist_state="session",
    )
    st.caption(CATALOG[name].note)


def load_choice() -> None:
    """Load the chosen model; a callback, which reads the choice itself: arguments would be one redraw old."""
    start_loading(st.session_state[f"model_{st.session_state.model_source}"].strip())


def show_loaded(view: TicketView | None) -> None:
    """The card of the chosen model, once it is loaded."""
    card = lab.cards.get(lab.model)
    if card is None:
        st.info(
            "No model is loaded yet. A run loads it automatically; load it here to see its details first."
        )
        return
    st.subheader(card.title)
    if view is not None and view.card == card and not view.step:
        st.caption(":material/bolt: It was already in memory.")
    show_card(card)
    st.page_link(nav.BATCH, label="Go on to the batch", icon=":material/arrow_forward:")


st.title("Model")
st.caption("The model to measure: an encoder of the RoBERTa family, as a torchtext model.")
draw_choice()
st.button("Load", key="model_load", type="primary", icon=":material/download:", on_click=load_choice)
show_loaded(loading_panel())
