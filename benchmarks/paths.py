"""Is packed execution faster than every alternative? All rivals, all presets, three models.

    python -m benchmarks.paths [--models minilm,xlmr-base-random,xlmr-large-random] [--batches ...]
                               [--precisions fp32,bf16] [--budget 20]

Measures paired rounds in random order, in one process on all cores. Ratios are rival / packed: above 1, packed is
faster. If a warm call of a rival takes more than OUTCLASSED times as long as the fastest rival's, the rival is not
timed in rounds, and this one sample is kept. A call of more than LONG_S seconds is not repeated to warm up.

- `packed` computes the last layer only for the tokens that the classification head reads.
- `packed, all states` computes every token's hidden state, as the rivals do.
- `packed, no kernels` uses torch's operators, as on a machine without a C++ compiler.

glibc keeps freed memory. Otherwise the fused paths would lose up to a third of their time to page faults.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import mean, median

import torch
from torch import Tensor

from benchmarks.harness import batch_of, experiment, keep
from engine.analysis.stats import median_interval, paired_ratios, speedup
from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.catalog.paths import PATHS, variant_name
from engine.measure.agreement import hidden_states
from engine.measure.environment import load_average
from engine.measure.profiling import peak_memory_mb, profile
from engine.measure.roofline import measure_roofline
from engine.measure.rounds import Block, StopRule, Timed, block_size, timed_ms
from engine.models.inputs import TokenBatch
from engine.models.loading import LoadedModel, load_model
from engine.packing import PackedRoberta, pack
from engine.packing.linear import PACKED_LINEAR
from engine.paths import EXECUTION_PATHS, PreparedPath
from engine.paths.execution import Unavailable
from engine.records import DType
from engine.settings import Settings

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
MODELS = ("minilm", "xlmr-base-random", "xlmr-large-random")
OUTCLASSED, LONG_S = 1.5, 5.0
LEAST_ROUNDS = 9
"""The budget of a cell is extended until this number of rounds fits into it: an interval needs eight."""
ALL_STATES, NO_KERNELS = "packed, all states", "packed, no kernels"
OWN = ("packed", ALL_STATES, NO_KERNELS)
RIVALS = tuple(
    spec.name
    for spec in PATHS.values()
    if spec.for_inference and spec.kind != "packed" and spec.precision is None
)
MEMORY_MODELS = ("minilm", "xlmr-base-random")
MEMORY_BATCH, LINEAR_BATCHES = "skewed-64", ("dense", "tutorial-big")


@dataclass(frozen=True)
class Contestant:
    """A prepared path, in one precision, for one model."""

    name: str
    prepared: PreparedPath


@dataclass(frozen=True)
class Timing:
    """Hidden states of the real tokens, (real tokens, width) fp32, and the seconds that computing them took."""

    states: Tensor
    seconds: float


def main() -> None:
    """Print the table and the ratios, and keep them."""
    if not KEEP_MEMORY.items() <= os.environ.items():
        os.execve(  # noqa: S606  (glibc reads these when a process starts)
            sys.executable,
            [sys.executable, "-m", "benchmarks.paths", *sys.argv[1:]],
            {**os.environ, **KEEP_MEMORY},
        )
    asked = arguments()
    cells: list[dict[str, object]] = []
    roofline = measure_roofline(torch.device("cpu"), time.perf_counter)
    for model in asked.models.split(","):
        loaded = load_model(CATALOG[model], "fp32", "cpu", Settings(), lambda _event: None, time.perf_counter)
        references = dict[str, Timing]()
        for precision in asked.precisions.split(","):
            contestants, missing = ready(loaded, precision)
            for name in asked.batches.split(","):
                batch = batch_of(loaded, name)
                if name not in references:
                    references[name] = states(EXECUTION_PATHS["slow"].prepare(loaded.model), batch)
                cells.append(
                    cell(loaded, batch, precision, contestants, references[name], asked.budget)
                    | {"missing": missing}
                )
                print_cell(cells[-1])
                keep(
                    asked.keep,
                    {**summary(cells), "roofline": roofline.model_dump(), "cells": cells},
                    quiet=True,
                )
            del contestants
            gc.collect()
        del loaded
        gc.collect()
    keep(asked.keep, {**summary(cells), "roofline": roofline.model_dump(), "cells": cells}, quiet=True)
    print(summary(cells))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default=",".join(PRESETS))
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--budget", type=float, default=20, help="seconds of rounds for a cell, or more")
    parser.add_argument("--keep", default="paths", help="name of the file under benchmarks/results")
    return parser.parse_args()


def ready(loaded: LoadedModel, precision: DType) -> tuple[list[Contestant], dict[str, str]]:
    """Packed execution and its rivals in a precision, and for each missing rival the reason."""
    found, missing = list[Contestant](), dict[str, str]()
    for base in ("packed", *RIVALS):
        name = base if precision == "fp32" else variant_name(base, precision)
        if name not in EXECUTION_PATHS:
            continue
        try:
            found.append(Contestant(base, EXECUTION_PATHS[name].prepare(loaded.model)))
        except Unavailable as reason:
            missing[base] = str(reason)
    packed = found[0].prepared
    found.insert(1, Contestant(ALL_STATES, replace(packed, forward=packed.hidden)))
    found.insert(2, Contestant(NO_KERNELS, without_kernels(loaded, precision)))
    return found, missing


def without_kernels(loaded: LoadedModel, precision: DType) -> PreparedPath:
    """Packed execution with torch's operators only."""
    packed = pack(loaded.model, precision, compiled=False)
    assert isinstance(packed, PackedRoberta)
    return PreparedPath(packed, packed.hidden)


