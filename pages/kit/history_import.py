"""Runs from files: one run's JSON, or several that were exported together."""

from collections.abc import Iterable
from itertools import chain

import streamlit as st

from engine.errors import Refusal
from engine.present.reports.collection import MOST_MB, KeptRun, read_runs
from engine.present.words.judged_again import judged_again_words
from engine.store.store import Store, the_store
from pages.kit.markdown import as_text
from pages.kit.history_actions import clear_notices, counted
from pages.kit.history_list import close_popovers, popover_key, select, the_shelf

FILES_KEY = "history_import_files"
IMPORTED_TAG = "imported"
MOST_TOLD = 20
"""Sentences about runs that were not imported, in one go."""


def offer_import() -> None:
    """A popover with the uploader; what became of the files is told above the list."""
    with (
        st.popover("Import runs", icon=":material/upload:", key=popover_key("history_import")),
        st.form("history_import_form", border=False, clear_on_submit=True),
    ):
        st.file_uploader(
            "Files with one run, or with several that were exported together, or HTML reports",
            type=["json", "html"],
            accept_multiple_files=True,
            key=FILES_KEY,
            max_upload_size=MOST_MB,
        )
        st.form_submit_button("Import", key="history_import_submit", type="primary", on_click=_import_files)


def _import_files() -> None:
    close_popovers()
    clear_notices()
    shelf = the_shelf()
    files = [(file.getvalue(), file.name) for file in st.session_state.get(FILES_KEY) or ()]
    if not files:
        shelf.warned = ("No file was chosen.",)
        return
    collected = [read_runs(data, name) for data, name in files]
    try:
        kept, warned = import_runs(the_store(), chain.from_iterable(found.runs for found in collected))
    except Refusal as refusal:
        shelf.warned = (str(refusal),)
        return
    warned = [*chain.from_iterable(found.refused for found in collected), *warned]
    more = (f"And {len(warned) - MOST_TOLD} more sentences like these.",) if len(warned) > MOST_TOLD else ()
    shelf.warned = (*map(as_text, warned[:MOST_TOLD]), *more)
    if kept:
        are = "is imported and selected" if len(kept) == 1 else "are imported and selected"
        shelf.told = (f"{counted(len(kept))} {are}.",)
        select(kept)


def import_runs(store: Store, runs: Iterable[KeptRun]) -> tuple[list[str], list[str]]:
    """Keep each run that the store does not have, marked with a tag, with the title, tags and note of its file.

    A run is kept as it is in its file, whatever this version would conclude from its samples.

    Returns:
        The ids of the runs that were kept, and sentences about what was not done or is to be known.

    Raises:
        Refusal: the database cannot be used.
    """
    kept, sentences = [], []
    for entry in runs:
        run = entry.run
        if store.row(run.id) is not None:
            sentences.append(f"{run.title} ({run.id}) is here already and is left as it is.")
            continue
        store.save(run)
        if store.row(run.id) is None:
            sentences.append(
                f"{run.title} ({run.id}) is older than all runs here, and no more runs are kept."
            )
            continue
        kept.append(run.id)
        sentences += _annotate(store, entry)
        if words := judged_again_words(run):
            sentences.append(f"{run.title} ({run.id}) is kept as it is in its file. {words}")
    return kept, sentences


def _annotate(store: Store, entry: KeptRun) -> list[str]:
    """Write what the file says about a run; if that cannot be kept, only the tag."""
    run_id, about = entry.run.id, entry.about
    try:
        store.annotate(
            run_id, title=about.title or None, tags=(*about.tags, IMPORTED_TAG), note=about.note or None
        )
    except Refusal as refusal:
        store.annotate(run_id, tags=(IMPORTED_TAG,))
        return [
            f"{entry.run.title} ({run_id}) is kept without the title, tags and note of its file. {refusal}"
        ]
    return []
