"""Three ways to enter a batch (grid, lines, upload), and its lengths in the chosen model's tokens."""

from collections.abc import Callable, Hashable, Iterable

import pandas as pd
import streamlit as st

from engine.desk.desk import the_desk
from engine.errors import Refusal
from engine.events import TokenizeRequest
from engine.records import Batch
from pages.kit.choosing import chosen_model
from pages.kit.job_panel import job_panel
from pages.kit.state import submit, the_lab
from pages.kit.uploads import (
    LINE_BREAK_SIGN,
    UPLOAD_KINDS,
    one_line,
    texts_of_lines,
    texts_of_upload,
    with_breaks,
)

TOKENIZE_SLOT = "tokenize"
ANSWER_WAIT_S = 0.4
"""The assistant answers within this time if its tokenizer is loaded; then the page is drawn only once."""
MAX_UPLOAD_MB = 1


def edit_in_grid() -> tuple[str, ...]:
    """One text per row; rows that are not edited keep their text exactly."""
    lab = the_lab()
    key = f"batch_grid_{lab.draft_revision}"
    if key not in st.session_state:
        lab.grid_base = lab.draft
    shown = pd.DataFrame({"text": pd.Series([one_line(text) for text in lab.grid_base], dtype="string")})
    edited = st.data_editor(
        shown,
        num_rows="dynamic",
        hide_index=True,
        column_config={"text": st.column_config.TextColumn("Text")},
        key=key,
        alt="Texts of the batch, one per row",
    )
    return texts_of_grid(edited["text"].items(), lab.grid_base)


def texts_of_grid(cells: Iterable[tuple[Hashable, object]], base: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of edited cells, given as (row number, content or missing); new rows have numbers beyond the base."""
    unchanged: dict[tuple[Hashable, str], str] = {
        (row, one_line(text)): text for row, text in enumerate(base)
    }
    return tuple(
        unchanged.get((row, cell), with_breaks(cell)) if isinstance(cell, str) else "" for row, cell in cells
    )


def edit_as_lines() -> tuple[str, ...]:
    """One text per line."""
    lab = the_lab()
    key = f"batch_lines_{lab.draft_revision}"
    st.session_state.setdefault(key, "\n".join(one_line(text) for text in lab.draft))
    return texts_of_lines(st.text_area("One text per line", key=key, height=320) or "")


def edit_by_upload() -> tuple[str, ...]:
    """The texts of an uploaded file, or the unchanged draft while no file could be read."""
    upload = st.file_uploader(
        "A .txt with one text per line, a .csv with a column `text`, or a .json list of strings",
        type=list(UPLOAD_KINDS),
        max_upload_size=MAX_UPLOAD_MB,
        key="batch_upload",
    )
    if upload is not None:
        try:
            texts = texts_of_upload(upload.getvalue(), upload.name)
        except Refusal as refusal:
            st.error(str(refusal), icon=":material/block:")
        else:
            st.caption(f"Read {len(texts)} texts from {upload.name}.")
            return texts
    return the_lab().draft


EDITORS: dict[str, Callable[[], tuple[str, ...]]] = {
    "Grid": edit_in_grid,
    "Lines": edit_as_lines,
    "Upload": edit_by_upload,
}


def without_blanks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts without blank ones; if all are blank, all of them, which are then refused."""
    return tuple(text for text in texts if text.strip()) or texts


def lengths_come_free() -> bool:
    """Whether the chosen model's tokenizer is available without a download or a long wait."""
    lab = the_lab()
    return lab.model in lab.cards or chosen_model().source == "embedded"


def start_tokenizing(batch: Batch) -> None:
    """Request a batch's lengths and wait `ANSWER_WAIT_S` for them."""
    lab = the_lab()
    lab.tokenized_for = (lab.model, batch.texts)
    submit(TOKENIZE_SLOT, lambda: TokenizeRequest(model=lab.model, batch=batch))
    # A refused request has no ticket; the slot's panel shows why.
    if ticket := lab.tickets.get(TOKENIZE_SLOT):
        the_desk().wait(ticket.id, ANSWER_WAIT_S)


def show_tokenized(batch: Batch) -> Batch | None:
    """A batch with its lengths under the chosen model; draws the progress or the error until they are known."""
    lab = the_lab()
    if lab.tokenized_for != (lab.model, batch.texts):
        if not lengths_come_free():
            label = f"Load {lab.model} to see lengths"
            st.button(label, key="batch_load", on_click=start_tokenizing, args=(batch,))
            return None
        start_tokenizing(batch)
    view = job_panel(TOKENIZE_SLOT)
    if view is not None and view.ended and view.batch is None:
        st.button("Try again", key="batch_retry", on_click=start_tokenizing, args=(batch,))
    return view.batch if view else None


def line_break_note(texts: tuple[str, ...]) -> str:
    """A note on how line breaks inside texts are shown; empty where there are none."""
    broken = sum("\n" in text for text in texts)
    if not broken:
        return ""
    some = "1 text has" if broken == 1 else f"{broken} texts have"
    return (
        f"{some} line breaks, shown as {LINE_BREAK_SIGN}; every {LINE_BREAK_SIGN} in a text is a line break."
    )
