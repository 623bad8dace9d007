"""Runs as tables for a terminal."""

import shutil
import sys
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.allocator import allocator_words
from engine.analysis.break_even import break_even_batches
from engine.analysis.compare import Gate
from engine.analysis.recommend import fastest_path
from engine.analysis.stats import percentile
from engine.analysis.tutorial_steps import tutorial_steps
from engine.analysis.waterfall import waterfall
from engine.catalog.paths import PathSpec, path_spec
from engine.present.words.allocators import page_faults_sentence
from engine.present.words.conditions import round_conditions
from engine.present.words.roofline import peaks_words, roofline_words
from engine.present.words.runs import (
    agreement_words,
    centre_sentences,
    evidence_words,
    interval_words,
    looks_sentence,
    ms_words,
    recommendation_sentences,
    verdict_label,
    verdict_sentence,
)
from engine.records import ModelSpec, PathResult, Run

_TOP_OPERATORS = 8
_PIPE_WIDTH = 120
_WORDS = ("what it is", "group", "evidence")


def width() -> int:
    """Width in columns: the terminal's, or enough for a table where the output goes to a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


def models_table(models: Iterable[ModelSpec]) -> Table:
    """The models on offer."""
    table = _table("model", "what it is", "layers", "width", "params", "fp32 MB", "to fetch")
    for model in models:
        shape = model.shape
        sizes = (
            (
                str(shape.num_encoder_layers),
                str(shape.embedding_dim),
                f"{shape.parameters / 1e6:.0f} M",
                f"{shape.weights_mb('fp32'):,.0f}",
            )
            if shape
            else ("", "", "", "")
        )
        download = f"{model.download_mb:,} MB" if model.download_mb else ""
        table.add_row(model.name, model.title, *sizes, download)
    return table


def paths_on_offer_table(paths: Iterable[PathSpec]) -> Table:
    """The execution paths on offer."""
    table = _table("path", "what it is", "group")
    for spec in paths:
        default = ", by default" if spec.default else ""
        table.add_row(spec.name, f"{spec.title}: {spec.explanation}", f"{spec.group}{default}")
    return table


def run_report(run: Run) -> RenderableType:
    """Verdict, paths, operators and the conditions of a run."""
    return Group(
        Text(run.title, style="bold"),
        Text(batch_words(run)),
        paths_table(run),
        *([costs_table(run)] if any(path.prepare_ms is not None for path in run.paths) else []),
        *(operators_table(path) for path in run.paths if path.profile),
        *_explanations(run),
        *(Text(note) for note in notes(run)),
        Text(conditions_words(run), style="dim"),
        *(Text(words, style="dim") for words in _of_the_machine(run) if words),
        Text(verdict_sentence(run), style="bold"),
        *(Text(sentence) for sentence in recommendation_sentences(run)),
    )


def _of_the_machine(run: Run) -> tuple[str, ...]:
    return round_conditions(run), peaks_words(run), roofline_words(run)


def paths_table(run: Run) -> Table:
    """One row per path: time, speedup, verdict, and whether its profile confirms its claim."""
    table = _table("path", "median", "p90", "speedup", "95 % interval", "verdict", "error", "evidence")
    for path in run.paths:
        if path.status != "ok" or path.median_ms is None:
            table.add_row(path.name, path.status, "", "", "", "", agreement_words(path), path.reason)
            continue
        table.add_row(
            path.name,
            f"{path.median_ms:.1f} ms",
            _p90(path),
            f"{path.speedup:.2f}x" if path.speedup else "",
            interval_words(path.speedup_ci95),
            verdict_label(path),
            _error(run, path),
            _proof(path),
        )
    return table


def _error(run: Run, path: PathResult) -> str:
    if path.name == run.experiment.baseline:
        return ""
    if path.agreement is not None and path.agreement.ok:
        return f"{path.agreement.max_abs_error:.1e}"
    return agreement_words(path)


def _proof(path: PathResult) -> str:
    if path.evidence is None:
        return ""
    return "proven" if path.evidence.ok else "refuted"


def costs_table(run: Run) -> Table:
    """What each measured path costs: accuracy, one-time costs, memory, and after how many batches it is paid back."""
    table = _table(
        "path",
        "dtype",
        "of limit",
        "prepare",
        "first call",
        "weights",
        "memory",
        "tokens/s",
        "paid back",
    )
    table.title = "What each path costs (of limit: its error as a share of the largest accepted)"
    for path in run.paths:
        if path.status == "ok":
            table.add_row(path.name, path.dtype, *_costs(run, path))
    return table


def _costs(run: Run, path: PathResult) -> tuple[str, ...]:
    agreement, batches = path.agreement, break_even_batches(run, path)
    error = agreement.max_abs_error if agreement and path.name != run.experiment.baseline else None
    return (
        "" if error is None or agreement is None else f"{error / agreement.tolerance:.1%}",
        "" if path.prepare_ms is None else ms_words(path.prepare_ms),
        "" if path.first_call_ms is None else ms_words(path.first_call_ms),
        f"{path.weights_mb:,.0f} MB" if path.weights_mb else "",
        "" if path.peak_memory_mb is None else f"{path.peak_memory_mb:,.0f} MB",
        "" if path.real_tokens_per_s is None else f"{path.real_tokens_per_s:,.0f}",
        "" if batches is None else f"{batches:,} batches",
    )


def _p90(path: PathResult) -> str:
    found = percentile(path.samples_ms, 0.9)
    if path.calls_per_sample > 1:
        return "means only"
    return f"{found.value:.1f} ms" if found.value is not None else f"+{found.missing} rounds"


def notes(run: Run) -> Iterator[str]:
    """Notes below the table: ratios that differ from the medians', refuted claims, next steps, page faults."""
    yield from centre_sentences(run)
    if looks := looks_sentence(run):
        yield looks
    for path in run.paths:
        if path.evidence and not path.evidence.ok:
            yield f"{path.name}: {evidence_words(path)}."
        if path.next_step:
            yield f"{path.name}: {path.verdict_reason}. {path.next_step}"
    if fetching := page_faults_sentence(run):
        yield fetching


