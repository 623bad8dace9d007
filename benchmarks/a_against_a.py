"""How often are two equal paths called different? Real experiments, and simulated ones on restless machines.

    python -m benchmarks.a_against_a [--experiments 200] [--simulations 2000]

Target: "faster" or "slower" in at most 5 % of them.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from benchmarks.harness import batch_of, experiment, keep, minilm, timed_path, verdicts
from engine.measure.rounds import Block, StopRule, Timed, block_size, warm_up

BUDGET_S = 30.0


def real(experiments: int) -> Counter[str]:
    """The slow path entered twice, on the MiniLM's small batch."""
    model = minilm()
    batch = batch_of(model, "tutorial-small")
    words: Counter[str] = Counter()
    for seed in range(experiments):
        paths = {name: timed_path(model, batch, "slow") for name in ("slow", "twin")}
        for timed in paths.values():
            warm_up(timed, time.perf_counter)
        blocks = {name: Block(timed, block_size(timed, time.perf_counter)) for name, timed in paths.items()}
        rounds = experiment(blocks, "slow", StopRule(BUDGET_S), time.perf_counter, seed)
        words.update(verdict.word for _, verdict in verdicts(rounds, 0.1))
    return words


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
        """A call of 50 ms as this machine makes it."""
        spike = 1 + self.random.expovariate(2.5) if self.random.random() < 0.05 else 1.0
        jitter = 2.718281828 ** self.random.gauss(0, 0.02)
        self.now_s += 0.05 * spike * jitter * self.slowdown(self)


def ramp(machine: RestlessMachine) -> float:
    """10 % slower over a whole experiment, as a laptop that warms up."""
    return 1 + 0.10 * min(1.0, machine.now_s / machine.ramp_s)


def neighbour(machine: RestlessMachine) -> float:
    """Another job that comes and goes, and takes 35 % while it is there."""
    if machine.random.random() < 1 / 25:
        machine.neighbour = not machine.neighbour
    return 1.35 if machine.neighbour else 1.0


def simulated(simulations: int, slowdown: Callable[[RestlessMachine], float]) -> Counter[str]:
    """The same path entered twice on a simulated machine."""
    words: Counter[str] = Counter()
    for seed in range(simulations):
        machine = RestlessMachine(seed, slowdown)
        blocks = {name: Block(Timed(machine.call)) for name in ("slow", "twin")}
        rounds = experiment(blocks, "slow", StopRule(BUDGET_S), machine.clock, seed)
        words.update(verdict.word for _, verdict in verdicts(rounds, 0.15))
    return words


def false_share(words: Counter[str]) -> float:
    """Share of experiments that called equal paths different."""
    return (words["faster"] + words["slower"]) / words.total()


def main() -> None:
    """Print and keep the shares of false verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--simulations", type=int, default=2000)
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    for name, words in (
        ("real", real(arguments.experiments)),
        ("simulated ramp", simulated(arguments.simulations, ramp)),
        ("simulated neighbour", simulated(arguments.simulations, neighbour)),
    ):
        figures[name] = {"false verdicts": round(false_share(words), 4), "words": dict(words)}
    keep("a_against_a", figures)


if __name__ == "__main__":
    main()
