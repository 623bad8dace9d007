"""Paired, randomised rounds: every path once a round, in a fresh random order, the baseline twice.

The clock, the order and the wish to stop are arguments, so that a test can replay a recorded run exactly.
Why rounds and not path after path: on a shared machine the order matters more than the test that follows
(docs/architecture.md).
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from statistics import median

from engine.analysis.stats import half_width, median_interval, paired_ratios, shared_confidence
from engine.records import Interval

BASELINE_AGAIN = "baseline-again"
"""Name of the hidden second baseline in `order`: its interval is the machine's noise floor."""

Clock = Callable[[], float]

MIN_ROUNDS, MAX_ROUNDS = 8, 60
PRECISION = 0.03
SHORT_CALL_S, BLOCK_S = 0.010, 0.05
WARM_UP_WINDOW, WARM_UP_TOLERANCE, WARM_UP_CAP_S = 3, 0.05, 2.0


@dataclass(frozen=True)
class Timed:
    """Something to time: `switches` are held around every block of calls and stay out of the timed region."""

    call: Callable[[], None]
    switches: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class Block:
    """What one sample times: so many calls in a row."""

    timed: Timed
    calls: int = 1


@dataclass(frozen=True)
class StopRule:
    """When rounds end: at a fixed number, at precision, at the budget; never at significance."""

    budget_s: float
    iterations: int | None = None
    min_rounds: int = MIN_ROUNDS
    max_rounds: int = MAX_ROUNDS
    precision: float = PRECISION

    @property
    def at_most(self) -> int:
        """Most rounds that will be run."""
        return self.iterations or self.max_rounds

    def reason(self, done: int, elapsed_s: float, intervals: Mapping[str, Interval]) -> str | None:
        """Why to stop now, or None to go on."""
        if done >= self.at_most:
            return f"the {done} rounds asked for" if self.iterations else f"the most rounds, {done}"
        if self.iterations is None and done >= self.min_rounds and self._precise(intervals):
            return f"precise to {self.precision:.0%} after {done} rounds"
        if elapsed_s >= self.budget_s:
            return f"the budget of {self.budget_s:g} s is used up after {done} rounds"
        return None

    def _precise(self, intervals: Mapping[str, Interval]) -> bool:
        return all(half_width(interval) <= self.precision for interval in intervals.values())


@dataclass
class Rounds:
    """What was seen, round by round; samples are milliseconds per call."""

    baseline: str
    samples_ms: dict[str, list[float]]
    order: list[tuple[str, ...]] = field(default_factory=list)
    stop_reason: str = ""

    def speedups(self) -> dict[str, Interval]:
        """Interval of each path's speedup over the baseline, all together 95 %; empty while rounds are too few."""
        others = [name for name in self.samples_ms if name not in (self.baseline, BASELINE_AGAIN)]
        confidence = shared_confidence(len(others))
        return self._known({name: median_interval(self._ratios(name), confidence) for name in others})

    def all_intervals(self) -> dict[str, Interval]:
        """The same and the noise floor's, on which the verdict rests as well."""
        floor = median_interval(self._ratios(BASELINE_AGAIN))
        return {**self.speedups(), **self._known({BASELINE_AGAIN: floor})}

    @staticmethod
    def _known(intervals: Mapping[str, Interval | None]) -> dict[str, Interval]:
        return {name: interval for name, interval in intervals.items() if interval}

    def _ratios(self, name: str) -> list[float]:
        return paired_ratios(self.samples_ms[self.baseline], self.samples_ms[name])


def random_orders(paths: Sequence[str], random: Random) -> Iterator[tuple[str, ...]]:
    """For every round a fresh permutation of the paths and the hidden second baseline."""
    arms = (*paths, BASELINE_AGAIN)
    while True:
        yield tuple(random.sample(arms, len(arms)))


def run_rounds(
    blocks: Mapping[str, Block],
    baseline: str,
    rule: StopRule,
    clock: Clock,
    orders: Iterator[tuple[str, ...]],
    on_round: Callable[[Rounds], None] = lambda _rounds: None,
    stop_asked: Callable[[], bool] = lambda: False,
) -> Rounds:
    """Run rounds until the rule, or somebody, says stop.

    Args:
        blocks: the timed block of each path.
        baseline: the path that also runs a second time in every round.
        orders: the order of each round; names of `blocks` and `BASELINE_AGAIN`.
        on_round: told after every round.
        stop_asked: asked after every round; what was measured until then is kept.
    """
    arms = {**blocks, BASELINE_AGAIN: blocks[baseline]}
    rounds = Rounds(baseline, {name: [] for name in arms})
    start = clock()
    while not rounds.stop_reason:
        order = next(orders)
        for name in order:
            rounds.samples_ms[name].append(timed_ms(arms[name].timed, arms[name].calls, clock))
        rounds.order.append(order)
        on_round(rounds)
        done = len(rounds.order)
        cancelled = f"cancelled after {done} rounds" if stop_asked() else None
        rounds.stop_reason = cancelled or rule.reason(done, clock() - start, rounds.all_intervals()) or ""
    return rounds


def timed_ms(timed: Timed, block: int, clock: Clock) -> float:
    """Milliseconds per call over a block of calls, garbage collection held off."""
    with timed.switches(), _no_garbage_collection():
        start = clock()
        for _ in range(block):
            timed.call()
        return (clock() - start) / block * 1000


def block_size(timed: Timed, clock: Clock) -> int:
    """Calls per timed block: one, unless a call is so short that the clock would weigh in."""
    call_s = timed_ms(timed, 1, clock) / 1000
    return 1 if call_s >= SHORT_CALL_S else max(1, round(BLOCK_S / max(call_s, 1e-6)))


def warm_up(timed: Timed, clock: Clock) -> int:
    """Call until two consecutive windows of calls agree, or the cap in seconds is reached; returns the calls made."""
    start, times_ms = clock(), list[float]()
    while not _windows_agree(times_ms) and clock() - start < WARM_UP_CAP_S:
        times_ms.append(timed_ms(timed, 1, clock))
    return len(times_ms)


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
