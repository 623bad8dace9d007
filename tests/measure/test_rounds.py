"""Rounds: every path once and the baseline twice, in random order; with a given clock and order, tests are exact."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from engine.analysis.stats import median_interval, paired_ratios
from engine.measure.rounds import (
    BASELINE_AGAIN,
    MAX_ROUNDS,
    SHORT_CALL_S,
    WARM_UP_CAP_S,
    Block,
    Earlier,
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
    """A clock that only calls advance."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def path(self, name: str, *durations_s: float) -> Timed:
        """A path whose calls take these times in turn; all later calls take the last one."""
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
    assert rounds.stop_reason == "precise to 1.2% after 8 rounds"


def test_stops_at_the_budget_and_says_so() -> None:
    machine = Machine()
    wild = [0.1 * (1 + i % 5) for i in range(400)]
    paths = {"slow": machine.path("slow", *wild), "fast": machine.path("fast", 0.1)}
    rounds = _run(machine, paths, StopRule(budget_s=10))
    assert 8 <= len(rounds.order) < 60
    assert rounds.stop_reason.startswith("the budget of 10 s is used up")


def test_rounds_may_go_on_after_the_budget_until_they_are_enough() -> None:
    """A round of 3 s: the budget of 10 s has room for 4 of them, and 8 take 24 s."""

    def rounds_of(rule: StopRule) -> tuple[int, str]:
        machine = Machine()
        rounds = _run(machine, {"slow": machine.path("slow", 1.0), "fast": machine.path("fast", 1.0)}, rule)
        return len(rounds.order), rounds.stop_reason

    assert rounds_of(StopRule(10)) == (4, "the budget of 10 s is used up after 4 rounds")
    assert rounds_of(StopRule(10, precision=None, most_s=60)) == (
        8,
        "the budget of 10 s is used up after 8 rounds",
    )
    assert rounds_of(StopRule(10, most_s=15)) == (5, "the budget of 15 s is used up after 5 rounds")
    assert StopRule(10, most_s=60).expected_at_most(done=2, elapsed_s=6.0) == 8


def test_never_runs_more_than_the_most_rounds() -> None:
    machine = Machine()
    wild = [0.1 * (1 + i % 5) for i in range(999)]
    paths = {"slow": machine.path("slow", *wild), "fast": machine.path("fast", 0.1)}
    assert len(_run(machine, paths, StopRule(1e9)).order) == MAX_ROUNDS


def test_is_not_precise_before_every_path_has_an_interval() -> None:
    # Eight comparisons share the 5 %: each has an interval from the ninth round on, the noise floor from the sixth.
    machine = Machine()
    paths = {name: machine.path(name, 0.1) for name in ("slow", *"abcdefgh")}
    rounds = _run(machine, paths, StopRule(60))
    assert rounds.stop_reason == "precise to 1.2% after 9 rounds"
    assert len(rounds.speedups()) == 8


@pytest.mark.parametrize("faster", [1.0, 0.97, 0.5])
def test_stops_by_the_width_of_the_intervals_wherever_they_lie(faster: float) -> None:
    def rounds(factor: float) -> Rounds:
        machine, random = Machine(), Random(5)
        noise = [0.1 * (1 + random.gauss(0, 0.02)) for _ in range(999)]
        paths = {
            "slow": machine.path("slow", *noise),
            "fast": machine.path("fast", *[factor * s for s in noise]),
        }
        return _run(machine, paths, StopRule(600))

    assert len(rounds(faster).order) == len(rounds(1.0).order) > 8


def test_the_rounds_that_the_budget_leaves_time_for_are_told() -> None:
    rule = StopRule(budget_s=20)
    assert rule.expected_at_most(10, 2.0) == 100
    assert rule.expected_at_most(10, 0.1) == MAX_ROUNDS
    assert rule.expected_at_most(10, 30.0) == 10, "never fewer than are done"
    assert StopRule(20, iterations=12).expected_at_most(1, 0.1) == 12


def test_further_rounds_are_judged_together_with_the_earlier_ones_and_more_strictly() -> None:
    machine = Machine()
    noise = [0.1, 0.101, 0.099, 0.102, 0.098, 0.1, 0.103, 0.097]
    paths = {"slow": machine.path("slow", 0.1), "fast": machine.path("fast", *noise)}
    first = _run(machine, paths, StopRule(60, iterations=8))
    earlier = Earlier({name: tuple(samples) for name, samples in first.samples_ms.items()}, looks=1)
    blocks = {name: Block(timed) for name, timed in paths.items()}
    orders = random_orders(tuple(paths), Random(1))
    second = run_rounds(
        blocks, "slow", StopRule(60, 12, precision=None), machine.clock, orders, earlier=earlier
    )
    both = paired_ratios(
        [*first.samples_ms["slow"], *second.samples_ms["slow"]],
        [*first.samples_ms["fast"], *second.samples_ms["fast"]],
    )
    assert second.speedups() == {"fast": median_interval(both, 0.975)}
    assert len(second.samples_ms["fast"]) == 12


def test_who_asked_for_more_rounds_gets_them_however_precise_it_is() -> None:
    machine = Machine()
    paths = {"slow": machine.path("slow", 0.1), "fast": machine.path("fast", 0.05)}
    assert _run(machine, paths, StopRule(5, precision=None)).stop_reason.startswith("the budget of 5 s")


def test_every_round_is_told() -> None:
    machine, told = Machine(), list[int]()

    def tell(rounds: Rounds) -> None:
        told.append(len(rounds.order))

    _run(machine, {"slow": machine.path("s", 0.1)}, StopRule(9, 3), on_round=tell)
    assert told == [1, 2, 3]


def test_short_calls_are_timed_in_blocks_and_long_ones_alone() -> None:
    machine = Machine()
    assert block_size(SHORT_CALL_S * 1000) == 1
    assert block_size(1.0) == 50
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
    assert len(warm_up(machine.path("p", 0.5, 0.2, 0.15, 0.1, 0.1, 0.1, 0.1), machine.clock)) == 8
    assert len(warm_up(machine.path("p", 0.01), machine.clock)) == 6


def test_warm_up_is_capped_where_a_call_takes_seconds() -> None:
    machine = Machine()
    assert len(warm_up(machine.path("p", WARM_UP_CAP_S), machine.clock)) == 1
    assert len(warm_up(machine.path("p", 0.01), machine.clock, cap_s=0.0)) == 1
