"""The command `sweep`: one run at every combination of batch size, length, padding ratio and threads."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.catalog.models import DEFAULT_MODEL, find_model
from engine.catalog.paths import BASELINE, PATHS, default_paths, find_paths
from engine.cli.files import check_writable, read_bytes
from engine.cli.interrupts import INTERRUPTED
from engine.cli.measurer import sweep_cells
from engine.cli.options import Device, Memory, Model, Precision, Seed, chosen_allocator
from engine.cli.streams import tell_user
from engine.errors import Refusal
from engine.events import request_of
from engine.host import check_threads, threads_here, usable_cores
from engine.present.terminal import runs as terminal
from engine.present.terminal.sweeps import sweep_report
from engine.present.words.sweeps import estimate_sentence
from engine.records import DEFAULT_ALLOCATOR
from engine.settings import load_settings
from engine.sweeps import (
    CELL_S,
    MOST_SWEEP_BYTES,
    Sweep,
    SweepCell,
    check_fits,
    checked_plan,
    expected_s,
    new_sweep,
    read_numbers,
    read_sweep,
)

BESIDE_RESUME = ("resume", "json_file")


def sweep(  # noqa: PLR0913  (one argument an option)
    context: typer.Context,
    model: Model = DEFAULT_MODEL,
    paths: Annotated[
        str, typer.Option(help=f"Execution paths, separated by commas: {', '.join(PATHS)}.")
    ] = ",".join(default_paths()),
    batch_sizes: Annotated[str, typer.Option(help="Numbers of texts, separated by commas.")] = "1,8,32",
    lengths: Annotated[
        str, typer.Option(help="Tokens of the longest text, special tokens included, separated by commas.")
    ] = "32,128",
    padding: Annotated[
        str, typer.Option(help="Padding ratios, separated by commas: 0.3 or 30%.")
    ] = "0,0.3,0.6",
    threads: Annotated[
        str, typer.Option(help="Numbers of threads, separated by commas; by default torch chooses one.")
    ] = "",
    device: Device = "cpu",
    dtype: Precision = "fp32",
    seed: Seed = 0,
    rounds: Annotated[
        int | None, typer.Option(help="A fixed number of rounds in every cell, instead of until precise.")
    ] = None,
    cell_budget: Annotated[
        float, typer.Option(help="Most seconds to spend on the rounds of a cell.")
    ] = CELL_S,
    allocator: Memory = DEFAULT_ALLOCATOR,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write the sweep to this file, after every cell; with --resume, its file."
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="A stopped sweep's JSON file: measure the cells that are missing.")
    ] = None,
) -> None:
    """Measure execution paths at every combination of batch size, length, padding and threads. No texts are needed.

    Exit code 0: every cell is complete; 2: bad input, or the rest cannot be measured; 130: stopped by Ctrl-C. What was
    measured is in the file in every case.
    """
    if resume is not None:
        _refuse_beside_resume(context)
        _measure(read_sweep(read_bytes(resume, MOST_SWEEP_BYTES)), json_file or resume)
        return
    plan = checked_plan(
        model=model,
        paths=_with_baseline(paths),
        batch_sizes=read_numbers(batch_sizes, "--batch-sizes"),
        lengths=read_numbers(lengths, "--lengths"),
        padding=read_numbers(padding, "--padding", whole=False),
        threads=read_numbers(threads, "--threads") if threads.strip() else (),
        device=device,
        dtype=dtype,
        seed=seed,
        iterations=rounds,
        cell_budget_s=cell_budget,
        allocator=chosen_allocator(allocator),
    )
    _measure(new_sweep(plan, find_model(model).title, datetime.now(UTC)), json_file)


def _measure(sweep: Sweep, file: Path | None) -> None:
    """Measure the missing cells, write the sweep after each, and print it."""
    check_writable(file)
    if file is not None and file.exists() and not file.is_file():
        raise Refusal(f"{file} is no ordinary file, so a sweep cannot be kept there: choose a file.")
    _check(sweep)
    if file is not None and sweep.cells:
        _write(sweep, file)  # --json may name another file than --resume
    found = sweep

    def keep(cell: SweepCell) -> None:
        nonlocal found
        found = found.with_cell(cell)
        if file is not None:
            _write(found, file)

    try:
        if not sweep.finished:
            tell_user(_estimate(sweep))
            sweep_cells(request_of(sweep), keep)
    except KeyboardInterrupt:
        tell_user("Stopped; the cell that was being measured is dropped.")
    finally:
        _report(found, file)
    if not found.finished:
        raise typer.Exit(INTERRUPTED)


def _report(found: Sweep, file: Path | None) -> None:
    """Print a sweep that has cells, and say where it is."""
    if found.cells:
        Console(width=terminal.width()).print(sweep_report(found))
        if file is not None:
            tell_user(f"The sweep is in {file}" + ("" if found.finished else f"; go on with --resume {file}"))


def _check(sweep: Sweep) -> None:
    """Refuse, before torch is loaded, what can be known without it."""
    plan, settings = sweep.plan, load_settings()
    find_paths(plan.paths)
    for threads in plan.threads:
        check_threads(threads, usable_cores())
    check_fits(plan, find_model(plan.model).shape, settings.max_tokens, settings.max_texts)


def _estimate(sweep: Sweep) -> str:
    shape = find_model(sweep.plan.model).shape
    done = [cell.number for cell in sweep.cells]
    seconds = expected_s(sweep.plan, shape, threads_here(), done)
    return estimate_sentence(sweep.plan.size - len(done), seconds)


def _write(sweep: Sweep, file: Path) -> None:
    """Replace the file in one step, so that a crash leaves the sweep before this cell."""
    target, text = file.resolve(), sweep.model_dump_json()
    part = target.with_name(f"{target.name}.part")
    try:
        if target.exists() and not os.access(target.parent, os.W_OK):
            target.write_text(text, encoding="utf-8")
            return
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise Refusal(
            f"The sweep cannot be written to {file} ({error.strerror}), so it was stopped: choose another file."
        ) from None


def _refuse_beside_resume(context: typer.Context) -> None:
    for name in context.params:
        given = context.get_parameter_source(name)
        if name not in BESIDE_RESUME and given is not None and given.name != "DEFAULT":
            raise Refusal(
                f"--{name.replace('_', '-')} does not go with --resume, which takes the sweep from its file: "
                "leave it out."
            )


def _with_baseline(names: str) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    find_paths(asked)
    return asked if BASELINE in asked else (BASELINE, *asked)
