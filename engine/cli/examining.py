"""The command `doctor`: examines a model of the catalogue, or a model that the user's own code makes."""

from math import inf
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from engine.budget import examination_budget_s
from engine.catalog.batches import DEFAULT_PRESET
from engine.catalog.models import DEFAULT_MODEL
from engine.catalog.modifications import MODIFICATIONS, find_modifications
from engine.cli.files import check_writable, written
from engine.cli.interrupts import ending_at_once
from engine.cli.measurer import examine, restart_for
from engine.cli.options import (
    BATCH_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    MODEL_HELP,
    SEED_HELP,
    JsonFile,
    Memory,
    Text,
    TextsFile,
    Threads,
    chosen_allocator,
    chosen_batch,
)
from engine.cli.progress import progress
from engine.diagnosis import Diagnosis
from engine.errors import Refusal
from engine.events import DoctorRequest, Step
from engine.host import check_threads, usable_cores
from engine.present.terminal import runs as terminal
from engine.present.terminal.doctor import doctor_report
from engine.records import DEFAULT_ALLOCATOR, MOST_SEED, refusal_of
from engine.settings import load_settings

WITH_HELP = f"Modifications to make to the model first, separated by commas: {', '.join(MODIFICATIONS)}."
PYTHON_HELP = (
    "Your own FILE.py:make or package.module:make, where make() returns (model, example). "
    "This runs that file's code, so name only files that you trust."
)


ModelName = Annotated[str | None, typer.Option(help=MODEL_HELP, show_default=DEFAULT_MODEL)]
Preset = Annotated[str | None, typer.Option(help=BATCH_HELP, show_default=DEFAULT_PRESET)]
With = Annotated[str | None, typer.Option("--with", help=WITH_HELP)]
DeviceName = Annotated[str | None, typer.Option(help=DEVICE_HELP, show_default="cpu")]
DTypeName = Annotated[str | None, typer.Option(help=DTYPE_HELP, show_default="fp32")]
Python = Annotated[str | None, typer.Option(help=PYTHON_HELP)]
Seed = Annotated[int, typer.Option(min=0, help=SEED_HELP)]
Budget = Annotated[
    float | None,
    typer.Option(help="Most seconds to spend on rounds.", show_default="by the number of modifications"),
]
Timed = Annotated[bool, typer.Option("--measure/--no-measure", help="Whether to time each cure.")]
Every = Annotated[bool, typer.Option("--all", help="Also show the conditions that are met.")]


def doctor(  # noqa: PLR0913  (one argument an option)
    model: ModelName = None,
    batch: Preset = None,
    text: Text = None,
    texts: TextsFile = None,
    modifications: With = None,
    device: DeviceName = None,
    dtype: DTypeName = None,
    threads: Threads = None,
    python: Python = None,
    seed: Seed = 0,
    budget: Budget = None,
    measure: Timed = True,
    allocator: Memory = DEFAULT_ALLOCATOR,
    every: Every = False,
    json_file: JsonFile = None,
) -> None:
    """Show whether the fastpath is really taken, why not, what cures it, and how much each cure gains.

    Exit code 0: taken; 1: partly taken, not taken, or taken with wrong answers; 2: bad input.
    """
    settings, memory = load_settings(), chosen_allocator(allocator)
    changes = _names(modifications or "")
    budget_s = _budget_s(budget, len(changes), settings.max_budget_s) if measure else 0.0
    check_writable(json_file)
    if python is None:
        request = _request(
            model=model or DEFAULT_MODEL,
            batch=chosen_batch(batch or DEFAULT_PRESET, text or [], texts, settings),
            modifications=changes,
            device=device or "cpu",
            dtype=dtype or "fp32",
            threads=threads,
            seed=seed,
            budget_s=budget_s,
            allocator=memory,
        )
        diagnosis = examine(request)
    else:
        _refuse_beside_python(
            {"model": model, "batch": batch, "text": text, "texts": texts, "with": modifications}
            | {"device": device, "dtype": dtype, "threads": threads}
        )
        _check_seed(seed)
        restart_for(memory)
        diagnosis = _own_model_examined(python, budget_s, seed)
    with written(diagnosis, "diagnosis", json_file):
        # Lines of code are never cut, because people copy them.
        Console(width=terminal.width()).print(doctor_report(diagnosis, every_condition=every), crop=False)
    raise typer.Exit(0 if diagnosis.verdict == "taken" else 1)


def _budget_s(asked_s: float | None, modifications: int, most_s: float) -> float:
    if asked_s is None:
        return examination_budget_s(modifications, most_s)
    return min(_checked_budget(asked_s), most_s)


def _checked_budget(budget_s: float) -> float:
    if not 0 <= budget_s < inf:
        raise Refusal(
            f"--budget takes seconds, such as 20, or 0 to time nothing; {budget_s:g} is not allowed."
        )
    return budget_s


def _check_seed(seed: int) -> None:
    if seed > MOST_SEED:
        raise Refusal(f"--seed must be at most {MOST_SEED}, so nothing was examined: choose a smaller one.")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    find_modifications(names)
    return names


def _refuse_beside_python(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise Refusal(
                f"--{name} does not go with --python, which examines what make() returns: set it in make()."
            )


def _request(**fields: object) -> DoctorRequest:
    try:
        request = DoctorRequest.model_validate(fields)
    except ValidationError as error:
        raise refusal_of(error, "examination") from None
    check_threads(request.threads, usable_cores())
    return request


def _own_model_examined(place: str, budget_s: float, seed: int) -> Diagnosis:
    with progress() as tell:
        tell(Step(name="load", text=f"Running {place}"))
        with ending_at_once():
            from engine.child.lock import machine_lock
            from engine.doctor import doctor as examine_here
            from engine.models.own_model import load_own_model

        with machine_lock(load_settings().lock_file, tell):
            # Inside the lock, because building the model would disturb another measurement.
            own = load_own_model(place, Path.cwd())
            return examine_here(own.model, own.example, budget_s=budget_s, seed=seed, title=place, tell=tell)
