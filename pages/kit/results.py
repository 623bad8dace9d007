"""A finished run on a page: verdict, speedups, proof, operators, rounds and downloads, one function each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import streamlit as st

from engine.analysis.tutorial_steps import tutorial_steps
from engine.analysis.recommend import fastest_path
from engine.catalog.paths import path_spec
from engine.findings import Findings
from engine.present.charts.runs import (
    OperatorTimeKind,
    operator_alt,
    operator_chart,
    samples_alt,
    samples_chart,
    speedup_alt,
    speedup_chart,
)
from engine.present.charts.explanations import (
    steps_caption,
    steps_chart,
    steps_words,
    waterfall_chart,
    waterfall_words,
)
from engine.present.charts.roofline import has_roofline, roofline_chart
from engine.present.reports.html import html_report
from engine.present.reports.script import needs_torch_alone, path_to_export, script_of
from engine.present.reports.summary import pull_request_markdown, report_markdown
from engine.present.reports.tables import table_csv, table_parquet
from engine.present.words.allocators import memory_sentence, page_faults_sentence
from engine.present.words.conditions import round_conditions
from engine.present.words.roofline import memory_words, peaks_words, roofline_words, useful_words
from engine.present.words.runs import (
    HERE,
    agreement_sentence,
    break_even_sentence,
    capacity_sentence,
    centre_sentences,
    evidence_sentence,
    latency_sentence,
    looks_sentence,
    machine_sentence,
    path_noun,
    path_title,
    preparation_sentence,
    recommendation_sentences,
    speedups_caption,
    verdict_label,
    verdict_sentence,
)
from engine.records import PathResult, Run
from pages.kit import nav
from pages.kit.markdown import as_text
from pages.kit.saving import save_menu_of

Colour = Literal["green", "red", "gray", "orange"]
_VERDICT_LOOKS: dict[str, tuple[Colour, str]] = {
    "faster": ("green", ":material/trending_up:"),
    "slower": ("red", ":material/trending_down:"),
    "same": ("gray", ":material/trending_flat:"),
    "baseline": ("gray", ":material/flag:"),
}


def show_verdict(run: Run) -> None:
    """The answer in one sentence, and the machine."""
    best = fastest_path(run)
    box = st.success if best is not None and best.verdict == "faster" else st.info
    box(verdict_sentence(run), title="Verdict", icon=":material/gavel:")
    sentences = (machine_sentence(run), memory_sentence(run), page_faults_sentence(run), looks_sentence(run))
    st.caption(" ".join(filter(None, sentences)))
    for note in run.environment.notes:
        st.caption(f":material/warning: {note[0].upper()}{note[1:]}.")


def show_recommendation(run: Run) -> None:
    """Which path to choose, with its gain and its costs."""
    if sentences := recommendation_sentences(run):
        with st.container(border=True):
            st.markdown("\n\n".join(("**:material/recommend: Which to choose**", *sentences)))


def show_speedups(run: Findings, key: str, where: str = HERE) -> None:
    """Speedups as bars with intervals, and how to read them.

    Args:
        where: where it was measured, in words.
    """
    st.altair_chart(speedup_chart(run), key=f"{key}_speedups", alt=speedup_alt(run, where))
    st.caption(speedups_caption(run))
    for sentence in centre_sentences(run):
        st.caption(f":material/info: {sentence}")
    save_menu_of((run,), "speedups", key)


def show_proof(run: Run) -> None:
    """One card per path: verdict, what its profile proves, whether its answer agrees; or why it has no result."""
    with st.grid("auto", min_column_width=240):
        for path in run.paths:
            with st.container(border=True, height="stretch"):
                _proof_card(run, path)
    if any(map(is_doubtful, run.paths)):
        st.page_link(nav.DOCTOR, label="Why (not)? Ask the doctor", icon=":material/stethoscope:")


def is_doubtful(path: PathResult) -> bool:
    """Whether to offer the doctor: the profile refutes the path's claim, or a fastpath is not faster."""
    refuted = path.evidence is not None and not path.evidence.ok
    return refuted or (path_spec(path.name).kind == "fastpath" and path.verdict not in (None, "faster"))


