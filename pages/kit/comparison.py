"""A comparison of runs on a page: the answer, what differs, changes, speedups, operators, machines, downloads."""

from collections.abc import Callable
from math import log
from typing import get_args

import pandas as pd
import streamlit as st

from engine.analysis.compare import Against, Basis, Comparison, run_letter
from engine.analysis.differences import identity
from engine.analysis.operator_changes import TimeKind, operator_changes, profiled_paths
from engine.present.charts.comparison import operators_chart, speedups_chart
from engine.present.reports.comparison import comparison_markdown
from engine.present.words.comparisons import (
    cause_sentence,
    change_header,
    change_rows,
    continues_sentence,
    experiment_sentence,
    headline,
    legend,
    machine_sentence,
    operators_sentence,
    speedup_figures,
    speedups_sentence,
    state_words,
)
from engine.present.words.runs import path_noun, path_title
from engine.records import Run
from pages.kit.markdown import as_text

_LABELS: dict[Basis, str] = {"speedup": "Speedup over the baseline", "time": "Time"}


def show_answer(comparison: Comparison) -> None:
    """What has changed, in one box."""
    words = {change.word for pair in comparison.against for change in pair.changes}
    box = st.warning if "regressed" in words else st.success if words <= {"same", "improved"} else st.info
    box(as_text(headline(comparison)), title="What has changed", icon=":material/compare_arrows:")


def show_differences(comparison: Comparison) -> None:
    """What differs: the experiments first, then the machines and builds, then how busy the machines were."""
    with st.container(border=True):
        st.markdown("**:material/difference: What differs**")
        st.markdown(as_text(f"Experiment: {experiment_sentence(comparison)}"))
        st.markdown(as_text(f"Machine and build: {machine_sentence(comparison)}"))
        st.markdown(as_text(f"State of the machine: {_states(comparison)}."))
        words = " ".join(filter(None, (cause_sentence(comparison), continues_sentence(comparison))))
        st.caption(as_text(words))


def _states(comparison: Comparison) -> str:
    return "; ".join(f"{run_letter(number)} {state_words(run)}" for number, run in enumerate(comparison.runs))


def show_changes(comparison: Comparison) -> None:
    """The table of changes, judged by speedup or by time."""
    bases: tuple[Basis, ...] = get_args(Basis)
    basis: Basis = "speedup"
    if comparison.one_machine:
        basis = st.segmented_control(
            "Judge by",
            bases,
            default="speedup",
            required=True,
            format_func=lambda basis: _LABELS[basis],
            key="compare_basis",
            bind="query-params",
            help="If what differs also changes the baseline, as threads do, compare times.",
        )
    header = change_header(comparison, basis)
    table = pd.DataFrame(change_rows(comparison, basis), columns=list(header))
    table["path"] = table["path"].map(path_title)
    st.dataframe(table, hide_index=True, key="compare_changes", alt=headline(comparison))
    st.caption(legend(comparison))


def show_speedups(comparison: Comparison) -> None:
    """Every path's speedup in every run."""
    if speedup_figures(comparison):
        words = speedups_sentence(comparison)
        st.markdown("**Speedup of each path in each run**")
        st.altair_chart(speedups_chart(comparison), key="compare_speedups", alt=words)
        st.caption(f"{words} A diamond is the reference. Lines: intervals.")


def show_operators(runs: list[Run], comparison: Comparison) -> None:
    """One path of the reference and of another run, operator by operator."""
    other = _other_run(runs)
    after = runs[other]
    paths = [name for name in profiled_paths(runs[0]) if name in profiled_paths(after)]
    if not paths:
        st.caption("No path was profiled in both runs.")
        return
    name = st.selectbox(
        "Path",
        paths,
        index=paths.index(most_changed(paths, comparison.against[other - 1])),
        format_func=path_title,
        key="compare_path",
        bind="query-params",
    )
    _show_pair((runs[0], name), (after, name), ("A", run_letter(other)))


def most_changed(paths: list[str], pair: Against) -> str:
    """The path to show first: of those that regressed or improved the one that did most, else the last one."""
    moved = [
        (abs(log(change.ratio)), change.name)
        for change in pair.changes
        if change.name in paths and change.word in ("regressed", "improved") and change.ratio
    ]
    return max(moved)[1] if moved else paths[-1]


