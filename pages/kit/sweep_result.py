"""A sweep on its page: the heat map of two axes, where sparsity becomes faster, a table, an opened cell, downloads."""

from datetime import UTC, datetime
from typing import get_args

import pandas as pd
import streamlit as st

from engine.analysis.sweeps import (
    SPARSE,
    SparsityLine,
    best_path,
    ms_per_1000_tokens,
    shown_cells,
    sparsity_lines,
    value_at,
)
from engine.made import percent
from engine.present.charts.sweeps import Figure, Shown, heat_map
from engine.present.reports.sweeps import sweep_csv
from engine.present.words.runs import interval_words, path_title, speedup_text, verdict_label
from engine.present.words.sweeps import (
    AXIS_TITLES,
    HOW_CELLS_ARE_JUDGED,
    best_sentence,
    ms_text,
    path_sentence,
    sparsity_caption,
    sparsity_sentences,
    state_sentence,
    tokens_sentence,
    value_words,
)
from engine.records import PathResult, Run
from engine.sweeps import AXES, Axis, Place, Sweep, SweepCell, SweepPlan
from pages.kit.markdown import as_text
from pages.kit.history import reader_zone, show_run, when_and_where
from pages.kit.sweep_list import offer_deletion
from pages.kit.sweeping import can_resume, close_sweep, is_live, resume

FIGURES: dict[Figure, str] = {
    "best": "Best path",
    "speedup": "Speedup of a path",
    "tokens": "Time of a path per 1,000 tokens",
}


def show_sweep(sweep: Sweep) -> None:
    """The sweep as far as it is measured, from its state to its downloads."""
    _show_heading(sweep)
    if sweep.cells:
        _show_map(sweep)
        _show_sparsity(sweep)
        _show_table(sweep)
        _show_one_cell(sweep)
        _show_downloads(sweep)


def _show_heading(sweep: Sweep) -> None:
    st.subheader(as_text(sweep.title))
    machine = next((run.environment.machine for _, run in sweep.measured), "")
    st.caption(as_text(when_and_where(sweep.created_at, machine, datetime.now(UTC), reader_zone())))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(state_sentence(sweep, is_live(sweep)))
        if can_resume(sweep):
            st.button(
                "Resume",
                key="sweep_resume",
                icon=":material/resume:",
                on_click=resume,
                args=(sweep,),
                type="primary",
            )
        offer_deletion(sweep)
        if not is_live(sweep):
            st.button("Close", key="sweep_close", icon=":material/close:", on_click=close_sweep)