def _proof_card(run: Run, path: PathResult) -> None:
    median = f", {path.median_ms:.1f} ms" if path.median_ms is not None else ""
    st.markdown(f"**{path_title(path.name)}**{median}")
    with st.container(horizontal=True, gap="small"):
        _badges(path)
    st.caption(path_spec(path.name).explanation)
    if path.status != "ok":
        st.markdown(as_text(path.reason))
        return
    layers = run.model_card.shape.num_encoder_layers if run.model_card else None
    st.markdown(evidence_sentence(path, layers))
    st.caption(agreement_sentence(run, path))
    costs = f"{preparation_sentence(path)} {break_even_sentence(run, path)}".strip()
    for note in filter(None, (costs, capacity_sentence(path), latency_sentence(path), path.next_step)):
        st.caption(as_text(note))


def _badges(path: PathResult) -> None:
    label = verdict_label(path)
    colour, icon = _VERDICT_LOOKS.get(label, ("orange", ":material/help:"))
    st.badge(label, color=colour, icon=icon)
    if path.evidence is not None:
        kept = path.evidence.ok
        st.badge(
            "confirmed by profile" if kept else "refuted by profile",
            color="green" if kept else "orange",
            icon=":material/verified:" if kept else ":material/report:",
        )
    if path.agreement is not None and not path.agreement.ok:
        st.badge("different answer", color="red", icon=":material/error:")


def show_operators(run: Findings, key: str) -> None:
    """Operators of the profiled paths side by side, by self or total time, and the full table."""
    profiled = tuple(path.name for path in run.paths if path.profile)
    if not profiled:
        st.caption("No path was profiled.")
        return
    kind: OperatorTimeKind = st.segmented_control(
        "Time",
        get_args(OperatorTimeKind),
        default="self",
        required=True,
        format_func=lambda kind: f"{kind.capitalize()} time",
        key=f"{key}_kind",
        persist_state="session",
    )
    st.altair_chart(
        operator_chart(run, profiled, kind),
        key=f"{key}_operators",
        alt=operator_alt(run, profiled, kind),
    )
    st.caption(
        "Self time is spent in the operator itself; total time includes the operators that it calls. Both are scaled "
        "from profiler time to the measured median. The fused layer `_transformer_encoder_layer_fwd` calls addmm and "
        "bmm for most of its work, so only its total time is large."
    )
    save_menu_of((run,), "operators" if kind == "self" else "operators-total", key)
    outside = [path for path in run.paths if path.median_ms and path_spec(path.name).outside_torch]
    if unseen := [path_title(path.name) for path in outside]:
        st.caption(
            f"Not shown, because torch's profiler cannot see inside another library: {', '.join(unseen)}."
        )
    with st.expander("Table of all operators", icon=":material/table_chart:"):
        st.dataframe(operator_table(run), hide_index=True, alt="Operators of every profiled path")


def operator_table(run: Findings) -> pd.DataFrame:
    """Rows of every profiled path: path, operator, calls, self_ms, total_ms, share, in profiler time per forward."""
    return pd.DataFrame(
        [
            {"path": path_title(path.name), "operator": op.name, **op.model_dump(exclude={"name"})}
            for path in run.paths
            for op in (path.profile.ops if path.profile else ())
        ]
    )


def show_explanations(run: Run, key: str) -> None:
    """The waterfall from the baseline to a profiled path, and the steps of the tutorial where they were measured."""
    if has_waterfall(run):
        show_waterfall(run, key)
    if len(tutorial_steps(run)) > 1:
        st.markdown("**Step by step, from path to path**")
        show_steps(run, key)


def has_waterfall(run: Findings) -> bool:
    """Whether the baseline and another path were profiled by group."""
    baseline = run.baseline.profile
    return bool(baseline and baseline.groups) and fastest_path(run, profiled=True) is not None


def show_waterfall(run: Findings, key: str) -> None:
    """From the baseline's time to a profiled path's, by group of operators; the path can be chosen."""
    fastest = fastest_path(run, profiled=True)
    if fastest is None:
        return
    name = st.segmented_control(
        "From the slow path to",
        [path.name for path in run.paths if path.profile and path.name != run.experiment.baseline],
        default=fastest.name,
        required=True,
        format_func=path_title,
        key=f"{key}_waterfall_path_{run.id}",
    )
    path = run.path(name)
    words = waterfall_words(run.baseline, path)
    st.altair_chart(waterfall_chart(run.baseline, path), key=f"{key}_waterfall", alt=words)
    st.caption(f"{words} Profiled shares are scaled to the measured medians, so that the bars add up.")
    save_menu_of((run,), "waterfall", key, waterfall_to=name)


def show_steps(run: Run, key: str) -> None:
    """The speedup of each step from the tutorial's slow path to the fastpath."""
    st.altair_chart(steps_chart(run), key=f"{key}_steps", alt=steps_words(run))
    st.caption(steps_caption(run))
    save_menu_of((run,), "steps", key)


