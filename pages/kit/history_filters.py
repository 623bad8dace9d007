"""Which runs the History page lists, and in which order; both stand in the page's address."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import streamlit as st

from engine.present.words.runs import path_title
from engine.store.queries import SEARCH_LENGTH, Choices, RunFilter, Sort
from pages.kit.history_list import select

PAGE_KEY = "history_page"
WORDS_KEY, SORT_KEY, DELETED_KEY = "history_words", "history_sort", "history_deleted"
_SORTS: dict[Sort, str] = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "fastest": "Fastest first",
    "slowest": "Slowest first",
    "title": "By title",
}
_SHOWN = {"models": "Model", "batches": "Batch", "verdicts": "Verdict", "paths": "Path", "tags": "Tag"}
_MORE = {"devices": "Device", "dtypes": "Precision", "allocators": "Allocator", "machines": "Machine"}
_ALL = (*_SHOWN, *_MORE)


def choose_runs(choices: Choices, *, hosted: bool) -> tuple[RunFilter, Sort]:
    """The search, the sort and the filters; a filter with a single value is not offered.

    Args:
        choices: the values that occur.
        hosted: leaves out runs of visitors' own texts, and the deleted runs.
    """
    with st.container(horizontal=True):
        words = st.text_input(
            "Search",
            key=WORDS_KEY,
            type="search",
            placeholder="Search in title, model, batch, tags and note",
            label_visibility="collapsed",
            max_chars=SEARCH_LENGTH,
            live=True,
            on_change=first_page,
            bind="query-params",
        )
        sort: Sort = st.selectbox(
            "Sort",
            get_args(Sort),
            format_func=_SORTS.__getitem__,
            key=SORT_KEY,
            label_visibility="collapsed",
            on_change=first_page,
            bind="query-params",
            width=160,
        )
    chosen = {"words": words or "", "presets_only": hosted, **_choose_values(choices, hosted=hosted)}
    return RunFilter.model_validate(chosen), sort


def clear_filters() -> None:
    """Show every run again; a callback."""
    st.session_state[WORDS_KEY] = ""
    for name in _ALL:
        st.session_state[_key(name)] = []
    if st.session_state.get(DELETED_KEY):
        st.session_state[DELETED_KEY] = False
        select(())
    first_page()


def first_page() -> None:
    """Go back to the first page of the list; a callback of everything that changes the list."""
    st.session_state[PAGE_KEY] = 1


def is_narrowed(wanted: RunFilter) -> bool:
    """Whether less than every run is wanted."""
    return wanted != RunFilter(presets_only=wanted.presets_only)


def narrowing_words(wanted: RunFilter) -> str:
    """What is wanted, in a few words: "big", minilm or xlmr-base, Packed."""
    values = [getattr(wanted, name) for name in _ALL if name != "paths"]
    alternatives = [" or ".join(several) for several in values if several]
    search = [f'"{wanted.words.strip()}"'] if wanted.words.strip() else []
    return ", ".join((*search, *alternatives, *map(path_title, wanted.paths)))


def _choose_values(choices: Choices, *, hosted: bool) -> dict[str, Any]:
    several = {name: values for name in _ALL if len(values := getattr(choices, name)) > 1}
    chosen: dict[str, Any] = {}
    with st.grid("auto", min_column_width=115, gap="small"):
        for name in filter(several.__contains__, _SHOWN):
            chosen[name] = _choose(name, _SHOWN[name], several[name])
        more = tuple(filter(several.__contains__, _MORE))
        if more or not hosted:
            in_use = sum(bool(st.session_state.get(_key(name))) for name in more)
            in_use += bool(st.session_state.get(DELETED_KEY))
            with st.popover(f"More filters ({in_use})" if in_use else "More filters", width="stretch"):
                for name in more:
                    chosen[name] = _choose(name, _MORE[name], several[name])
                chosen["deleted"] = not hosted and _choose_deleted()
    return chosen


def _choose(name: str, label: str, values: Sequence[str]) -> list[str]:
    words: Callable[[str], str] = path_title if name == "paths" else str
    return st.multiselect(
        label,
        values,
        format_func=words,
        key=_key(name),
        placeholder=label,
        label_visibility="collapsed",
        on_change=first_page,
        bind="query-params",
    )


def _choose_deleted() -> bool:
    return st.toggle("Deleted runs", key=DELETED_KEY, on_change=_other_list, bind="query-params")


def _other_list() -> None:
    """Deleted runs and the others have nothing in common, not even what can be done with them."""
    select(())
    first_page()


def _key(name: str) -> str:
    return f"history_{name}"
