"""A run as files to download: a Markdown report and a CSV of its operators."""

import csv
from io import StringIO

from engine.analysis.break_even import break_even_batches
from engine.present.words.allocators import memory_sentence
from engine.present.words.roofline import peaks_words, roofline_words, useful_words
from engine.present.words.runs import (
    agreement_sentence,
    batch_sentence,
    centre_sentences,
    evidence_sentence,
    interval_words,
    looks_sentence,
    machine_sentence,
    ms_words,
    path_title,
    recommendation_sentences,
    speedup_text,
    verdict_label,
    verdict_sentence,
)
from engine.records import PathResult, Run

OPERATOR_COLUMNS = ("path", "operator", "calls_per_forward", "profiler_self_ms", "profiler_total_ms", "share")
OPERATORS_IN_REPORT = 8


def report_markdown(run: Run) -> str:
    """The run as a Markdown document: verdict, table, proof, operators, and how it was measured."""
    parts = [
        f"# {run.title}",
        verdict_sentence(run),
        *recommendation_sentences(run),
        f"Measured on {run.created_at:%d %B %Y, %H:%M %Z}. {machine_sentence(run)} {memory_sentence(run)}",
        *filter(None, (looks_sentence(run),)),
        *(f"Note: {note}." for note in run.environment.notes),
        "## Paths",
        _paths_table(run),
        *centre_sentences(run),
        *_costs(run),
        "## Proof",
        _proof(run),
        *_roofline(run),
        f"## Operators\n\nSelf time per forward as profiled, the first {OPERATORS_IN_REPORT} of each path.",
        *(_operators_table(path) for path in run.paths if path.profile),
        "## Experiment",
        _experiment(run),
    ]
    return "\n\n".join(parts) + "\n"


def operators_csv(run: Run) -> str:
    """Every operator of every profiled path; times in profiler milliseconds per forward."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(OPERATOR_COLUMNS)
    for path in run.paths:
        for op in path.profile.ops if path.profile else ():
            writer.writerow((path.name, op.name, op.calls, op.self_ms, op.total_ms, op.share))
    return out.getvalue()


def _paths_table(run: Run) -> str:
    header = ("Path", "Median", "Speedup", "95 % interval", "Verdict")
    return _table([header, *(_path_row(path) for path in run.paths)])


def _path_row(path: PathResult) -> tuple[str, ...]:
    if path.median_ms is None:
        return (path_title(path.name), "", "", "", f"{path.status}: {path.reason}")
    return (
        path_title(path.name),
        f"{path.median_ms:.1f} ms",
        speedup_text(path.speedup) if path.speedup else "",
        interval_words(path.speedup_ci95),
        verdict_label(path),
    )


def _costs(run: Run) -> list[str]:
    """What each path costs besides its time; empty for runs that did not record it."""
    known = [path for path in run.paths if path.status == "ok" and path.prepare_ms is not None]
    if not known:
        return []
    header = ("Path", "Precision", "Error", "Prepare", "First call", "Weights", "Paid back after")
    return ["## What each path costs", _table([header, *(_costs_row(run, path) for path in known)])]


def _costs_row(run: Run, path: PathResult) -> tuple[str, ...]:
    error = path.agreement.max_abs_error if path.agreement else None
    batches = break_even_batches(run, path)
    return (
        path_title(path.name),
        path.dtype,
        "" if error is None or path.name == run.experiment.baseline else f"{error:.1e}",
        "" if path.prepare_ms is None else ms_words(path.prepare_ms),
        "" if path.first_call_ms is None else ms_words(path.first_call_ms),
        f"{path.weights_mb:,.0f} MB" if path.weights_mb else "",
        "" if batches is None else f"{batches:,} batches",
    )


def _roofline(run: Run) -> list[str]:
    words = " ".join(filter(None, (roofline_words(run), peaks_words(run))))
    return [f"## How close to this machine's peak\n\n{words} {useful_words(run)}"] if words else []


def _proof(run: Run) -> str:
    layers = run.model_card.shape.num_encoder_layers if run.model_card else None
    return "\n".join(
        f"- {path_title(path.name)}: {evidence_sentence(path, layers)} {agreement_sentence(run, path)}"
        for path in run.paths
        if path.status == "ok"
    )


def _operators_table(path: PathResult) -> str:
    assert path.profile is not None  # noqa: S101  (the caller chose profiled paths)
    rows: list[tuple[str, ...]] = [("Operator", "Calls", "Self", "Total", "Share")]
    rows += [
        (f"`{op.name}`", f"{op.calls:g}", f"{op.self_ms:.2f} ms", f"{op.total_ms:.2f} ms", f"{op.share:.0%}")
        for op in path.profile.ops[:OPERATORS_IN_REPORT]
    ]
    return f"### {path_title(path.name)}\n\n{_table(rows)}"


def _experiment(run: Run) -> str:
    experiment, batch = run.experiment, run.experiment.batch
    lines = [f"- Model: {experiment.model}", f"- Batch: {batch.name}"]
    if batch.lengths and batch.padding_ratio is not None:
        lines[-1] += f"; {batch_sentence(batch.lengths, batch.padding_ratio, batch.truncated)}"
    lines.append(f"- Device {experiment.device}, {experiment.dtype}, seed {experiment.seed}")
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> str:
    rule = tuple("---" for _ in rows[0])
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (rows[0], rule, *rows[1:]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
