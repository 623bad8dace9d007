"""Continues a run: what to measure, whether that is allowed, and one run made of both sets of rounds. Pure.

Rounds of two measuring processes are joined only if everything that decides the speed of a forward was the same. The
continued run does not change. The new one names the run that it continues, and all rounds are judged again.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from random import Random

from engine.analysis.conclude import concluded, judgements, round_s
from engine.errors import Refusal
from engine.events import RunRequest
from engine.records import Environment, ModelCard, PathResult, Record, Run

MORE_S = 20.0
"""Seconds of further rounds, if no number of rounds can be predicted."""
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
"""Fields of an environment that must be the same, in words."""


class More(Record):
    """How much more of a run to measure."""

    rounds: int | None
    """None if no number can be predicted: then `seconds` decides."""
    seconds: float


def more_of(run: Run) -> More:
    """The rounds that would settle every open verdict of a concluded run; `MORE_S` if they cannot be predicted."""
    rounds = max((verdict.more_rounds for _, _, verdict in judgements(run).values()), default=0)
    if not rounds or run.environment.notes:
        return More(rounds=None, seconds=MORE_S)
    return More(rounds=rounds, seconds=rounds * round_s(run))


def continuation(run: Run, more: More, most_s: float) -> RunRequest:
    """The request that measures further rounds of a run: the same paths, in new random orders.

    Args:
        most_s: longest time for rounds, from the settings. A number of rounds has twice its expected time as its
            limit, so that it ends on a machine that has slowed down, too.

    Raises:
        Refusal: the run has no rounds to continue.
    """
    measured = tuple(path.name for path in run.paths if path.samples_ms)
    if run.experiment.baseline not in measured or not run.noise_floor.samples_ms:
        raise Refusal("This run has no rounds of its own to continue: start a new run.")
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
    """Seed for the orders of a further session, derived from the run's seed."""
    return Random(f"{seed} {sessions_before}").getrandbits(31)


def check_same_conditions(run: Run, environment: Environment, card: ModelCard) -> None:
    """Check that the machine, the build, the threads and the weights are those of the run.

    Raises:
        Refusal: one of them differs; it is named.
    """
    found = next(changed_conditions(run, environment, card), None)
    if found:
        raise Refusal(f"This run cannot be continued, because {found}: it is kept as it is; start a new run.")


def changed_conditions(run: Run, environment: Environment, card: ModelCard) -> Iterator[str]:
    """What differs from the conditions of a run, each in words."""
    for field, words in _FACTS.items():
        then, now = (getattr(seen, field) for seen in (run.environment, environment))
        if then != now:
            yield f"{words} was {then or 'not recorded'} and is {now or 'not known'} now"
    if run.model_card is not None and run.model_card.checksum != card.checksum:
        yield f"the weights of {card.name} have changed"


def check_all_run(results: Iterable[PathResult]) -> None:
    """Check that every path of a run can run again, because every round needs a sample of each.

    Raises:
        Refusal: a path cannot run.
    """
    for result in results:
        if result.status != "ok":
            raise Refusal(
                f"This run cannot be continued, because {result.name} cannot run again ({result.reason}): "
                "it is kept as it is; start a new run."
            )


def continued(run: Run, session: Run) -> Run:
    """A new, concluded run with the rounds of both.

    Profiles, agreement and peaks are those of the first run.

    Args:
        run: the run that is continued; it does not change.
        session: the further rounds, measured under the same conditions, as a separate run.
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
