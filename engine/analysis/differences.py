"""What differs between runs: what was run, on which machine and build, and how busy that machine was.

The three are kept apart, because only the first is chosen. A difference of the second kind forbids a comparison of
times; one of the third makes it doubtful.
"""

from collections.abc import Callable, Sequence
from statistics import median

from engine.alike import SETUP, as_measured, facts_of
from engine.records import Environment, Record, Run

MEASURED_PATHS = "paths"
TEXTS = "texts"
IN_FORCE = "allocator in force"
PROCESSOR, DEVICE_NAME = "processor", "device name"
_NAMES = {"dtype": "precision"}


class Difference(Record):
    """One thing that is not the same in all runs."""

    name: str
    values: tuple[str | None, ...]
    """In words, one for each run; None if the run does not record it. Of texts, only a description."""


class MachineState(Record):
    """How busy a run's machine was while it measured."""

    quiet: bool
    notes: tuple[str, ...]
    """Why it was not quiet."""
    load_before: float | None
    load_after: float | None
    pulse_ms: float | None
    """Median time of the short test calculation; None if the run does not record it."""


def experiment_differences(runs: Sequence[Run]) -> tuple[Difference, ...]:
    """What differs between the experiments: the setup, the weights, the allocator in force, and the paths measured.

    The setup is everything that `compare` needs to be equal (engine/alike.py). Rounds and their budget are left out:
    they decide how sure an answer is, and not the answer.
    """
    asked = [as_measured(run) for run in runs]
    found = []
    for name in SETUP:
        values = [facts_of(experiment)[name] for experiment in asked]
        if any(value != values[0] for value in values):
            shown = map(_texts_of, runs) if name == TEXTS else map(str, values)
            found.append(Difference(name=_NAMES.get(name, name), values=tuple(shown)))
    names = {difference.name for difference in found}
    if "model" not in names:
        found += _if_known("weights", [run.model_card.checksum if run.model_card else None for run in runs])
    if "allocator" not in names:
        found += _if_known(IN_FORCE, [run.environment.allocator_in_force or None for run in runs])
    return (*found, *_path_difference(runs))


def _texts_of(run: Run) -> str:
    """The batch in a few words; the texts may be private."""
    batch = run.experiment.batch
    count = f"{len(batch.texts)} text{'' if len(batch.texts) == 1 else 's'}"
    padding = "" if batch.padding_ratio is None else f", {batch.padding_ratio:.0%} padding"
    return f"{batch.name} ({count}{padding})"


def _path_difference(runs: Sequence[Run]) -> list[Difference]:
    """For each run, the paths that it measured and some other run did not."""
    measured = [{path.name for path in run.paths if path.samples_ms} for run in runs]
    in_all = set.intersection(*measured)
    only = [
        tuple(path.name for path in run.paths if path.name in names - in_all)
        for run, names in zip(runs, measured, strict=True)
    ]
    return [Difference(name=MEASURED_PATHS, values=tuple(map(", ".join, only)))] if any(only) else []


_IDENTITY: dict[str, Callable[[Environment], str | None]] = {
    "machine": lambda found: found.machine or None,
    PROCESSOR: lambda found: found.cpu,
    DEVICE_NAME: lambda found: found.device_name,
    "cores": lambda found: str(found.cores),
    "memory": lambda found: f"{found.memory_mb / 1000:.0f} GB",
    "instructions": lambda found: found.cpu_capability,
    "system": lambda found: found.platform,
    "torch": lambda found: found.torch,
    "torchtext": lambda found: f"{found.torchtext} {found.bridge}",
    "Python": lambda found: found.python,
    "CUDA": lambda found: found.cuda or "none",
    "driver": lambda found: found.driver or "none",
}
"""The facts of a machine and its build, by name; None if an older run does not record it."""
_HARDWARE = ("machine", PROCESSOR, DEVICE_NAME, "cores")


def identity(run: Run) -> dict[str, str | None]:
    """The machine and the build that measured a run, in words."""
    libraries = {name: str(version) for name, version in run.environment.libraries.items()}
    return {
        **{name: read(run.environment) for name, read in _IDENTITY.items()},
        **{name: libraries[name] for name in sorted(libraries)},
    }


def machine_differences(runs: Sequence[Run]) -> tuple[Difference, ...]:
    """What differs between the machines and the builds; what a run does not record counts as no difference."""
    seen = [identity(run) for run in runs]
    names = dict.fromkeys(name for facts in seen for name in facts)
    same_device = all(facts[PROCESSOR] == facts[DEVICE_NAME] for facts in seen)
    found = []
    for name in names:
        if not (name == DEVICE_NAME and same_device):
            found += _if_known(name, [facts.get(name) for facts in seen])
    return tuple(found)


def same_machine(a: Run, b: Run) -> bool:
    """Whether two runs are of one machine, as far as they record it; only then may their times be compared."""
    first, second = identity(a), identity(b)
    return all(not _if_known(name, [first[name], second[name]]) for name in _HARDWARE)


def machine_state(run: Run) -> MachineState:
    """How busy the machine was."""
    environment = run.environment
    return MachineState(
        quiet=environment.quiet,
        notes=environment.notes,
        load_before=environment.load_before,
        load_after=environment.load_after,
        pulse_ms=median(round_.pulse_ms for round_ in run.conditions) if run.conditions else None,
    )


def _if_known(name: str, values: Sequence[str | None]) -> list[Difference]:
    known = {value for value in values if value is not None}
    return [Difference(name=name, values=tuple(values))] if len(known) > 1 else []
