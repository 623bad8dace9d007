"""The machine during the rounds of a run, in sentences."""

from collections.abc import Iterator, Sequence
from statistics import median

from engine.records import Conditions, Environment, Run


def round_conditions(run: Run) -> str:
    """How much of the machine the run had in its rounds; empty where nothing was recorded."""
    return " ".join((*_shares(run.conditions), *_switches(run.conditions), *_load(run)))


def _shares(rounds: Sequence[Conditions]) -> Iterator[str]:
    own = [each.own_share for each in rounds if each.own_share is not None]
    others = [each.others_share for each in rounds if each.others_share is not None]
    if own:
        beside = f", other processes {median(others):.0%}" if others else ""
        yield (
            f"In the median round this process used {median(own):.0%} of all cores' time{beside}; "
            f"in the round with the least, {min(own):.0%}."
        )


def _switches(rounds: Sequence[Conditions]) -> Iterator[str]:
    counts = [each.involuntary_switches for each in rounds if each.involuntary_switches is not None]
    if counts:
        yield (
            f"The kernel took a core away from it {_times(median(counts))} in the median round, "
            f"{_times(max(counts))} at most."
        )


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:.0f} times"


def _load(run: Run) -> Iterator[str]:
    during = [each.load for each in run.conditions if each.load is not None]
    parts = list(_loads_around(run.environment))
    if during:
        parts.insert(min(1, len(parts)), f"at most {max(during):.1f} during the rounds")
    if parts:
        yield f"Load average: {', '.join(parts)}."


def _loads_around(environment: Environment) -> Iterator[str]:
    if environment.load_before is not None:
        yield f"{environment.load_before:.1f} before the run"
    if environment.load_after is not None:
        yield f"{environment.load_after:.1f} after it"