def operators_table(path: PathResult, title: str = "") -> Table:
    """The operators that take most self time, as `key_averages()` sums them, per forward."""
    table = _table("operator", "calls", "self ms", "total ms", "share of self time")
    table.title = title or f"{path.name}: {path_spec(path.name).title}"
    for op in path.profile.ops[:_TOP_OPERATORS] if path.profile else ():
        table.add_row(op.name, f"{op.calls:g}", f"{op.self_ms:.2f}", f"{op.total_ms:.2f}", f"{op.share:.0%}")
    return table


def _explanations(run: Run) -> Iterator[Table]:
    """Where the fastest path's difference comes from, and the steps from the tutorial's slow path to the fastpath."""
    if run.baseline.profile and (fastest := fastest_path(run, profiled=True)) is not None:
        yield waterfall_table(run.baseline, fastest)
    if len(tutorial_steps(run)) > 1:
        yield steps_table(run)


def waterfall_table(baseline: PathResult, path: PathResult) -> Table:
    """The measured difference by operator group; the last row is their sum."""
    table = _table("operator group", f"{baseline.name} ms", f"{path.name} ms", "change ms")
    table.title = f"Where {path.name}'s difference comes from (profiled shares of the measured time)"
    for bar in waterfall(baseline, path):
        table.add_row(bar.group, f"{bar.baseline_ms:.1f}", f"{bar.path_ms:.1f}", f"{bar.change_ms:+.1f}")
    before, after = baseline.median_ms or 0.0, path.median_ms or 0.0
    table.add_row("measured", f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}", style="bold")
    return table


def steps_table(run: Run) -> Table:
    """Every step from the tutorial's first slow path to the fastpath with its own speedup."""
    table = _table("step", "speedup", "95 % interval", "what it is")
    table.title = "Step by step: where the speedup comes from"
    for step in tutorial_steps(run):
        table.add_row(
            f"{step.start} -> {step.end}", f"{step.speedup:.2f}x", interval_words(step.ci95), step.meaning
        )
    return table


def gate_words(run: Run, name: str, least: float, verdict: Gate) -> str:
    """Whether a path is as fast as it has to be, in a sentence."""
    if verdict is Gate.NOT_MEASURED:
        return f"{name} was not measured, so it is not known whether it is {least:g}x as fast."
    path = run.path(name)
    seen = f"{path.speedup:.2f}x ({interval_words(path.speedup_ci95) or 'no interval'})"
    words = {
        Gate.OK: "is at least",
        Gate.REGRESSED: "is below",
        Gate.INCONCLUSIVE: "is not clearly above or below",
    }
    return f"{name} at {seen} {words[verdict]} {least:g}x."


def batch_words(run: Run) -> str:
    """The batch in numbers."""
    batch = run.experiment.batch
    rows, longest = batch.shape or (batch.rows, 0)
    cut = f", {len(batch.truncated)} texts truncated" if batch.truncated else ""
    texts = "1 text" if rows == 1 else f"{rows} texts"
    return f"{texts} x {longest} tokens, {batch.padding_ratio or 0:.0%} padding{cut}"


def conditions_words(run: Run) -> str:
    """The conditions of the run, without which its figures mean nothing."""
    environment = run.environment
    quiet = "quiet" if environment.quiet else "; ".join(environment.notes)
    return (
        f"{run.rounds} paired rounds ({run.stop_reason}); "
        f"noise floor {interval_words(run.noise_floor.ci95) or 'unknown, too few rounds'}; "
        f"torch {environment.torch}, torchtext {environment.torchtext} {environment.bridge}, "
        f"{environment.device_name} ({environment.cpu_capability}), {environment.threads} threads, "
        f"memory: {allocator_words(environment)}, {quiet}"
    )


def _table(first: str, *numbers: str) -> Table:
    table = Table(title_justify="left", title_style="bold", expand=False)
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    return table
