"""Power: how often a path that is really 10 % slower is called slower, with the default budget, on this machine.

    python -m benchmarks.power [--experiments 60]

Target: at least 95 %; exit code 1 if it is missed. Also shown: the share that the first 20 rounds alone would have
found, which depends on how noisy the machine is.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace

from benchmarks.harness import batch_of, experiment, keep, minilm, show_progress, timed_path, verdicts
from engine.budget import default_budget_s
from engine.measure.rounds import Block, Rounds, StopRule, Timed, block_size, warm_up

SLOWDOWN = 1.10
FIRST_ROUNDS = 20
LEAST_FOUND = 0.95


def slowed(timed: Timed) -> Timed:
    """The same call, then busy waiting for another tenth of its time."""

    def call() -> None:
        start = time.perf_counter()
        timed.call()
        end = start + (time.perf_counter() - start) * SLOWDOWN
        while time.perf_counter() < end:
            pass

    return Timed(call, timed.switches)


def first_rounds(rounds: Rounds) -> Rounds:
    """The same experiment as it stood after its first rounds."""
    samples_ms = {name: samples[:FIRST_ROUNDS] for name, samples in rounds.samples_ms.items()}
    return replace(rounds, samples_ms=samples_ms, order=rounds.order[:FIRST_ROUNDS])


def main() -> int:
    """Print and keep the share of experiments that found the difference; returns 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=60)
    experiments = parser.parse_args().experiments
    model = minilm()
    batch = batch_of(model, "tutorial-small")
    words, early, start_s = Counter[str](), Counter[str](), time.perf_counter()
    for seed in range(experiments):
        path = timed_path(model, batch, "slow")
        calls = block_size(warm_up(path, time.perf_counter)[-1])
        blocks = {"slow": Block(path, calls), "slowed": Block(slowed(path), calls)}
        rule = StopRule(default_budget_s(len(blocks)))
        rounds = experiment(blocks, "slow", rule, time.perf_counter, seed)
        words.update(verdict.word for _, verdict in verdicts(rounds, 0.1))
        early.update(verdict.word for _, verdict in verdicts(first_rounds(rounds), 0.1))
        show_progress(seed + 1, experiments, words, start_s)
    share = words["slower"] / words.total()
    figures = {"called slower": round(share, 4), "words": dict(words), "after 20 rounds": dict(early)}
    keep("power", figures)
    if share < LEAST_FOUND:
        print(f"{share:.1%} found the difference, fewer than {LEAST_FOUND:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
