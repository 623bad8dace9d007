"""A run from a link on its page, marked as such in every part; every text of the link is shown as it is."""

import pandas as pd
import streamlit as st

from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.present.links.shared import SharedRun, recommendation_of
from engine.present.links.words import asked_words, environment_rows, left_out_sentence, path_row
from engine.present.words.runs import choice_sentences, looks_sentence, verdict_sentence
from pages.kit import nav
from pages.kit.markdown import as_text
from pages.kit.history import reader_zone
from pages.kit.results import has_waterfall, show_operators, show_speedups, show_waterfall

NOT_MEASURED_HERE = (
    "From a link, not measured here: this server did not measure these figures, cannot check them and does not keep "
    "them. Anybody can write such a link."
)

THERE = "on that machine"


def show_shared(run: SharedRun) -> None:
    """A run from a link, from its verdict to its environment."""
    st.warning(NOT_MEASURED_HERE, icon=":material/link:")
    st.subheader(as_text(run.title))
    when = f"{run.created_at.astimezone(reader_zone()):%Y-%m-%d %H:%M}"
    st.caption(as_text(f"The link says: measured on {when}. {asked_words(run.experiment)}"))
    st.info(as_text(verdict_sentence(run, THERE)), title="Verdict in the link", icon=":material/gavel:")
    for note in filter(None, (*run.environment.notes, looks_sentence(run))):
        st.caption(f":material/warning: {as_text(note)}")
    _show_choice(run)
    show_speedups(run, "link", THERE)
    st.subheader("Paths and proof")
    st.dataframe(
        pd.DataFrame([path_row(run, path) for path in run.paths]).fillna(""),
        hide_index=True,
        row_height=44,
        alt="Each path's time, speedup, verdict, and what its profile shows",
    )
    _show_where_time_goes(run)
    st.subheader("Where it was measured")
    st.table(
        {name: as_text(value) for name, value in environment_rows(run).items()},
        border="horizontal",
        alt="The machine and the libraries, as the link says",
    )
    st.caption(left_out_sentence(run))
    offer_same_choice(run)


def _show_choice(run: SharedRun) -> None:
    found = recommendation_of(run)
    if found is not None:
        with st.container(border=True):
            heading = "**:material/recommend: Which to choose, by these figures**"
            st.markdown("\n\n".join((heading, *map(as_text, choice_sentences(run, found, THERE)))))


def _show_where_time_goes(run: SharedRun) -> None:
    if not any(path.profile for path in run.paths):
        return
    st.subheader("Where the time goes")
    show_operators(run, key="link")
    if has_waterfall(run):
        st.subheader("Where the difference comes from")
        show_waterfall(run, key="link")


def offer_same_choice(run: SharedRun) -> None:
    """The same model and batch on the Benchmark page, where both have a name here."""
    asked = run.experiment
    if asked.model in CATALOG and asked.batch.name in PRESETS:
        st.page_link(
            nav.BENCHMARK,
            label="Measure the same model and batch here",
            icon=":material/speed:",
            query_params={"model": asked.model, "batch": asked.batch.name},
        )
