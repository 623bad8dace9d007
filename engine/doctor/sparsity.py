"""How much leaving out padding can give: the bound if padding were free, and a sweep that finds where it pays.

The sweep runs the encoder alone on drawn states, so it needs no texts; its answer is kept in a file, since it depends
on the machine, the libraries and the encoder's sizes only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine.analysis.crossover import judged_point
from engine.analysis.quiet import disturbances
from engine.analysis.verdict import Situation
from engine.diagnosis import Crossover, Sparsity, SweepPoint
from engine.eligibility.facts import LayerFacts, PaddingFacts
from engine.eligibility.subject import Setting
from engine.measure.instruments import Instruments
from engine.measure.profiling import synchronize
from engine.measure.race import Entry, Race, RaceResult, race
from engine.measure.rounds import BASELINE_AGAIN, StopRule, Timed
from engine.records import Conditions, Environment

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Padding ratios of the sweep."""
MIN_ROUNDS, MAX_ROUNDS, WARM_UP_CAP_S = 8, 30, 0.5
"""With fewer than 8 rounds, 6 ratios have no intervals that hold together with 95 % confidence."""
MOST_TOKENS = 2048


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
    run_sweep: Callable[[], Crossover], plan: SweepPlan, environment: Environment, folder: Path | None
) -> Crossover:
    """The kept answer of a sweep, or a new one; a new one is kept if it is complete and the machine was quiet."""
    if folder is None:
        return run_sweep()
    file = folder / f"sparsity-sweep-{plan.key(environment)}.json"
    try:
        return Crossover.model_validate_json(file.read_bytes()).model_copy(update={"cached": True})
    except (OSError, ValidationError):
        found = run_sweep()
    if not found.disturbance and all(point.ci95 for point in found.points):
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
        budget_s: longest time for all rounds together; what a ratio leaves over goes to the ones after it.
        encoder: an `nn.TransformerEncoder` in eval mode that takes both; its `use_nested_tensor` is put back.
    """
    points, conditions, start = list[SweepPoint](), list[Conditions](), instruments.clock()
    for i, ratio in enumerate(RATIOS):
        left_s = budget_s - (instruments.clock() - start)
        entered = _race_at(encoder, plan, ratio, seed + i, left_s / (len(RATIOS) - i))
        # The whole sweep is one step of an examination: its rounds are not told.
        found = race(entered, replace(instruments, tell=lambda _event: None))
        points.append(_point(ratio, found))
        conditions.extend(found.conditions)
    return Crossover(
        padding_ratios=RATIOS,
        speedups=tuple(point.speedup for point in points),
        points=tuple(points),
        shape=plan.shape,
        measured_at=instruments.now(),
        disturbance="; ".join(disturbances(conditions)),
    )


def _race_at(encoder: Any, plan: SweepPlan, ratio: float, seed: int, budget_s: float) -> Race:
    states, padding = padded_batch(plan, ratio, seed)
    device = torch.device(plan.device)

    def call() -> None:
        encoder(states, src_key_padding_mask=padding)
        synchronize(device)

    entries = {
        name: Entry(name, Timed(call, partial(_sparsity, encoder, sparse)))
        for name, sparse in (("dense", False), ("sparse", True))
    }
    rule = StopRule(budget_s, min_rounds=MIN_ROUNDS, max_rounds=MAX_ROUNDS)
    return Race(entries, "dense", rule, seed, WARM_UP_CAP_S)


def _point(ratio: float, found: RaceResult) -> SweepPoint:
    samples = {name: tuple(times_ms) for name, times_ms in found.rounds.samples_ms.items()}
    rounds = len(found.rounds.order)
    situation = Situation(rounds=rounds, round_s=found.rounds.elapsed_s / rounds)
    point = SweepPoint(
        padding_ratio=ratio,
        speedup=1.0,
        dense_ms=samples["dense"],
        dense_again_ms=samples[BASELINE_AGAIN],
        sparse_ms=samples["sparse"],
    )
    return judged_point(point, len(RATIOS), situation)


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
