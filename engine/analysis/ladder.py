"""Where the tutorial's speedup comes from: the steps from its first slow path to the fastpath, each with its interval.

The headline is the whole ladder; Better Transformer's own share is the last two steps.
"""

from itertools import pairwise

from engine.analysis.stats import median_interval, paired_ratios, shared_confidence, speedup
from engine.records import Interval, Record, Run

LADDER = ("slow-train", "slow-grad", "slow", "fast-mha", "fast-nested")
_MEANING = {
    ("slow-train", "slow-grad"): "no dropout (eval mode)",
    ("slow-grad", "slow"): "no autograd",
    ("slow", "fast-mha"): "native kernels",
    ("fast-mha", "fast-nested"): "sparsity",
}
_WHOLE, _HONEST = "the tutorial's headline", "Better Transformer's share"


class Rung(Record):
    """One step: how many times faster the second path is than the first."""

    start: str
    end: str
    meaning: str
    speedup: float
    ci95: Interval | None


def ladder(run: Run) -> tuple[Rung, ...]:
    """The steps that this run measured, then the headline and the honest share where both ends are there.

    The intervals hold together with 95 % confidence: each is taken at 1 - 0.05 / steps.
    """
    measured = [name for name in LADDER if any(p.name == name and p.samples_ms for p in run.paths)]
    pairs = list(pairwise(measured))
    wanted = [(a, b, _MEANING.get((a, b), f"{a} to {b}")) for a, b in pairs]
    if measured == list(LADDER):
        wanted += [("slow-train", "fast-nested", _WHOLE), ("slow", "fast-nested", _HONEST)]
    confidence = shared_confidence(len(wanted), run.looks)
    return tuple(_rung(run, *entry, confidence) for entry in wanted)


def _rung(run: Run, start: str, end: str, meaning: str, confidence: float) -> Rung:
    ratios = paired_ratios(run.path(start).samples_ms, run.path(end).samples_ms)
    return Rung(
        start=start,
        end=end,
        meaning=meaning,
        speedup=speedup(ratios),
        ci95=median_interval(ratios, confidence),
    )
