"""What stands in the way of the fastpath, in words: failing conditions and dangers."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.diagnosis import (
    Check,
    Danger,
    Diagnosis,
    Effect,
    Part,
)

PARTS: tuple[Part, ...] = ("native MHA", "sparsity", "attention")
PART_TITLES: dict[Part, str] = {
    "native MHA": "Native MHA",
    "sparsity": "Sparsity",
    "attention": "Native attention alone",
}
EFFECT_TITLES: dict[Effect, str] = {
    "wrong": "Silently wrong",
    "not a number": "Not a number",
    "error": "Ends with an error",
    "ignored": "Has no effect",
}


LATER_DANGERS = "What the fastpath would do wrong once it is taken"


def where_words(check: Check, layers: int) -> str:
    """Where a condition fails: the module, and which of its layers."""
    failing = check.failing_layers
    if not failing:
        return check.module
    if len(failing) == layers and layers > 1:
        return f"{check.module}, all {layers} layers"
    return f"{check.module}, layer{'' if len(failing) == 1 else 's'} {_ranges(failing)}"


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers with runs drawn together: 0 to 3, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@dataclass(frozen=True)
class Obstacle:
    """One thing that stands in the way, listed once although several parts of the fastpath check it.

    Attributes:
        check: the condition as the most important of those parts states it.
        parts: every part that is not taken because of it.
        torch_says: torch's own reasons, each different one once.
    """

    check: Check
    parts: tuple[Part, ...]
    torch_says: tuple[str, ...]


def obstacles(diagnosis: Diagnosis) -> tuple[Obstacle, ...]:
    """What keeps layers from being fused or padding from being skipped, each thing once.

    Conditions of the native attention alone are left out where the model has layers: they matter only for a layer
    that is not fused.
    """
    alike: dict[tuple[str, str], list[Check]] = {}
    for check in sorted(diagnosis.failing, key=lambda check: PARTS.index(check.part)):
        alike.setdefault((check.needs, check.cure), []).append(check)
    found = (_obstacle(checks) for checks in alike.values())
    return tuple(one for one in found if one.parts != ("attention",) or not diagnosis.layers)


def _obstacle(checks: list[Check]) -> Obstacle:
    parts = dict.fromkeys(check.part for check in checks)
    says = dict.fromkeys(check.torch_says for check in checks if check.torch_says)
    return Obstacle(checks[0], tuple(parts), tuple(says))


def torchs_reason(obstacle: Obstacle) -> str:
    """Torch's internal reason; empty where torch has none."""
    quoted = [f"“{words}”" for words in obstacle.torch_says]
    return f"torch's internal reason (not logged): {', '.join(quoted)}" if quoted else ""


def sorted_dangers(diagnosis: Diagnosis) -> list[Danger]:
    """The dangers, silently wrong answers first."""
    return sorted(diagnosis.dangers, key=lambda danger: list(EFFECT_TITLES).index(danger.effect))


def passing_sentence(diagnosis: Diagnosis) -> str:
    """How many conditions are met."""
    total = len(diagnosis.checks)
    met = total - len(diagnosis.failing)
    return f"All {total} conditions are met" if met == total else f"{met} of {total} conditions are met"
