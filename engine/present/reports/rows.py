"""A run as rows of cells in words, for every report: paths, costs, operators, environment, experiment."""

from collections.abc import Iterator

from engine.allocator import allocator_words
from engine.analysis.break_even import break_even_batches
from engine.present.words.runs import (
    batch_sentence,
    interval_words,
    ms_words,
    path_title,
    speedup_text,
    verdict_label,
)
from engine.records import OperatorTime, PathResult, Run

Row = tuple[str, ...]

PATH_COLUMNS = (
    "Path",
    "Median",
    "Real tokens/s",
    "Working memory",
    "Speedup",
    "95 % interval",
    "Verdict",
)
COST_COLUMNS = ("Path", "Precision", "Error", "Prepare", "First call", "Weights", "Paid back after")
OPERATOR_HEADINGS = ("Operator", "Calls", "Self", "Total", "Share")


def path_rows(run: Run) -> Iterator[Row]:
    """One row per path, in the columns of `PATH_COLUMNS`; a path without a result has its reason as verdict."""
    for path in run.paths:
        if path.median_ms is None:
            yield (path_title(path.name), *[""] * (len(PATH_COLUMNS) - 2), f"{path.status}: {path.reason}")
            continue
        yield (
            path_title(path.name),
            f"{path.median_ms:.1f} ms",
            "" if path.real_tokens_per_s is None else f"{path.real_tokens_per_s:,.0f}",
            "" if path.peak_memory_mb is None else f"{path.peak_memory_mb:,.0f} MB",
            speedup_text(path.speedup) if path.speedup else "",
            interval_words(path.speedup_ci95),
            verdict_label(path),
        )


def cost_rows(run: Run) -> Iterator[Row]:
    """One row per measured path, in the columns of `COST_COLUMNS`; none where the run did not record its costs."""
    known = [path for path in run.paths if path.status == "ok" and path.prepare_ms is not None]
    return (_cost_row(run, path) for path in known)


def _cost_row(run: Run, path: PathResult) -> Row:
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


def operator_row(op: OperatorTime) -> Row:
    """One operator, in the columns of `OPERATOR_HEADINGS`; profiler time per forward."""
    return (op.name, f"{op.calls:g}", f"{op.self_ms:.2f} ms", f"{op.total_ms:.2f} ms", f"{op.share:.0%}")


def environment_rows(run: Run) -> Iterator[Row]:
    """The machine and its libraries, each with its value; what the run does not know is left out."""
    env = run.environment
    rows = (
        ("Device", env.device_name),
        ("Processor", f"{env.cpu} ({env.cpu_capability})"),
        ("Machine", env.machine),
        ("Threads", f"{env.threads} of {env.cores} cores"),
        ("Memory", f"{env.memory_mb:,.0f} MB"),
        ("Memory allocator", allocator_words(env)),
        ("torch", env.torch),
        ("torchtext", f"{env.torchtext}, {env.bridge}"),
        ("Python", env.python),
        ("Platform", env.platform),
        ("CUDA", env.cuda or ""),
        ("Driver", env.driver or ""),
        *sorted(env.libraries.items()),
        *((f"Variable {name}", value) for name, value in sorted(env.allocator.items())),
        ("Load before and after", _loads(run)),
        ("State", "quiet" if env.quiet else "; ".join(env.notes)),
    )
    return (row for row in rows if row[1])


def _loads(run: Run) -> str:
    loads = (run.environment.load_before, run.environment.load_after)
    return " and ".join(f"{load:.2f}" for load in loads if load is not None)


def experiment_rows(run: Run) -> Iterator[Row]:
    """What was measured and how, each with its value; what the run does not know is left out."""
    experiment, batch, card = run.experiment, run.experiment.batch, run.model_card
    known = bool(batch.lengths) and batch.padding_ratio is not None
    rows = (
        ("Model", experiment.model if card is None else f"{card.title} ({experiment.model})"),
        ("Weights", "" if card is None else f"{card.source}; {card.checksum}"),
        ("Shape", _shape_words(run)),
        ("Batch", batch.name),
        (
            "Texts",
            batch_sentence(batch.lengths, batch.padding_ratio or 0, batch.truncated)
            if known
            else str(batch.rows),
        ),
        ("Device and precision", f"{experiment.device}, {experiment.dtype}"),
        ("Freed memory", "kept" if experiment.allocator == "kept" else "left to the system"),
        ("Rounds", f"{run.rounds}, {run.stop_reason}"),
        ("Seed of the order", str(experiment.seed)),
        ("Run", f"{run.id}, continues {run.continues}" if run.continues else run.id),
        ("Measured", f"{run.created_at:%d %B %Y, %H:%M %Z}".strip()),
    )
    return (row for row in rows if row[1])


def _shape_words(run: Run) -> str:
    if run.model_card is None:
        return ""
    shape = run.model_card.shape
    return (
        f"{shape.num_encoder_layers} layers, width {shape.embedding_dim}, {shape.num_attention_heads} heads, "
        f"{run.model_card.parameters / 1e6:,.1f} M parameters"
    )
