"""`race` times runs, the doctor and the sweep: it warms up everything first, and records every round."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from engine.events import Event, Round, Step
from engine.measure.instruments import Instruments
from engine.measure.race import Entry, Race, race
from engine.measure.rounds import BASELINE_AGAIN, StopRule, Timed


class Machine:
    """A clock that only calls advance, and a list of the calls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def clock(self) -> float:
        return self.now

    def entry(self, name: str, seconds: float) -> Entry:
        def call() -> None:
            self.called.append(name)
            self.now += seconds

        return Entry(name.title(), Timed(call))


def instruments(
    machine: Machine, told: list[Event], stop_asked: Callable[[], bool] = lambda: False
) -> Instruments:
    return Instruments(told.append, machine.clock, lambda: datetime(2026, 11, 27, tzinfo=UTC), stop_asked)


def test_a_race_warms_up_sizes_blocks_and_measures_every_entry_in_every_round() -> None:
    """A call of 1 ms is timed in blocks of 50, a call of 20 ms alone; the baseline runs twice in each round."""
    machine, told = Machine(), list[Event]()
    entries = {"slow": machine.entry("slow", 0.02), "fast": machine.entry("fast", 0.001)}
    found = race(Race(entries, "slow", StopRule(1e9, 3), seed=0), instruments(machine, told))
    assert found.warm_up_calls == {"slow": 6, "fast": 6}
    assert found.calls_per_sample == {"slow": 1, "fast": 50}
    assert {name: len(samples) for name, samples in found.rounds.samples_ms.items()} == {
        "slow": 3, "fast": 3, BASELINE_AGAIN: 3,
    }  # fmt: skip
    assert len(found.conditions) == 3
    # Six calls each to warm up, in the order given, before any round.
    assert machine.called[:12] == ["slow"] * 6 + ["fast"] * 6
    steps = [event.text for event in told if isinstance(event, Step)]
    assert steps == ["Warming up: Slow", "Warming up: Fast", "Measuring rounds"]
    assert [(event.done, event.at_most) for event in told if isinstance(event, Round)] == [
        (1, 3), (2, 3), (3, 3),
    ]  # fmt: skip


def test_calls_just_before_count_as_warm_up() -> None:
    """A cell of a sweep has called each path to compare the answers; a call of a second needs no second one."""
    machine, told = Machine(), list[Event]()
    slow = replace(machine.entry("slow", 1.0), before_ms=(1000.0,))
    fast = replace(machine.entry("fast", 0.02), before_ms=(20.0,))
    what = Race({"slow": slow, "fast": fast}, "slow", StopRule(1e9, 1), seed=0, warm_up_cap_s=0.5)
    found = race(what, instruments(machine, told))
    assert found.warm_up_calls == {"slow": 1, "fast": 6}
    assert machine.called[:5] == ["fast"] * 5
    assert found.calls_per_sample == {"slow": 1, "fast": 1}


def test_the_same_seed_gives_the_same_orders() -> None:
    """The order is random and can be repeated."""

    def orders(seed: int) -> list[tuple[str, ...]]:
        machine = Machine()
        entries = {name: machine.entry(name, 0.02) for name in ("a", "b", "c")}
        return race(Race(entries, "a", StopRule(1e9, 8), seed), instruments(machine, [])).rounds.order

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_a_stop_keeps_the_rounds_that_were_measured() -> None:
    """A user presses Stop in the second round."""
    machine, told = Machine(), list[Event]()
    entries = {"slow": machine.entry("slow", 0.02)}
    asked = iter((False, True))
    found = race(Race(entries, "slow", StopRule(1e9), 0), instruments(machine, told, lambda: next(asked)))
    assert found.rounds.stop_reason == "cancelled after 2 rounds"
    assert len(found.conditions) == 2
