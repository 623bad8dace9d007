"""Writes the tables of docs/doctor.md from the engine's own (python -m docs.write_doctor_tables)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.doctor.cures import cure_codes
from engine.eligibility.attention_conditions import ATTENTION_CONDITIONS
from engine.eligibility.dangers import RISKS
from engine.eligibility.encoder_conditions import CONSTRUCTION_CONDITIONS, ENCODER_CONDITIONS
from engine.eligibility.judging import OLDEST, TorchCondition
from engine.eligibility.layer_conditions import LAYER_CONDITIONS
from engine.present.words.doctor_obstacles import EFFECT_TITLES

DOCS = Path(__file__).parent / "doctor.md"
NO_CURE = "none in a line of code"


def tables() -> dict[str, str]:
    """Markdown tables by the name that their markers in the docs have."""
    return {
        "layer": _conditions(LAYER_CONDITIONS),
        "construction": _conditions(CONSTRUCTION_CONDITIONS),
        "encoder": _conditions(ENCODER_CONDITIONS),
        "attention": _conditions(ATTENTION_CONDITIONS),
        "dangers": _dangers(),
    }


def with_tables(text: str) -> str:
    """The text with each table between its markers written anew."""
    for name, table in tables().items():
        text = _with_table(text, name, table)
    return text


def _with_table(text: str, name: str, table: str) -> str:
    start, end = f"<!-- {name}: written by docs/write_doctor_tables.py -->", f"<!-- end of {name} -->"
    between = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    return between.sub(lambda _found: f"{start}\n{table}\n{end}", text)


def _conditions(conditions: Iterable[TorchCondition[Any]]) -> str:
    rows = [_condition(condition) for condition in conditions]
    return _table(("condition", "needs", "torch's own words where it fails", "cure"), rows)


def _condition(condition: TorchCondition[Any]) -> tuple[str, ...]:
    since = "" if condition.since == OLDEST else f" (since torch {'.'.join(map(str, condition.since))})"
    said = condition.torch_says
    return (
        f"`{condition.key}`",
        condition.needs + since,
        f"`{said}`" if said else "none",
        _cure(condition.key),
    )


def _dangers() -> str:
    rows = [(f"`{risk.key}`", EFFECT_TITLES[risk.effect], risk.why, _cure(risk.key)) for risk in RISKS]
    return _table(("danger", "what it does", "why", "cure"), rows)


def _cure(problem: str) -> str:
    code = cure_codes().get(problem)
    return f"`{code}`" if code else NO_CURE


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    DOCS.write_text(with_tables(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
