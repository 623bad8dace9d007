"""How much skipping padding gains, and from which padding ratio on, in words."""

from datetime import datetime

from engine.analysis.crossover import FasterRatios, faster_ratios
from engine.diagnosis import (
    Crossover,
    Sparsity,
)
from engine.present.words.ages import age_words
from engine.present.words.runs import interval_words, speedup_text


def sparsity_sentence(sparsity: Sparsity) -> str:
    """How much padding there is, what skipping it could gain at most, and what it gained."""
    could = (
        f"{sparsity.real_tokens:,} of {sparsity.all_tokens:,} tokens are real, {sparsity.padding_ratio:.0%} is "
        f"padding: if padding cost nothing, a forward would be {speedup_text(sparsity.bound)} as fast."
    )
    if sparsity.measured is None:
        return f"{could} Sparsity was not measured here."
    interval = interval_words(sparsity.measured.speedup_ci95)
    seen = f"{speedup_text(sparsity.measured.speedup)}{f' ({interval})' if interval else ''}"
    return f"{could} Measured: {seen}, {sparsity.measured.verdict or 'not sure'}."


def crossover_sentence(crossover: Crossover, padding_ratio: float) -> str:
    """The padding ratio from which sparsity is faster, as far as the sweep is clear, and this batch's own ratio.

    Args:
        padding_ratio: of the examined batch.
    """
    found = faster_ratios(crossover.all_points)
    rows, length = crossover.shape
    return (
        f"For batches of {rows} x {length} tokens on this machine: "
        f"{_few_rounds_words(crossover) or faster_words(found)}{open_words(found)}. "
        f"{_batch_words(found, padding_ratio)}"
    ).strip()


def faster_words(found: FasterRatios) -> str:
    """From which padding ratio on sparsity is faster, as a clause."""
    low, high = _percent(found.not_faster_up_to), _percent(found.faster_from)
    return {
        "always": "sparsity is faster at every padding ratio that was tried",
        "between": f"sparsity becomes faster between {low} and {high} padding",
        "from": _from_words(found),
        "never": "sparsity is not faster at any padding ratio that was tried",
        "up to": f"sparsity is not faster at {low} padding",
        "contradictory": (
            f"sparsity is faster at {high} padding and not at {low}; more padding should not make it worse, so no "
            "crossover is stated"
        ),
        "imprecise": "the sweep is not precise enough to tell where sparsity is faster",
    }[found.kind]


def _few_rounds_words(crossover: Crossover) -> str:
    """Why a sweep tells nothing at all: it was too slow; empty where any ratio has an interval."""
    rounds = max((len(point.sparse_ms) for point in crossover.all_points), default=0)
    if not rounds or any(point.ci95 for point in crossover.all_points):
        return ""
    counted = "1 round" if rounds == 1 else f"{rounds} rounds"
    return f"there was time for {counted} at each padding ratio, too few to tell where sparsity is faster"


def _from_words(found: FasterRatios) -> str:
    """Ratios are faster and none is clearly not: from the smallest faster one on, if no larger one is open."""
    high = _percent(found.faster_from)
    if any(ratio > (found.faster_from or 0) for ratio in found.open_ratios):
        return f"sparsity is faster at {high} padding"
    return f"sparsity is faster from {high} padding on, perhaps from less"


def open_words(found: FasterRatios) -> str:
    """At which ratios the sweep has no clear verdict; empty where the rest of the sentence says it."""
    if found.kind == "imprecise" or not found.open_ratios:
        return ""
    return f"; not sure at {', '.join(map(_percent, found.open_ratios))}"


def _batch_words(found: FasterRatios, padding_ratio: float) -> str:
    if found.kind != "between" or found.not_faster_up_to is None or found.faster_from is None:
        return f"This batch has {padding_ratio:.0%} padding."
    if padding_ratio >= found.faster_from:
        return f"This batch has more, {padding_ratio:.0%}."
    if padding_ratio <= found.not_faster_up_to:
        return f"This batch has less, {padding_ratio:.0%}."
    return f"This batch lies between, at {padding_ratio:.0%}."


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.0%}"


def crossover_age(crossover: Crossover, now: datetime) -> str:
    """Whether the sweep belongs to this examination, or how old it is.

    Args:
        now: with a time zone.
    """
    if not crossover.cached:
        return "Measured in this examination."
    return f"From a stored sweep, measured {age_words(crossover.measured_at, now)}."
