"""What can be done with the selected runs: compare, tag, export, delete and restore."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from engine.errors import Refusal
from engine.present.reports.collection import MOST_RUNS, About, KeptRun, collection_json
from engine.present.reports.runs_table import runs_parquet
from engine.store.store import RESTORABLE_DAYS, Store, the_store
from pages.kit import nav
from pages.kit.history_list import close_popovers, popover_key, select, the_shelf

FEWEST_COMPARED, MOST_COMPARED = 2, 6
ADD_KEY, REMOVE_KEY = "history_tags_add", "history_tags_remove"


def counted(number: int, noun: str = "run") -> str:
    """A number of runs in words: 1 run, 3 runs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show_actions(tags: Sequence[str], *, hosted: bool, deleted: bool) -> None:
    """The buttons for the selection, and how many runs are selected.

    Args:
        tags: those in use, to choose from.
        hosted: visitors compare and export, and change nothing.
        deleted: the list shows deleted runs, which can be restored.
    """
    selected = the_shelf().selected
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if deleted:
            _offer_restoring(selected)
        else:
            _offer_comparison(selected)
            _offer_export(selected)
            if not hosted:
                _offer_tags(selected, tags)
                _offer_deletion(selected)
        if selected:
            st.button(
                "Select none",
                key="history_select_none",
                type="tertiary",
                icon=":material/close:",
                on_click=select,
                args=((),),
            )
    st.caption(selection_words(len(selected), deleted=deleted))


def selection_words(number: int, *, deleted: bool) -> str:
    """How many runs are selected, and what is missing for a comparison."""
    if deleted:
        kept = f"Deleted runs can be restored for {RESTORABLE_DAYS} days."
        return f"{counted(number)} selected. {kept}" if number else kept
    match number:
        case 0:
            return "A title opens its run. The boxes at the left select runs: two to six can be compared."
        case 1:
            return "1 run selected. Select one to five more to compare them."
        case _ if number <= MOST_COMPARED:
            return f"{counted(number)} selected."
        case _:
            return f"{counted(number)} selected. At most six can be compared."


def show_notices() -> None:
    """What was done last, with *Undo* for a deletion."""
    shelf = the_shelf()
    if not (shelf.deleted or shelf.told or shelf.warned):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="history_notices"):
        if shelf.deleted:
            are = "is" if len(shelf.deleted) == 1 else "are"
            st.markdown(
                f":material/delete: {counted(len(shelf.deleted))} {are} deleted. *More filters* shows deleted runs for "
                f"{RESTORABLE_DAYS} days."
            )
            st.button("Undo", key="history_undo", icon=":material/undo:", on_click=_undo)
        with st.container(gap="xxsmall"):
            for sentence in shelf.told:
                st.markdown(f":material/check: {sentence}")
            for sentence in shelf.warned:
                st.markdown(f":orange[:material/warning:] {sentence}")
        st.button("Close", key="history_dismiss", type="tertiary", on_click=clear_notices)


def clear_notices() -> None:
    """Forget what was done last; a callback."""
    shelf = the_shelf()
    shelf.deleted = shelf.told = shelf.warned = ()


def delete_runs(run_ids: Sequence[str]) -> None:
    """Delete runs, with a line that offers *Undo*; a callback."""
    clear_notices()
    shelf = the_shelf()
    try:
        the_store().delete(run_ids)
    except Refusal as refusal:
        shelf.warned = (str(refusal),)
        return
    shelf.deleted = tuple(run_ids)
    shelf.selected = tuple(run_id for run_id in shelf.selected if run_id not in run_ids)


def _undo() -> None:
    _restore(the_shelf().deleted)


def _restore(run_ids: Sequence[str]) -> None:
    clear_notices()
    shelf = the_shelf()
    try:
        the_store().restore(run_ids)
    except Refusal as refusal:
        shelf.warned = (str(refusal),)
        return
    shelf.selected = ()
    shelf.told = (f"{counted(len(run_ids))} restored.",)