def states(prepared: PreparedPath, batch: TokenBatch) -> Timing:
    """Compute and time the hidden states of the real tokens."""
    start = time.perf_counter()
    found = hidden_states(prepared, batch)
    return Timing(found, time.perf_counter() - start)


def cell(
    loaded: LoadedModel,
    batch: TokenBatch,
    precision: DType,
    contestants: Sequence[Contestant],
    reference: Timing,
    budget_s: float,
) -> dict[str, object]:
    """One model, one batch, one precision: errors against the fp32 slow path, times, ratios."""
    errors, first_s = first_calls(batch, precision, contestants, reference)
    fastest_s = min(s for name, s in first_s.items() if name not in OWN)
    raced = [c for c in contestants if c.name in OWN or first_s[c.name] <= OUTCLASSED * fastest_s]
    blocks = {c.name: timed_block(c, batch) for c in raced}
    enough_s = max(budget_s, LEAST_ROUNDS * sum(first_s[name] for name in blocks))
    rule = StopRule(enough_s, max_rounds=40, precision=0.01)
    load_before = load_average()
    rounds = experiment(blocks, "packed", rule, time.perf_counter, seed=0)
    times_ms = {name: median(rounds.samples_ms[name]) for name in blocks}
    times_ms |= {name: s * 1000 for name, s in first_s.items() if name not in blocks}
    rivals = [c.name for c in contestants if c.name not in OWN]
    best = min(rivals, key=times_ms.__getitem__)
    return {
        "model": loaded.card.name,
        "batch": batch.record.name,
        "precision": precision,
        "shape": batch.record.shape,
        "real tokens": batch.record.real_tokens,
        "rounds": len(rounds.order),
        "load before": load_before,
        "median_ms": {name: round(ms, 3) for name, ms in sorted(times_ms.items(), key=lambda item: item[1])},
        "measured once": [name for name in first_s if name not in blocks],
        "errors": errors,
        "best rival": best,
        "best rival / packed": ratio(rounds.samples_ms, times_ms, best, "packed"),
        "best rival / packed, all states": ratio(rounds.samples_ms, times_ms, best, ALL_STATES),
        "best rival / packed, no kernels": ratio(rounds.samples_ms, times_ms, best, NO_KERNELS),
        **extras(loaded, batch, precision, contestants[0].prepared),
    }


