"""Power: how often a path that is really 10 % slower is called slower within 20 rounds, on the machine as it is.

    python -m benchmarks.power [--experiments 60]

Target: at least 95 %.
"""

import argparse
import time
from collections import Counter

from benchmarks.harness import batch_of, experiment, keep, minilm, timed_path, verdicts
from engine.measure.rounds import Block, StopRule, Timed, block_size, warm_up

SLOWDOWN = 1.10
ROUNDS = 20


def slowed(timed: Timed) -> Timed:
    """The same call, then busy waiting for another tenth of the time it took."""

    def call() -> None:
        start = time.perf_counter()
        timed.call()
        end = start + (time.perf_counter() - start) * SLOWDOWN
        while time.perf_counter() < end:
            pass

    return Timed(call, timed.switches)


def main() -> None:
    """Print and keep the share of experiments that saw the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=60)
    experiments = parser.parse_args().experiments
    model = minilm()
    batch = batch_of(model, "tutorial-small")
    words: Counter[str] = Counter()
    for seed in range(experiments):
        path = timed_path(model, batch, "slow")
        warm_up(path, time.perf_counter)
        calls = block_size(path, time.perf_counter)
        blocks = {"slow": Block(path, calls), "slowed": Block(slowed(path), calls)}
        rule = StopRule(budget_s=60, max_rounds=ROUNDS)
        words.update(
            v.word for _, v in verdicts(experiment(blocks, "slow", rule, time.perf_counter, seed), 0.1)
        )
    keep("power", {"called slower": round(words["slower"] / words.total(), 4), "words": dict(words)})


if __name__ == "__main__":
    main()