def _offer_comparison(selected: Sequence[str]) -> None:
    st.button(
        "Compare",
        key="history_compare",
        icon=":material/compare_arrows:",
        type="primary",
        disabled=not FEWEST_COMPARED <= len(selected) <= MOST_COMPARED,
        on_click=_compare,
    )
    if the_shelf().comparing:
        the_shelf().comparing = False
        st.switch_page(nav.COMPARE, query_params={"runs": ",".join(selected)})


def _compare() -> None:
    the_shelf().comparing = True


def _offer_tags(selected: Sequence[str], tags: Sequence[str]) -> None:
    with (
        st.popover("Tag", icon=":material/sell:", key=popover_key("history_tag"), disabled=not selected),
        st.form("history_tagging", border=False, clear_on_submit=True),
    ):
        st.multiselect("Add", tags, accept_new_options=True, key=ADD_KEY, placeholder="A tag, new or in use")
        if tags:
            st.multiselect("Remove", tags, key=REMOVE_KEY, placeholder="Tags in use")
        st.form_submit_button(f"Change {counted(len(selected))}", on_click=_change_tags, args=(selected,))


def _change_tags(selected: Sequence[str]) -> None:
    close_popovers()
    clear_notices()
    added, removed = st.session_state.get(ADD_KEY) or [], st.session_state.get(REMOVE_KEY) or []
    if not added and not removed:
        return
    store, shelf, changed = the_store(), the_shelf(), 0
    try:
        for run_id in selected:
            if (row := store.row(run_id)) is not None:
                kept = tuple(tag for tag in row.tags if tag not in removed)
                store.annotate(run_id, tags=(*kept, *added))
                changed += 1
    except Refusal as refusal:
        shelf.warned = (str(refusal),)
    if changed:
        shelf.told = (f"The tags of {counted(changed)} are changed.",)


def _offer_export(selected: Sequence[str]) -> None:
    with st.popover("Export", icon=":material/download:", key="history_export", disabled=not selected):
        if len(selected) > MOST_RUNS:
            st.markdown(f"One file holds at most {MOST_RUNS} runs: select fewer.")
            return
        store = the_store()
        _download("Runs (.json)", "json", "application/json", partial(exported_json, store, selected))
        st.caption("Everything, their texts too. *Import* reads this file on another server.")
        _download(
            "Table (.parquet)",
            "parquet",
            "application/vnd.apache.parquet",
            partial(exported_parquet, store, selected),
        )
        st.caption("A row for each run and path, without texts. Damaged runs are left out.")


def _download(label: str, kind: str, mime: str, write: "partial[str] | partial[bytes]") -> None:
    """A file that is made when it is downloaded, not in every redraw."""
    st.download_button(
        label,
        write,
        file_name=f"fastpath-runs.{kind}",
        mime=mime,
        key=f"history_export_{kind}",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )


def exported_json(store: Store, run_ids: Sequence[str]) -> str:
    """These runs as stored, with their titles, tags and notes, as one file for the import."""
    return collection_json(_stored(store, run_ids))


def exported_parquet(store: Store, run_ids: Sequence[str]) -> bytes:
    """The figures of those of these runs that can be read, as a Parquet file."""
    kept = []
    for run_id in run_ids:
        try:
            run, row = store.get(run_id), store.row(run_id)
        except Refusal:
            continue
        if run is not None and row is not None:
            kept.append(KeptRun(run=run, about=About(title=row.title, tags=row.tags, note=row.note)))
    return runs_parquet(kept)


def _stored(store: Store, run_ids: Sequence[str]) -> list[tuple[About, str]]:
    found = ((store.row(run_id), store.json_of(run_id)) for run_id in run_ids)
    return [
        (About(title=row.title if row.renamed else "", tags=row.tags, note=row.note), text)
        for row, text in found
        if row is not None and text is not None
    ]


def _offer_deletion(selected: Sequence[str]) -> None:
    st.button(
        "Delete",
        key="history_delete_selected",
        icon=":material/delete:",
        disabled=not selected,
        on_click=delete_runs,
        args=(selected,),
    )


def _offer_restoring(selected: Sequence[str]) -> None:
    st.button(
        "Restore",
        key="history_restore",
        icon=":material/restore_from_trash:",
        type="primary",
        disabled=not selected,
        on_click=_restore,
        args=(selected,),
    )
