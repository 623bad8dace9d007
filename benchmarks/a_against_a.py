"""Which verdicts do two equal paths get? In real experiments, and in simulated ones on machines with changing load.

    python -m benchmarks.a_against_a [--experiments 200] [--simulations 2000]

Each experiment has the default budget of two paths. Targets: at most 5 % of the real experiments and of each kind of
simulated ones are called "faster" or "slower", and at least 60 % of the real ones "same". Exit code 1 if a target is
missed. The real experiments take about ten minutes on two idle cores.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from statistics import median

from benchmarks.harness import batch_of, experiment, keep, minilm, show_progress, timed_path, verdicts
from engine.budget import default_budget_s
from engine.measure.rounds import Block, Rounds, StopRule, Timed, block_size, warm_up

BUDGET_S = default_budget_s(2)
MOST_FALSE, LEAST_SAME = 0.05, 0.60
ENDS = ("precise", "budget", "limit of")
"""Reasons why rounds end, by words that the reason contains."""


class Seen:
    """Verdicts, ends, rounds and seconds of many experiments."""

    def __init__(self) -> None:
        self.words, self.ends = Counter[str](), Counter[str]()
        self.rounds, self.seconds = list[int](), list[float]()

    def add(self, rounds: Rounds) -> None:
        """Count one more experiment."""
        self.words.update(verdict.word for _, verdict in verdicts(rounds, 0.1))
        self.ends[next(end for end in ENDS if end in rounds.stop_reason)] += 1
        self.rounds.append(len(rounds.order))
        self.seconds.append(rounds.elapsed_s)

    def share(self, *words: str) -> float:
        """Share of the experiments with one of these verdicts."""
        return sum(self.words[word] for word in words) / max(1, self.words.total())

    def figures(self) -> dict[str, object]:
        """The figures to keep."""
        return {
            "false verdicts": round(self.share("faster", "slower"), 4),
            "same": round(self.share("same"), 4),
            "words": dict(self.words),
            "ends": dict(self.ends),
            "median rounds": median(self.rounds),
            "median seconds": round(median(self.seconds), 2),
        }


def real(experiments: int) -> Seen:
    """The slow path against itself, with MiniLM on a small batch."""
    model = minilm()
    batch = batch_of(model, "tutorial-small")
    seen, start_s = Seen(), time.perf_counter()
    for seed in range(experiments):
        paths = {name: timed_path(model, batch, "slow") for name in ("slow", "twin")}
        blocks = {
            name: Block(timed, block_size(warm_up(timed, time.perf_counter)[-1]))
            for name, timed in paths.items()
        }
        seen.add(experiment(blocks, "slow", StopRule(BUDGET_S), time.perf_counter, seed))
        show_progress(seed + 1, experiments, seen.words, start_s)
    return seen


class RestlessMachine:
    """A simulated machine: 2 % jitter, 5 % spikes, and a slowdown that depends on the time."""

    def __init__(self, seed: int, slowdown: Callable[["RestlessMachine"], float]) -> None:
        self.random, self.slowdown = Random(seed), slowdown
        self.now_s, self.neighbour = 0.0, False
        self.ramp_s = 60 * 3 * 0.05

    def clock(self) -> float:
        """The simulated time in seconds."""
        return self.now_s

    def call(self) -> None:
        """A call of 50 ms, made longer by jitter, spikes and slowdown."""
        spike = 1 + self.random.expovariate(2.5) if self.random.random() < 0.05 else 1.0
        jitter = 2.718281828 ** self.random.gauss(0, 0.02)
        self.now_s += 0.05 * spike * jitter * self.slowdown(self)


def ramp(machine: RestlessMachine) -> float:
    """A slowdown that grows to 10 % during an experiment, like a laptop that gets warm."""
    return 1 + 0.10 * min(1.0, machine.now_s / machine.ramp_s)


def neighbour(machine: RestlessMachine) -> float:
    """Another job starts and stops at random; while it runs, calls take 35 % longer."""
    if machine.random.random() < 1 / 25:
        machine.neighbour = not machine.neighbour
    return 1.35 if machine.neighbour else 1.0


def simulated(simulations: int, slowdown: Callable[[RestlessMachine], float]) -> Seen:
    """A path against itself on a simulated machine."""
    seen = Seen()
    for seed in range(simulations):
        machine = RestlessMachine(seed, slowdown)
        blocks = {name: Block(Timed(machine.call)) for name in ("slow", "twin")}
        seen.add(experiment(blocks, "slow", StopRule(BUDGET_S), machine.clock, seed))
    return seen


def missed(name: str, seen: Seen, *, is_real: bool) -> list[str]:
    """The missed targets, in words."""
    found = list[str]()
    if (share := seen.share("faster", "slower")) > MOST_FALSE:
        found.append(f"{name}: {share:.1%} of equal paths are called different, more than {MOST_FALSE:.0%}")
    if is_real and (share := seen.share("same")) < LEAST_SAME:
        found.append(f"{name}: {share:.1%} of equal paths are called the same, fewer than {LEAST_SAME:.0%}")
    return found


def main() -> int:
    """Print and keep the shares; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--simulations", type=int, default=2000)
    arguments = parser.parse_args()
    all_seen = {
        "simulated ramp": simulated(arguments.simulations, ramp),
        "simulated neighbour": simulated(arguments.simulations, neighbour),
        "real": real(arguments.experiments),
    }
    keep("a_against_a", {"budget_s": BUDGET_S} | {name: seen.figures() for name, seen in all_seen.items()})
    failures = [
        words for name, seen in all_seen.items() for words in missed(name, seen, is_real=name == "real")
    ]
    for words in failures:
        print(words, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
