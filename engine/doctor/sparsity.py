"""How much leaving padding out can gain: the bound if padding were free, and a sweep over padding ratios.

The sweep runs the encoder alone on random states, so it needs no texts. Its answer depends only on the machine, the
libraries and the encoder's sizes, so it is kept in a file.
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
from engine.budget import SweepBudget
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
"""With fewer than 8 rounds, six ratios cannot have intervals that hold together with 95 % confidence."""
MOST_TOKENS = 2048
"""Largest batch of the sweep, in tokens, padding included."""


def free_padding(padding: PaddingFacts, layers: Sequence[LayerFacts]) -> Sparsity:
    """The largest possible gain from sparsity: floating-point operations of all tokens / of the real ones.

    For n tokens, a layer of width d and feed-forward width f takes 2 n (4 d d + 2 d f) operations in its matrix
    products and 4 n n d in attention.
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
    """The sizes and conditions that decide a sweep's answer.

    Attributes:
        shape: (texts, longest length).
        width: width of the encoder's states.
    """

    shape: tuple[int, int]
    width: int
    ffn: int
    heads: int
    layers: int
    dtype: torch.dtype
    device: str

    def key(self, environment: Environment) -> str:
        """A hash of the machine, the libraries and the sizes, as a name for the answer."""
        machine = (
            environment.cpu,
            environment.device_name,
            environment.torch,
            environment.threads,
            sorted(environment.allocator.items()),
        )
        return sha256(repr((self, machine)).encode()).hexdigest()[:16]


def swept_shape(rows: int, length: int) -> tuple[int, int]:
    """The shape of the batch, with fewer texts if the sweep would take too long."""
    return max(2, min(rows, MOST_TOKENS // max(1, length))), length


def crossover(
    run_sweep: Callable[[], Crossover], plan: SweepPlan, environment: Environment, folder: Path | None
) -> Crossover:
    """The stored answer of a sweep, or a new one. A new one is stored if it is complete and the machine was quiet."""
    if folder is None:
        return run_sweep()
    file = folder / f"sparsity-sweep-{plan.key(environment)}.json"
    try:
        return Crossover.model_validate_json(file.read_bytes()).model_copy(update={"cached": True})
    except (OSError, ValidationError):
        found = run_sweep()
    complete = len(found.points) == len(RATIOS) and all(point.ci95 for point in found.points)
    if complete and not found.disturbance:
        _keep(file, found)
    return found


def _keep(file: Path, found: Crossover) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(found.model_dump_json(), encoding="utf-8")
        part.replace(file)
    except OSError:
        return  # if the folder cannot be written, the next examination repeats the sweep


def sweep(
    encoder: Any, plan: SweepPlan, instruments: Instruments, seed: int, budget: SweepBudget
) -> Crossover:
    """Measure fused layers with and without sparsity at several padding ratios, in paired rounds.

    Args:
        encoder: an `nn.TransformerEncoder` in eval mode that can run with and without sparsity; its
            `use_nested_tensor` is restored.
        budget: time for all ratios together. Each may use an equal share of what is left, so time that one ratio does
            not need goes to the next ones. Ratios for which no time is left are not measured.
    """
    points, conditions, start = list[SweepPoint](), list[Conditions](), instruments.clock()
    for i, ratio in enumerate(RATIOS):
        used_s = instruments.clock() - start
        if points and used_s >= budget.most_s:
            break
        entered = _race_at(encoder, plan, ratio, seed + i, _rule(budget, used_s, len(RATIOS) - i))
        # The whole sweep is one step of an examination, so it sends no events of its own.
        found = race(entered, replace(instruments, tell=lambda _event: None))
        points.append(_point(ratio, found))
        conditions.extend(found.conditions)
    return Crossover(
        padding_ratios=tuple(point.padding_ratio for point in points),
        speedups=tuple(point.speedup for point in points),
        points=tuple(points),
        shape=plan.shape,
        measured_at=instruments.now(),
        disturbance="; ".join(disturbances(conditions)),
    )


def _rule(budget: SweepBudget, used_s: float, ratios_left: int) -> StopRule:
    return StopRule(
        (budget.usual_s - used_s) / ratios_left,
        min_rounds=MIN_ROUNDS,
        max_rounds=MAX_ROUNDS,
        most_s=(budget.most_s - used_s) / ratios_left,
    )


def _race_at(encoder: Any, plan: SweepPlan, ratio: float, seed: int, rule: StopRule) -> Race:
    states, padding = padded_batch(plan, ratio, seed)
    device = torch.device(plan.device)

    def call() -> None:
        encoder(states, src_key_padding_mask=padding)
        synchronize(device)

    entries = {
        name: Entry(name, Timed(call, partial(_sparsity, encoder, sparse)))
        for name, sparse in (("dense", False), ("sparse", True))
    }
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
    """Random states (texts, length, width), and a right-padded mask (texts, length) bool with about this padding ratio.

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
    """The encoder of a model, if it has exactly one; else None."""
    encoders = [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]
    return encoders[0] if len(encoders) == 1 else None
