"""Times several things against each other: warms them up, sizes their blocks, measures paired rounds.

Runs, the doctor's states and the sparsity sweep are all measured by `race`. It also records the machine's conditions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from engine.events import Round, Step
from engine.measure.environment import Watch, machine_pulse
from engine.measure.instruments import Instruments
from engine.measure.rounds import (
    WARM_UP_CAP_S,
    Block,
    Earlier,
    Rounds,
    StopRule,
    Timed,
    block_size,
    random_orders,
    run_rounds,
    warm_up,
)
from engine.records import Conditions


@dataclass(frozen=True)
class Entry:
    """One thing to time.

    Attributes:
        title: for the progress line.
        calls_per_sample: taken from the run that is continued; None: found from the time of one call.
        before_ms: times of calls just before, which count as its warm-up.
    """

    title: str
    timed: Timed
    calls_per_sample: int | None = None
    before_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Race:
    """What is measured, against which baseline, and for how long.

    Attributes:
        entries: by name, in the order in which they are warmed up.
        baseline: the entry that runs a second time in every round.
        seed: of the random order within each round.
        warm_up_cap_s: longest warm-up of one entry, in seconds.
        earlier: rounds of the run that is continued.
    """

    entries: Mapping[str, Entry]
    baseline: str
    rule: StopRule
    seed: int
    warm_up_cap_s: float = WARM_UP_CAP_S
    earlier: Earlier = field(default_factory=Earlier)


@dataclass(frozen=True)
class RaceResult:
    """What was measured.

    Attributes:
        warm_up_calls: calls of each entry until its time was stable.
        calls_per_sample: calls that one sample of each entry averages over.
        conditions: of the machine, one record for each round.
    """

    rounds: Rounds
    warm_up_calls: Mapping[str, int]
    calls_per_sample: Mapping[str, int]
    conditions: tuple[Conditions, ...]


def race(what: Race, instruments: Instruments) -> RaceResult:
    """Warm up, size the blocks and run the rounds. After a request to stop, the rounds so far are kept."""
    warm_up_calls, blocks = dict[str, int](), dict[str, Block]()
    for name, entry in what.entries.items():
        instruments.tell(Step(name="warm-up", text=f"Warming up: {entry.title}"))
        times_ms = warm_up(entry.timed, instruments.clock, what.warm_up_cap_s, entry.before_ms)
        warm_up_calls[name] = len(times_ms)
        calls = entry.calls_per_sample or block_size(times_ms[-1])
        blocks[name] = Block(entry.timed, calls)
    rounds, conditions = _watched_rounds(what, blocks, instruments)
    calls_per_sample = {name: block.calls for name, block in blocks.items()}
    return RaceResult(rounds, warm_up_calls, calls_per_sample, conditions)


def _watched_rounds(
    what: Race, blocks: Mapping[str, Block], instruments: Instruments
) -> tuple[Rounds, tuple[Conditions, ...]]:
    watch, conditions = Watch(instruments.clock, machine_pulse()), list[Conditions]()

    def on_round(rounds: Rounds) -> None:
        conditions.append(watch.round_over())
        done = len(rounds.order)
        at_most = what.rule.expected_at_most(done, rounds.elapsed_s)
        instruments.tell(Round(done=done, at_most=at_most, speedups=rounds.speedups()))

    instruments.tell(Step(name="measure", text="Measuring rounds"))
    orders = random_orders(tuple(blocks), Random(what.seed))
    rounds = run_rounds(
        blocks,
        what.baseline,
        what.rule,
        instruments.clock,
        orders,
        on_round,
        instruments.stop_asked,
        what.earlier,
    )
    return rounds, tuple(conditions)
