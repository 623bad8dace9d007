"""What the benchmark scripts share: the real MiniLM, its timed paths, and verdicts without the rest of a run."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from engine.analysis.conclude import judged
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import Situation, Verdict
from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.host import cpu_name
from engine.measure.environment import read_environment
from engine.measure.rounds import (
    BASELINE_AGAIN,
    Block,
    Clock,
    Rounds,
    StopRule,
    Timed,
    random_orders,
    run_rounds,
)
from engine.models.inputs import TokenBatch, tokenize
from engine.models.loading import LoadedModel, load_model
from engine.paths import EXECUTION_PATHS
from engine.settings import Settings

RESULTS = Path(__file__).parent / "results"
UNITS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
"""Flags of /proc/cpuinfo that decide how fast matrices are multiplied."""


def minilm() -> LoadedModel:
    """The embedded model on the CPU in fp32."""
    return load_model(CATALOG["minilm"], "fp32", "cpu", Settings(), lambda _event: None, time.perf_counter)


def batch_of(model: LoadedModel, preset: str) -> TokenBatch:
    """A preset as the model takes it."""
    return tokenize(PRESETS[preset], model.tokenizer, model.card.shape, Settings())


def timed_path(model: LoadedModel, batch: TokenBatch, name: str) -> Timed:
    """A path as the engine times it."""
    prepared = EXECUTION_PATHS[name].prepare(model.model)

    def call() -> None:
        prepared.forward(batch.tokens)

    return Timed(call, prepared.switches)


def verdicts(rounds: Rounds, round_s: float) -> Iterator[tuple[str, Verdict]]:
    """The engine's verdict on every path of some rounds."""
    baseline = rounds.samples_ms[rounds.baseline]
    others = [name for name in rounds.samples_ms if name not in (rounds.baseline, BASELINE_AGAIN)]
    floor = median_interval(paired_ratios(baseline, rounds.samples_ms[BASELINE_AGAIN]))
    situation = Situation(rounds=len(rounds.order), round_s=round_s)
    for name in others:
        yield (
            name,
            judged(baseline, rounds.samples_ms[name], shared_confidence(len(others)), floor, situation)[2],
        )


def experiment(blocks: dict[str, Block], baseline: str, rule: StopRule, clock: Clock, seed: int) -> Rounds:
    """Rounds of these blocks in random order."""
    return run_rounds(blocks, baseline, rule, clock, random_orders(tuple(blocks), Random(seed)))


def told(done: int, of: int, words: Counter[str], start_s: float) -> None:
    """One line on standard error after every tenth experiment: how many are done, with which verdicts, how fast."""
    if done % 10 == 0 or done == of:
        each_s = (time.perf_counter() - start_s) / done
        seen = ", ".join(f"{count} {word}" for word, count in words.most_common())
        print(f"{done} of {of}: {seen}; {each_s:.1f} s each", file=sys.stderr, flush=True)


def processor() -> str:
    """The processor so that two of one name can be told apart: name, family, model, and the units that decide speed.

    Virtual machines often name their processor after its maker alone.
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    # The first core's; a later one would only say the same again.
    facts = dict(reversed([line.partition(":")[::2] for line in lines if ":" in line]))
    known = {key.strip(): value.strip() for key, value in facts.items()}
    if "cpu family" not in known:
        return cpu_name()
    units = [unit for unit in UNITS if unit in known.get("flags", "").split()]
    return f"{cpu_name()}, family {known['cpu family']}, model {known.get('model', '?')}, {' '.join(units)}"


def keep(name: str, figures: dict[str, object], *, quiet: bool = False) -> None:
    """Print the figures, unless quiet, and keep them with the machine they were seen on."""
    environment = read_environment("cpu", None)
    machine = {
        key: getattr(environment, key) for key in ("cpu", "cores", "threads", "torch", "cpu_capability")
    }
    machine = {"processor": processor(), **machine}
    if not quiet:
        print(json.dumps(figures, indent=1))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"figures": figures, "machine": machine}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
