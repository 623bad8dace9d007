"""Does a path's speedup depend on the other paths of the run? Compares fast-nested in short and in long runs.

    python -m benchmarks.independence [--runs 20]

A short run has three paths (slow, fast-mha, fast-nested); a long one has all of the tutorial's, train mode included.
The command line measures both under both allocators in turn, in real child processes, with MiniLM and the tutorial's
big batch. Target: with freed memory kept, the median speedups are within 4 % of each other; otherwise the exit code is
1. For the system's allocator the difference is only shown.
"""

import argparse
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import keep
from engine.analysis.tutorial_steps import STEP_PATHS
from engine.records import Run, read_run

NAME = "fast-nested"
ROUNDS = 12
TARGET = 1.04
LENGTHS = {"short": ("slow", "fast-mha", NAME), "long": STEP_PATHS}
KINDS = tuple((allocator, length) for allocator in ("kept", "system") for length in LENGTHS)


def measured(allocator: str, paths: tuple[str, ...], seed: int, folder: Path) -> Run:
    """One run of the command line."""
    file = folder / f"{seed}.json"
    command = [sys.executable, "-m", "engine", "run", "--model", "minilm", "--batch", "tutorial-big"]
    command += ["--paths", ",".join(paths), "--rounds", str(ROUNDS), "--seed", str(seed)]
    subprocess.run(
        [*command, "--allocator", allocator, "--json", str(file)], check=True, stdout=subprocess.DEVNULL
    )
    return read_run(file.read_bytes())


def figures_of(runs: dict[tuple[str, str], list[Run]], allocator: str) -> dict[str, object]:
    """The speedups in short and long runs under one allocator, and the ratio of their medians."""
    speedups = {
        length: [run.path(NAME).speedup or 0.0 for run in runs[allocator, length]] for length in LENGTHS
    }
    medians = {length: median(values) for length, values in speedups.items()}
    every = [value for values in speedups.values() for value in values]
    return {
        "allocator in force": runs[allocator, "short"][0].environment.allocator_in_force,
        "speedups": {length: [round(value, 3) for value in values] for length, values in speedups.items()},
        "medians": {length: round(value, 3) for length, value in medians.items()},
        "apart": round(max(medians.values()) / min(medians.values()), 3),
        "largest over smallest of single runs": round(max(every) / min(every), 3),
        "quiet runs": sum(run.environment.quiet for length in LENGTHS for run in runs[allocator, length]),
        "page faults a forward": {
            length: [run.path(NAME).page_faults for run in runs[allocator, length]] for length in LENGTHS
        },
    }


def main() -> None:
    """Print and keep the figures; exit code 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="in all; at least one of each of the four kinds")
    wanted = max(len(KINDS), parser.parse_args().runs)
    runs: dict[tuple[str, str], list[Run]] = {kind: [] for kind in KINDS}
    with TemporaryDirectory() as folder:
        for seed, (allocator, length) in enumerate(islice(cycle(KINDS), wanted)):
            run = measured(allocator, LENGTHS[length], seed, Path(folder))
            runs[allocator, length].append(run)
            print(f"{allocator}, {length}: {run.path(NAME).speedup or 0:.3f}x", file=sys.stderr)
    figures = {allocator: figures_of(runs, allocator) for allocator in ("kept", "system")}
    keep("independence", {"rounds": ROUNDS, **figures})
    sys.exit(int(float(str(figures["kept"]["apart"])) > TARGET))


if __name__ == "__main__":
    main()
