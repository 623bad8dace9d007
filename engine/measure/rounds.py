"""Paired, randomised rounds: in each round every path runs once and the baseline twice, in a fresh random order.

The clock, the orders and the request to stop are arguments, so that a test can replay a recorded run exactly.
Paths are not measured one after the other, because on a shared machine the order matters more than the statistical
test (docs/architecture.md).
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from statistics import median

from engine.analysis.stats import half_width, median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import MARGIN, MOST_USEFUL_ROUNDS
from engine.records import Interval

BASELINE_AGAIN = "baseline-again"
"""Name of the second baseline in `order`. The baseline compared with it gives the noise floor."""

Clock = Callable[[], float]

MIN_ROUNDS, MAX_ROUNDS = 8, MOST_USEFUL_ROUNDS
PRECISION = 0.6 * MARGIN
"""Half-width at which an interval is precise enough.

Two equal paths are called the same if their whole interval is within the margin. An interval as wide as the margin
hardly ever is. At 0.6 of the margin, the middle of the interval may be off by 0.4 of the margin. The standard deviation
of the median is about half-width / 1.96, so 0.4 of the margin is 1.3 standard deviations: 81 % of cases at that width.
"""
SHORT_CALL_S, BLOCK_S = 0.010, 0.05
WARM_UP_WINDOW, WARM_UP_TOLERANCE, WARM_UP_CAP_S = 3, 0.05, 2.0


@dataclass(frozen=True)
class Timed:
    """Something to time. `switches` are held around every block of calls, outside the timed region."""

    call: Callable[[], None]
    switches: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class Block:
    """What one sample times: this number of calls in a row."""

    timed: Timed
    calls: int = 1


@dataclass(frozen=True)
class StopRule:
    """When rounds end: at a fixed number, when precise enough, or at the budget; never when significant."""

    budget_s: float
    iterations: int | None = None
    min_rounds: int = MIN_ROUNDS
    max_rounds: int = MAX_ROUNDS
    precision: float | None = PRECISION
    """Half-width that every interval must reach; None if rounds end by number or budget only."""
    most_s: float = 0.0
    """While rounds are fewer than `min_rounds`, they end after this many seconds if that is later than the budget."""

    @property
    def at_most(self) -> int:
        """The largest number of rounds that will be run."""
        return self.iterations or self.max_rounds

    def expected_at_most(self, done: int, elapsed_s: float) -> int:
        """The largest number of rounds that fits into the time allowed, if they go on as fast as so far."""
        rounds_a_second = done / max(elapsed_s, 1e-9)
        in_budget = int(rounds_a_second * self.budget_s)
        enough = min(self.min_rounds, int(rounds_a_second * self.most_s))
        return min(self.at_most, max(done, in_budget, enough))

    def reason(self, done: int, elapsed_s: float, reached: float | None) -> str | None:
        """Why to stop now, or None to go on.

        Args:
            reached: half-width of the widest interval; None while an interval is missing.
        """
        if done >= self.at_most:
            return f"the {done} rounds asked for" if self.iterations else f"the limit of {done} rounds"
        if self.iterations is None and done >= self.min_rounds and self._is_precise(reached):
            return f"precise to {100 * (self.precision or 0):.2g}% after {done} rounds"
        allowed_s = self.budget_s if done >= self.min_rounds else max(self.budget_s, self.most_s)
        if elapsed_s >= allowed_s:
            return f"the budget of {allowed_s:g} s is used up after {done} rounds"
        return None

    def _is_precise(self, reached: float | None) -> bool:
        return self.precision is not None and reached is not None and reached <= self.precision


@dataclass(frozen=True)
class Earlier:
    """Rounds of a run that is continued."""

    samples_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    looks: int = 0
    """How many times these rounds have been judged."""


@dataclass
class Rounds:
    """The samples of all rounds, in milliseconds per call."""

    baseline: str
    samples_ms: dict[str, list[float]]
    order: list[tuple[str, ...]] = field(default_factory=list)
    stop_reason: str = ""
    elapsed_s: float = 0.0
    earlier: Earlier = Earlier()
    """Rounds that these are added to; intervals are computed from all of them together."""

    def speedups(self) -> dict[str, Interval]:
        """Interval of each path's speedup; all hold together with 95 % confidence. Empty while rounds are too few."""
        others = [name for name in self.samples_ms if name not in (self.baseline, BASELINE_AGAIN)]
        confidence = shared_confidence(len(others), self.earlier.looks + 1)
        found = {name: median_interval(self._ratios(name), confidence) for name in others}
        return {name: interval for name, interval in found.items() if interval}

    def precision(self) -> float | None:
        """Largest half-width of the intervals that the verdicts use; None while one of them is missing."""
        floor = median_interval(self._ratios(BASELINE_AGAIN), shared_confidence(1, self.earlier.looks + 1))
        speedups = self.speedups()
        if floor is None or len(speedups) < len(self.samples_ms) - 2:
            return None
        return max(map(half_width, (floor, *speedups.values())))

    def _ratios(self, name: str) -> list[float]:
        return paired_ratios(self._all_ms(self.baseline), self._all_ms(name))

    def _all_ms(self, name: str) -> list[float]:
        return [*self.earlier.samples_ms.get(name, ()), *self.samples_ms[name]]


