"""The command line: `python -m engine models | run | tutorial | compare | conclude | child`.

Results go to standard output, progress and refusals to standard error; a refusal exits with code 2. torch is
imported only by the commands that measure.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, nan
from pathlib import Path
from typing import Annotated, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engine.analysis.compare import Gate, compare_runs, gate, gate_ratio
from engine.analysis.conclude import concluded
from engine.analysis.verdict import MARGIN
from engine.catalog import CATALOG, DEFAULT_MODEL, PATHS, find_model, find_paths
from engine.errors import Refusal
from engine.events import Download, Event, Round, Step
from engine.present import terminal
from engine.present.tutorial import TUTORIAL_ITERATIONS, TUTORIAL_PATHS, tutorial_report
from engine.presets import DEFAULT_PRESET, PRESETS, find_preset
from engine.records import Batch, DType, Experiment, Run, read_run, refusal_of
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
    batch: Annotated[
        str, typer.Option(help=f"A preset, ignored where texts are given: {', '.join(PRESETS)}.")
    ] = DEFAULT_PRESET,
    text: Annotated[list[str] | None, typer.Option(help="A text of your own; may be repeated.")] = None,
    texts: Annotated[Path | None, typer.Option(help="A UTF-8 file with one text a line.")] = None,
    paths: Annotated[
        str, typer.Option(help=f"Execution paths, separated by commas: {', '.join(PATHS)}.")
    ] = DEFAULT_PATHS,
    device: Device = "cpu",
    dtype: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", "--iterations", help="A fixed number of rounds, not until precise."),
    ] = None,
    budget: Annotated[float, typer.Option(help="Most seconds to spend on rounds.")] = 60.0,
    json_file: JsonFile = None,
    trace: TraceFolder = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            help="PATH=RATIO, may be repeated: exit 1 if PATH's speedup is below, 3 if it is not clear."
        ),
    ] = None,
) -> None:
    """Measure execution paths of one model on one batch, and say which is faster."""
    settings = load_settings()
    names = _with_baseline(paths)
    limits = [_limit(text, names) for text in fail_under or []]
    experiment = _experiment(
        model=model,
        batch=_batch(batch, text or [], texts, settings),
        paths=names,
        device=device,
        dtype=dtype,
        threads=threads,
        seed=seed,
        iterations=rounds,
        budget_s=budget,
    )
    _check_writable(json_file)
    _check_trace_folder(trace)
    finished = _measure(experiment, settings, trace)
    Console(width=terminal.width()).print(terminal.run_report(finished))
    _write(finished, json_file)
    _exit_by(limits, finished)


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
        paths=TUTORIAL_PATHS,
        device=device,
        threads=threads,
        seed=seed,
        iterations=TUTORIAL_ITERATIONS,
        budget_s=settings.max_budget_s,
    )
    _check_writable(json_file)
    finished = _measure(experiment, settings, None)
    on_cpu = finished
    if device != "cpu":
        on_cpu = _measure(experiment.model_copy(update={"device": "cpu"}), settings, None)
    Console(width=terminal.width()).print(tutorial_report(finished, on_cpu))
    _write(finished, json_file)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    after: Annotated[Path, typer.Argument(help="A newer run's JSON file.")],
    margin: Annotated[float, typer.Option(help="Changes within this are called the same.")] = MARGIN,
    anyway: Annotated[bool, typer.Option(help="Compare runs of different experiments all the same.")] = False,
    markdown: Annotated[bool, typer.Option(help="Print Markdown for a pull request.")] = False,
) -> None:
    """Say what became slower from one run to another.

    Exit code 0: nothing; 1: a path regressed; 2: one was not measured, or the runs are not alike; 3: not clear.
    """
    if not 0 <= margin < 1:
        raise Refusal(f"--margin is a share from 0 to 1, as in 0.02; {margin:g} is not.")
    older, newer = read_run(_read(before)), read_run(_read(after))
    changes = compare_runs(older, newer, margin, unlike_allowed=anyway)
    if markdown:
        typer.echo(terminal.comparison_markdown(changes, newer.title), nl=False)
    else:
        Console(width=terminal.width()).print(terminal.comparison_table(changes))
        typer.echo("A change above 1x means that the second run is faster.")
    raise typer.Exit(gate(changes))


@app.command()
def conclude(
    file: Annotated[Path, typer.Argument(help="A run's JSON file.")],
    json_file: JsonFile = None,
) -> None:
    """Conclude a stored run again from its raw samples by today's rule, and say whether anything changes."""
    stored = read_run(_read(file))
    again = concluded(stored)
    Console(width=terminal.width()).print(terminal.paths_table(again))
    typer.echo(
        "Identical to the stored conclusions."
        if again == stored
        else "Different from the stored conclusions."
    )
    _write(again, json_file)


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


def _limit(text: str, measured: tuple[str, ...]) -> tuple[str, float]:
    name, _, ratio = text.partition("=")
    find_paths((name,))
    if name not in measured or name == "slow":
        raise Refusal(
            f"--fail-under {text}: {name} is the baseline or not among --paths, so it has no speedup."
        )
    try:
        least = float(ratio)
    except ValueError:
        least = nan
    if not 0 < least < inf:
        raise Refusal(f"--fail-under takes PATH=RATIO, as in fast-nested=1.2; {text!r} is not that.")
    return name, least


def _exit_by(limits: list[tuple[str, float]], run: Run) -> None:
    """Exit with the worst of the limits, each told in a sentence on standard error."""
    verdicts = [(name, least, gate_ratio(run, name, least)) for name, least in limits]
    for name, least, verdict in verdicts:
        Console(stderr=True, soft_wrap=True).print(
            terminal.gate_words(run, name, least, verdict), highlight=False
        )
    for worst in (Gate.REGRESSED, Gate.NOT_MEASURED, Gate.INCONCLUSIVE):
        if any(verdict is worst for *_, verdict in verdicts):
            raise typer.Exit(worst)


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


def _check_trace_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(
            f"The folder {folder} for traces cannot be made ({error.strerror}), so nothing was measured: name another."
        ) from None


def _measure(experiment: Experiment, settings: Settings, trace: Path | None) -> Run:
    spec = find_model(experiment.model)
    with _progress() as tell:
        tell(Step(name="load", text=f"Loading {spec.title}"))
        from engine.measure.experiment import Instruments, run_experiment
        from engine.measure.models import load_model

        clock = time.perf_counter
        loaded = load_model(spec, experiment.dtype, experiment.device, settings, tell, clock)
        with _stop_on_interrupt() as stop_asked:
            instruments = Instruments(tell, clock, stop_asked=stop_asked, trace_dir=trace)
            return run_experiment(experiment, loaded, settings, instruments)


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C ends the rounds and keeps what was measured; the second one drops everything."""
    asked = threading.Event()

    def interrupted(_signal: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        Console(stderr=True).print("Stopping after this round; press again to drop everything.")

    previous = signal.signal(signal.SIGINT, interrupted)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


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
