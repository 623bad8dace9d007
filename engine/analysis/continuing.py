"""Measuring on where a run ended: what is asked for, whether it may be, and one run of the rounds of both. Pure.

Rounds of two measuring processes are put together only where everything that decides how fast a forward is was the
same. The run that was continued stays as it is; the new one says which it continues, and is judged once more.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from random import Random

from engine.analysis.conclude import concluded, judgements, round_s
from engine.errors import Refusal
from engine.events import RunRequest
from engine.records import Environment, ModelCard, PathResult, Record, Run

MORE_S = 20.0
"""Seconds of further rounds, where no number of rounds is foreseen to settle it."""
_FACTS = {
    "machine": "the machine",
    "device_name": "the device",
    "cpu": "the processor",
    "cpu_capability": "the processor's instructions in use",
    "cores": "the number of cores",
    "threads": "the number of threads",
    "platform": "the system",
    "python": "Python",
    "torch": "torch",
    "torchtext": "torchtext",
    "bridge": "the torchtext bridge",
    "libraries": "the set of libraries",
    "cuda": "CUDA",
    "driver": "the driver",
    "allocator": "the allocator's setting",
}
"""Fields of an environment that must be alike, in words."""


class More(Record):
    """How much further a run is best measured."""

    rounds: int | None
    """None where no number is foreseen to settle it: then so many seconds."""
    seconds: float


def more_of(run: Run) -> More:
    """The rounds that would settle every open verdict of a concluded run, or else some seconds."""
    rounds = max((verdict.more_rounds for _, _, verdict in judgements(run).values()), default=0)
    if not rounds or run.environment.notes:
        return More(rounds=None, seconds=MORE_S)
    return More(rounds=rounds, seconds=rounds * round_s(run))


def continuation(run: Run, more: More, most_s: float) -> RunRequest:
    """The request that measures further rounds of a run: the same paths, in new random orders.

    Args:
        most_s: longest time that rounds may take, from the settings. A number of rounds gets twice the time that it
            should take, so that a machine that has slowed down ends too.

    Raises:
        Refusal: the run has no rounds that could be added to.
    """
    measured = tuple(path.name for path in run.paths if path.samples_ms)
    if run.experiment.baseline not in measured or not run.noise_floor.samples_ms:
        raise Refusal("This run has no rounds of its own that others could be added to: start a new run.")
    wanted_s = more.seconds if more.rounds is None else ceil(2 * more.seconds + MORE_S)
    experiment = run.experiment.model_copy(
        update={
            "paths": measured,
            "seed": seed_of_session(run.experiment.seed, run.looks),
            "iterations": more.rounds,
            "budget_s": min(wanted_s, most_s),
        }
    )
    return RunRequest(experiment=experiment, continues=run)


def seed_of_session(seed: int, sessions_before: int) -> int:
    """Seed of the orders of a further session, derived from the run's own."""
    return Random(f"{seed} {sessions_before}").getrandbits(31)


def check_same_conditions(run: Run, environment: Environment, card: ModelCard) -> None:
    """Let a run be continued where the machine, the build, the threads and the weights are what they were.

    Raises:
        Refusal: they are not; names what differs.
    """
    found = tuple(_differences(run, environment, card))
    if found:
        raise Refusal(
            f"This run cannot be continued, because {found[0]}: it is kept as it is; start a new run."
        )


def _differences(run: Run, environment: Environment, card: ModelCard) -> Iterator[str]:
    for field, words in _FACTS.items():
        then, now = (getattr(seen, field) for seen in (run.environment, environment))
        if then != now:
            yield f"{words} was {then or 'not recorded'} and is {now or 'not known'} now"
    if run.model_card is not None and run.model_card.checksum != card.checksum:
        yield f"the weights of {card.name} are not the same any more"


def check_all_run(results: Iterable[PathResult]) -> None:
    """Let a run be continued where every path of it can run again: its rounds would have holes otherwise.

    Raises:
        Refusal: one of them cannot.
    """
    for result in results:
        if result.status != "ok":
            raise Refusal(
                f"This run cannot be continued, because {result.name} cannot run again ({result.reason}): "
                "it is kept as it is; start a new run."
            )


def continued(run: Run, session: Run) -> Run:
    """A new run with the rounds of both, concluded.

    What was seen once and is no sample (profiles, agreement, peaks) stays as the first run has it.

    Args:
        run: what was continued; unchanged.
        session: the further rounds, measured under the same conditions, as a run of their own.
    """
    rounds_before = run.sessions or (run.rounds,)
    environment = session.environment.model_copy(update={"load_before": run.environment.load_before})
    floor = (*run.noise_floor.samples_ms, *session.noise_floor.samples_ms)
    return concluded(
        session.model_copy(
            update={
                "experiment": run.experiment,
                "title": run.title,
                "model_card": run.model_card,
                "environment": environment,
                "paths": tuple(_longer(path, session) for path in run.paths),
                "noise_floor": run.noise_floor.model_copy(update={"samples_ms": floor}),
                "rounds": run.rounds + session.rounds,
                "stop_reason": f"{run.stop_reason}; continued: {session.stop_reason}",
                "order": (*run.order, *session.order),
                "conditions": (*run.conditions, *session.conditions),
                "roofline": run.roofline,
                "continues": run.id,
                "sessions": (*rounds_before, session.rounds),
            }
        )
    )


def _longer(path: PathResult, session: Run) -> PathResult:
    if not path.samples_ms:
        return path
    return path.model_copy(update={"samples_ms": (*path.samples_ms, *session.path(path.name).samples_ms)})
