"""Which runs the Compare page compares: ids in the address, stored runs to choose from, and uploaded files.

The address holds the stored runs in their order, the reference first. An uploaded run stays in this session only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import streamlit as st

from engine.analysis.compare import MOST_RUNS, run_letter
from engine.errors import Refusal
from engine.present.words.ages import age_words
from engine.present.reports.collection import MOST_MB, read_runs
from engine.records import Run
from engine.settings import load_settings
from engine.store.queries import RunFilter, RunRow
from engine.store.store import the_store
from pages.kit import nav
from pages.kit.markdown import as_text

RUNS_PARAMETER = "runs"
"""The address parameter with the ids of the compared runs, separated by commas."""
RUNS_ON_OFFER = 200
"""The newest stored runs that the select boxes offer; older ones are found on the History page."""
_ID_DIGITS = 6
"""Digits of an id that tell apart runs of one title."""
_LONGEST_ID = 64
_UPLOADED = "file-"
_STATE = "compared"
_REFERENCE, _OTHERS, _UPLOAD = "compare_reference", "compare_others", "compare_upload"


@dataclass
class Compared:
    """What this session compares; plain data.

    Attributes:
        chosen: ids of stored runs and keys of uploaded ones, the reference first.
        uploaded: runs from files, by key.
        refused: a sentence for each uploaded file that is not a run.
    """

    chosen: tuple[str, ...] = ()
    uploaded: dict[str, Run] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def ids_in(text: str) -> tuple[str, ...]:
    """The ids in an address: each once, and no more than can be compared."""
    ids = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    return tuple(ids)[:MOST_RUNS]


def with_reference(chosen: Sequence[str], reference: str) -> tuple[str, ...]:
    """The choice with another reference; a reference that was among the other runs changes places with the old one."""
    others = [key if key != reference else chosen[0] for key in chosen[1:]]
    return (reference, *others)


def stored_ids(chosen: Sequence[str]) -> str:
    """The address's value for this choice."""
    return ",".join(key for key in chosen if not key.startswith(_UPLOADED))


def the_choice() -> Compared:
    """The choice of this session; an address that names other runs replaces it."""
    state: Compared = st.session_state.setdefault(_STATE, Compared())
    named = st.query_params.get(RUNS_PARAMETER, "")
    if named and ids_in(named) != ids_in(stored_ids(state.chosen)):
        state.chosen = ids_in(named)
    _keep(state, state.chosen)
    return state


def _keep(state: Compared, chosen: Sequence[str]) -> None:
    """Remember the choice, and write what is stored of it into the address."""
    state.chosen = tuple(chosen)[:MOST_RUNS]
    if ids := stored_ids(state.chosen):
        if st.query_params.get(RUNS_PARAMETER) != ids:
            st.query_params[RUNS_PARAMETER] = ids
    else:
        st.query_params.pop(RUNS_PARAMETER, None)


def read_chosen(state: Compared) -> dict[str, Run]:
    """The chosen runs that can be read, by key; a sentence on the page for each of the others."""
    found: dict[str, Run] = {}
    for key in state.chosen:
        try:
            run = state.uploaded[key] if key in state.uploaded else the_store().get(key)
        except Refusal as refusal:
            st.error(as_text(f"Run {_shown(key)}: {refusal}"), icon=":material/broken_image:")
            continue
        if run is None:
            st.warning(
                as_text(f"This server has no run {_shown(key)}: it was deleted, or it is on another server."),
                icon=":material/search_off:",
            )
        else:
            found[key] = run
    return found


def _shown(key: str) -> str:
    """An id from an address, which may be anything, no longer than an id."""
    return key if len(key) <= _LONGEST_ID else f"{key[:_LONGEST_ID]}..."


def labels_of(state: Compared, runs: dict[str, Run]) -> dict[str, str]:
    """What can be chosen: the chosen runs, the uploaded ones, and the newest stored ones, each in a few words.

    Args:
        runs: the chosen runs that can be read.
    """
    now, store, hosted = datetime.now(UTC), the_store(), load_settings().hosted
    listed = {row.id: row for row in store.find(RunFilter(presets_only=hosted), limit=RUNS_ON_OFFER)}
    stored = [key for key in runs if key not in state.uploaded and key not in listed]
    rows = {**{key: store.row(key) for key in stored}, **listed}
    uploaded = {key: f"{run.title}, from a file" for key, run in state.uploaded.items()}
    return {**uploaded, **{key: _label(row, now) for key, row in rows.items() if row is not None}}


