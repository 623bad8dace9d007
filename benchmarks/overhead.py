"""Does the engine's timing cost time? Compares its samples with a bare loop of the same calls, in random order.

    python -m benchmarks.overhead [--rounds 60]

Target: the median paired ratio within 1 %.
"""

import argparse
import time
from random import Random

import torch

from benchmarks.harness import batch_of, keep, minilm, timed_path
from engine.analysis.stats import median_interval, paired_ratios, speedup
from engine.measure.rounds import block_size, timed_ms, warm_up

PRESETS = ("tutorial-small", "tutorial-big")


def main() -> None:
    """Print and keep the ratio engine / bare loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    model = minilm()
    figures: dict[str, object] = {}
    for preset in PRESETS:
        batch = batch_of(model, preset)
        timed = timed_path(model, batch, "slow")
        calls = block_size(warm_up(timed, time.perf_counter)[-1])

        def bare_ms(tokens: torch.Tensor = batch.tokens, calls: int = calls) -> float:
            torch.backends.mha.set_fastpath_enabled(False)
            with torch.no_grad():
                start = time.perf_counter()
                for _ in range(calls):
                    model.model(tokens)
                elapsed = time.perf_counter() - start
            torch.backends.mha.set_fastpath_enabled(True)
            return elapsed / calls * 1000

        random, engine_ms, loop_ms = Random(0), list[float](), list[float]()
        for _ in range(rounds):
            if random.random() < 0.5:
                engine_ms.append(timed_ms(timed, calls, time.perf_counter))
                loop_ms.append(bare_ms())
            else:
                loop_ms.append(bare_ms())
                engine_ms.append(timed_ms(timed, calls, time.perf_counter))
        ratios = paired_ratios(engine_ms, loop_ms)
        figures[preset] = {"engine / loop": round(speedup(ratios), 4), "ci95": median_interval(ratios)}
    keep("overhead", figures)


if __name__ == "__main__":
    main()
