"""Rounds: every path once a round in random order, the baseline twice; clock and order injected, so tests are exact."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from engine.measure.rounds import (
    BASELINE_AGAIN,
    SHORT_CALL_S,
    WARM_UP_CAP_S,
    Block,
    Rounds,
    StopRule,
    Timed,
    block_size,
    random_orders,
    run_rounds,
    timed_ms,
    warm_up,
)


class Machine:
    """A clock that only calls move on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def path(self, name: str, *durations_s: float) -> Timed:
        """A path whose calls take these durations in turn, the last one for ever after."""
        left = list(durations_s)

        def call() -> None:
            self.calls.append(name)
            self.now_s += left.pop(0) if len(left) > 1 else left[0]

        return Timed(call)


def _run(
    machine: Machine,
    paths: dict[str, Timed],
    rule: StopRule,
    seed: int = 0,
    on_round: Callable[[Rounds], None] = lambda _rounds: None,
) -> Rounds:
    blocks = {name: Block(timed) for name, timed in paths.items()}
    return run_rounds(
        blocks, "slow", rule, machine.clock, random_orders(tuple(paths), Random(seed)), on_round
    )


def test_every_path_runs_once_a_round_and_the_baseline_twice() -> None:
    machine = Machine()
    paths = {"slow": machine.path("slow", 0.1), "fast": machine.path("fast", 0.05)}
    rounds = _run(machine, paths, StopRule(60, iterations=7), seed=3)
    assert all(Counter(order) == Counter(["slow", "fast", BASELINE_AGAIN]) for order in rounds.order)
    assert {name: len(samples) for name, samples in rounds.samples_ms.items()} == {
        "slow": 7,
        "fast": 7,
        BASELINE_AGAIN: 7,
    }
    in_order = [name.replace(BASELINE_AGAIN, "slow") for order in rounds.order for name in order]
    assert machine.calls[-len(in_order) :] == in_order
    assert rounds.samples_ms["fast"] == pytest.approx([50.0] * 7)


def test_the_order_is_fresh_every_round_and_follows_the_seed() -> None:
    def order(seed: int) -> list[tuple[str, ...]]:
        machine = Machine()
        paths = {name: machine.path(name, 0.1) for name in ("slow", "a", "b")}
        return _run(machine, paths, StopRule(600, iterations=40), seed).order

    assert order(1) == order(1) != order(2)
    firsts = Counter(first for first, *_ in order(1))
    assert len(set(order(1))) > 12
    assert all(count >= 3 for count in firsts.values())
    assert len(firsts) == 4


def test_stops_at_precision_only_after_the_fewest_rounds() -> None:
    machine = Machine()
    paths = {"slow": machine.path("slow", 0.1), "fast": machine.path("fast", 0.05)}
    rounds = _run(machine, paths, StopRule(60))
    assert len(rounds.order) == 8
    assert rounds.stop_reason == "precise to 3% after 8 rounds"


def test_stops_at_the_budget_and_says_so() -> None:
    machine = Machine()
    wild = [0.1 * (1 + i % 5) for i in range(400)]
    paths = {"slow": machine.path("slow", *wild), "fast": machine.path("fast", 0.1)}
    rounds = _run(machine, paths, StopRule(budget_s=10))
    assert 8 <= len(rounds.order) < 60
    assert rounds.stop_reason.startswith("the budget of 10 s is used up")


def test_never_runs_more_than_the_most_rounds() -> None:
    machine = Machine()
    wild = [0.1 * (1 + i % 5) for i in range(400)]
    paths = {"slow": machine.path("slow", *wild), "fast": machine.path("fast", 0.1)}
    assert len(_run(machine, paths, StopRule(1e9)).order) == 60


def test_every_round_is_told() -> None:
    machine, told = Machine(), list[int]()

    def tell(rounds: Rounds) -> None:
        told.append(len(rounds.order))

    _run(machine, {"slow": machine.path("s", 0.1)}, StopRule(9, 3), on_round=tell)
    assert told == [1, 2, 3]


def test_short_calls_are_timed_in_blocks_and_long_ones_alone() -> None:
    machine = Machine()
    assert block_size(machine.path("long", SHORT_CALL_S), machine.clock) == 1
    assert block_size(machine.path("short", 0.001), machine.clock) == 50
    assert timed_ms(machine.path("short", 0.001), 20, machine.clock) == pytest.approx(1.0)


def test_switches_are_held_around_the_calls_but_not_timed() -> None:
    machine, held = Machine(), list[str]()

    @contextmanager
    def switches() -> Iterator[None]:
        machine.now_s += 100
        held.append("on")
        yield
        held.append("off")

    timed = Timed(lambda: held.append("call"), switches)
    assert timed_ms(timed, 2, machine.clock) == 0
    assert held == ["on", "call", "call", "off"]


def test_warm_up_goes_on_until_two_windows_agree() -> None:
    machine = Machine()
    assert warm_up(machine.path("p", 0.5, 0.2, 0.15, 0.1, 0.1, 0.1, 0.1), machine.clock) == 8
    assert warm_up(machine.path("p", 0.01), machine.clock) == 6


def test_warm_up_is_capped_where_a_call_takes_seconds() -> None:
    machine = Machine()
    assert warm_up(machine.path("p", WARM_UP_CAP_S), machine.clock) == 1
