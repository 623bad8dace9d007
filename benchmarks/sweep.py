"""How long a sweep of twelve cells takes on MiniLM, from the command line's start to its table.

    python -m benchmarks.sweep

It measures slow, fast-mha, fast-nested and packed at 8 and 32 texts and three padding ratios, once at 16 and 64 tokens
and once at 32 and 128.
"""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import keep
from engine.analysis.conclude import round_s
from engine.analysis.sweeps import best_path, sparsity_lines
from engine.sweeps import Sweep, read_sweep

GOAL_S = 180.0
AXES = ("--batch-sizes", "8,32", "--padding", "0,0.3,0.6")
LENGTHS = ("16,64", "32,128")
PATHS = ("--model", "minilm", "--paths", "slow,fast-mha,fast-nested,packed")


def main() -> None:
    """Run the sweeps as users do, and print and keep their figures."""
    keep("sweep", {f"{lengths} tokens": measured(lengths) for lengths in LENGTHS})


def measured(lengths: str) -> dict[str, object]:
    """The figures of one sweep.

    Args:
        lengths: tokens of the longest text, as for `--lengths`.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder, "sweep.json")
        start = time.perf_counter()
        axes = (*AXES, "--lengths", lengths)
        command = [sys.executable, "-m", "engine", "sweep", *PATHS, *axes, "--json", str(file)]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        sweep = read_sweep(file.read_bytes())
        return {"seconds": round(seconds, 1), "goal_s": GOAL_S, **figures(sweep, file.stat().st_size)}


def figures(sweep: Sweep, size: int) -> dict[str, object]:
    """What the sweep found, and how many rounds its cells had.

    Args:
        size: of its JSON, in bytes.
    """
    runs = [run for _, run in sweep.measured]
    verdicts = Counter(path.verdict for run in runs for path in run.paths if path.verdict)
    bests = [best_path(run) for run in runs]
    return {
        "cells": len(sweep.cells),
        "cells_with_a_run": len(runs),
        "rounds": [run.rounds for run in runs],
        "seconds_of_rounds": [round(round_s(run) * run.rounds, 1) for run in runs],
        "verdicts": dict(verdicts),
        "best": dict(Counter(best.name for best in bests)),
        "best_not_sure": sum(not best.sure for best in bests),
        "quiet_cells": sum(run.environment.quiet for run in runs),
        "proven": all(path.evidence is not None and path.evidence.ok for run in runs for path in run.paths),
        "sparsity_faster": {
            f"{line.at.batch_size} x {line.at.length}": line.faster.model_dump()
            for line in sparsity_lines(sweep)
        },
        "json_mb": round(size / 1e6, 2),
    }


if __name__ == "__main__":
    main()
