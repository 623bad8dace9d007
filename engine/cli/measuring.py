"""Commands that measure: `run` the chosen paths, `tutorial` the tutorial's six runs."""

from math import inf, nan
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from engine.analysis.compare import Gate, gate_ratio
from engine.analysis.conclude import round_s
from engine.analysis.continuing import More, continuation, more_of
from engine.budget import SECONDS_A_PATH, default_budget_s
from engine.catalog.batches import DEFAULT_PRESET, find_preset
from engine.catalog.models import DEFAULT_MODEL
from engine.catalog.paths import BASELINE, PATHS, default_paths, find_paths, paths_of
from engine.cli.files import check_writable, make_trace_folder, read_one_run, written
from engine.cli.measurer import measure
from engine.cli.options import (
    BATCH_HELP,
    Device,
    JsonFile,
    Memory,
    Model,
    Precision,
    Seed,
    Text,
    TextsFile,
    Threads,
    chosen_allocator,
    chosen_batch,
)
from engine.cli.streams import tell_user
from engine.errors import Refusal
from engine.events import RunRequest
from engine.host import check_threads, usable_cores
from engine.present.terminal import runs as terminal
from engine.present.terminal.tutorial import TUTORIAL_ITERATIONS, tutorial_report
from engine.records import DEFAULT_ALLOCATOR, Experiment, Run, refusal_of
from engine.settings import Settings, load_settings

BESIDE_CONTINUE = ("continued", "rounds", "budget", "json_file", "fail_under")
"""Parameters of `run` that may be given with --continue."""
DEFAULT_PATHS = ",".join(default_paths())

Paths = Annotated[str, typer.Option(help=f"Execution paths, separated by commas: {', '.join(PATHS)}.")]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--rounds", "--iterations", help="A fixed number of rounds, instead of rounds until precise."
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        help="Most seconds to spend on rounds.",
        show_default=f"{SECONDS_A_PATH:g} for each path, plus {SECONDS_A_PATH:g}",
    ),
]
Continued = Annotated[
    Path | None,
    typer.Option(
        "--continue", help="A run's JSON file: add rounds to it, as many as --rounds or --budget allow."
    ),
]
TraceFolder = Annotated[Path | None, typer.Option("--trace", help="Write Chrome traces to this folder.")]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        help="PATH=RATIO, may be repeated: exit 1 if PATH's speedup is below RATIO, 3 if that is not clear."
    ),
]


def run(  # noqa: PLR0913  (one argument an option)
    context: typer.Context,
    model: Model = DEFAULT_MODEL,
    batch: Annotated[str, typer.Option(help=BATCH_HELP)] = DEFAULT_PRESET,
    text: Text = None,
    texts: TextsFile = None,
    paths: Paths = DEFAULT_PATHS,
    device: Device = "cpu",
    dtype: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
    rounds: Rounds = None,
    budget: Budget = None,
    allocator: Memory = DEFAULT_ALLOCATOR,
    continued: Continued = None,
    json_file: JsonFile = None,
    trace: TraceFolder = None,
    fail_under: FailUnder = None,
) -> None:
    """Measure execution paths of one model on one batch, and show which is faster."""
    settings = load_settings()
    if continued is not None:
        _refuse_beside_continue(context)
        earlier = read_one_run(continued)
        names, request = earlier.experiment.paths, _more_of(earlier, rounds, budget, settings)
    else:
        names = _with_baseline(paths)
        experiment = _experiment(
            model=model,
            batch=chosen_batch(batch, text or [], texts, settings),
            paths=names,
            device=device,
            dtype=dtype,
            threads=threads,
            seed=seed,
            iterations=rounds,
            budget_s=default_budget_s(len(names), settings.max_budget_s) if budget is None else budget,
            allocator=chosen_allocator(allocator),
        )
        request = RunRequest(experiment=experiment, trace_dir=str(trace) if trace else None)
    limits = [_limit(text, names) for text in fail_under or []]
    check_writable(json_file)
    make_trace_folder(trace)
    _report(measure(request), json_file, limits)