def _label(row: RunRow, now: datetime) -> str:
    age = age_words(row.created_at, now) if row.created_at else ""
    parts = (row.title or "a run whose entry is damaged", age, row.machine, row.id[:_ID_DIGITS])
    return ", ".join(filter(None, parts))


def choose_runs(runs: tuple[str, ...], labels: dict[str, str]) -> None:
    """The select boxes for the reference and the other runs.

    Args:
        runs: the chosen runs that can be read.
    """
    if not labels:
        st.markdown(
            "There are no stored runs yet. Each run that finishes on the Benchmark page is kept here."
        )
        return
    reference = runs[0] if runs else None
    st.session_state[_REFERENCE], st.session_state[_OTHERS] = reference, list(runs[1:])
    st.selectbox(
        "Reference (before)",
        list(labels),
        format_func=lambda key: labels[key],
        key=_REFERENCE,
        placeholder="Choose a run",
        on_change=_choose_reference,
        args=(runs,),
    )
    st.multiselect(
        "Compared with it (after)",
        [key for key in labels if key != reference],
        format_func=lambda key: labels[key],
        key=_OTHERS,
        max_selections=MOST_RUNS - 1,
        placeholder="Choose one to five runs",
        disabled=reference is None,
        on_change=_choose_others,
        args=(runs,),
    )


def _choose_reference(runs: tuple[str, ...]) -> None:
    reference = st.session_state[_REFERENCE]
    if reference is not None:
        _keep(st.session_state[_STATE], with_reference(runs, reference) if runs else (reference,))


def _choose_others(runs: tuple[str, ...]) -> None:
    _keep(st.session_state[_STATE], (runs[0], *st.session_state[_OTHERS]))


def swap(runs: tuple[str, ...]) -> None:
    """Make the second run the reference; a callback."""
    _keep(st.session_state[_STATE], with_reference(runs, runs[1]))


def upload_runs(state: Compared) -> None:
    """The upload of runs that are not stored; a sentence for each file that is not a run."""
    st.file_uploader(
        "Files of runs that are not stored here: JSON, or HTML reports",
        type=["json", "html"],
        accept_multiple_files=True,
        max_upload_size=MOST_MB,
        key=_UPLOAD,
        on_change=_take_uploads,
    )
    for sentence in state.refused:
        st.error(as_text(sentence), icon=":material/block:")
    if any(key in state.uploaded for key in state.chosen):
        st.caption("Runs from files stay in this session: a link to this page opens the stored runs only.")


def _take_uploads() -> None:
    """Add the uploaded runs to the choice, as far as there is room; files that were taken out leave it."""
    state: Compared = st.session_state[_STATE]
    state.uploaded = {}
    refused: list[str] = []
    for file in st.session_state[_UPLOAD][:MOST_RUNS]:
        found = read_runs(file.getvalue(), file.name)
        refused += found.refused
        for entry in found.runs:
            key = sha256(entry.run.model_dump_json().encode()).hexdigest()[:12]
            state.uploaded[_UPLOADED + key] = entry.run
    state.refused = tuple(refused)
    kept = [key for key in state.chosen if not key.startswith(_UPLOADED) or key in state.uploaded]
    _keep(state, (*kept, *(key for key in state.uploaded if key not in kept)))


def show_chosen(state: Compared, runs: dict[str, Run], labels: dict[str, str]) -> None:
    """One line for each run: its letter, title, age and machine, with a link to it."""
    for number, key in enumerate(runs):
        reference = ", the reference" if number == 0 else ""
        line = as_text(f"{run_letter(number)}{reference}: {labels.get(key, key)}")
        if key in state.uploaded:
            st.markdown(f":material/upload_file: {line}")
        else:
            st.page_link(nav.HISTORY, label=line, icon=":material/history:", query_params={"run": key})