def random_orders(paths: Sequence[str], random: Random) -> Iterator[tuple[str, ...]]:
    """For every round a fresh permutation of the paths and the second baseline."""
    arms = (*paths, BASELINE_AGAIN)
    while True:
        yield tuple(random.sample(arms, len(arms)))


def run_rounds(  # noqa: PLR0913  (the last three have defaults)
    blocks: Mapping[str, Block],
    baseline: str,
    rule: StopRule,
    clock: Clock,
    orders: Iterator[tuple[str, ...]],
    on_round: Callable[[Rounds], None] = lambda _rounds: None,
    stop_asked: Callable[[], bool] = lambda: False,
    earlier: Earlier = Earlier(),
) -> Rounds:
    """Run rounds until the rule ends them or a stop is requested.

    Args:
        blocks: the timed block of each path.
        baseline: the path that runs a second time in every round.
        orders: the order of each round; names of `blocks` and `BASELINE_AGAIN`.
        on_round: called after every round.
        stop_asked: called after every round; True ends the rounds and keeps what was measured.
        earlier: rounds of the run that is continued.
    """
    arms = {**blocks, BASELINE_AGAIN: blocks[baseline]}
    rounds = Rounds(baseline, {name: [] for name in arms}, earlier=earlier)
    start = clock()
    while not rounds.stop_reason:
        order = next(orders)
        for name in order:
            rounds.samples_ms[name].append(timed_ms(arms[name].timed, arms[name].calls, clock))
        rounds.order.append(order)
        rounds.elapsed_s = clock() - start
        on_round(rounds)
        done = len(rounds.order)
        cancelled = f"cancelled after {done} rounds" if stop_asked() else None
        rounds.stop_reason = cancelled or rule.reason(done, rounds.elapsed_s, rounds.precision()) or ""
    return rounds


def timed_ms(timed: Timed, block: int, clock: Clock) -> float:
    """Milliseconds per call, averaged over a block of calls, with garbage collection off."""
    with timed.switches(), _no_garbage_collection():
        start = clock()
        for _ in range(block):
            timed.call()
        return (clock() - start) / block * 1000


def block_size(call_ms: float) -> int:
    """Calls per timed block: one, or more if a call is too short to be timed alone."""
    call_s = call_ms / 1000
    return 1 if call_s >= SHORT_CALL_S else max(1, round(BLOCK_S / max(call_s, 1e-6)))


def warm_up(
    timed: Timed, clock: Clock, cap_s: float = WARM_UP_CAP_S, before_ms: Sequence[float] = ()
) -> list[float]:
    """Call until two consecutive windows of calls agree, at most for `cap_s` seconds.

    Args:
        before_ms: times of calls just before, which count as well.

    Returns:
        The time of each call in ms, at least one.
    """
    start, times_ms = clock() - sum(before_ms) / 1000, list(before_ms)
    while not times_ms or (not _windows_agree(times_ms) and clock() - start < cap_s):
        times_ms.append(timed_ms(timed, 1, clock))
    return times_ms


def _windows_agree(times_ms: list[float]) -> bool:
    if len(times_ms) < 2 * WARM_UP_WINDOW:
        return False
    previous = median(times_ms[-2 * WARM_UP_WINDOW : -WARM_UP_WINDOW])
    return abs(median(times_ms[-WARM_UP_WINDOW:]) - previous) <= WARM_UP_TOLERANCE * previous


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
