"""Where the tutorial's speedup comes from: the steps from its first slow path to the fastpath, each with its interval.

The tutorial's headline is all steps together; Better Transformer's own share is the last two.
"""

from itertools import pairwise

from engine.analysis.allocators import BothAllocators
from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.records import Interval, Record, Run

STEP_PATHS = ("slow-train", "slow-grad", "slow", "fast-mha", "fast-nested")
_MEANING = {
    ("slow-train", "slow-grad"): "no dropout (eval mode)",
    ("slow-grad", "slow"): "no autograd",
    ("slow", "fast-mha"): "native kernels",
    ("fast-mha", "fast-nested"): "sparsity",
}
_WHOLE, _SHARE = "the tutorial's headline", "Better Transformer's share"


class TutorialStep(Record):
    """One step: how many times as fast the second path is as the first."""

    start: str
    end: str
    meaning: str
    speedup: float
    ci95: Interval | None
    spans_steps: bool = False
    """Whether it covers several steps: the headline, and Better Transformer's share."""


def tutorial_steps(run: Run, both: BothAllocators | None = None) -> tuple[TutorialStep, ...]:
    """The steps that this run measured, then the headline and Better Transformer's share if all paths were measured.

    The intervals hold together with 95 % confidence: with k of them, each has 1 - 0.05 / k.

    Args:
        both: the same experiment under both allocators. The gain of the last path from keeping freed memory is one
            more step. It is not paired, and belongs neither to the headline nor to the share.
    """
    measured = [name for name in STEP_PATHS if any(p.name == name and p.samples_ms for p in run.paths)]
    pairs = list(pairwise(measured))
    steps = [(a, b, _MEANING.get((a, b), f"{a} to {b}")) for a, b in pairs]
    sums = [("slow-train", "fast-nested", _WHOLE), ("slow", "fast-nested", _SHARE)]
    sums = sums if measured == list(STEP_PATHS) else []
    confidence = shared_confidence(len(steps) + len(sums), run.looks)
    return (
        *(_step(run, *step, confidence) for step in steps),
        *(_step(run, *whole, confidence, spans_steps=True) for whole in sums),
        *_allocator_steps(both, measured),
    )


def _allocator_steps(both: BothAllocators | None, measured: list[str]) -> tuple[TutorialStep, ...]:
    """The gain of the last measured path from keeping freed memory."""
    return tuple(
        TutorialStep(
            start=f"{cost.name}, system's allocator",
            end=f"{cost.name}, freed memory kept",
            meaning="freed memory kept",
            speedup=cost.ratio,
            ci95=cost.ci95,
        )
        for cost in (both.costs if both else ())
        if cost.name == measured[-1]
    )


def _step(
    run: Run, start: str, end: str, meaning: str, confidence: float, *, spans_steps: bool = False
) -> TutorialStep:
    ratios = paired_ratios(run.path(start).samples_ms, run.path(end).samples_ms)
    return TutorialStep(
        start=start,
        end=end,
        meaning=meaning,
        speedup=speedup(ratios),
        ci95=median_interval(ratios, confidence),
        spans_steps=spans_steps,
    )
