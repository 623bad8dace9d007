"""The three doors to a batch (grid, lines, upload), and its lengths as the chosen model's tokenizer counts them."""

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
PATIENCE_S = 0.4
"""A warm assistant answers within this time, so that the page need not be drawn twice."""
MAX_UPLOAD_MB = 1


def edit_in_grid() -> tuple[str, ...]:
    """A text a row; rows that are not touched keep their text to the letter."""
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
        alt="Texts of the batch, one a row",
    )
    return texts_of_grid(edited["text"].items(), lab.grid_base)


def texts_of_grid(cells: Iterable[tuple[Hashable, object]], base: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of edited cells, given as (row number in the base or beyond it, content or missing)."""
    unchanged: dict[tuple[Hashable, str], str] = {
        (row, one_line(text)): text for row, text in enumerate(base)
    }
    return tuple(
        unchanged.get((row, cell), with_breaks(cell)) if isinstance(cell, str) else "" for row, cell in cells
    )


def edit_as_lines() -> tuple[str, ...]:
    """A text a line."""
    lab = the_lab()
    key = f"batch_lines_{lab.draft_revision}"
    st.session_state.setdefault(key, "\n".join(one_line(text) for text in lab.draft))
    return texts_of_lines(st.text_area("One text per line", key=key, height=320) or "")


def edit_by_upload() -> tuple[str, ...]:
    """The texts of an uploaded file, or the draft as it was while there is none that can be read."""
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


DOORS: dict[str, Callable[[], tuple[str, ...]]] = {
    "Grid": edit_in_grid,
    "Lines": edit_as_lines,
    "Upload": edit_by_upload,
}


def without_blanks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts that are not blank; all of them where every one is, so that this is what gets refused."""
    return tuple(text for text in texts if text.strip()) or texts


def lengths_come_free() -> bool:
    """Whether the chosen model's tokenizer is at hand without a download or a long wait."""
    lab = the_lab()
    return lab.model in lab.cards or chosen_model().source == "embedded"


def start_tokenizing(batch: Batch) -> None:
    """Ask for a batch's lengths, and wait as long as a warm assistant takes."""
    lab = the_lab()
    lab.tokenized_for = (lab.model, batch.texts)
    submit(TOKENIZE_SLOT, lambda: TokenizeRequest(model=lab.model, batch=batch))
    # No ticket where it was refused; the slot's panel says why.
    if ticket := lab.tickets.get(TOKENIZE_SLOT):
        the_desk().wait(ticket.id, PATIENCE_S)


def show_tokenized(batch: Batch) -> Batch | None:
    """A batch with its lengths under the chosen model; shows the wait and the trouble on the way."""
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
    """How line breaks inside texts are shown; empty where there are none."""
    broken = sum("\n" in text for text in texts)
    if not broken:
        return ""
    some = "1 text has" if broken == 1 else f"{broken} texts have"
    return f"{some} line breaks inside, shown as {LINE_BREAK_SIGN}; they are kept when you edit or type that sign."
