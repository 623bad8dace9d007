"""How close the paths come to the machine's peak, in sentences; imports no drawing library."""

from engine.analysis.roofline import Reach, reaches, useful_flops
from engine.present.words.runs import path_noun
from engine.records import Run


def peaks_words(run: Run) -> str:
    """The machine's own peaks in a sentence; empty where they were not measured."""
    if run.roofline is None:
        return ""
    peaks = ", ".join(f"{value:,.0f} in {name}" for name, value in run.roofline.matmul_gflops.items())
    busy = "" if run.environment.quiet else " The machine was busy, so its true peaks are higher."
    return (
        f"This machine's own peaks, measured on {run.environment.threads} threads: {peaks} GFLOP/s in large linear "
        f"layers, {run.roofline.memory_gb_s:.0f} GB/s of memory.{busy}"
    )


def roofline_words(run: Run) -> str:
    """The message of `roofline_chart`: what the best path and the baseline reach."""
    found = {what.name: what for what in reaches(run) if what.share is not None}
    if not found:
        return ""
    best = max(found.values(), key=lambda what: what.share or 0)
    sentence = f"in useful work {_reached(best)} of this machine's peak"
    baseline = found.get(run.experiment.baseline)
    if baseline is not None and baseline is not best:
        sentence += f", {_reached(baseline)}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _reached(what: Reach) -> str:
    gflops = f"{what.gflops:,.0f}" if what.gflops >= 10 else f"{what.gflops:.1f}"
    return f"{path_noun(what.name)} reaches {what.share or 0:.0%} ({gflops} GFLOP/s)"


def useful_words(run: Run) -> str:
    """What counts as useful work, and which paths the chart leaves out."""
    if run.model_card is None:
        return ""
    gflop = useful_flops(run.model_card.shape, run.experiment.batch.lengths) / 1e9
    left = [path_noun(what.name) for what in reaches(run) if what.share is None]
    without = (
        f" Not shown, because no peak was measured in its precision: {' and '.join(left)}." if left else ""
    )
    return (
        f"Useful work is the {gflop:,.2g} GFLOP that the real tokens need. It is the same for every path: computing "
        f"padding does not count, and a path that saves work still counts with all of it.{without}"
    )


def memory_words(run: Run) -> str:
    """What the ticks of `roofline_chart` are; empty where memory limits no path."""
    if all((what.memory_bound or 1) >= 1 for what in reaches(run)):
        return ""
    return (
        "A tick is the limit set by memory: the share of the peak that is possible if every weight is read from memory "
        "once per forward. A small model that fits into the caches can exceed it."
    )