def _report(finished: Run, json_file: Path | None, limits: list[tuple[str, float]]) -> None:
    with written(finished, "run", json_file):
        Console(width=terminal.width()).print(terminal.run_report(finished))
    _exit_by(limits, finished)


def _refuse_beside_continue(context: typer.Context) -> None:
    """Refuse options that would change the experiment: a continued run takes it from its file."""
    for name in context.params:
        given = context.get_parameter_source(name)
        if name not in BESIDE_CONTINUE and given is not None and given.name != "DEFAULT":
            raise Refusal(
                f"--{name} does not go with --continue, which takes the experiment from the file: leave it out."
            )


def _more_of(earlier: Run, rounds: int | None, budget: float | None, settings: Settings) -> RunRequest:
    """The request for more rounds: a number of rounds, a number of seconds, or as the run's next step advises."""
    if rounds is not None:
        more = More(rounds=rounds, seconds=rounds * round_s(earlier))
    else:
        more = more_of(earlier) if budget is None else More(rounds=None, seconds=budget)
    try:
        return continuation(earlier, more, budget or settings.max_budget_s)
    except ValidationError as error:
        raise refusal_of(error, "experiment") from None


def tutorial(
    model: Model = DEFAULT_MODEL,
    batch: Annotated[str, typer.Option(help="A preset.")] = DEFAULT_PRESET,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    allocator: Memory = DEFAULT_ALLOCATOR,
    json_file: JsonFile = None,
) -> None:
    """Make the tutorial's six runs (2.1 to 2.3) in its order, and show the effect of its three traps."""
    settings = load_settings()
    experiment = _experiment(
        model=model,
        batch=find_preset(batch),
        paths=paths_of("tutorial"),
        device=device,
        threads=threads,
        seed=seed,
        iterations=TUTORIAL_ITERATIONS,
        budget_s=settings.max_budget_s,
        allocator=chosen_allocator(allocator),
    )
    check_writable(json_file)
    finished = measure(RunRequest(experiment=experiment))
    on_cpu = finished
    if device != "cpu":
        on_cpu = measure(RunRequest(experiment=experiment.model_copy(update={"device": "cpu"})))
    with written(finished, "run", json_file):
        Console(width=terminal.width()).print(tutorial_report(finished, on_cpu))


def _limit(text: str, measured: tuple[str, ...]) -> tuple[str, float]:
    name, _, ratio = text.partition("=")
    find_paths((name,))
    if name not in measured or name == BASELINE:
        raise Refusal(
            f"--fail-under {text}: {name} is the baseline or not among --paths, so it has no speedup."
        )
    try:
        least = float(ratio)
    except ValueError:
        least = nan
    if not 0 < least < inf:
        raise Refusal(
            f"--fail-under takes PATH=RATIO, such as fast-nested=1.2; {text!r} is not of this form."
        )
    return name, least


def _exit_by(limits: list[tuple[str, float]], run: Run) -> None:
    """Print a sentence per limit on standard error, and exit with the worst one's code."""
    verdicts = [(name, least, gate_ratio(run, name, least)) for name, least in limits]
    for name, least, verdict in verdicts:
        tell_user(terminal.gate_words(run, name, least, verdict))
    for worst in (Gate.REGRESSED, Gate.NOT_MEASURED, Gate.INCONCLUSIVE):
        if any(verdict is worst for *_, verdict in verdicts):
            raise typer.Exit(worst)


def _experiment(**fields: object) -> Experiment:
    try:
        experiment = Experiment.model_validate(fields)
    except ValidationError as error:
        raise refusal_of(error, "experiment") from None
    check_threads(experiment.threads, usable_cores())
    return experiment


def _with_baseline(names: str) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    find_paths(asked)
    return asked if BASELINE in asked else (BASELINE, *asked)
