"""The texts of the batch: choose, type or upload them, and see how much padding they need."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.errors import Refusal
from engine.present.charts.runs import padding_alt, padding_map
from engine.present.words.runs import batch_sentence
from engine.catalog.batches import PRESET_NOTES, PRESETS
from engine.settings import load_settings
from engine.texts import checked_texts
from pages.kit.batches import EDITORS, line_break_note, show_tokenized, without_blanks
from pages.kit.choosing import chosen_model
from pages.kit.state import OWN_TEXTS, named_batch, the_lab, use_texts

lab = the_lab()


def choose_preset() -> None:
    """Show the chosen preset's texts in the editors."""
    if st.session_state.batch_preset:
        use_texts(PRESETS[st.session_state.batch_preset].texts)


def take_over(typed: tuple[str, ...]) -> None:
    """Make the typed texts the batch; if they are refused, the earlier batch and the typed text both stay."""
    lab.draft = without_blanks(typed)
    if left_out := len(typed) - len(lab.draft):
        st.caption(f"{left_out} blank {'text' if left_out == 1 else 'texts'} left out.")
    try:
        lab.batch = named_batch(checked_texts(lab.draft, load_settings()))
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        st.caption(f"Your text is kept in the editor. Until it is accepted, {lab.batch.name} is measured.")


st.title("Batch")
presets = st.container()
editor, lengths = st.columns([3, 2], gap="large")
with editor:
    editor_name = st.segmented_control(
        "Edit as", list(EDITORS), default="Grid", required=True, key="batch_door", persist_state="session"
    )
    typed = EDITORS[editor_name]()
    if note := line_break_note(typed):
        st.caption(note)
    take_over(typed)

with presets:
    # Drawn last, because only now it is known whether the texts are still those of a preset.
    st.session_state.batch_preset = lab.batch.name if lab.batch.name in PRESETS else None
    st.pills("Preset", list(PRESETS), key="batch_preset", on_change=choose_preset, wrap=True)
    st.caption(PRESET_NOTES.get(lab.batch.name, f"{OWN_TEXTS.capitalize()}: {len(lab.batch.texts)}."))

with lengths:
    st.markdown(f"**Padding, in tokens of {chosen_model().title}**")
    tokenized = show_tokenized(lab.batch)
    if tokenized is not None and tokenized.padding_ratio is not None:
        padding, real = st.columns(2)
        padding.metric("Padding ratio", f"{tokenized.padding_ratio:.0%}", border=True)
        real.metric("Real tokens", f"{tokenized.real_tokens:,}", border=True)
        st.altair_chart(padding_map(tokenized), key="batch_padding", alt=padding_alt(tokenized))
        st.caption(batch_sentence(tokenized.lengths, tokenized.padding_ratio, tokenized.truncated))
    st.page_link(nav.BENCHMARK, label="Go on to the benchmark", icon=":material/arrow_forward:")
