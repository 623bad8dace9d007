"""Shared by the benchmark scripts: the real MiniLM, its timed paths, and verdicts without a whole run."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.processor import processor_facts
from engine.analysis.conclude import judged
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence
from engine.analysis.verdict import Situation, Verdict
from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
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


def minilm() -> LoadedModel:
    """The embedded model on the CPU in fp32."""
    return load_model(CATALOG["minilm"], "fp32", "cpu", Settings(), lambda _event: None, time.perf_counter)


def batch_of(model: LoadedModel, preset: str) -> TokenBatch:
    """A preset, tokenized for the model."""
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


def show_progress(done: int, of: int, words: Counter[str], start_s: float) -> None:
    """Print progress on standard error after every tenth experiment: number, verdicts, seconds each."""
    if done % 10 == 0 or done == of:
        each_s = (time.perf_counter() - start_s) / done
        seen = ", ".join(f"{count} {word}" for word, count in words.most_common())
        print(f"{done} of {of}: {seen}; {each_s:.1f} s each", file=sys.stderr, flush=True)


def keep(name: str, figures: dict[str, object], *, quiet: bool = False) -> None:
    """Print the figures, unless quiet, and keep them with the machine that measured them."""
    environment = read_environment("cpu", None)
    machine = {
        key: getattr(environment, key) for key in ("cpu", "cores", "threads", "torch", "cpu_capability")
    }
    machine = {"processor": processor_facts(), **machine}
    if not quiet:
        print(json.dumps(figures, indent=1))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"figures": figures, "machine": machine}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
