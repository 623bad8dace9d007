"""How much leaving out padding can give: the bound if padding were free, and a sweep that finds where it pays.

The sweep runs the encoder alone on drawn states, so it needs no texts; its answer is kept in a file, since it depends
on the machine, the libraries and the encoder's sizes only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine.analysis.quiet import disturbances
from engine.analysis.stats import paired_ratios, speedup
from engine.diagnosis import Crossover, Sparsity
from engine.eligibility.facts import LayerFacts, PaddingFacts
from engine.eligibility.subject import Setting
from engine.measure.environment import Watch, machine_pulse
from engine.measure.instruments import Instruments
from engine.measure.race import Entry, Race, race
from engine.measure.rounds import Clock, StopRule, Timed
from engine.records import Environment

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Padding ratios of the sweep."""
SWEEP_ROUNDS, WARM_UP_CAP_S = 5, 0.5
MOST_TOKENS = 4096


def free_padding(padding: PaddingFacts, layers: Sequence[LayerFacts]) -> Sparsity:
    """The bound on what sparsity can give: floating-point operations of all tokens / of the real ones.

    A layer of width d and feed-forward width f costs 2 n (4 d d + 2 d f) for the matrices and 4 n n d for attention
    over n tokens.
    """
    rows, length = len(padding.lengths), padding.length
    everything = rows * _operations(length, layers)
    needed = sum(_operations(real, layers) for real in padding.lengths)
    real = sum(padding.lengths)
    return Sparsity(
        real_tokens=real,
        all_tokens=rows * length,
        padding_ratio=1 - real / (rows * length),
        bound=everything / needed if needed else 1.0,
    )


def _operations(tokens: int, layers: Sequence[LayerFacts]) -> float:
    return sum(
        2.0 * tokens * (4 * layer.width**2 + 2 * layer.width * layer.ffn) + 4.0 * tokens**2 * layer.width
        for layer in layers
    )


@dataclass(frozen=True)
class SweepPlan:
    """What decides a sweep's answer.

    Attributes:
        shape: (texts, longest length).
        width: of the encoder's states.
    """

    shape: tuple[int, int]
    width: int
    ffn: int
    heads: int
    layers: int
    dtype: torch.dtype
    device: str

    def key(self, environment: Environment) -> str:
        """A name for the answer: the same machine, libraries and sizes give the same one."""
        machine = (
            environment.cpu,
            environment.device_name,
            environment.torch,
            environment.threads,
            sorted(environment.allocator.items()),
        )
        return sha256(repr((self, machine)).encode()).hexdigest()[:16]


def swept_shape(rows: int, length: int) -> tuple[int, int]:
    """The batch's own shape, with fewer texts where the sweep would take too long."""
    return max(2, min(rows, MOST_TOKENS // max(1, length))), length


def crossover(
    run_sweep: Callable[[], Crossover],
    plan: SweepPlan,
    environment: Environment,
    folder: Path | None,
    clock: Clock,
) -> Crossover:
    """The kept answer of a sweep, or a new one, which is kept if the machine was quiet."""
    if folder is None:
        return run_sweep()
    file = folder / f"crossover-{plan.key(environment)}.json"
    try:
        return Crossover.model_validate_json(file.read_bytes()).model_copy(update={"cached": True})
    except (OSError, ValidationError):
        watch = Watch(clock, machine_pulse())
        found = run_sweep()
    if not disturbances((watch.round_over(),)):
        _keep(file, found)
    return found


def _keep(file: Path, found: Crossover) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(found.model_dump_json(), encoding="utf-8")
        part.replace(file)
    except OSError:
        return  # a folder that cannot be written costs the next doctor a sweep, nothing else


def sweep(encoder: Any, plan: SweepPlan, instruments: Instruments, seed: int, budget_s: float) -> Crossover:
    """Measure fused layers with and without sparsity at several padding ratios, in paired rounds.

    Args:
        budget_s: longest time for all rounds together.
        encoder: an `nn.TransformerEncoder` in eval mode that takes both; its `use_nested_tensor` is put back.
    """
    share_s = budget_s / len(RATIOS)
    speedups = tuple(
        _speedup_at(encoder, plan, ratio, instruments, seed + i, share_s) for i, ratio in enumerate(RATIOS)
    )
    return Crossover(
        padding_ratios=RATIOS,
        speedups=speedups,
        crossover=first_crossing(RATIOS, speedups),
        shape=plan.shape,
        measured_at=instruments.now(),
    )


def first_crossing(ratios: Sequence[float], speedups: Sequence[float]) -> float | None:
    """The padding ratio from which the speedup stays above 1, between its neighbours on a straight line."""
    if speedups[-1] <= 1:
        return None
    for (left, low), (right, high) in reversed(tuple(pairwise(zip(ratios, speedups, strict=True)))):
        if low <= 1:
            return left + (right - left) * (1 - low) / (high - low)
    return ratios[0]


def _speedup_at(
    encoder: Any, plan: SweepPlan, ratio: float, instruments: Instruments, seed: int, budget_s: float
) -> float:
    states, padding = padded_batch(plan, ratio, seed)

    def call() -> None:
        encoder(states, src_key_padding_mask=padding)

    entries = {
        name: Entry(name, Timed(call, partial(_sparsity, encoder, sparse)))
        for name, sparse in (("dense", False), ("sparse", True))
    }
    entered = Race(entries, "dense", StopRule(budget_s, SWEEP_ROUNDS), seed, WARM_UP_CAP_S)
    # The whole sweep is one step of an examination: its rounds are not told.
    samples = race(entered, replace(instruments, tell=lambda _event: None)).rounds.samples_ms
    return speedup(paired_ratios(samples["dense"], samples["sparse"]))


def padded_batch(plan: SweepPlan, ratio: float, seed: int) -> tuple[Tensor, Tensor]:
    """Drawn states (texts, length, width) and a right-padded mask whose padding ratio is as near as whole tokens allow.

    One text is as long as the batch; the others share the padding evenly.
    """
    rows, length = plan.shape
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, length, plan.width, generator=generator).to(plan.device, plan.dtype)
    lengths = torch.tensor(list(_lengths(rows, length, ratio)))
    padding = torch.arange(length) >= lengths[:, None]
    return states, padding.to(plan.device)


def _lengths(rows: int, length: int, ratio: float) -> Iterable[int]:
    to_hide = round(ratio * rows * length)
    yield length
    for others in range(rows - 1, 0, -1):
        hidden = min(length - 1, round(to_hide / others))
        to_hide -= hidden
        yield length - hidden


@contextmanager
def _sparsity(encoder: Any, sparse: bool) -> Iterator[None]:
    before = encoder.use_nested_tensor
    encoder.use_nested_tensor = sparse
    try:
        with Setting(gradients=False, fastpath=True, autocast="off", function_modes=False).held():
            yield
    finally:
        encoder.use_nested_tensor = before


def sweepable(model: nn.Module) -> Any | None:
    """The one encoder of a model, if there is exactly one; its layers decide what the sweep runs."""
    encoders = [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]
    return encoders[0] if len(encoders) == 1 else None
