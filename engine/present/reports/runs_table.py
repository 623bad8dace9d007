"""Runs as one table for other programs: a row for each run and path, with units in the columns' names; no texts."""

from collections.abc import Iterable
from io import BytesIO

import pandas as pd

from engine.present.reports.collection import KeptRun
from engine.records import Interval, PathResult

_TYPES = {
    "run_id": "string",
    "title": "string",
    "tags": "string",
    "note": "string",
    "measured_at": "datetime64[us, UTC]",
    "model": "string",
    "batch": "string",
    "texts": "Int64",
    "longest_text_tokens": "Int64",
    "real_tokens": "Int64",
    "padding_ratio": "Float64",
    "device": "string",
    "model_precision": "string",
    "threads": "Int64",
    "allocator": "string",
    "machine": "string",
    "cpu": "string",
    "torch": "string",
    "quiet": "boolean",
    "rounds": "Int64",
    "path": "string",
    "path_precision": "string",
    "is_baseline": "boolean",
    "status": "string",
    "verdict": "string",
    "speedup": "Float64",
    "speedup_low": "Float64",
    "speedup_high": "Float64",
    "median_ms": "Float64",
    "median_low_ms": "Float64",
    "median_high_ms": "Float64",
    "real_tokens_per_s": "Float64",
    "first_call_ms": "Float64",
    "prepare_ms": "Float64",
    "weights_mb": "Float64",
    "peak_memory_mb": "Float64",
    "max_abs_error": "Float64",
    "answer_agrees": "boolean",
    "claim_confirmed": "boolean",
}
COLUMNS = tuple(_TYPES)


def runs_frame(kept: Iterable[KeptRun]) -> pd.DataFrame:
    """Rows of every path of every run, in the runs' order.

    Speedups are ratios over the run's baseline, `_low` and `_high` the ends of their 95 % interval; times are in ms
    per forward, sizes in MB. A value that was not measured is missing. The type of a column does not depend on the
    rows. Tags are joined by commas.
    """
    rows = [{**_of_run(entry), **_of_path(entry, path)} for entry in kept for path in entry.run.paths]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(_TYPES)


def runs_parquet(kept: Iterable[KeptRun]) -> bytes:
    """`runs_frame` as a Parquet file."""
    file = BytesIO()
    runs_frame(kept).to_parquet(file, index=False)
    return file.getvalue()


def _of_run(kept: KeptRun) -> dict[str, object]:
    run, about = kept.run, kept.about
    experiment, batch, environment = run.experiment, run.experiment.batch, run.environment
    return {
        "run_id": run.id,
        "title": about.title or run.title,
        "tags": ", ".join(about.tags),
        "note": about.note,
        "measured_at": run.created_at,
        "model": experiment.model,
        "batch": batch.name,
        "texts": batch.rows,
        "longest_text_tokens": max(batch.lengths, default=None),
        "real_tokens": batch.real_tokens if batch.lengths else None,
        "padding_ratio": batch.padding_ratio,
        "device": experiment.device,
        "model_precision": experiment.dtype,
        "threads": environment.threads,
        "allocator": experiment.allocator,
        "machine": environment.machine,
        "cpu": environment.cpu,
        "torch": environment.torch,
        "quiet": environment.quiet,
        "rounds": run.rounds,
    }


def _of_path(kept: KeptRun, path: PathResult) -> dict[str, object]:
    speedup_low, speedup_high = _ends(path.speedup_ci95)
    median_low, median_high = _ends(path.ci95_ms)
    return {
        "path": path.name,
        "path_precision": path.dtype,
        "is_baseline": path.name == kept.run.experiment.baseline,
        "status": path.status,
        "verdict": path.verdict,
        "speedup": path.speedup,
        "speedup_low": speedup_low,
        "speedup_high": speedup_high,
        "median_ms": path.median_ms,
        "median_low_ms": median_low,
        "median_high_ms": median_high,
        "real_tokens_per_s": path.real_tokens_per_s,
        "first_call_ms": path.first_call_ms,
        "prepare_ms": path.prepare_ms,
        "weights_mb": path.weights_mb,
        "peak_memory_mb": path.peak_memory_mb,
        "max_abs_error": path.agreement.max_abs_error if path.agreement else None,
        "answer_agrees": path.agreement.ok if path.agreement else None,
        "claim_confirmed": path.evidence.ok if path.evidence else None,
    }


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval or (None, None)