def _other_run(runs: list[Run]) -> int:
    if len(runs) == 2:
        return 1
    letters = [run_letter(number) for number in range(1, len(runs))]
    letter = st.segmented_control(
        "A against", letters, default="B", required=True, key="compare_other", bind="query-params"
    )
    return 1 + letters.index(letter)


def show_two_paths(run: Run) -> None:
    """Two paths of one run, operator by operator."""
    paths = profiled_paths(run)
    if len(paths) < 2:
        st.caption("Fewer than two paths of this run were profiled.")
        return
    left, right = st.columns(2)
    first = left.selectbox("Path", paths, format_func=path_title, key="compare_path", bind="query-params")
    others = [name for name in paths if name != first]
    second = right.selectbox(
        "Compared with it", others, format_func=path_title, key="compare_second_path", bind="query-params"
    )
    _show_pair((run, first), (run, second), (path_noun(first), path_noun(second)))


def _show_pair(before: tuple[Run, str], after: tuple[Run, str], names: tuple[str, str]) -> None:
    kinds: tuple[TimeKind, ...] = get_args(TimeKind)
    kind = st.segmented_control(
        "Time",
        kinds,
        default="self",
        required=True,
        format_func=lambda kind: f"{kind.capitalize()} time",
        key="compare_kind",
        bind="query-params",
    )
    changes = operator_changes(before, after, kind)
    words = f"From {names[0]} to {names[1]}: {operators_sentence(changes)}"
    baseline = path_noun(before[0].experiment.baseline)
    st.markdown(f"**{as_text(words)}**")
    st.altair_chart(operators_chart(changes, baseline), key="compare_operators", alt=words)
    across = "" if changes.unit == "ms" else f"Times are shares of the time of {baseline} in the same run. "
    st.caption(
        f"Grey: what both profiles have in common. {across}Profiler time is scaled to the measured median; changes of "
        "less than 1 % of the path's time count as no change."
    )


def show_machines(runs: list[Run], comparison: Comparison) -> None:
    """Every fact of the machines and builds, and how busy the machines were, in two tables."""
    letters = [run_letter(number) for number in range(len(runs))]
    with st.expander("Machines", icon=":material/computer:"):
        facts = [identity(run) for run in runs]
        names = list(dict.fromkeys(name for found in facts for name in found))
        differing = {difference.name for difference in comparison.machine}
        rows = [
            {
                "fact": name,
                **{
                    letter: found.get(name) or "not recorded"
                    for letter, found in zip(letters, facts, strict=True)
                },
                "": "differs" if name in differing else "",
            }
            for name in names
        ]
        st.markdown("**Machine and build**")
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt=machine_sentence(comparison))
        st.markdown("**State while measuring**")
        st.dataframe(_state_table(comparison), hide_index=True, alt=_states(comparison))


def _state_table(comparison: Comparison) -> pd.DataFrame:
    """One row for each run; the test calculation only where all runs are of one machine."""
    rows = []
    for number, run in enumerate(comparison.runs):
        state = run.state
        pulse = {"test calculation ms": state.pulse_ms} if comparison.one_machine else {}
        rows.append(
            {
                "run": run_letter(number),
                "quiet": "yes" if state.quiet else "no",
                "load before": state.load_before,
                "load after": state.load_after,
                **pulse,
                "rounds": run.rounds,
                "notes": "; ".join(state.notes),
            }
        )
    return pd.DataFrame(rows)


def show_downloads(comparison: Comparison) -> None:
    """The comparison as Markdown for a pull request, and as JSON."""
    files: tuple[tuple[str, str, str, Callable[[], str]], ...] = (
        ("Table", "md", "text/markdown", lambda: comparison_markdown(comparison)),
        ("Comparison", "json", "application/json", lambda: comparison.model_dump_json(indent=1)),
    )
    with st.container(horizontal=True):
        for label, kind, mime, write in files:
            st.download_button(
                f"{label} (.{kind})",
                write,
                file_name=f"fastpath-comparison.{kind}",
                mime=mime,
                key=f"compare_download_{kind}",
                icon=":material/download:",
                on_click="ignore",
            )