def first_calls(
    batch: TokenBatch, precision: DType, contestants: Sequence[Contestant], reference: Timing
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Each contestant's largest and root mean square error against the fp32 slow path, and seconds of a warm call."""
    errors: dict[str, dict[str, float]] = {}
    first_s: dict[str, float] = {}
    for contestant in contestants:
        is_reference = contestant.name == "slow" and precision == "fp32"
        seen = reference if is_reference else states(contestant.prepared, batch)
        differences = seen.states - reference.states
        errors[contestant.name] = {
            "max": float(differences.abs().max()),
            "rms": float(differences.pow(2).mean().sqrt()),
        }
        first_s[contestant.name] = one_call_s(contestant, batch, seen.seconds)
    return errors, first_s


def one_call_s(contestant: Contestant, batch: TokenBatch, states_s: float) -> float:
    """Seconds of a warm forward; if the hidden states took more than LONG_S, their time is used instead."""
    if states_s > LONG_S:
        return states_s
    call = timed(contestant, batch)
    return min(seconds(call), seconds(call))


def seconds(call: Timed) -> float:
    """Seconds of one call."""
    with call.switches():
        start = time.perf_counter()
        call.call()
        return time.perf_counter() - start


def timed(contestant: Contestant, batch: TokenBatch) -> Timed:
    """A contestant's forward on a batch, to be timed."""
    return Timed(lambda: void(contestant.prepared.forward(batch.tokens)), contestant.prepared.switches)


def void(_value: object) -> None:
    """Release an output at once."""


def timed_block(contestant: Contestant, batch: TokenBatch) -> Block:
    """The same, with the number of calls that one sample needs."""
    call = timed(contestant, batch)
    return Block(call, block_size(timed_ms(call, 1, time.perf_counter)))


def ratio(
    samples: dict[str, list[float]], times_ms: dict[str, float], rival: str, own: str
) -> dict[str, object]:
    """Rival / own: the median paired ratio with its 95 % interval; of single samples if it was not timed in rounds."""
    if rival not in samples or own not in samples:
        return {"ratio": round(times_ms[rival] / times_ms[own], 3), "ci95": None}
    ratios = paired_ratios(samples[rival], samples[own])
    interval = median_interval(ratios)
    return {
        "ratio": round(speedup(ratios), 3),
        "ci95": [round(edge, 3) for edge in interval] if interval else None,
    }


def extras(
    loaded: LoadedModel, batch: TokenBatch, precision: DType, packed: PreparedPath
) -> dict[str, object]:
    """Speed of the linear layers and working memory, for the cells that have a target for them."""
    found: dict[str, object] = {}
    if precision == "fp32" and batch.record.name in LINEAR_BATCHES:
        found["linear layers, GFLOP/s"] = round(linear_gflops(loaded, batch, packed), 1)
    if precision == "fp32" and batch.record.name == MEMORY_BATCH and loaded.card.name in MEMORY_MODELS:
        slow = EXECUTION_PATHS["slow"].prepare(loaded.model)
        found["working memory, MB"] = {
            "slow": round(peak_memory_mb(slow, batch.tokens), 1),
            "packed": round(peak_memory_mb(packed, batch.tokens), 1),
            ALL_STATES: round(peak_memory_mb(replace(packed, forward=packed.hidden), batch.tokens), 1),
        }
    return found


def linear_gflops(loaded: LoadedModel, batch: TokenBatch, packed: PreparedPath) -> float:
    """GFLOP/s of the linear layers, from a profile of `packed, all states`."""
    shape = loaded.card.shape
    a_token = (
        shape.num_encoder_layers
        * 2
        * (4 * shape.embedding_dim**2 + 2 * shape.embedding_dim * shape.ffn_dimension)
    )
    profiled = profile(replace(packed, forward=packed.hidden), batch.tokens, time.perf_counter, forwards=10)
    self_ms = sum(row.self_ms for row in profiled.ops if row.name == PACKED_LINEAR)
    return a_token * batch.record.real_tokens / self_ms / 1e6


def summary(cells: Sequence[dict[str, object]]) -> dict[str, object]:
    """Geometric means and the worst cell, in each precision."""
    found: dict[str, object] = {}
    for precision in dict.fromkeys(str(cell["precision"]) for cell in cells):
        own = [cell for cell in cells if cell["precision"] == precision]
        for kind in [name for name in own[0] if name.startswith("best rival / ")]:
            ratios = [cell[kind]["ratio"] for cell in own]  # type: ignore[index]
            worst = min(own, key=lambda cell: cell[kind]["ratio"])  # type: ignore[index]
            found[f"{precision}: {kind}"] = {
                "geometric mean": round(exp(mean(map(log, ratios))), 3),
                "least": min(ratios),
                "least in": f"{worst['model']}, {worst['batch']}, against {worst['best rival']}",
                "cells": len(ratios),
            }
    return found


def print_cell(cell: dict[str, object]) -> None:
    """Print one line for each contestant of a cell."""
    print(f"{cell['model']}, {cell['batch']}, {cell['precision']}: {cell['rounds']} rounds", flush=True)
    for name, ms in cell["median_ms"].items():  # type: ignore[attr-defined]
        error = cell["errors"][name]  # type: ignore[index]
        print(f"  {name:20} {ms:10.2f} ms   error max {error['max']:.1e} rms {error['rms']:.1e}")
    print(f"  best rival / packed: {cell['best rival']} {cell['best rival / packed']}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