def show_roofline(run: Run, key: str) -> None:
    """How close each path comes to this machine's peak; nothing for a run without peaks."""
    if not has_roofline(run):
        return
    with st.expander("How close to this machine's peak", icon=":material/roofing:"):
        st.altair_chart(roofline_chart(run), key=f"{key}_roofline", alt=roofline_words(run))
        st.caption(f"{roofline_words(run)} {peaks_words(run)}")
        st.caption(f"{useful_words(run)} {memory_words(run)}")
        save_menu_of((run,), "roofline", key)


def show_rounds(run: Run, key: str) -> None:
    """Every round's time of every path, and how much of the machine the rounds had."""
    with st.expander("Every round", icon=":material/ssid_chart:"):
        st.altair_chart(samples_chart(run), key=f"{key}_rounds", alt=samples_alt(run))
        if conditions := round_conditions(run):
            st.caption(conditions)
        save_menu_of((run,), "rounds", key)


@dataclass(frozen=True)
class _Download:
    """A file that is made when it is downloaded, not in every redraw; `name` is a part of the button's key."""

    name: str
    label: str
    suffix: str
    mime: str
    make: Callable[[], str | bytes]
    help: str | None = None

    def show(self, run: Run, key: str) -> None:
        """The button that downloads it."""
        st.download_button(
            f"{self.label} (.{self.suffix})",
            self.make,
            file_name=f"fastpath-{run.id}-{self.label.lower().replace(' ', '-')}.{self.suffix}",
            mime=self.mime,
            key=f"{key}_download_{self.name}",
            icon=":material/download:",
            help=self.help,
            on_click="ignore",
        )


def show_downloads(run: Run, key: str) -> None:
    """The run as a report, as JSON, as a script that repeats its comparison, and as tables."""
    with st.container(horizontal=True):
        for download in (*_reports(run), *_scripts(run)):
            download.show(run, key)
        with st.popover("Tables", icon=":material/table_chart:", key=f"{key}_tables"):
            for download in _tables(run):
                download.show(run, key)
            st.caption(
                "Columns `profiler_...` are profiler time. All other times were measured without a profiler."
            )


def _reports(run: Run) -> Iterator[_Download]:
    help_html = "One file that needs no network: verdict, charts, proof, operators, and the run itself."
    yield _Download("html", "Report", "html", "text/html", lambda: html_report((run,)), help_html)
    yield _Download("md", "Report", "md", "text/markdown", lambda: report_markdown(run))
    yield _Download("pr", "Pull request", "md", "text/markdown", lambda: pull_request_markdown((run,)))
    yield _Download("json", "Run", "json", "application/json", lambda: run.model_dump_json(indent=1))


def _scripts(run: Run) -> Iterator[_Download]:
    if name := path_to_export(run):
        alone = "torch alone" if needs_torch_alone(name) else "Fastpath Lab installed"
        about = f"Repeats the comparison of {path_noun(name)} with the baseline; it needs {alone}."
        yield _Download("py", "Script", "py", "text/x-python", lambda: script_of(run, name), about)


def _tables(run: Run) -> Iterator[_Download]:
    runs = (run,)
    parquet = "application/vnd.apache.parquet"
    yield _Download("csv", "Operators", "csv", "text/csv", lambda: table_csv(runs, "operators"))
    yield _Download("parquet", "Operators", "parquet", parquet, lambda: table_parquet(runs, "operators"))
    yield _Download("rounds_csv", "Rounds", "csv", "text/csv", lambda: table_csv(runs, "rounds"))
    yield _Download("rounds_parquet", "Rounds", "parquet", parquet, lambda: table_parquet(runs, "rounds"))


def show_traces(folder: Path, key: str) -> None:
    """The Chrome traces in this folder, one per path, and how to read one."""
    with st.container(horizontal=True):
        for file in sorted(folder.glob("*.json.gz")):
            name = file.name.removesuffix(".json.gz")
            st.download_button(
                f"Trace: {path_title(name)}",
                file.read_bytes,
                file_name=file.name,
                mime="application/gzip",
                key=f"{key}_trace_{name}",
                icon=":material/timeline:",
                on_click="ignore",
            )
    st.caption(
        "To read a trace, open [ui.perfetto.dev](https://ui.perfetto.dev) and choose *Open trace file*; "
        "the file stays in your browser."
    )
