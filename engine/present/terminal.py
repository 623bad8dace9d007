"""Runs as tables for a terminal, and the tutorial's six runs with what its three traps do to them."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.catalog import PATHS
from engine.present.wording import (
    agreement_words,
    evidence_words,
    interval_words,
    verdict_sentence,
)
from engine.records import ModelSpec, PathResult, Run

TUTORIAL_ITERATIONS = 10
TUTORIAL_PATHS = ("slow-train", "slow-grad", "slow", "fast-mha", "tutorial-mha", "fast-nested")
TUTORIAL_RUNS: Sequence[tuple[str, str, str]] = (
    ("2.1 slow path, CPU", "slow-train", "fresh from get_model(), so in train mode: gradients and dropout"),
    ("2.1 fastpath, CPU", "fast-nested", "model.eval() and no_grad(); said to be native MHA only"),
    (
        "2.2 slow path, DEVICE",
        "slow-grad",
        "after enable_nested_tensor = False; eval mode by now, gradients on",
    ),
    (
        "2.2 fastpath, DEVICE",
        "tutorial-mha",
        "after enable_nested_tensor = False; said to be native MHA only",
    ),
    ("2.3 slow path, DEVICE", "slow-grad", "after enable_nested_tensor = True"),
    ("2.3 fastpath, DEVICE", "fast-nested", "after enable_nested_tensor = True; native MHA + sparsity"),
)
_TOP_OPERATORS = 8
_PIPE_WIDTH = 120


def width() -> int:
    """Columns to draw in: the terminal's, or enough for a table where the output goes to a file."""
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


def run_report(run: Run) -> RenderableType:
    """Verdict, paths, operators and the conditions of a run."""
    return Group(
        Text(run.title, style="bold"),
        Text(_batch_words(run)),
        paths_table(run),
        *(operators_table([path]) for path in run.paths if path.profile),
        Text(_conditions(run), style="dim"),
        Text(verdict_sentence(run), style="bold"),
    )


def paths_table(run: Run) -> Table:
    """One row a path: time, speedup, verdict, and whether it did what it claims."""
    table = _table("path", "median", "speedup", "95 % interval", "verdict", "agreement", "evidence")
    for path in run.paths:
        if path.status != "ok" or path.median_ms is None:
            table.add_row(path.name, path.status, "", "", "", agreement_words(path), path.reason)
            continue
        table.add_row(
            path.name,
            f"{path.median_ms:.1f} ms",
            f"{path.speedup:.2f}x" if path.speedup else "",
            interval_words(path.speedup_ci95),
            path.verdict or path.verdict_reason,
            agreement_words(path),
            evidence_words(path),
        )
    return table


def operators_table(paths: Iterable[PathResult], title: str = "") -> Table:
    """The operators that take most self time, as `key_averages()` sums them, per forward."""
    table = _table("operator", "calls", "self ms", "total ms", "share of self time")
    for path in paths:
        table.title = title or f"{path.name}: {PATHS[path.name].title}"
        for op in path.profile.ops[:_TOP_OPERATORS] if path.profile else ():
            table.add_row(
                op.name, f"{op.calls:g}", f"{op.self_ms:.2f}", f"{op.total_ms:.2f}", f"{op.share:.0%}"
            )
    return table


def tutorial_report(run: Run, on_cpu: Run) -> RenderableType:
    """The six runs in the tutorial's order with their tables, then the three traps.

    Args:
        run: all of `TUTORIAL_PATHS` on DEVICE.
        on_cpu: the same on the CPU, for section 2.1; the same run where DEVICE is the CPU.
    """
    return Group(
        Text(run.title, style="bold"),
        Text(_batch_words(run)),
        *(_tutorial_run(on_cpu if entry[0].endswith("CPU") else run, *entry) for entry in TUTORIAL_RUNS),
        Text("What the tutorial's three traps do to these runs", style="bold"),
        *(Text(f"{number}. {trap}\n") for number, trap in enumerate(tutorial_traps(run), start=1)),
        paths_table(run),
        Text(_conditions(run), style="dim"),
        Text(verdict_sentence(run), style="bold"),
    )


def tutorial_traps(run: Run) -> Iterator[str]:
    """What each trap does to this very run, in figures."""
    really_off, by_tutorial = run.path("fast-mha"), run.path("tutorial-mha")
    nested = run.path("fast-nested")
    if by_tutorial.evidence and by_tutorial.median_ms and really_off.median_ms and nested.median_ms:
        conversions = by_tutorial.evidence.ops["aten::_nested_tensor_from_mask"]
        yield (
            "layers.enable_nested_tensor = False does nothing: forward() reads use_nested_tensor, which __init__ has "
            f"set. The profile of the tutorial's 'MHA only' run counts {conversions:g} nested conversion a forward "
            f"and takes {by_tutorial.median_ms:.1f} ms, like sparsity ({nested.median_ms:.1f} ms); with sparsity "
            f"really off it takes {really_off.median_ms:.1f} ms."
        )
    train, slow = run.path("slow-train"), run.path("slow")
    if train.profile and train.median_ms and slow.median_ms and nested.median_ms:
        drawn = sum(op.share for op in train.profile.ops if op.name == "aten::bernoulli_")
        yield (
            "The first slow run is in train mode: gradients are recorded and dropout is drawn (bernoulli_ alone is "
            f"{drawn:.0%} of it). It takes {train.median_ms:.1f} ms where the fair slow path takes "
            f"{slow.median_ms:.1f} ms, so a fastpath that is {slow.median_ms / nested.median_ms:.2f}x faster looks "
            f"{train.median_ms / nested.median_ms:.2f}x faster."
        )
    yield (
        "print(prof) lists the first 100 events in the order of time, not the operators that cost most; the tables "
        "here are key_averages(), summed per operator. profile(use_cuda=...) is gone from torch 2.15: torch.profiler "
        "is used here."
    )


def _tutorial_run(run: Run, heading: str, name: str, condition: str) -> RenderableType:
    path = run.path(name)
    title = f"{heading}: {condition}"
    if path.median_ms is None:
        return Text(f"{title}: {path.reason}")
    return operators_table([path], f"{title}\n{path.median_ms:.1f} ms a forward; {evidence_words(path)}")


def _batch_words(run: Run) -> str:
    batch = run.experiment.batch
    rows, longest = batch.shape or (len(batch.texts), 0)
    cut = f", {len(batch.truncated)} texts truncated" if batch.truncated else ""
    return f"{rows} texts x {longest} tokens, {batch.padding_ratio or 0:.0%} padding{cut}"


def _conditions(run: Run) -> str:
    environment = run.environment
    quiet = "quiet" if environment.quiet else "; ".join(environment.notes)
    return (
        f"{run.rounds} paired rounds ({run.stop_reason}); noise floor {interval_words(run.noise_floor.ci95)}; "
        f"torch {environment.torch}, torchtext {environment.torchtext} {environment.bridge}, "
        f"{environment.device_name} ({environment.cpu_capability}), {environment.threads} threads, {quiet}"
    )


def _table(first: str, *numbers: str) -> Table:
    table = Table(title_justify="left", title_style="bold", expand=False)
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right" if name not in ("what it is", "evidence") else "left")
    return table