def _show_map(sweep: Sweep) -> None:
    """The choice of what is shown, and the heat map with its message as title."""
    plan = sweep.plan
    figure: Figure = st.segmented_control(
        "Show",
        get_args(Figure),
        default="best",
        required=True,
        format_func=FIGURES.__getitem__,
        key="sweep_figure",
        persist_state="session",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = _chosen_path(plan, figure)
        axes = _chosen_axes(plan)
        fixed = {axis: _chosen_value(plan, axis) for axis in AXES if axis not in axes}
    cells = shown_cells(sweep, fixed)
    lines = tuple(line for line in sparsity_lines(sweep) if _is_on_map(line, fixed))
    words = _message(cells, figure, path)
    st.markdown(f"**{words}**")
    drawn = lines if figure != "tokens" else ()
    st.altair_chart(
        heat_map(cells, plan, axes, figure, path, drawn),
        key="sweep_map",
        alt=f"{words} {AXIS_TITLES[axes[0]]} across, {AXIS_TITLES[axes[1]].lower()} upwards.",
    )
    caption = sparsity_caption([line for line in drawn if line.faster.faster_from is not None])
    st.caption(f"{HOW_CELLS_ARE_JUDGED} {caption if 'padding' in axes else ''}")


def _chosen_path(plan: SweepPlan, figure: Figure) -> str:
    if figure == "best":
        return plan.baseline
    names = [name for name in plan.paths if name != plan.baseline or figure == "tokens"] or [plan.baseline]
    default = names.index(SPARSE) if SPARSE in names else 0
    chosen: str = st.selectbox(
        "Path", names, index=default, format_func=path_title, key=f"sweep_path_{figure}", width=260
    )
    return chosen


def _chosen_axes(plan: SweepPlan) -> tuple[Axis, Axis]:
    """Two different axes; by default the two with the most values, and the padding upwards."""
    several = sorted(plan.axes, key=lambda axis: (axis != "padding", -len(plan.values(axis))))
    ordered = [*several, *(axis for axis in AXES if axis not in several)]
    if len(several) < 2:
        return ordered[1], ordered[0]
    up: Axis = st.selectbox(
        "Upwards",
        several,
        format_func=AXIS_TITLES.__getitem__,
        key=f"sweep_up_{'_'.join(several)}",
        width=220,
    )
    others = [axis for axis in several if axis != up]
    across: Axis = st.selectbox(
        "Across",
        others,
        format_func=AXIS_TITLES.__getitem__,
        key=f"sweep_across_{'_'.join(others)}",
        width=220,
    )
    return across, up


def _chosen_value(plan: SweepPlan, axis: Axis) -> float | None:
    values = plan.values(axis)
    if len(values) == 1:
        return values[0]
    chosen: float | None = st.selectbox(
        AXIS_TITLES[axis],
        sorted(values, key=lambda value: value or 0),
        format_func=lambda value: value_words(axis, value),
        key=f"sweep_fixed_{axis}",
        width=180,
    )
    return chosen if chosen in values else values[0]


def _is_on_map(line: SparsityLine, fixed: dict[Axis, float | None]) -> bool:
    return all(value_at(line.at, axis) == value for axis, value in fixed.items() if axis != "padding")


def _message(cells: Shown, figure: Figure, path: str) -> str:
    runs = [cell.run for _, cell in cells if cell is not None and cell.run is not None]
    match figure:
        case "best":
            return best_sentence(runs)
        case "speedup":
            return path_sentence(runs, path)
        case "tokens":
            return tokens_sentence(runs, path)


def _show_sparsity(sweep: Sweep) -> None:
    if sentences := sparsity_sentences(sweep):
        with st.expander(
            "Where sparsity becomes faster", icon=":material/padding:", expanded=len(sentences) <= 4
        ):
            st.markdown("\n".join(f"- {sentence}" for sentence in sentences))
            st.caption("Along each line the verdicts hold together with 95 % confidence.")


def _show_table(sweep: Sweep) -> None:
    with st.expander("All cells as a table", icon=":material/table_chart:"):
        st.dataframe(cells_table(sweep), hide_index=True, alt="Every path of every cell of the sweep")


def cells_table(sweep: Sweep) -> pd.DataFrame:
    """One row per path of each complete cell; a cell without a result has one row, with the reason."""
    places = sweep.plan.places
    rows = [row for cell in sweep.cells for row in _rows(places[cell.number], cell)]
    return pd.DataFrame(rows)


def _rows(place: Place, cell: SweepCell) -> list[dict[str, object]]:
    at: dict[str, object] = {
        "Texts": place.batch_size,
        "Tokens": place.length,
        "Padding": percent(place.padding),
        "Threads": value_words("threads", place.threads),
    }
    if cell.run is None:
        return [at | {"Path": "no result", "Note": cell.reason}]
    best = best_path(cell.run)
    return [at | _path_row(cell.run, path, best.name) for path in cell.run.paths]


def _path_row(run: Run, path: PathResult, best: str) -> dict[str, object]:
    tokens_ms = ms_per_1000_tokens(run, path.name)
    return {
        "Path": path_title(path.name) + (" (best)" if path.name == best else ""),
        "Median ms": path.median_ms,
        "Speedup": speedup_text(path.speedup) if path.speedup else "",
        "95 % interval": interval_words(path.speedup_ci95),
        "Verdict": verdict_label(path),
        "Per 1,000 tokens": ms_text(tokens_ms) if tokens_ms is not None else "",
        "Rounds": run.rounds,
        "Note": path.reason or run.stop_reason,
    }


def _show_one_cell(sweep: Sweep) -> None:
    """One cell as any run is shown."""
    places = sweep.plan.places
    runs = {cell.number: cell.run for cell in sweep.cells if cell.run is not None}
    number = st.selectbox(
        "Open a cell",
        list(runs),
        index=None,
        format_func=lambda chosen: places[chosen].title,
        key=f"sweep_cell_{sweep.id}",
        placeholder="Choose a cell to see its whole run",
        width=420,
    )
    if number in runs:
        with st.container(border=True):
            show_run(runs[number], key="sweep_cell")


def _show_downloads(sweep: Sweep) -> None:
    """The sweep with all its runs as JSON, and its table as CSV; made when they are downloaded."""
    files = (
        ("Sweep", "json", "application/json", sweep.model_dump_json),
        ("Cells", "csv", "text/csv", lambda: sweep_csv(sweep)),
    )
    with st.container(horizontal=True):
        for label, kind, mime, write in files:
            st.download_button(
                f"{label} (.{kind})",
                write,
                file_name=f"sweep-{sweep.id}.{kind}",
                mime=mime,
                key=f"sweep_download_{kind}",
                icon=":material/download:",
                on_click="ignore",
            )
