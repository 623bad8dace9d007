"""The command line: `python -m engine models | run | tutorial | child`.

Results go to standard output, progress and refusals to standard error; a refusal exits with code 2. torch is
imported only by the commands that measure.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engine.catalog import CATALOG, DEFAULT_MODEL, find_model, find_paths
from engine.errors import Refusal
from engine.events import Download, Event, Round, Step
from engine.present import terminal
from engine.presets import DEFAULT_PRESET, find_preset
from engine.records import Batch, DType, Experiment, Run, refusal_of
from engine.settings import Settings, load_settings
from engine.texts import checked_texts, decode_upload, split_lines

DEFAULT_PATHS = "slow,fast-mha,fast-nested"

app = typer.Typer(
    help="Is the fastpath of nn.TransformerEncoder taken, is it faster here, and why?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Model = Annotated[str, typer.Option(help="A name from `models`, a local folder, or owner/name on the hub.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option(help=f"One of {', '.join(get_args(DType))}.")]
Threads = Annotated[int | None, typer.Option(help="Threads torch may use; its own choice where not given.")]
Seed = Annotated[int, typer.Option(help="Seed of the order of the rounds.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the run to this file.")]
TraceFolder = Annotated[Path | None, typer.Option("--trace", help="Write Chrome traces to this folder.")]


@app.command()
def models() -> None:
    """List the models on offer."""
    Console().print(terminal.models_table(CATALOG.values()))


@app.command()
def run(  # noqa: PLR0913  (one argument an option)
    model: Model = DEFAULT_MODEL,
    batch: Annotated[str, typer.Option(help="A preset; ignored where texts are given.")] = DEFAULT_PRESET,
    text: Annotated[list[str] | None, typer.Option(help="A text of your own; may be repeated.")] = None,
    texts: Annotated[Path | None, typer.Option(help="A UTF-8 file with one text a line.")] = None,
    paths: Annotated[str, typer.Option(help="Execution paths, separated by commas.")] = DEFAULT_PATHS,
    device: Device = "cpu",
    dtype: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
    iterations: Annotated[
        int | None, typer.Option(help="A fixed number of rounds; until precise where not given.")
    ] = None,
    budget: Annotated[float, typer.Option(help="Most seconds to spend on rounds.")] = 60.0,
    json_file: JsonFile = None,
    trace: TraceFolder = None,
) -> None:
    """Measure execution paths of one model on one batch, and say which is faster."""
    settings = load_settings()
    experiment = _experiment(
        model=model,
        batch=_batch(batch, text or [], texts, settings),
        paths=_with_baseline(paths),
        device=device,
        dtype=dtype,
        threads=threads,
        seed=seed,
        iterations=iterations,
        budget_s=budget,
    )
    _check_writable(json_file)
    finished = _measure(experiment, settings, trace)
    Console(width=terminal.width()).print(terminal.run_report(finished))
    _write(finished, json_file)


@app.command()
def tutorial(
    model: Model = DEFAULT_MODEL,
    batch: Annotated[str, typer.Option(help="A preset.")] = DEFAULT_PRESET,
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Make the tutorial's six runs (2.1 to 2.3) in its order, and show what its three traps do to them."""
    settings = load_settings()
    experiment = _experiment(
        model=model,
        batch=find_preset(batch),
        paths=terminal.TUTORIAL_PATHS,
        device=device,
        threads=threads,
        seed=seed,
        iterations=terminal.TUTORIAL_ITERATIONS,
        budget_s=settings.max_budget_s,
    )
    _check_writable(json_file)
    finished = _measure(experiment, settings, None)
    on_cpu = finished
    if device != "cpu":
        on_cpu = _measure(experiment.model_copy(update={"device": "cpu"}), settings, None)
    Console(width=terminal.width()).print(terminal.tutorial_report(finished, on_cpu))
    _write(finished, json_file)


@app.command(hidden=True)
def child() -> None:
    """Measure for a parent process: JSON requests in, JSON events out."""
    from engine.measure.child import main as serve

    serve()


def main() -> None:
    """Run the command line; a refusal is one sentence on standard error and exit code 2."""
    try:
        app()
    except Refusal as refusal:
        sys.exit(_refused(refusal))
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped; nothing was written.")
        sys.exit(130)


def _refused(refusal: Refusal) -> int:
    Console(stderr=True, soft_wrap=True).print(str(refusal), style="red", markup=False, highlight=False)
    return 2


def _experiment(**fields: object) -> Experiment:
    try:
        return Experiment.model_validate(fields)
    except ValidationError as error:
        raise refusal_of(error, "experiment") from None


def _batch(preset: str, typed: list[str], file: Path | None, settings: Settings) -> Batch:
    if not typed and file is None:
        return find_preset(preset)
    lines = split_lines(decode_upload(_read(file), str(file))) if file else ()
    return Batch(name="own texts", texts=checked_texts((*typed, *lines), settings))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refusal(f"The file {file} cannot be read: {error.strerror}.") from None


def _with_baseline(names: str) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    find_paths(asked)
    return asked if "slow" in asked else ("slow", *asked)


def _check_writable(file: Path | None) -> None:
    """Find out before measuring, not after: a lost measurement is worse than a late refusal."""
    if file is not None and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
        raise Refusal(
            f"The file {file} cannot be written, so nothing was measured: name one in a folder of yours."
        )


def _measure(experiment: Experiment, settings: Settings, trace: Path | None) -> Run:
    spec = find_model(experiment.model)
    with _progress() as tell:
        tell(Step(name="load", text=f"Loading {spec.title}"))
        from engine.measure.experiment import run_experiment
        from engine.measure.models import load_model

        clock = time.perf_counter
        loaded = load_model(spec, experiment.dtype, experiment.device, settings, tell, clock)
        return run_experiment(experiment, loaded, settings, tell, clock, trace_dir=trace)


@contextmanager
def _progress() -> Iterator[Callable[[Event], None]]:
    # Drawn only when told, never by a timer thread, which would compete with what is measured.
    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bars.add_task("Starting", total=None)

    def tell(event: Event) -> None:
        if isinstance(event, Step):
            bars.update(task, description=event.text, total=None, completed=0)
        elif isinstance(event, Round):
            bars.update(task, total=event.at_most, completed=event.done)
        elif isinstance(event, Download):
            bars.update(
                task, description=f"Fetching {event.file}", total=event.total_mb, completed=event.received_mb
            )
        bars.refresh()

    with bars:
        yield tell


def _write(run: Run, file: Path | None) -> None:
    if file is None:
        return
    try:
        file.write_text(run.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        raise Refusal(f"The run is above, but {file} cannot be written: {error.strerror}.") from None
    Console(stderr=True, soft_wrap=True).print(f"The run is in {file}", highlight=False)
